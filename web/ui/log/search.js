// Search in a log: the server looks through all of the file, also at lines that were never drawn.

import { get } from "../core/api.js";
import { debounce, h, setText } from "../core/dom.js";
import { toPlain } from "./ansi.js";

const WAIT_MS = 200;
const MOST_MARKS = 2000;

// Make the search of a log. `show(line)` shows the line of a hit; `whenClosed` hears that the reader is done.
//
// Returns { node, open, paint, reset, forget }.
export function makeSearch({ source, screen, show, whenClosed }) {
  const name = "Search the whole log";
  const props = { type: "search", "aria-label": name, placeholder: name, spellcheck: "false", autocapitalize: "off" };
  const input = h("input", { ...props, oninput: debounce(begin, WAIT_MS) });
  const found = h("span", { class: "count", role: "status" });
  const isRegex = h("input", { type: "checkbox", onchange: begin });
  const hasCase = h("input", { type: "checkbox", onchange: begin });
  const makeButton = (text, label, onclick, kind) => h("button", { class: kind, "aria-label": label, title: label, onclick }, text);
  const node = h(
    "div",
    { class: "log-search bar", role: "search", hidden: true, onkeydown: hearKey },
    input,
    makeButton("↑", "Previous hit", () => step("backward")),
    makeButton("↓", "Next hit", () => step("forward")),
    found,
    h("label", { class: "small" }, hasCase, "Capitals matter"),
    h("label", { class: "small" }, isRegex, "Regular expression"),
    makeButton("×", "Close the search", close, "plain"),
  );
  let asked = null;
  let hit = null;

  function open() {
    node.hidden = false;
    const selection = getSelection();
    const selected = String(selection);
    if (selected && !selected.includes("\n") && screen.node.contains(selection.anchorNode)) input.value = selected;
    input.focus();
    input.select();
    begin();
  }

  function close() {
    node.hidden = true;
    forgetHit();
    whenClosed();
  }

  function forgetHit() {
    asked = hit = null;
    screen.marks.hit = 0;
    setText(found, "");
    screen.draw();
    paint();
  }

  // Begin to look for other words, from what is in sight on; at the end, from there back.
  function begin() {
    forgetHit();
    if (!input.value || node.hidden) return;
    if (screen.isAtEnd()) look("backward", null);
    else look("forward", source.lines.get(Math.floor(screen.top) + 1)?.offset ?? 0);
  }

  function step(direction) {
    if (!input.value) return;
    if (direction === "forward") look(direction, hit === null ? 0 : hit.offset + 1);
    else look(direction, hit?.offset ?? null);
  }

  // Look for a hit; where there is none on this side, begin again at the other. Then have the rest counted.
  async function look(direction, offset) {
    const mine = (asked = {});
    let isShown = false;
    let hasTurned = false;
    try {
      for (let isComplete = false; !isComplete; ) {
        const words = { q: input.value, regex: isRegex.checked || null, case: hasCase.checked || null };
        const answer = await get(`${source.path}/search`, { ...source.query, ...words, direction, offset }, { signal: source.signal });
        if (asked !== mine) return;
        isComplete = answer.complete;
        const isSure = isComplete || direction === "forward" || answer.searched_bytes >= (offset ?? Infinity);
        if (!isShown && answer.hit && isSure) {
          isShown = true;
          hit = answer.hit;
          screen.marks.hit = hit.line;
          show(hit.line);
          paint();
        }
        tell(answer);
        if (isComplete && !isShown && !hasTurned && answer.count > 0) {
          hasTurned = true;
          isComplete = false;
          offset = direction === "forward" ? 0 : null;
        }
      }
    } catch (problem) {
      if (asked === mine && problem.name !== "AbortError") setText(found, problem.problems?.map((each) => each.msg).join("; ") || problem.message);
    }
  }

  function tell({ count, complete, searched_bytes, size_bytes }) {
    const part = complete ? "" : `, ${Math.floor((100 * searched_bytes) / Math.max(1, size_bytes))} % searched`;
    const place = hit ? hit.number.toLocaleString("en") : "–";
    if (count > 0) setText(found, `${place} of ${count.toLocaleString("en")}${part}`);
    else setText(found, complete ? "Not in this log" : `none yet${part}`);
  }

  // Mark the words in the lines that are drawn, without changing them.
  function paint() {
    const ranges = [];
    if (!node.hidden && input.value && !isRegex.checked) {
      for (const row of screen.body.children) markWords(row, input.value, hasCase.checked, ranges);
    }
    globalThis.CSS?.highlights?.set("log-found", new Highlight(...ranges));
  }

  function hearKey(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && event.target === input) {
      event.preventDefault();
      step(event.shiftKey ? "backward" : "forward");
    }
  }

  // Leave no marks behind.
  function forget() {
    asked = null;
    globalThis.CSS?.highlights?.delete("log-found");
  }

  return { node, open, paint, reset: begin, forget };
}

function markWords(row, words, hasCase, ranges) {
  if (!row.line) return;
  const fold = (text) => (hasCase ? text : text.toLowerCase());
  const text = fold(toPlain(row.line.shown));
  const wanted = fold(words);
  for (let at = text.indexOf(wanted); at >= 0 && ranges.length < MOST_MARKS; at = text.indexOf(wanted, at + wanted.length)) {
    ranges.push(makeRange(row.lastElementChild, at, at + wanted.length));
  }
}

function makeRange(root, from, to) {
  const range = document.createRange();
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let passed = 0; walker.nextNode(); passed += walker.currentNode.data.length) {
    const end = passed + walker.currentNode.data.length;
    if (from >= passed && from < end) range.setStart(walker.currentNode, from - passed);
    if (to > passed && to <= end) range.setEnd(walker.currentNode, to - passed);
  }
  return range;
}
