// What is in sight of a log: rows of one height in a box that scrolls, whatever the number of lines.
//
// An element cannot be higher than some ten million pixels, so the box of a long log is lower than its lines: at both
// ends a pixel is one, between them the scroll bar stands for a part of the lines. Small steps of a wheel, a finger or a
// key move by their pixels everywhere.

import { h, keepInStep, oncePerFrame, setAttribute, show } from "../core/dom.js";
import { parseLine } from "./ansi.js";

const ROW_PX = 18;
const HIGHEST_PX = 8_000_000;
const END_PX = 1_000_000;
const STEP_PX = 5000; // one pixel of the scroll bar of a long log is more
const AHEAD_ROWS = 20;
const WRAPPED_LINES = 400;

// Convert a place on a long way to that on another one: both ends are the same, what is between is stretched.
function convert(px, from, to) {
  if (px <= END_PX) return px;
  if (from - px <= END_PX) return to - from + px;
  return END_PX + ((px - END_PX) * (to - 2 * END_PX)) / (from - 2 * END_PX);
}

// Make the box of a log.
//
//   label        what it is, for those who hear the page
//   source       the lines, see source.js
//   makeLink     (line) => the address of a line
//   whenScrolled () when the reader has moved, whenPicked(line, extend) when the number of a line is chosen,
//                whenResized() when the box has another size
//
// Returns { node, body, top, marks, held, draw, moveTo, showLine, showStart, showEnd, isAtEnd, setWrap, turnPage, close }.
export function makeScreen({ label, source, makeLink, whenScrolled, whenPicked, whenResized }) {
  const body = h("div", { class: "log-body" });
  const node = h("div", { class: "log", role: "region", "aria-label": label, tabindex: 0 }, body);
  const screen = { node, body, top: 0, isWrapped: false, wrapFirst: 1, marks: { from: 0, to: 0, hit: 0 }, held: () => [] };
  let scrollPx = 0;
  let pin = null; // in wrapped lines: what stays in sight while others are still read

  const countRows = () => Math.max(1, Math.floor(node.clientHeight / ROW_PX));
  const getWholePx = () => (source.total + 1) * ROW_PX;
  const getHeight = () => Math.min(getWholePx(), HIGHEST_PX);
  const findLastTop = () => Math.max(0, source.total + 1 - node.clientHeight / ROW_PX);
  const keepWithin = (top) => Math.min(Math.max(0, top), findLastTop());

  // Move to a place, in lines; the box follows.
  function moveTo(top) {
    body.style.height = `${getHeight()}px`;
    screen.top = keepWithin(top);
    node.scrollTop = convert(screen.top * ROW_PX, getWholePx() - node.clientHeight, getHeight() - node.clientHeight);
    scrollPx = node.scrollTop;
    draw();
  }

  // --- drawing ---

  function listNumbers() {
    if (screen.isWrapped) return listFrom(screen.wrapFirst, Math.min(source.total, screen.wrapFirst + WRAPPED_LINES - 1));
    const first = Math.max(1, Math.floor(screen.top) + 1 - AHEAD_ROWS);
    const last = Math.min(source.total, Math.ceil(screen.top) + countRows() + 1 + AHEAD_ROWS);
    const held = screen.held().filter((number) => source.lines.has(number));
    return [...new Set([...listFrom(first, last), ...held])].sort((one, other) => one - other);
  }

  function draw() {
    const numbers = listNumbers();
    body.style.setProperty("--digits", `${Math.max(3, String(source.total).length)}ch`);
    body.style.height = screen.isWrapped ? "auto" : `${getHeight()}px`;
    keepInStep(body, numbers, (number) => number, makeRow, updateRow);
    if (screen.isWrapped && pin !== null) {
      node.scrollTop = findRow(pin)?.offsetTop ?? node.scrollHeight;
      scrollPx = node.scrollTop;
    }
    const near = numbers.filter((number) => screen.isWrapped || Math.abs(number - screen.top) < 1000);
    if (near.length > 0) source.want(near[0], near.at(-1));
  }

  function makeRow(number) {
    const link = h("a", { class: "log-number", tabindex: -1, onclick: (event) => pick(event, row) });
    const row = h("div", { class: "log-row" }, link, h("span", { class: "log-text" }));
    updateRow(row, number);
    return row;
  }

  function pick(event, row) {
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey) return; // as any link: in another tab
    event.preventDefault();
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
    if (row.line === line && line) return;
    const isSame = row.line && line && row.line.shown === line.shown;
    row.line = line;
    row.classList.toggle("log-missing", line === undefined);
    if (!isSame) show(text, line === undefined ? [] : parseLine(line.shown).map(makeRun));
  }

  // --- moving ---

  const drawSoon = oncePerFrame(draw);

  function hearScroll() {
    const moved = node.scrollTop - scrollPx;
    if (Math.abs(moved) < 1) return;
    scrollPx = node.scrollTop;
    pin = null;
    if (!screen.isWrapped) {
      const isStep = getWholePx() > HIGHEST_PX && Math.abs(moved) < STEP_PX;
      const px = convert(scrollPx, getHeight() - node.clientHeight, getWholePx() - node.clientHeight);
      screen.top = keepWithin(isStep ? screen.top + moved / ROW_PX : px / ROW_PX);
      drawSoon();
    }
    whenScrolled();
  }

  function hearKey(event) {
    if (event.target !== node || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = countRows() - 1;
    const step = { PageDown: page, PageUp: -page, ArrowDown: 1, ArrowUp: -1, " ": page }[event.key];
    if (event.key === "Home") showStart();
    else if (event.key === "End") showEnd();
    else if (step && !screen.isWrapped) moveTo(screen.top + step);
    else return;
    event.preventDefault();
    whenScrolled();
  }

  function showStart() {
    if (screen.isWrapped) openWrapped(1, 1);
    else moveTo(0);
  }

  // Show the end, and stay there for what comes.
  function showEnd() {
    if (screen.isWrapped) openWrapped(source.total - WRAPPED_LINES + 1, "end");
    else moveTo(findLastTop());
  }

  // Show lines whole from one on, with one of them at the top, or the last at the bottom.
  function openWrapped(first, pinned) {
    screen.wrapFirst = Math.max(1, first);
    pin = pinned;
    draw();
  }

  function isAtEnd() {
    if (!screen.isWrapped) return screen.top >= findLastTop() - 0.5;
    return screen.wrapFirst + WRAPPED_LINES > source.total && node.scrollTop + node.clientHeight >= node.scrollHeight - ROW_PX;
  }

  // Show a line a third below the top; one that is in sight already stays where it is, if `mayStay`.
  function showLine(number, mayStay = false) {
    if (screen.isWrapped) {
      const isThere = number >= screen.wrapFirst && number < screen.wrapFirst + WRAPPED_LINES;
      return openWrapped(isThere ? screen.wrapFirst : number - WRAPPED_LINES / 2, number);
    }
    const isInSight = number - 1 >= screen.top && number <= screen.top + countRows();
    if (mayStay && isInSight) draw();
    else moveTo(number - 1 - countRows() / 3);
  }

  const findRow = (number) => body.querySelector(`[data-key="${number}"]`);

  // Show lines whole, in several rows where they are long; then some hundred of them at a time.
  function setWrap(isOn) {
    const seen = [...body.children].find((row) => row.offsetTop + row.offsetHeight > node.scrollTop);
    const first = Number(seen?.dataset.key ?? 1);
    const wasAtEnd = isAtEnd();
    screen.isWrapped = isOn;
    node.classList.toggle("wrapped", isOn);
    for (const row of body.children) row.style.top = "";
    if (wasAtEnd) showEnd();
    else if (isOn) openWrapped(first - WRAPPED_LINES / 4, first);
    else moveTo(first - 1);
  }

  // Go to the lines before or behind those that are shown whole.
  function turnPage(step) {
    const first = Math.max(1, Math.min(screen.wrapFirst + step * WRAPPED_LINES, source.total - WRAPPED_LINES + 1));
    openWrapped(first, step < 0 ? "end" : first);
    whenScrolled();
  }

  node.addEventListener("scroll", hearScroll, { passive: true });
  // Small steps have moved the scroll bar of a long log too far.
  node.addEventListener("scrollend", () => screen.isWrapped || getWholePx() <= HIGHEST_PX || moveTo(screen.top));
  node.addEventListener("keydown", hearKey);
  const resized = new ResizeObserver(oncePerFrame(whenResized));
  resized.observe(node);
  return Object.assign(screen, { draw, moveTo, showLine, showStart, showEnd, isAtEnd, setWrap, turnPage, close: () => resized.disconnect() });
}

const listFrom = (first, last) => Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);

function makeRun({ text, style: { fg, bg, flags } }) {
  if (fg === null && bg === null && flags === "") return text;
  const words = flags.split(" ").filter(Boolean);
  const isTurned = words.includes("inverse");
  const [ink, back] = isTurned ? [bg, fg] : [fg, bg];
  const isOn = back !== null || isTurned;
  const colour = isOn ? back : ink;
  const name = `--ansi-${colour}`;
  const value = Array.isArray(colour) ? `rgb(${colour.join(" ")})` : `var(${name})`;
  const classes = [...words.map((word) => `ansi-${word}`), isOn ? "ansi-on" : colour !== null && "ansi-ink", Array.isArray(colour) && "ansi-rgb"];
  return h("span", { class: classes.filter(Boolean).join(" "), style: colour === null ? {} : { "--colour": value } }, text);
}
