// What drawings of the page have in common: their tools, their size, and paper.

import { h } from "../core/dom.js";

// Make the buttons of a drawing: [[text, title, act], …].
export function makeTools(label, tools) {
  return h("div", { class: "tools", role: "group", "aria-label": label }, tools.map(([text, title, act]) => h("button", { type: "button", class: "plain", title, "aria-label": title, onclick: act }, text)));
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
