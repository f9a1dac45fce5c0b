// A picture in two layers: what is much and stays, and above it the few marks that follow the pointer. A mark that moves
// does not have ten thousand lines painted again.

import { h, oncePerFrame, setAttribute, svg } from "../core/dom.js";

// Make both layers. Returns { node, picture, over, setSize(width, height, label), hear({ find, whenHovered, whenPicked }) }.
//
// `find({ x, y })` returns what lies there or null; whenHovered hears of another one, whenPicked of a click on one.
export function makeLayers(children, props = {}) {
  const picture = svg("svg", { class: "plot-picture", role: "img", ...props }, children);
  const over = svg("svg", { class: "plot-over", "aria-hidden": "true" });
  const node = h("div", { class: "layers" }, picture, over);
  const locate = (event) => {
    const box = picture.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  function setSize(width, height, label) {
    for (const layer of [picture, over]) {
      setAttribute(layer, "width", width);
      setAttribute(layer, "height", height);
    }
    node.style.width = `${width}px`;
    if (label) setAttribute(picture, "aria-label", label);
  }

  function hear({ find, whenHovered, whenPicked }) {
    let [at, shown] = [null, null];
    const hover = oncePerFrame(() => {
      const found = at && find(at);
      if (found === shown) return;
      shown = found;
      whenHovered(found);
    });
    picture.addEventListener("pointermove", (event) => {
      at = locate(event);
      hover();
    });
    picture.addEventListener("pointerleave", () => {
      at = null;
      hover();
    });
    picture.addEventListener("click", (event) => {
      const found = find(locate(event));
      if (found) whenPicked(found);
    });
  }

  return { node, picture, over, setSize, hear, locate };
}

// Cut a label to so many letters.
export const cutLabel = (text, letters) => (text.length > letters ? `${text.slice(0, Math.max(1, letters - 1))}…` : text);
