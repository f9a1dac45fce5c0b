// A line of a log as a terminal shows it: colours, progress bars that write over themselves, and nothing else of what
// terminals understand. Pure. Each line stands for itself: colours do not go on in the next one, since a window of a
// log does not know what was before it.

const ESC = "\x1b";
const PLAIN = Object.freeze({ fg: null, bg: null, flags: "" });
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 8: "hidden", 9: "struck" };
const FLAGS_OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 28: ["hidden"], 29: ["struck"] };
const CUBE = [0, 95, 135, 175, 215, 255];

// Return the runs of a line: [{ text, style }], style as { fg, bg, flags }.
//
// fg and bg are null, a number of the 16 colours, or [red, green, blue]; flags are words with spaces between.
export function parseLine(line) {
  if (!CONTROLS.test(line)) return line === "" ? [] : [{ text: line, style: PLAIN }];
  const screen = { cells: [], column: 0, style: PLAIN };
  for (let at = 0; at < line.length; ) at = readOne(line, at, screen);
  return joinCells(screen.cells);
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

function readOne(line, at, screen) {
  const letter = line[at];
  if (letter === "\r") screen.column = 0;
  else if (letter === "\b") screen.column = Math.max(0, screen.column - 1);
  else if (letter === ESC) return readEscape(line, at + 1, screen);
  else if (letter === "\x9b") return readControl(line, at + 1, screen);
  else if (letter === "\t" || !CONTROLS.test(letter)) return writeLetter(line, at, screen);
  return at + 1;
}

function writeLetter(line, at, screen) {
  const text = String.fromCodePoint(line.codePointAt(at));
  // What stands over the letter before it has no place of its own.
  if (/^[\p{M}\u200d\ufe0f]$/u.test(text) && screen.column > 0) screen.cells[screen.column - 1].text += text;
  else screen.cells[screen.column++] = { text, style: screen.style };
  return at + text.length;
}

function readEscape(line, at, screen) {
  const kind = line[at];
  if (kind === "[") return readControl(line, at + 1, screen);
  if (kind !== undefined && "]PX^_".includes(kind)) return skipString(line, at + 1);
  let end = at;
  while (end < line.length && line[end] >= " " && line[end] <= "/") end += 1;
  return end + 1;
}

// A string for the terminal (a title, a link, a picture) ends with BEL or ESC \, or goes on to the end of the line.
function skipString(line, at) {
  for (let end = at; end < line.length; end += 1) {
    if (line[end] === "\x07" || line[end] === "\x9c") return end + 1;
    if (line[end] === ESC) return line[end + 1] === "\\" ? end + 2 : end;
  }
  return line.length;
}

function readControl(line, at, screen) {
  let end = at;
  while (end < line.length && line[end] >= " " && line[end] <= "?") end += 1;
  if (end >= line.length || line[end] < "@" || line[end] > "~") return end;
  const given = line.slice(at, end);
  if (line[end] === "m" && /^[\d;:]*$/.test(given)) screen.style = changeStyle(screen.style, given);
  if (line[end] === "K") erase(screen, given);
  return end + 1;
}

function erase(screen, given) {
  if (given === "" || given === "0") screen.cells.length = Math.min(screen.cells.length, screen.column);
  else if (given === "2") screen.cells.length = 0;
  else if (given === "1") {
    const last = Math.min(screen.column, screen.cells.length - 1);
    for (let at = 0; at <= last; at += 1) screen.cells[at] = { text: " ", style: screen.style };
  }
  // The cursor stays; what lies between is blank when something is written there.
  for (let at = screen.cells.length; at < screen.column; at += 1) screen.cells[at] = { text: " ", style: PLAIN };
}

function joinCells(cells) {
  const runs = [];
  for (const cell of cells) {
    const last = runs.at(-1);
    if (last && isSame(last.style, cell.style)) last.text += cell.text;
    else runs.push({ text: cell.text, style: cell.style });
  }
  const last = runs.at(-1);
  if (last && last.style === PLAIN && cells.length > 0) last.text = last.text.trimEnd() || last.text;
  return runs;
}

const isSame = (one, other) => one === other || (one.flags === other.flags && String(one.fg) === String(other.fg) && String(one.bg) === String(other.bg));

// Change a style by the numbers of SGR: "1;31", "38;5;208", "38:2::10:20:30".
function changeStyle(style, given) {
  const numbers = given.split(/[;:]/).map((part) => (part === "" ? 0 : Number(part)));
  const changed = { ...style };
  for (let at = 0; at < numbers.length; at += 1) {
    const number = numbers[at];
    if (number === 38 || number === 48) at = readColour(numbers, at, changed, given.includes(":"));
    else changeOne(changed, number);
  }
  return changed;
}

function changeOne(style, number) {
  if (number === 0) Object.assign(style, PLAIN);
  else if (FLAGS[number]) style.flags = [...new Set([...splitFlags(style), FLAGS[number]])].join(" ");
  else if (FLAGS_OFF[number]) style.flags = splitFlags(style).filter((flag) => !FLAGS_OFF[number].includes(flag)).join(" ");
  else if (number >= 30 && number <= 37) style.fg = number - 30;
  else if (number >= 40 && number <= 47) style.bg = number - 40;
  else if (number >= 90 && number <= 97) style.fg = number - 82;
  else if (number >= 100 && number <= 107) style.bg = number - 92;
  else if (number === 39) style.fg = null;
  else if (number === 49) style.bg = null;
}

const splitFlags = (style) => style.flags.split(" ").filter(Boolean);

function readColour(numbers, at, style, hasColons) {
  const key = numbers[at] === 38 ? "fg" : "bg";
  if (numbers[at + 1] === 5) {
    if (numbers[at + 2] <= 255) style[key] = findColour(numbers[at + 2]);
    return at + 2;
  }
  if (numbers[at + 1] !== 2) return numbers.length;
  // With colons a colour space may stand before the three.
  const skipped = hasColons && numbers.length - at >= 6 ? 1 : 0;
  const colour = numbers.slice(at + 2 + skipped, at + 5 + skipped);
  if (colour.length === 3 && colour.every((part) => part <= 255)) style[key] = colour;
  return at + 4 + skipped;
}

function findColour(number) {
  if (number < 16) return number;
  if (number >= 232) return Array(3).fill(8 + (number - 232) * 10);
  const place = number - 16;
  return [Math.floor(place / 36), Math.floor(place / 6) % 6, place % 6].map((step) => CUBE[step]);
}

// --- legible colours ---------------------------------------------------------------------------------------------------

const LEAST_CONTRAST = 4.6;
const LIGHT = [255, 255, 255];
const DARK = [22, 24, 27];

// Return a colour that is legible on a light and on a dark page, as CSS writes it.
export function writeLegible(colour) {
  return `light-dark(${writeColour(mixUntilLegible(colour, LIGHT))}, ${writeColour(mixUntilLegible(colour, DARK))})`;
}

// Return black or white, whichever is legible on the colour.
export const writeOn = (colour) => (findContrast(colour, LIGHT) > findContrast(colour, [0, 0, 0]) ? "rgb(255 255 255)" : "rgb(0 0 0)");

// Write a colour as CSS does.
export const writeColour = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;

function mixUntilLegible(colour, back) {
  const goal = back === LIGHT ? 0 : 255;
  for (let part = 0; part < 1; part += 0.05) {
    const mixed = colour.map((value) => value + (goal - value) * part);
    if (findContrast(mixed, back) >= LEAST_CONTRAST) return mixed;
  }
  return [goal, goal, goal];
}

// Return the contrast of two colours, from 1 to 21 (WCAG 2).
export function findContrast(one, other) {
  const [low, high] = [findLightness(one), findLightness(other)].sort((first, second) => first - second);
  return (high + 0.05) / (low + 0.05);
}

function findLightness(colour) {
  const [red, green, blue] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
