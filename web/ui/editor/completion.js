// Completion of YAML: which keys or values may stand at the caret, by the indentation around it and a JSON Schema.

const LINE = /^(\s*)((?:-\s+)*(?:-$)?)(?:("[^"]*"|'[^']*'|[^\s#:,[\]{}"'&*!|>%@`-][^#:]*?|[\w-]+)\s*:(\s+(.*)|$))?/;

// Take a line apart: columns of its dashes and its key, the key, and the value behind it.
export function readLine(text) {
  const [, blanks, marks, key, , value = ""] = LINE.exec(text);
  const dashes = [...marks.matchAll(/-/g)].map((match) => blanks.length + match.index);
  const isEmpty = /^\s*(#.*)?$/.test(text);
  return { isEmpty, dashes, column: blanks.length + marks.length, key: key?.replace(/^["']|["']$/g, "") ?? null, value: value.trim() };
}

// Return the path of keys ("[]" for an item) above a place, and the keys that stand beside it.
export function findPath(lines, at, column, startsInList) {
  const path = startsInList === null ? [] : ["[]"];
  const beside = new Set();
  let [limit, isList] = startsInList === null ? [column, false] : [startsInList, true];
  let isNear = startsInList === null;
  for (let line = at - 1; line >= 0 && (limit > 0 || isList || isNear); line -= 1) {
    const found = readLine(lines[line]);
    if (found.isEmpty) continue;
    if (isNear && found.column === limit && found.key) beside.add(found.key);
    const holds = found.key !== null && (found.value === "" || /^[&#!]/.test(found.value));
    if (isList ? holds && found.column <= limit && found.dashes.at(-1) !== limit : holds && found.column < limit) {
      path.unshift(found.key);
      [limit, isList, isNear] = [found.column, false, false];
    } else if (isList || found.column !== limit || found.dashes.length === 0) {
      if (!isList && found.column < limit && !found.dashes.length && found.key) break; // its value is something else
      continue;
    }
    if (found.dashes.length > 0) {
      path.unshift("[]");
      [limit, isList, isNear] = [found.dashes.at(-1), true, false];
    }
  }
  return { path, beside };
}

function listBelow(lines, at, column) {
  const beside = [];
  for (let line = at + 1; line < lines.length; line += 1) {
    const found = readLine(lines[line]);
    if (found.isEmpty) continue;
    if (found.column < column || found.dashes.length > 0 && found.dashes[0] < column) break;
    if (found.column === column && found.key) beside.push(found.key);
  }
  return beside;
}

// Return all that a schema may be at a path.
export function findSchemas(root, path) {
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
  for (let line = 1; line < lines.length; line += 1) {
    const [above, found] = [readLine(lines[line - 1]), readLine(lines[line])];
    if (found.dashes.length > 0 && above.key && above.value === "" && !above.isEmpty) return Math.max(0, found.dashes[0] - above.column) ? 2 : 0;
  }
  return 2;
}

function writeKey(key, nodes, column, step) {
  const list = nodes.find((node) => node.type === "array");
  if (list && !isKind(nodes, "string")) return `${key}:\n${" ".repeat(column + step)}- `;
  if (isKind(nodes, "object") && !isKind(nodes, "string")) return `${key}:\n${" ".repeat(column + 2)}`;
  return `${key}: `;
}

const describe = (nodes) => [...new Set(nodes.map((node) => node.enum ? "one of" : { object: "keys", array: "list", integer: "number", boolean: "true or false", string: "text" }[node.type] ?? node.type).filter((word) => word && word !== "null"))].join(" or ");

// Return what may stand at the caret: { from, to, items: [{ label, insert, detail }] }, or null.
//
//   schema     of the whole text
//   getValues  (path) => words that the schema does not know, such as the names of jobs
export function complete(text, caret, { schema, getValues = () => [] }) {
  const start = text.lastIndexOf("\n", caret - 1) + 1;
  const end = text.indexOf("\n", caret) < 0 ? text.length : text.indexOf("\n", caret);
  const lines = text.split("\n");
  const at = text.slice(0, start).split("\n").length - 1;
  const [before, after] = [text.slice(start, caret), text.slice(caret, end)];
  const inside = /\{\{-?\s*([\w.]*)$/.exec(before);
  if (inside) return offer(caret - inside[1].length, caret, inside[1], getValues(["{{"]).map((label) => ({ label, insert: label, detail: "" })));
  const found = readLine(before);
  if (/^\s*#/.test(before) || found.column > before.length) return null;
  const inList = found.dashes.at(-1) ?? null;
  const place = findPath(lines, at, found.column, inList);
  if (found.key !== null) return completeValue([...place.path, found.key], before, after, caret, schema, getValues);
  const word = before.slice(found.column);
  if (!/^[\w-]*$/.test(word)) return null;
  const nodes = findSchemas(schema, place.path);
  const properties = Object.assign({}, ...nodes.map((node) => node.properties ?? {}));
  const values = [...listValues(nodes), ...getValues(place.path)].map((value) => ({ label: String(value), insert: String(value), detail: "" }));
  const tail = /^[\w-]*/.exec(after)[0];
  const isReplaced = after.slice(tail.length).trimStart().startsWith(":");
  const beside = new Set([...place.beside, ...listBelow(lines, at, found.column)]);
  const keys = Object.keys(properties).filter((key) => !beside.has(key)).map((key) => {
    const schemas = spread(schema, properties[key]);
    return { label: key, insert: isReplaced ? key : writeKey(key, schemas, found.column, findListStep(lines)), detail: describe(schemas) };
  });
  return offer(start + found.column, caret + tail.length, word, [...keys, ...values]);
}

function completeValue(path, before, after, caret, schema, getValues) {
  const value = /:\s+(.*)$/.exec(before)?.[1];
  if (value === undefined) return null;
  const inFlow = /^\[[^\]]*$/.test(value);
  const word = /[\w-]*$/.exec(value)[0];
  if (!inFlow && word !== value) return null;
  const whole = inFlow || !isKind(findSchemas(schema, path), "array") ? path : [...path, "[]"];
  const places = inFlow ? [...path, "[]"] : whole;
  const items = [...listValues(findSchemas(schema, places)), ...getValues(places)];
  const tail = /^[\w-]*/.exec(after)[0];
  return offer(caret - word.length, caret + tail.length, word, items.map((item) => ({ label: String(item), insert: String(item), detail: "" })));
}

function offer(from, to, word, items) {
  const lower = word.toLowerCase();
  const fits = items.filter((item) => item.label.toLowerCase().includes(lower) && !(item.label === word && item.insert === word));
  fits.sort((one, other) => Number(other.label.toLowerCase().startsWith(lower)) - Number(one.label.toLowerCase().startsWith(lower)));
  return fits.length > 0 ? { from, to, items: fits } : null;
}
