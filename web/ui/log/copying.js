// Copying from a log: what is selected, from its first to its last line, also where these are not in sight any more.

import { request } from "../core/api.js";
import { writeBytes, writeCount } from "../core/format.js";
import { copyText, notify, notifyRefusal } from "../core/notice.js";
import { toPlain } from "./ansi.js";

const MOST_BYTES = 5_000_000;

// Let a screen copy what the log says: no numbers of lines, no control codes, and lines that were never drawn too.
//
// Ctrl-A in it selects all of the log. Returns copyAll().
export function catchCopying(screen, source) {
  const { node, body } = screen;
  const selectAll = (isOn) => body.classList.toggle("log-all", isOn);
  // Rows in which the selection begins and ends stay in the document and in memory, wherever the reader goes.
  screen.held = () => {
    const found = findSelection(body);
    return found ? [found.first.number, found.last.number] : [];
  };
  source.isHeld = (number) => screen.held().includes(number);

  // Copy some bytes of the file, as a reader sees them.
  async function copyBytes(offset, size_bytes, cut, tell = null) {
    if (size_bytes > MOST_BYTES) return notify(`${writeBytes(size_bytes)} are too much to copy. Download the log instead.`, { kind: "failed" });
    try {
      const query = { ...source.query, offset, size_bytes };
      const { data } = await request("GET", `${source.path}/file`, { query, accept: "*/*", as: "blob" });
      const lines = (await data.text()).split("\n").map(toPlain);
      if (!(await copyText(cut(lines)))) notify("The browser did not let the page copy.", { kind: "failed" });
      else if (tell) notify(tell(lines));
    } catch (problem) {
      notifyRefusal("Nothing was copied", problem);
    }
  }

  function copyAll() {
    const tell = (lines) => `Copied all ${writeCount(lines.length - (lines.at(-1) === "" ? 1 : 0), "line")}.`;
    copyBytes(0, source.facts.size_bytes, (lines) => lines.join("\n"), tell);
  }

  node.addEventListener("copy", (event) => {
    const found = findSelection(body);
    if (body.classList.contains("log-all")) copyAll();
    else if (found) copySelection(event, found);
    else return;
    event.preventDefault();
  });

  function copySelection(event, { first, last }) {
    const lines = [];
    for (let number = first.number; number <= last.number; number += 1) lines.push(source.lines.get(number));
    const cut = (texts) => cutEnds(texts, first.column, last.column);
    // Without what is not here, or only in part, there is no need to wait.
    if (lines.every((line) => line?.left_out_bytes === 0)) {
      event.clipboardData.setData("text/plain", cut(lines.map((line) => toPlain(line.shown))));
      return;
    }
    const [begin, end] = [lines[0], lines.at(-1)];
    copyBytes(begin.offset, end.offset + end.size_bytes - begin.offset, cut);
  }

  node.addEventListener("keydown", (event) => {
    const isAll = (event.ctrlKey || event.metaKey) && event.key === "a";
    if (isAll) {
      event.preventDefault();
      getSelection().removeAllRanges();
    }
    if (isAll || event.key === "Escape") selectAll(isAll);
  });
  node.addEventListener("mousedown", () => selectAll(false));
  return copyAll;
}

// Return the first and the last line of the selection, and the columns in them; a column behind the middle of a line
// that is shown in part counts from its end, as a negative number does.
function findSelection(body) {
  const selection = getSelection();
  if (selection.isCollapsed || selection.rangeCount === 0) return null;
  const range = selection.getRangeAt(0);
  if (!body.contains(range.commonAncestorContainer)) return null;
  const first = findPlace(body, range.startContainer, range.startOffset, false);
  const last = findPlace(body, range.endContainer, range.endOffset, true);
  return first && last ? { first, last } : null;
}

function findPlace(body, node, offset, isEnd) {
  if (node === body) {
    const row = body.children[isEnd ? offset - 1 : offset];
    return row ? { number: Number(row.dataset.key), column: isEnd ? Infinity : 0 } : null;
  }
  const row = (node.nodeType === Node.TEXT_NODE ? node.parentElement : node).closest(".log-row");
  if (!row) return null;
  const text = row.lastElementChild;
  const number = Number(row.dataset.key);
  if (!text.contains(node)) return { number, column: node === row && offset > 1 ? Infinity : 0 };
  const range = document.createRange();
  range.setStart(text, 0);
  range.setEnd(node, offset);
  const column = range.toString().length;
  const whole = text.textContent.length;
  const isFromEnd = row.line?.left_out_bytes > 0 && column > whole / 2;
  return { number, column: isFromEnd ? column - whole || Infinity : column };
}

function cutEnds(texts, from, to) {
  if (texts.length === 1) return texts[0].slice(from, to);
  return [texts[0].slice(from), ...texts.slice(1, -1), texts.at(-1).slice(0, to)].join("\n");
}
