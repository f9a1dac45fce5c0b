// Search in a log: the server looks through all of the file, also at lines that were never drawn.

import { get } from "../core/api.js";
import { debounce, h, makeId, setText } from "../core/dom.js";
import { toPlain } from "./ansi.js";

const WAIT_MS = 200;

// Make the search of a log. `show(line)` shows the line of a hit; `whenClosed` hears that the reader is done.
export function makeSearch({ source, screen, show, whenClosed }) {
  const id = makeId("search");
  const input = h("input", { type: "search", id, "aria-label": "Search the whole log", placeholder: "Search the whole log", spellcheck: "false", autocapitalize: "off" });
  const found = h("span", { class: "count", role: "status" });
  const isRegex = h("input", { type: "checkbox" });
  const hasCase = h("input", { type: "checkbox" });
  const node = h(
    "div",
    { class: "log-search bar", role: "search", hidden: true },
    input,
    h("button", { type: "button", "aria-label": "Previous hit", onclick: () => step("backward") }, "↑"),
    h("button", { type: "button", "aria-label": "Next hit", onclick: () => step("forward") }, "↓"),
    found,
    h("label", { class: "small" }, hasCase, "Capitals matter"),
    h("label", { class: "small" }, isRegex, "Regular expression"),
    h("button", { type: "button", class: "plain", "aria-label": "Close the search", onclick: close }, "×"),
  );
  const search = { node, input, open, close, paint, reset, forget };
  let asked = { number: 0 };
  let hit = null;

  const getWords = () => ({ q: input.value, regex: isRegex.checked || undefined, case: hasCase.checked || undefined });

  function open() {
    node.hidden = false;
    const selected = String(getSelection());
    if (selected && !selected.includes("\n") && screen.node.contains(getSelection().anchorNode)) input.value = selected;
    input.focus();
    input.select();
    if (input.value) begin();
  }

  function close() {
    node.hidden = true;
    asked = { number: asked.number + 1 };
    hit = null;
    screen.marks.hit = 0;
    screen.draw();
    paint();
    whenClosed();
  }

  // Begin to look for other words, from what is in sight on.
  function begin() {
    hit = null;
    screen.marks.hit = 0;
    if (!input.value) {
      asked = { number: asked.number + 1 };
      setText(found, "");
      screen.draw();
      paint();
      return;
    }
    const first = source.lines.get(Math.floor(screen.top) + 1);
    look("forward", screen.isAtEnd() ? null : first?.offset ?? 0, true);
  }

  const beginSoon = debounce(begin, WAIT_MS);

  function step(direction) {
    if (!input.value) return;
    if (hit === null) return look(direction, direction === "forward" ? 0 : null, true);
    look(direction, direction === "forward" ? hit.offset + 1 : hit.offset, true);
  }

  // Look for a hit; where there is none on this side, begin again at the other. Then have the rest counted.
  async function look(direction, offset, mayTurn) {
    const mine = (asked = { number: asked.number + 1 });
    const wanted = direction === "forward" && offset === null ? "backward" : direction; // from the end there is nothing ahead
    let isShown = false;
    let turned = !mayTurn;
    let at = offset;
    let way = wanted;
    try {
      for (;;) {
        const answer = await ask(way, at);
        if (asked !== mine) return;
        if (!isShown && answer.hit && (answer.complete || way === "forward" || answer.searched_bytes >= (at ?? Infinity))) {
          isShown = true;
          hit = answer.hit;
          screen.marks.hit = hit.line;
          show(hit.line);
          paint();
        }
        tell(answer);
        if (!answer.complete) continue;
        if (isShown || turned || answer.count === 0) break;
        turned = true;
        at = way === "forward" ? 0 : null;
      }
    } catch (problem) {
      if (asked !== mine || problem.name === "AbortError") return;
      const words = problem.problems?.length ? problem.problems.map((each) => each.msg).join("; ") : problem.message;
      setText(found, words);
    }
  }

  function ask(direction, offset) {
    return get(`${source.path}/search`, { ...source.query, ...getWords(), direction, offset }, { signal: source.signal });
  }

  function tell(answer) {
    const many = answer.count.toLocaleString("en");
    const part = answer.complete ? "" : `, ${Math.floor((100 * answer.searched_bytes) / Math.max(1, answer.size_bytes))} % searched`;
    if (answer.count === 0) setText(found, answer.complete ? "Not in this log" : `none yet${part}`);
    else setText(found, `${hit ? hit.number.toLocaleString("en") : "–"} of ${many}${part}`);
  }

  // Mark the words in the lines that are drawn, without changing them.
  function paint() {
    if (!globalThis.Highlight || !CSS.highlights) return;
    CSS.highlights.delete("log-found");
    const words = input.value;
    if (node.hidden || !words || isRegex.checked) return;
    const ranges = [];
    for (const row of screen.body.children) markWords(row, words, hasCase.checked, ranges);
    CSS.highlights.set("log-found", new Highlight(...ranges));
  }

  // Leave no marks behind.
  function forget() {
    asked = { number: asked.number + 1 };
    globalThis.CSS?.highlights?.delete("log-found");
  }

  // Forget where the last hit was: the file is another one.
  function reset() {
    hit = null;
    if (!node.hidden) begin();
  }

  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && event.target === input) {
      event.preventDefault();
      step(event.shiftKey ? "backward" : "forward");
    }
  });
  input.addEventListener("input", beginSoon);
  isRegex.addEventListener("change", begin);
  hasCase.addEventListener("change", begin);
  return search;
}

function markWords(row, words, hasCase, ranges) {
  if (!row.line) return;
  const fold = (text) => (hasCase ? text : text.toLowerCase());
  const text = fold(toPlain(row.line.shown));
  const wanted = fold(words);
  for (let at = text.indexOf(wanted); at >= 0 && ranges.length < 2000; at = text.indexOf(wanted, at + wanted.length)) {
    const range = makeRange(row.lastElementChild, at, at + wanted.length);
    if (range) ranges.push(range);
  }
}

function makeRange(root, from, to) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  let passed = 0;
  let hasStart = false;
  while (walker.nextNode()) {
    const { data } = walker.currentNode;
    if (!hasStart && from < passed + data.length) {
      range.setStart(walker.currentNode, from - passed);
      hasStart = true;
    }
    if (hasStart && to <= passed + data.length) {
      range.setEnd(walker.currentNode, to - passed);
      return range;
    }
    passed += data.length;
  }
  return null;
}
