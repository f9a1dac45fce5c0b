// A line of a log as a terminal shows it: colours, progress bars that write over themselves, and nothing else of what
// terminals understand. Pure. Each line stands for itself: colours do not go on in the next one, since a window of a
// log does not know what was before it.

const PLAIN = Object.freeze({ fg: null, bg: null, flags: "" });
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;
// One at a time: a control sequence, a string such as a title (it ends with BEL or ESC \, or with the line), another
// escape, a control letter, or a letter with what stands over it.
const PARTS = new RegExp(
  [
    /(?:\x1b\[|\x9b)([ -?]*)([@-~]?)/,
    /\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x9c|\x1b\\)?/,
    /\x1b[ -/]*.?/,
    CONTROLS,
    /.[\p{M}\u200d\ufe0f]*/u,
  ].map(({ source }) => source).join("|"),
  "gsu",
);
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 8: "hidden", 9: "struck" };
const CUBE = [0, 95, 135, 175, 215, 255];

// Return the runs of a line: [{ text, style }], style as { fg, bg, flags }.
//
// fg and bg are null, a number of the 16 colours, or [red, green, blue]; flags are words with spaces between.
export function parseLine(line) {
  if (!CONTROLS.test(line)) return line === "" ? [] : [{ text: line, style: PLAIN }];
  const cells = [];
  let [column, style] = [0, PLAIN];
  for (const [part, given, end] of line.matchAll(PARTS)) {
    if (end === "m" && /^[\d;:]*$/.test(given)) style = changeStyle(style, given);
    else if (end === "K") erase(cells, column, given || "0", style);
    else if (part === "\r") column = 0;
    else if (part === "\b") column = Math.max(0, column - 1);
    else if (!CONTROLS.test(part)) cells[column++] = { text: part, style };
  }
  return joinCells(cells);
}

// Return what a reader sees of a line, as text.
export function toPlain(line) {
  return CONTROLS.test(line) ? parseLine(line).map((run) => run.text).join("") : line;
}

// Return what a reader sees of a long line whose middle is left out. Where it is a progress bar, that is its end.
export function shownOf({ text, end, left_out_bytes }) {
  if (end === null) return text;
  const again = end.indexOf("\r");
  if (again >= 0 && again < end.length - 1) return end.slice(again + 1);
  return `${text} … ${left_out_bytes.toLocaleString("en")} bytes left out … ${end}`;
}

// The cursor stays: what is written next may leave a gap, which is blank.
function erase(cells, column, given, style) {
  if (given === "0") cells.length = Math.min(cells.length, column);
  else if (given === "1") cells.fill({ text: " ", style }, 0, column + 1);
  else if (given === "2") cells.length = 0;
}

function joinCells(cells) {
  const runs = [];
  for (const { text, style } of Array.from(cells, (cell) => cell ?? { text: " ", style: PLAIN })) {
    const last = runs.at(-1);
    if (last && isSame(last.style, style)) last.text += text;
    else runs.push({ text, style });
  }
  const last = runs.at(-1);
  if (last?.style === PLAIN) last.text = last.text.trimEnd() || last.text;
  return runs;
}

const isSame = (one, other) => one === other || (one.flags === other.flags && String([one.fg, one.bg]) === String([other.fg, other.bg]));

// Change a style by the numbers of SGR: "1;31", "38;5;208", "38:2::10:20:30".
function changeStyle(style, given) {
  const numbers = given.split(/[;:]/).map(Number);
  const changed = { ...style };
  for (let at = 0; at < numbers.length; at += 1) {
    if (numbers[at] === 38 || numbers[at] === 48) at = readColour(numbers, at, changed, given.includes(":"));
    else changeOne(changed, numbers[at]);
  }
  return changed;
}

function changeOne(style, number) {
  const flags = style.flags.split(" ").filter(Boolean);
  const key = { 3: "fg", 4: "bg", 9: "fg", 10: "bg" }[Math.floor(number / 10)];
  const place = number % 10;
  if (number === 0) Object.assign(style, PLAIN);
  else if (FLAGS[number]) style.flags = [...new Set([...flags, FLAGS[number]])].join(" ");
  else if (number === 22) style.flags = flags.filter((flag) => flag !== "bold" && flag !== "dim").join(" ");
  else if (number > 22 && FLAGS[number - 20]) style.flags = flags.filter((flag) => flag !== FLAGS[number - 20]).join(" ");
  else if (key && place < 8) style[key] = place + (number < 90 ? 0 : 8);
  else if (key && place === 9 && number < 90) style[key] = null;
}

// Read a colour of 256, or of all: 38;5;N, 38;2;R;G;B. Returns where it ends.
function readColour(numbers, at, style, hasColons) {
  const key = numbers[at] === 38 ? "fg" : "bg";
  if (numbers[at + 1] === 5) {
    if (numbers[at + 2] <= 255) style[key] = findColour(numbers[at + 2]);
    return at + 2;
  }
  if (numbers[at + 1] !== 2) return numbers.length;
  // With colons a colour space may stand before the three.
  const first = at + (hasColons && numbers.length - at >= 6 ? 3 : 2);
  const colour = numbers.slice(first, first + 3);
  if (colour.length === 3 && colour.every((part) => part <= 255)) style[key] = colour;
  return first + 2;
}

function findColour(number) {
  if (number < 16) return number;
  if (number >= 232) return Array(3).fill(8 + (number - 232) * 10);
  const place = number - 16;
  return [Math.floor(place / 36), Math.floor(place / 6) % 6, place % 6].map((step) => CUBE[step]);
}
