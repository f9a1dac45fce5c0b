// What drawings of the page have in common: their tools, their size, and paper.

import { h } from "../core/dom.js";

// Make the buttons of a drawing: [[text, title, act], …].
export function makeTools(label, tools) {
  const makeTool = ([text, title, act]) =>
    h("button", { class: "plain", title, "aria-label": title, onclick: act }, text);
  return h("div", { class: "tools", role: "group", "aria-label": label }, tools.map(makeTool));
}

// Be told the size of a node, now and whenever it changes. Returns what ends it.
export function whenResized(node, tell) {
  const observer = new ResizeObserver(([{ contentRect }]) => tell(contentRect));
  observer.observe(node);
  return () => observer.disconnect();
}

// Be told before the page is printed (true) and after it (false). Returns what ends it.
export function whenPrinted(tell) {
  const listeners = { beforeprint: () => tell(true), afterprint: () => tell(false) };
  for (const [name, hear] of Object.entries(listeners)) addEventListener(name, hear);
  return () => Object.entries(listeners).forEach(([name, hear]) => removeEventListener(name, hear));
}

const pen = { context: null, known: new Map() };

// Cut a text to a width, in the small letters of the page.
export function cutText(text, width) {
  const key = `${Math.round(width)} ${text}`;
  if (pen.known.size > 10_000) pen.known.clear();
  if (!pen.known.has(key)) pen.known.set(key, measureCut(text, width));
  return pen.known.get(key);
}

function measureCut(text, width) {
  pen.context ??= makePen();
  const letters = [...text];
  const write = (count) => (count < letters.length ? `${letters.slice(0, count).join("")}…` : text);
  let count = Math.min(60, letters.length);
  while (count > 1 && pen.context.measureText(write(count)).width > width) count -= 1;
  return write(count);
}

function makePen() {
  const { fontFamily } = getComputedStyle(document.body);
  const sample = document.body.appendChild(h("small"));
  const { fontSize } = getComputedStyle(sample);
  sample.remove();
  return Object.assign(document.createElement("canvas").getContext("2d"), { font: `${fontSize} ${fontFamily}` });
}
