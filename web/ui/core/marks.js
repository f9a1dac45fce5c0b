// How states look: a shape, a colour and a word. How ages look: in words that go on, with the exact time behind them.

import { h, setAttribute, setText } from "./dom.js";
import { getNow, toMs, writeAge, writeDuration, writeTime } from "./format.js";
import { FAMILIES, findFamily, writeState } from "./states.js";

// Fill an element with the mark and word of a state, changing no more than differs.
export function fillState(node, state, family = findFamily(state)) {
  if (node.dataset.state === state) return node;
  node.dataset.state = state ?? "";
  const mark = node.querySelector(":scope > .mark") ?? node.appendChild(h("span", { class: "mark", "aria-hidden": "true" }));
  const word = node.querySelector(":scope > .word") ?? node.appendChild(h("span", { class: "word" }));
  mark.className = `mark ${family}`;
  setText(mark, FAMILIES[family].mark);
  setText(word, writeState(state));
  return node;
}

// Make the mark of a family, without a word.
export const makeMark = (family) => h("span", { class: `mark ${family}`, "aria-hidden": "true" }, FAMILIES[family].mark);

// Make the mark and word of a state.
export function makeState(state, family) {
  return fillState(h("span", { class: "state" }), state, family);
}

const AGES = { age: writeAge, elapsed: (moment) => writeDuration((getNow() - toMs(moment)) / 1000) };

// Make the age of a moment, "5 s ago", or as "elapsed" the time since it: it goes on by itself, and its title is exact.
export function makeAge(moment, kind = "age") {
  return fillAge(h("time", { class: "hint", tabindex: 0, "data-age": kind }), moment);
}

// Give an age another moment.
function fillAge(node, moment) {
  setAttribute(node, "datetime", moment);
  setAttribute(node, "title", writeTime(moment));
  setText(node, AGES[node.dataset.age](moment));
  return node;
}

// Let all ages of the page go on.
export function tickAges() {
  if (!document.hidden) document.querySelectorAll("time[data-age]").forEach((node) => fillAge(node, node.dateTime));
}
