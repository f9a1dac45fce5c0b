// What a form of a run says, as the body of the call, and back. Pure.

const WORDS = { true: true, false: false, null: null };
const NUMBER = /^-?(?!0\d)(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function readJson(text, wrong) {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { wrong };
  }
}

// Read what was typed for an arg as the kind of value that it has: { value } or { wrong: why }.
export function readValue(text, like) {
  if (typeof like === "boolean") return { value: text === "true" };
  if (like === null || typeof like === "object") return readJson(text, "This is JSON: a list, a mapping, a number, a text in quotes, true, false or null");
  if (typeof like !== "number" || /^\s*\{\{/.test(text)) return { value: text };
  return text.trim() !== "" && Number.isFinite(Number(text)) ? { value: Number(text) } : { wrong: "This is a number" };
}

// Write a value of an arg as one types it.
export function writeValue(value) {
  return value === null || typeof value === "object" ? JSON.stringify(value) : String(value);
}

// Read the values of an axis: "1, 2, 3", "range(0, 10, 2)", "logspace(0.001, 1, 4)" or a JSON list. { value } or { wrong }.
export function readAxis(text) {
  const [, kind, given] = /^\s*(range|logspace)\s*\(([^)]*)\)\s*$/.exec(text) ?? [];
  if (kind) {
    const numbers = given.split(",").map(Number);
    return numbers.length === 3 && numbers.every(Number.isFinite) ? { value: { [kind]: numbers } } : { wrong: `${kind}(…) has three numbers` };
  }
  if (text.trimStart().startsWith("[")) return readJson(text, "This begins as a JSON list, but is none");
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  return parts.length ? { value: parts.map(readWord) } : { wrong: "An axis has at least one value" };
}

function readWord(word) {
  if (Object.hasOwn(WORDS, word)) return WORDS[word];
  return NUMBER.test(word) ? Number(word) : word.replace(/^(["'])(.*)\1$/, "$2");
}

// Write the values of an axis as one types them; what has its own commas or reads otherwise as JSON.
export function writeAxis(axis) {
  if (!Array.isArray(axis)) return Object.entries(axis).map(([kind, numbers]) => `${kind}(${numbers.join(", ")})`).join();
  const text = axis.map(String).join(", ");
  return isSame(readAxis(text).value, axis) ? text : JSON.stringify(axis);
}

// Count the cells of a sweep: the product of its axes, without those that are left out.
export function countCells(sweep) {
  const sizes = Object.values(sweep?.matrix ?? {}).map(countAxis);
  return { count: sizes.length ? sizes.reduce((all, size) => all * size) : 0, isMost: sweep?.exclude?.length > 0 };
}

function countAxis(axis) {
  if (Array.isArray(axis)) return axis.length;
  const [start, stop, step] = axis.logspace ? [0, Math.floor(axis.logspace[2]), 1] : axis.range ?? [0, 0, 1];
  return step ? Math.max(0, Math.ceil((stop - start) / step - 1e-9)) : 0;
}

// Drop what says nothing from a body, so that only what was chosen is sent.
export function tidyBody(body) {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => ![null, undefined, "", false].includes(value) && !isSame(value, {})));
}

// Read a body from the query of an address: arg.NAME=VALUE, from, to, single.
export function readQuery(query, args) {
  const given = [...query].filter(([name]) => name.startsWith("arg.")).map(([name, text]) => [name.slice(4), text]);
  const overrides = given.map(([name, text]) => [name, readValue(text, args?.[name] ?? "").value ?? text]);
  return tidyBody({ args_override: Object.fromEntries(overrides), from_job: query.get("from"), to_job: query.get("to"), single_job: query.get("single") });
}
