// How states look: a shape, a colour and a word.

import { h, setText } from "./dom.js";
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
