// A picture in two layers: what is much and stays, and above it the few marks that follow the pointer. A mark that moves
// does not have ten thousand lines painted again.

import { h, oncePerFrame, setAttribute, setText, show, svg } from "../core/dom.js";

export const LETTER_PX = 7;
const MARKS = ["base", "best", "hovered", "focused", "selected"]; // the later ones lie above

// Make a plot.
//
//   children   what the picture holds; below is what lies behind it, props are those of the picture
//   find       what lies at { x, y }: { key, text }, or null
//   ring       what marks a cell: (key, kind) => a node of SVG, or null where the cell has no place
//   getText    what is told while the pointer is nowhere
//   whenSelected(key), whenHovered(key or null) hear of cells
//
// Returns { node, layers, picture, over, marks, setSize(width, height, label), mark(marks), drawRings, locate(event), tell }.
export function makePlot({ children, below, props, find, ring, getText = () => "", whenSelected, whenHovered }) {
  const picture = svg("svg", { class: "plot-picture", role: "img", ...props }, children);
  const over = svg("svg", { class: "plot-over", "aria-hidden": "true" });
  const rings = over.appendChild(svg("g"));
  const layers = h("div", { class: "layers" }, below, picture, over);
  const told = h("p", { class: "hint readout", role: "status" });
  const node = h("div", { class: "plot" }, h("div", { class: "scrolls" }, layers), told);
  let marks = {};
  let at = null;
  let found = null;

  const locate = (event) => {
    const box = picture.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const tell = () => setText(told, found?.text ?? getText());
  const hover = oncePerFrame(() => {
    const before = found?.key;
    found = at && find(at);
    if (found?.key === before) return;
    whenHovered(found?.key ?? null);
    tell();
  });
  const drawRings = () => show(rings, MARKS.map((kind) => {
    const mark = marks[kind] && ring(marks[kind], kind);
    if (mark) setAttribute(mark, "class", `ring ${kind}`);
    return mark || null;
  }));

  picture.addEventListener("pointermove", (event) => {
    at = locate(event);
    hover();
  });
  picture.addEventListener("pointerleave", () => {
    at = null;
    hover();
  });
  picture.addEventListener("click", (event) => {
    const cell = find(locate(event));
    if (cell) whenSelected(cell.key);
  });

  return {
    node, layers, picture, over, drawRings, locate, tell,
    mark: (changes) => {
      marks = { ...marks, ...changes };
      drawRings();
    },
    setSize: (width, height, label) => {
      for (const layer of [picture, over]) {
        setAttribute(layer, "width", width);
        setAttribute(layer, "height", height);
      }
      layers.style.width = `${width}px`;
      setAttribute(picture, "aria-label", label);
    },
  };
}

// Cut a label to so many letters.
export const cutLabel = (text, letters) => (text.length > letters ? `${text.slice(0, Math.max(1, letters - 1))}…` : text);

// Make a text that ends at its place, or stands around it.
export const makeLabel = (x, y, text, anchor = null, kind = null) => svg("text", { x, y, "text-anchor": anchor, class: kind }, text);

// Of so many labels in a row, return the step at which they have room.
export const findStep = (needed_px, pitch_px) => Math.max(1, Math.ceil(needed_px / pitch_px));
