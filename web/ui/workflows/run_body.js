// What a form of a run says, as the body of the call, and back. Pure.

// Read what was typed for an arg as the kind of value that it has: { value } or { wrong: why }.
export function readValue(text, like) {
  if (typeof like === "number") {
    const number = Number(text);
    if (text.trim() !== "" && Number.isFinite(number)) return { value: number };
    return /^\s*\{\{/.test(text) ? { value: text } : { wrong: "This is a number" };
  }
  if (typeof like === "boolean") return { value: text === "true" };
  if (like === null || typeof like === "object") {
    try {
      return { value: JSON.parse(text) };
    } catch {
      return { wrong: "This is JSON: a list, a mapping, a number, a text in quotes, true, false or null" };
    }
  }
  return { value: text };
}

// Write a value of an arg as one types it.
export function writeValue(value) {
  return value === null || typeof value === "object" ? JSON.stringify(value) : String(value);
}

export const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// Read the values of an axis: "1, 2, 3", "range(0, 10, 2)", "logspace(0.001, 1, 4)" or a JSON list. { value } or { wrong }.
export function readAxis(text) {
  const series = /^\s*(range|logspace)\s*\(([^)]*)\)\s*$/.exec(text);
  if (series) {
    const numbers = series[2].split(",").map(Number);
    if (numbers.length !== 3 || numbers.some((number) => !Number.isFinite(number))) return { wrong: `${series[1]}(…) has three numbers` };
    return { value: { [series[1]]: numbers } };
  }
  if (text.trimStart().startsWith("[")) {
    try {
      return { value: JSON.parse(text) };
    } catch {
      return { wrong: "This begins as a JSON list, but is none" };
    }
  }
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  return parts.length ? { value: parts.map(readWord) } : { wrong: "An axis has at least one value" };
}

function readWord(word) {
  if (/^(true|false|null)$/.test(word) || (/^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word) && !/^-?0\d/.test(word))) return word.startsWith(".") ? Number(word) : readNumber(word);
  return word.replace(/^(["'])(.*)\1$/, "$2");
}

function readNumber(word) {
  try {
    return JSON.parse(word);
  } catch {
    return Number(word);
  }
}

// Write the values of an axis as one types them; what has its own commas or reads otherwise as JSON.
export function writeAxis(axis) {
  if (!Array.isArray(axis)) {
    const [[kind, numbers]] = Object.entries(axis ?? { range: [] });
    return `${kind}(${numbers.join(", ")})`;
  }
  const text = axis.map(String).join(", ");
  return isSame(readAxis(text).value, axis) ? text : JSON.stringify(axis);
}

// Count the cells of a sweep: the product of its axes, without those that are left out.
export function countCells(sweep) {
  const sizes = Object.values(sweep?.matrix ?? {}).map(countAxis);
  const product = sizes.length ? sizes.reduce((all, size) => all * size, 1) : 0;
  return { count: Number.isFinite(product) ? product : 0, isMost: (sweep?.exclude?.length ?? 0) > 0 };
}

function countAxis(axis) {
  if (Array.isArray(axis)) return axis.length;
  if (axis?.logspace) return Math.max(0, Math.floor(axis.logspace[2]));
  const [start, stop, step] = axis?.range ?? [0, 0, 1];
  return Math.max(0, Math.ceil((stop - start) / step - 1e-9));
}

// Drop what says nothing from a body, so that only what was chosen is sent.
export function tidyBody(body) {
  const kept = Object.entries(body).filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false && !isSame(value, {}));
  return Object.fromEntries(kept);
}

// Read a body from the query of an address: arg.NAME=VALUE, from, to, single.
export function readQuery(query, args) {
  const overrides = {};
  for (const [name, text] of query) {
    const arg = name.startsWith("arg.") ? name.slice(4) : null;
    if (arg === null) continue;
    const { value } = readValue(text, args?.[arg] ?? "");
    overrides[arg] = value ?? text;
  }
  return tidyBody({ args_override: overrides, from_job: query.get("from"), to_job: query.get("to"), single_job: query.get("single") });
}
