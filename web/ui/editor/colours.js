// Colours of YAML and of scripts, line by line. Pure.

const BLOCK = /(^|[\s:-])[|>][+-]?\d?[+-]?\s*(#.*)?$/;
const KEY = /^((?:"[^"]*"|'[^']*'|[^\s#:,[\]{}"'][^#:]*?))(\s*:)(?=\s|$)/;
const TEMPLATE = /(\{\{.*?\}\}|\{%.*?%\})/;
// Quotes, numbers and words count where a value begins, not in a sentence; yes and no are text in YAML 1.2.
const PARTS = [
  /(?<=(?:^|[[,{]|:\s)\s*)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')/,
  TEMPLATE,
  /((?<=^|\s)#.*$)/,
  /(?<=(?:^|[[,{]|:\s)\s*)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?=\s*(?:[,\]}]|\s#|$))/,
  /(?<=(?:^|[[,{]|:\s)\s*)(true|false|null|~)(?=\s*(?:[,\]}]|\s#|$))/,
  /(?<=(?:^|[[,{]|:\s)\s*)([&*][\w-]+)/,
];
const TOKEN = new RegExp(PARTS.map((part) => part.source).join("|"), "g");
const KINDS = [null, "text", "template", "comment", "number", "word", "anchor"];
const LONGEST_LINE = 5000; // a longer one stays without colours

const findIndent = (line) => line.search(/\S/);
const splitTemplates = (line, kind = "text") => line.split(TEMPLATE).filter(Boolean).map((text) => [TEMPLATE.test(text) ? "template" : kind, text]);

// Return the parts of some lines, [[kind or null, text], …] for each. What a line means depends on those before it only
// where a text of several lines goes on: `open` is the indentation of its key, or null.
export function colourYaml(lines, first, last) {
  let open = findOpen(lines, first);
  return lines.slice(first, last).map((line) => {
    const found = colourLine(line, open);
    open = found.open;
    return found.parts;
  });
}

// Return the parts of some lines of a script.
export function colourScript(lines, first, last) {
  return lines.slice(first, last).map((line) => splitTemplates(line, /^#SBATCH/.test(line) ? "key" : /^\s*#/.test(line) ? "comment" : null));
}

function findOpen(lines, at) {
  let [least, open] = [Infinity, null];
  for (let line = at - 1; line >= 0 && least > 0; line -= 1) {
    const indent = findIndent(lines[line]);
    if (indent < 0 || indent >= least) continue;
    const opened = colourLine(lines[line], null).open;
    if (opened !== null && opened < least) open = opened;
    least = indent;
  }
  return open;
}

function colourLine(line, open) {
  const indent = findIndent(line);
  if (open !== null && (indent < 0 || indent > open)) return { parts: splitTemplates(line), open };
  if (line.length > LONGEST_LINE) return { parts: [[null, line]], open: null };
  const [dashes] = /^\s*(?:-\s+)*(?:-$)?/.exec(line);
  let rest = line.slice(dashes.length);
  const parts = dashes ? [["mark", dashes]] : [];
  const key = KEY.exec(rest);
  if (key) {
    parts.push(["key", key[1]], ["mark", key[2]]);
    rest = rest.slice(key[0].length);
  }
  parts.push(...splitTokens(rest));
  const isBlock = BLOCK.test(rest) && !rest.trimStart().startsWith("#");
  return { parts, open: isBlock ? Math.max(dashes.length - (key ? 0 : 1), indent) : null };
}

function splitTokens(text) {
  const parts = [];
  let at = 0;
  const take = (to, found) => parts.push(...(to > at ? [[null, text.slice(at, to)]] : []), ...found);
  for (const match of text.matchAll(TOKEN)) {
    const kind = match.findIndex((group, number) => number > 0 && group !== undefined);
    take(match.index, kind === 1 ? splitTemplates(match[0]) : [[KINDS[kind], match[0]]]);
    at = match.index + match[0].length;
  }
  take(text.length, []);
  return parts;
}
