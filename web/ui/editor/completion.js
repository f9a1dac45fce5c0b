// Completion of YAML: which keys or values may stand at the caret, by the indentation around it and a JSON Schema.

const LINE = /^(\s*)((?:-\s+)*(?:-$)?)(?:("[^"]*"|'[^']*'|[^\s#:,[\]{}"'&*!|>%@`-][^#:]*?|[\w-]+)\s*:(\s+(.*)|$))?/;

// Take a line apart: columns of its dashes and its key, the key, and the value behind it.
function readLine(text) {
  const [, blanks, marks, key, , value = ""] = LINE.exec(text);
  const dashes = [...marks.matchAll(/-/g)].map((match) => blanks.length + match.index);
  return { isEmpty: /^\s*(#|$)/.test(text), dashes, column: blanks.length + marks.length, key: key?.replace(/^["']|["']$/g, "") ?? null, value: value.trim() };
}

// Return the path of keys ("[]" for an item) above a place, and the keys that stand beside it; null where only text may be.
function findPlace(lines, at, current) {
  const above = [{ column: -1, keys: new Set() }];
  const drop = (column, isDash) => {
    while (above.length > 1 && (above.at(-1).column > column || (above.at(-1).column === column && !(isDash && above.at(-1).part !== "[]")))) above.pop();
  };
  let place = null;
  for (const [number, line] of lines.entries()) {
    const { isEmpty, dashes, column, key, value } = number === at ? current : readLine(line);
    const isText = /^[|>]/.test(above.at(-1).value ?? "") && (dashes[0] ?? column) > above.at(-1).column;
    if (number !== at && (isEmpty || isText)) continue;
    if (isText) return null;
    for (const dash of dashes) {
      drop(dash, true);
      above.push({ column: dash, part: "[]", keys: new Set() });
    }
    drop(column, false);
    const parent = above.at(-1);
    if (number === at) {
      if (parent.value && !/^[&#!]/.test(parent.value)) return null; // its value is something else
      place = { parent, path: above.slice(1).map(({ part }) => part), beside: parent.keys };
    } else {
      if (place && !above.includes(place.parent)) break;
      if (key !== null) parent.keys.add(key);
      if (key !== null) above.push({ column, part: key, value, keys: new Set() });
    }
  }
  return place;
}

// Return all that a schema may be at a path.
function findSchemas(root, path) {
  let nodes = spread(root, root);
  for (const part of path) {
    nodes = nodes.flatMap((node) => {
      const next = part === "[]" ? node.items : node.properties?.[part] ?? node.additionalProperties;
      return next && next !== true ? spread(root, next) : [];
    });
  }
  return nodes;
}

function spread(root, node) {
  if (node.$ref) return spread(root, root.$defs[node.$ref.split("/").at(-1)]);
  const choices = node.anyOf ?? node.oneOf;
  return choices ? choices.flatMap((each) => spread(root, each)) : [node];
}

const isKind = (nodes, kind) => nodes.some((node) => node.type === kind);

function listValues(nodes) {
  return nodes.flatMap((node) => node.enum ?? (node.const !== undefined ? [node.const] : node.type === "boolean" ? [true, false] : []));
}

// How lists are written in the text: dashes under their key, or two further in.
function findListStep(lines) {
  const found = lines.map(readLine);
  const first = found.findIndex(({ dashes }, line) => dashes.length > 0 && found[line - 1]?.key && !found[line - 1].value);
  return first > 0 && found[first].dashes[0] === found[first - 1].column ? 0 : 2;
}

function writeKey(key, nodes, column, step) {
  const list = nodes.find((node) => node.type === "array");
  if (list && !isKind(nodes, "string")) return `${key}:\n${" ".repeat(column + step)}- `;
  if (isKind(nodes, "object") && !isKind(nodes, "string")) return `${key}:\n${" ".repeat(column + 2)}`;
  return `${key}: `;
}

const WORDS = { object: "keys", array: "list", integer: "number", boolean: "true or false", string: "text", null: "" };
const describe = (nodes) => [...new Set(nodes.map((node) => (node.enum ? "one of" : WORDS[node.type] ?? node.type)).filter(Boolean))].join(" or ");

// Return what may stand at the caret: { from, to, items: [{ label, insert, detail }] }, or null.
//
//   schema     of the whole text
//   getValues  (path) => words that the schema does not know, such as the names of jobs
export function complete(text, caret, { schema, getValues = () => [] }) {
  const lines = text.split("\n");
  const at = text.slice(0, caret).split("\n").length - 1;
  const before = text.slice(text.lastIndexOf("\n", caret - 1) + 1, caret);
  const after = lines[at].slice(before.length);
  const [tail] = /^[\w-]*/.exec(after);
  const offer = (word, items, end = caret + tail.length) => {
    const lower = word.toLowerCase();
    const makeItem = (item) => (item?.label ? item : { label: String(item), insert: String(item), detail: "" });
    const fits = items.map(makeItem).filter(({ label, insert }) => label.toLowerCase().includes(lower) && !(label === word && insert === word));
    fits.sort((one, other) => Number(other.label.toLowerCase().startsWith(lower)) - Number(one.label.toLowerCase().startsWith(lower)));
    return fits.length > 0 ? { from: caret - word.length, to: end, items: fits } : null;
  };
  const listAll = (path) => [...listValues(findSchemas(schema, path)), ...getValues(path)];
  const inside = /\{\{-?\s*([\w.]*)$/.exec(before);
  if (inside) return offer(inside[1], getValues(["{{"]), caret);
  const found = readLine(before);
  const place = /^\s*#/.test(before) ? null : findPlace(lines, at, found);
  if (place === null) return null;
  if (found.key !== null) {
    const value = /:\s+(.*)$/.exec(before)?.[1] ?? " ";
    const path = [...place.path, found.key];
    const isFlow = /^\[[^\]]*$/.test(value);
    const [word] = /[\w-]*$/.exec(value);
    if (!isFlow && word !== value) return null;
    return offer(word, listAll(isFlow || isKind(findSchemas(schema, path), "array") ? [...path, "[]"] : path));
  }
  const word = before.slice(found.column);
  if (!/^[\w-]*$/.test(word)) return null;
  const isReplaced = after.slice(tail.length).trimStart().startsWith(":");
  const properties = Object.assign({}, ...findSchemas(schema, place.path).map((node) => node.properties ?? {}));
  const keys = Object.keys(properties).filter((key) => !place.beside.has(key)).map((key) => {
    const schemas = spread(schema, properties[key]);
    return { label: key, insert: isReplaced ? key : writeKey(key, schemas, found.column, findListStep(lines)), detail: describe(schemas) };
  });
  return offer(word, [...keys, ...listAll(place.path)]);
}
