// The difference of two texts by lines, and of two sets of values by name. Pure.

const MOST_LINES = 3000; // of longer texts only the same beginning and end are found

// Compare two texts: [{ kind: same | changed, left: [lines], right: [lines] }].
export function compareLines(left, right) {
  const [one, other] = [split(left), split(right)];
  let start = 0;
  while (start < one.length && start < other.length && one[start] === other[start]) start += 1;
  let end = 0;
  while (end < one.length - start && end < other.length - start && one[one.length - 1 - end] === other[other.length - 1 - end]) end += 1;
  const middle = compareMiddle(one.slice(start, one.length - end), other.slice(start, other.length - end));
  const same = (lines) => (lines.length > 0 ? [{ kind: "same", left: lines, right: lines }] : []);
  return [...same(one.slice(0, start)), ...middle, ...same(one.slice(one.length - end))];
}

const split = (text) => (text ?? "").replace(/\n$/, "").split("\n");

// The longest common lines by a table; what lies between them has changed.
function compareMiddle(one, other) {
  if (one.length + other.length === 0) return [];
  if (one.length > MOST_LINES || other.length > MOST_LINES || one.length * other.length > 4_000_000) return [{ kind: "changed", left: one, right: other }];
  const width = other.length + 1;
  const table = new Uint16Array((one.length + 1) * width);
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      table[i * width + j] = one[i] === other[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const parts = [];
  const add = (kind, left, right) => {
    if (parts.at(-1)?.kind !== kind) parts.push({ kind, left: [], right: [] });
    parts.at(-1).left.push(...left);
    parts.at(-1).right.push(...right);
  };
  let [i, j] = [0, 0];
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) add("same", [one[i++]], [other[j++]]);
    else if (j < other.length && (i === one.length || table[i * width + j + 1] > table[(i + 1) * width + j])) add("changed", [], [other[j++]]);
    else add("changed", [one[i++]], []);
  }
  return parts;
}

// Compare two objects by name: [{ name, left, right, differs }], names of both in order.
export function compareValues(left, right) {
  const names = [...new Set([...Object.keys(left ?? {}), ...Object.keys(right ?? {})])];
  return names.map((name) => {
    const [one, other] = [left?.[name], right?.[name]];
    return { name, left: one, right: other, differs: JSON.stringify(one) !== JSON.stringify(other) };
  });
}

// Return the variables that a script exports, but for the server's own: { NAME: value }.
export function readEnvironment(script) {
  const found = (script ?? "").matchAll(/^export (?!SLUICE_)([A-Za-z_]\w*)=(.*)$/gm);
  return Object.fromEntries([...found].map(([, name, value]) => [name, value]));
}
