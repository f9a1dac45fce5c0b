// What is in sight of a log: rows of one height in a box that scrolls, whatever the number of lines.
//
// An element cannot be higher than some ten million pixels, so the box of a long log is lower than its lines, and the
// scroll bar stands for a part of them; wheel and keys still move line by line. Scrolling is never smooth.

import { h, keepInStep, oncePerFrame, setAttribute, show } from "../core/dom.js";
import { parseLine, writeColour, writeLegible, writeOn } from "./ansi.js";

export const ROW_PX = 18;
const HIGHEST_PX = 8_000_000;
const AHEAD_ROWS = 20;
const WRAPPED_LINES = 400;

// Make the box of a log.
//
//   label        what it is, for those who hear the page
//   source       the lines, see source.js
//   makeLink     (line) => the address of a line
//   whenScrolled () when the reader has moved, whenPicked(line, extend) when the number of a line is chosen
//
// Returns { node, top, draw, showLine, showEnd, isAtEnd, setWrap, setMarks, findRow, rows, close }.
export function makeScreen({ label, source, makeLink, whenScrolled, whenPicked }) {
  const body = h("div", { class: "log-body" });
  const node = h("div", { class: "log", role: "region", "aria-label": label, tabindex: 0 }, body);
  const screen = { node, body, top: 0, isWrapped: false, wrapFirst: 1, pin: null, marks: { from: 0, to: 0, hit: 0 }, held: () => [] };
  let scrollPx = 0;

  const countRows = () => Math.max(1, Math.floor(node.clientHeight / ROW_PX));
  const getHeight = () => Math.min(source.total * ROW_PX + ROW_PX, HIGHEST_PX);
  const isScaled = () => source.total * ROW_PX + ROW_PX > HIGHEST_PX;
  const findLastTop = () => Math.max(0, source.total + 1 - node.clientHeight / ROW_PX);

  function toPx(top) {
    if (!isScaled()) return top * ROW_PX;
    return (top / Math.max(1, findLastTop())) * (HIGHEST_PX - node.clientHeight);
  }

  function toTop(px) {
    if (!isScaled()) return px / ROW_PX;
    return (px / (HIGHEST_PX - node.clientHeight)) * findLastTop();
  }

  // Move to a place, in lines; the box follows.
  function moveTo(top) {
    body.style.height = `${getHeight()}px`; // first, since the box is as high as its lines up to a bound
    screen.top = Math.min(Math.max(0, top), findLastTop());
    node.scrollTop = toPx(screen.top);
    scrollPx = node.scrollTop;
    draw();
  }

  // --- drawing -----------------------------------------------------------------------------------------------------------

  function listNumbers() {
    if (screen.isWrapped) {
      const last = Math.min(source.total, screen.wrapFirst + WRAPPED_LINES - 1);
      return listFrom(screen.wrapFirst, last);
    }
    const first = Math.max(1, Math.floor(screen.top) + 1 - AHEAD_ROWS);
    const last = Math.min(source.total, Math.ceil(screen.top) + countRows() + 1 + AHEAD_ROWS);
    const numbers = listFrom(first, last);
    const held = screen.held().filter((number) => (number < first || number > last) && source.lines.has(number));
    return held.length ? [...new Set([...numbers, ...held])].sort((one, other) => one - other) : numbers;
  }

  function draw() {
    const numbers = listNumbers();
    const digits = String(source.total).length;
    body.style.setProperty("--digits", `${Math.max(3, digits)}ch`);
    body.style.height = screen.isWrapped ? "auto" : `${getHeight()}px`;
    keepInStep(body, numbers, (number) => number, makeRow, updateRow);
    if (screen.isWrapped) keepPinned();
    if (numbers.length > 0) source.want(numbers[0], numbers.at(-1));
  }

  function makeRow(number) {
    const link = h("a", { class: "log-number", tabindex: -1, onclick: (event) => pick(event, row) });
    const row = h("div", { class: "log-row" }, link, h("span", { class: "log-text" }));
    updateRow(row, number);
    return row;
  }

  function pick(event, row) {
    event.preventDefault();
    event.stopPropagation();
    whenPicked(Number(row.dataset.key), event.shiftKey);
  }

  function updateRow(row, number) {
    const [link, text] = row.children;
    const { from, to, hit } = screen.marks;
    const name = number >= source.firstGuessed ? "" : String(number);
    if (link.textContent !== name) {
      link.textContent = name;
      setAttribute(link, "href", name === "" ? null : makeLink(number));
    }
    row.classList.toggle("log-chosen", number >= from && number <= to);
    row.classList.toggle("log-hit", number === hit);
    if (!screen.isWrapped) {
      const px = (number - 1 - screen.top) * ROW_PX + scrollPx;
      row.style.top = `${Math.round(Math.min(Math.max(px, -30_000), HIGHEST_PX + 30_000))}px`;
    }
    const line = source.lines.get(number);
    if (row.line === line) return;
    if (row.line && line && row.line.shown === line.shown) row.line = line;
    else fillText(row, text, line);
  }

  function fillText(row, text, line) {
    row.line = line;
    row.classList.toggle("log-missing", line === undefined);
    if (line === undefined) show(text);
    else show(text, parseLine(line.shown).map(makeRun));
  }

  // --- moving ------------------------------------------------------------------------------------------------------------

  const drawSoon = oncePerFrame(draw);

  function hearScroll() {
    if (Math.abs(node.scrollTop - scrollPx) < 1) return;
    if (screen.isWrapped) {
      screen.pin = null;
      return whenScrolled();
    }
    scrollPx = node.scrollTop;
    screen.top = Math.min(toTop(scrollPx), findLastTop());
    drawSoon();
    whenScrolled();
  }

  function hearWheel(event) {
    if (screen.isWrapped || !isScaled() || event.ctrlKey || event.shiftKey || event.deltaY === 0) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 3 : event.deltaMode === 2 ? countRows() : 1 / ROW_PX;
    moveTo(screen.top + event.deltaY * unit);
    whenScrolled();
  }

  function hearKey(event) {
    if (event.target !== node || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { PageDown: countRows() - 1, PageUp: 1 - countRows(), ArrowDown: 1, ArrowUp: -1, " ": countRows() - 1 };
    if (event.key === "Home") showStart();
    else if (event.key === "End") showEnd();
    else if (steps[event.key] && screen.isWrapped) return;
    else if (steps[event.key]) moveTo(screen.top + steps[event.key]);
    else return;
    event.preventDefault();
    whenScrolled();
  }

  function showStart() {
    if (screen.isWrapped) return openWrapped(1, 1);
    moveTo(0);
  }

  // Show the end, and stay there for what comes.
  function showEnd() {
    if (!screen.isWrapped) return moveTo(findLastTop());
    openWrapped(Math.max(1, source.total - WRAPPED_LINES + 1), "end");
  }

  // Show lines whole from one on, and one of them at the top, or the last at the bottom, while others are still read.
  function openWrapped(first, pin) {
    Object.assign(screen, { wrapFirst: first, pin });
    draw();
  }

  function keepPinned() {
    if (screen.pin === null) return;
    const row = screen.pin === "end" ? null : findRow(screen.pin);
    node.scrollTop = row ? row.offsetTop : node.scrollHeight;
    scrollPx = node.scrollTop;
  }

  function isAtEnd() {
    if (!screen.isWrapped) return screen.top >= findLastTop() - 0.5;
    return screen.wrapFirst + WRAPPED_LINES > source.total && node.scrollTop + node.clientHeight >= node.scrollHeight - ROW_PX;
  }

  // Show a line a third below the top; one that is in sight already stays where it is, if `mayStay`.
  function showLine(number, mayStay = false) {
    if (screen.isWrapped) {
      const isThere = number >= screen.wrapFirst && number < screen.wrapFirst + WRAPPED_LINES;
      return openWrapped(isThere ? screen.wrapFirst : Math.max(1, number - WRAPPED_LINES / 2), number);
    }
    const isInSight = number - 1 >= screen.top && number <= screen.top + countRows();
    if (!mayStay || !isInSight) moveTo(number - 1 - countRows() / 3);
    else draw();
  }

  const findRow = (number) => [...body.children].find((row) => row.dataset.key === String(number));

  // Show lines whole, in several rows where they are long; then some hundred of them at a time.
  function setWrap(isOn) {
    const first = screen.isWrapped ? findFirstInSight() : Math.floor(screen.top) + 1;
    const wasAtEnd = isAtEnd();
    screen.isWrapped = isOn;
    node.classList.toggle("wrapped", isOn);
    for (const row of body.children) row.style.top = "";
    if (wasAtEnd) return showEnd();
    if (!isOn) return moveTo(first - 1);
    openWrapped(Math.max(1, first - WRAPPED_LINES / 4), first);
  }

  const findFirstInSight = () => Number([...body.children].find((row) => row.offsetTop + row.offsetHeight > node.scrollTop)?.dataset.key ?? 1);

  // Go to the lines before or behind those that are shown whole.
  function turnPage(step) {
    const first = Math.min(Math.max(1, screen.wrapFirst + step * WRAPPED_LINES), Math.max(1, source.total - WRAPPED_LINES + 1));
    openWrapped(first, step < 0 ? "end" : first);
    whenScrolled();
  }

  node.addEventListener("scroll", hearScroll, { passive: true });
  node.addEventListener("wheel", hearWheel, { passive: false });
  node.addEventListener("keydown", hearKey);
  const resized = new ResizeObserver(drawSoon);
  resized.observe(node);
  return Object.assign(screen, { draw, moveTo, showLine, showStart, showEnd, isAtEnd, setWrap, turnPage, findRow, close: () => resized.disconnect() });
}

const listFrom = (first, last) => Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);

function makeRun({ text, style }) {
  if (style.fg === null && style.bg === null && style.flags === "") return document.createTextNode(text);
  const isTurned = style.flags.includes("inverse");
  const [fg, bg] = isTurned ? [style.bg, style.fg] : [style.fg, style.bg];
  const classes = [...style.flags.split(" ").filter(Boolean).map((flag) => `ansi-${flag}`)];
  const colours = {};
  if (Array.isArray(bg)) Object.assign(colours, { "background-color": writeColour(bg), color: writeOn(bg) });
  else if (bg !== null) classes.push("ansi-on", `ansi-${bg}`);
  else if (isTurned) classes.push("ansi-on");
  else if (Array.isArray(fg)) colours.color = writeLegible(fg);
  else if (fg !== null) classes.push(`ansi-${fg}`);
  return h("span", { class: classes.join(" "), style: colours }, text);
}
