// Copying from a log: what is selected, from its first to its last line, also where these are not in sight any more.

import { copyText, notify } from "../core/notice.js";
import { toPlain } from "./ansi.js";

const MOST_LINES = 100_000;

// Let a screen copy what the log says: no numbers of lines, no control codes, and lines that were never drawn too.
//
// Ctrl-A in it selects all of the log, which `copyAll` copies.
export function catchCopying(screen, source, copyAll) {
  const { body } = screen;
  catchAll(screen, copyAll);
  // Rows in which the selection begins and ends stay in the document, wherever the reader goes.
  screen.held = () => {
    const found = findSelection(body);
    return found ? [found.first.number, found.last.number] : [];
  };
  body.addEventListener("copy", async (event) => {
    const found = findSelection(body);
    if (!found) return;
    event.preventDefault();
    const ready = readSelection(found, source);
    if (ready !== null) {
      event.clipboardData.setData("text/plain", ready);
      return;
    }
    if (found.last.number - found.first.number > MOST_LINES) {
      notify(`${(found.last.number - found.first.number).toLocaleString("en")} lines are too many to copy. Download the log instead.`, { kind: "failed" });
      return;
    }
    try {
      const texts = await source.readTexts(found.first.number, found.last.number);
      if (!(await copyText(cut(texts, found)))) notify("The browser did not let the page copy.", { kind: "failed" });
    } catch (problem) {
      notify(`Nothing was copied. ${problem.message}`, { kind: "failed" });
    }
  });
}

function catchAll({ node, body }, copyAll) {
  const setAll = (isOn) => body.classList.toggle("log-all", isOn);
  node.addEventListener("keydown", (event) => {
    const isAll = (event.ctrlKey || event.metaKey) && event.key === "a";
    if (isAll) {
      event.preventDefault();
      getSelection().removeAllRanges();
      setAll(true);
    } else if (event.key === "Escape") setAll(false);
  });
  node.addEventListener("mousedown", () => setAll(false));
  node.addEventListener("copy", (event) => {
    if (!body.classList.contains("log-all")) return;
    event.preventDefault();
    copyAll();
  });
}

function findSelection(body) {
  const selection = getSelection();
  if (selection.isCollapsed || selection.rangeCount === 0) return null;
  const range = selection.getRangeAt(0);
  if (!body.contains(range.commonAncestorContainer)) return null;
  const first = findPlace(body, range.startContainer, range.startOffset, false);
  const last = findPlace(body, range.endContainer, range.endOffset, true);
  return first && last ? { first, last } : null;
}

// Find the line and column of a place in the document.
function findPlace(body, node, offset, isEnd) {
  if (node === body) {
    const row = body.children[isEnd ? offset - 1 : offset] ?? null;
    return row && { number: Number(row.dataset.key), column: isEnd ? Infinity : 0 };
  }
  const row = (node.nodeType === Node.TEXT_NODE ? node.parentElement : node).closest(".log-row");
  if (!row) return null;
  const text = row.lastElementChild;
  const number = Number(row.dataset.key);
  if (!text.contains(node)) return { number, column: node === row && offset > 1 ? Infinity : 0 };
  const range = document.createRange();
  range.setStart(text, 0);
  range.setEnd(node, offset);
  return { number, column: range.toString().length };
}

function readSelection(found, source) {
  const texts = [];
  for (let number = found.first.number; number <= found.last.number; number += 1) {
    const line = source.lines.get(number);
    if (!line) return null;
    texts.push(toPlain(line.shown));
  }
  return cut(texts, found);
}

function cut(texts, { first, last }) {
  const cutTexts = [...texts];
  cutTexts[cutTexts.length - 1] = cutTexts.at(-1).slice(0, last.column);
  cutTexts[0] = cutTexts[0].slice(first.column);
  return cutTexts.join("\n");
}
