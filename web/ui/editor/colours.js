// Colours of YAML, line by line: what a line means depends on the lines before it only through a small state.

const BLOCK = /(^|[\s:-])[|>][+-]?\d?[+-]?\s*(#.*)?$/;
const KEY = /^((?:"[^"]*"|'[^']*'|[^\s#:,[\]{}"'][^#:]*?))(\s*:)(?=\s|$)/;
const TOKEN = /("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(\{\{.*?\}\}|\{%.*?%\})|((?<=^|\s)#.*$)|((?<=^|[\s,[])-?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[\s,\]}]|$))|\b(true|false|null|yes|no|on|off)\b(?=[\s,\]}]|$)|([&*][\w-]+)/g;
const KINDS = [null, "text", "template", "comment", "number", "word", "anchor"];
const LONGEST_LINE = 5000; // a longer one stays without colours

// Return the parts of a line, [[kind or null, text], …], and the state after it. The state is null, or the
// indentation of the key whose text of several lines goes on.
export function colourLine(line, state) {
  const indent = line.search(/\S/);
  if (state !== null && (indent < 0 || indent > state)) return { parts: line ? splitTemplates(line) : [], state };
  if (line.length > LONGEST_LINE) return { parts: [[null, line]], state: null };
  const parts = [];
  let rest = line;
  const dashes = /^\s*(?:-\s+)*(?:-$)?/.exec(rest)[0];
  if (dashes) parts.push(["mark", dashes]);
  rest = rest.slice(dashes.length);
  const key = KEY.exec(rest);
  if (key) {
    parts.push(["key", key[1]], ["mark", key[2]]);
    rest = rest.slice(key[0].length);
  }
  parts.push(...splitTokens(rest));
  const isBlock = BLOCK.test(rest) && !rest.trimStart().startsWith("#");
  return { parts, state: isBlock ? Math.max(dashes.length - (key ? 0 : 1), indent) : null };
}

function splitTemplates(line) {
  return line.split(/(\{\{.*?\}\}|\{%.*?%\})/).filter(Boolean).map((text) => [/^\{[{%]/.test(text) ? "template" : "text", text]);
}

function splitTokens(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > at) parts.push([null, text.slice(at, match.index)]);
    const kind = match.findIndex((group, number) => number > 0 && group !== undefined);
    if (kind === 1 && match[0].includes("{{")) parts.push(...splitTemplates(match[0]));
    else parts.push([KINDS[kind], match[0]]);
    at = match.index + match[0].length;
  }
  if (at < text.length) parts.push([null, text.slice(at)]);
  return parts;
}

// Keep the states of all lines of a text that changes: only from the first changed line on they are found anew.
export function makeColours() {
  let lines = [""];
  let states = [null]; // before each line
  return {
    // Take the lines of the text as it is now.
    update(next) {
      let at = 0;
      while (at < lines.length && at < next.length && lines[at] === next[at]) at += 1;
      const moved = next.length - lines.length;
      let end = next.length;
      while (end > at && end - moved > at && lines[end - 1 - moved] === next[end - 1]) end -= 1;
      const before = states.splice(at);
      let state = at === 0 ? null : colourLine(next[at - 1], states[at - 1]).state;
      for (let line = at; line < next.length; line += 1) {
        // Past the change, what follows a line in the same state is as it was.
        if (line >= end && before[line - moved - at] === state) {
          for (let kept = line - moved - at; kept < before.length; kept += 1) states.push(before[kept]);
          break;
        }
        states.push(state);
        state = colourLine(next[line], state).state;
      }
      lines = next;
    },
    // Return the coloured parts of a line.
    getParts: (line) => colourLine(lines[line], states[line] ?? null).parts,
  };
}
