// The matrix of a sweep as a live grid. However many cells, it is a handful of paths: one fill and one mark per state.

import { h, setAttribute, setText, show, svg } from "../core/dom.js";
import { FAMILIES } from "../core/states.js";
import { findLack, getNumber, layOutMatrix, nameCell } from "./cells.js";
import { cutLabel, makeLayers } from "./layers.js";
import { writeNumber } from "./scales.js";

const LETTER_PX = 7;
const [LEAST_PX, MOST_PX] = [9, 24];
const [WIDE_PX, HIGH_PX] = [92, 26];
const MANY_CELLS = 300; // of fewer, each tells its value in words

// The marks of states, in a box of 16 × 16; all numbers are lengths, so that they can be made smaller.
const MARKS = {
  waiting: "m6.5 5h3l1.5 1.5v3l-1.5 1.5h-3l-1.5 -1.5v-3z",
  running: "m6 4.5l5 3.5l-5 3.5z",
  done: "m4.5 8.5l2.5 2.5l4.5 -5.5",
  failed: "m4.5 4.5l7 7m0 -7l-7 7",
  cancelled: "m4.5 8h7",
  unknown: "m6 6l1 -1h2l1 1v1l-2 1.5v1m0 1.5v0.5",
};

const makeMark = (family, size) => MARKS[family].replace(/[\d.]+/g, (number) => String(Math.round(Number(number) * size * 6.25) / 100));

// Make the grid. `whenSelected(key)` and `whenHovered(key or null)` hear of cells.
//
// Returns { node, draw(model), mark(marks) }; see view.js for both.
export function makeMatrix({ whenSelected, whenHovered }) {
  const paths = new Map(Object.keys(FAMILIES).map((family) => [family, [svg("path", { class: `cell-fill ${family}` }), svg("path", { class: `cell-mark ${family}`, fill: "none" })]]));
  const labels = svg("g", { class: "plot-label" });
  const words = svg("g", { class: "cell-words" });
  const layers = makeLayers([...paths.values()].flat().concat(words, labels), { role: null, "aria-hidden": "true" });
  const told = h("p", { class: "hint readout", role: "status" });
  const box = h("div", { class: "matrix", tabindex: 0, role: "group", onkeydown: move, onfocus: () => tell(state.at) }, layers.node);
  const node = h("div", { class: "plot" }, box, told);
  const state = { model: null, shape: null, laid: null, at: null, marks: {}, byPlace: new Map() };

  function draw(model) {
    const isOther = state.laid?.axes !== model.axes || state.laid?.count !== model.cells.length || state.laid.across !== model.options.cols || state.laid.down !== model.options.rows;
    state.model = model;
    if (isOther) layOut();
    drawCells();
    drawRings();
    setAttribute(box, "aria-label", `Matrix of ${model.cells.length.toLocaleString("en")} cells. Arrow keys move, Enter selects; the table below has them all.`);
    if (state.at !== null) tell(state.at);
  }

  function layOut() {
    const { cells, axes, options } = state.model;
    state.laid = { axes, count: cells.length, across: options.cols, down: options.rows };
    const shape = (state.shape = layOutMatrix(cells, axes, { across: options.cols, down: options.rows }));
    const columns = shape.width ?? shape.columns.length;
    const isWide = cells.length <= MANY_CELLS;
    const left = Math.min(220, Math.max(40, ...shape.rows.map((label) => label.length * LETTER_PX + 8), shape.down.join(" · ").length * LETTER_PX + 30));
    const room = Math.max(200, (box.clientWidth || 800) - left - 8);
    const pitch = isWide ? WIDE_PX : Math.max(LEAST_PX, Math.min(MOST_PX, Math.floor(room / columns)));
    Object.assign(shape, { left, top: 38, isWide, pitchX: pitch, pitchY: isWide ? HIGH_PX : pitch, size: Math.min(16, pitch - 1), count: columns });
    state.byPlace = new Map(cells.map((cell) => [shape.places.get(cell.key).join(), cell]));
    layers.setSize(left + columns * shape.pitchX + 2, shape.top + shape.rows.length * shape.pitchY + 2);
    drawLabels(shape);
  }

  function drawLabels({ left, top, pitchX, pitchY, columns, rows, across, down }) {
    const room = Math.max(1, Math.ceil(Math.max(0, ...columns.map((label) => Math.min(12, label.length) * LETTER_PX + 6)) / pitchX));
    const each = Math.max(1, Math.ceil(15 / pitchY));
    const names = [
      svg("text", { x: left, y: 12, class: "axis-name" }, `${across} →`),
      down.length > 0 && svg("text", { x: left - 6, y: 32, "text-anchor": "end", class: "axis-name" }, `${down.join(" · ")} ↓`),
    ];
    show(
      labels,
      names,
      columns.map((label, at) => at % room === 0 && svg("text", { x: left + at * pitchX + 2, y: 32 }, cutLabel(label, Math.max(12, Math.floor((room * pitchX - 6) / LETTER_PX))))),
      rows.map((label, at) => at % each === 0 && svg("text", { x: left - 6, y: top + at * pitchY + pitchY / 2 + 4, "text-anchor": "end" }, cutLabel(label, 30))),
    );
  }

  const placeOf = (cell) => {
    const { left, top, pitchX, pitchY, places } = state.shape;
    const [column, row] = places.get(cell.key) ?? [0, 0];
    return [left + column * pitchX, top + row * pitchY];
  };

  function drawCells() {
    const { cells, metric } = state.model;
    const { pitchX, pitchY, size, isWide } = state.shape;
    const drawn = new Map([...paths.keys()].map((family) => [family, [[], []]]));
    const rectangle = `h${pitchX - 1}v${pitchY - 1}h${1 - pitchX}z`;
    const marks = new Map([...paths.keys()].map((family) => [family, makeMark(family, size)]));
    const lower = (pitchY - 1 - size) / 2;
    for (const cell of cells) {
      const [x, y] = placeOf(cell);
      const [fills, strokes] = drawn.get(cell.family);
      fills.push(`M${x} ${y}${rectangle}`);
      strokes.push(`M${isWide ? x + 2 : x + (pitchX - 1 - size) / 2} ${y + lower}${marks.get(cell.family)}`);
    }
    for (const [family, [fill, stroke]] of paths) {
      setAttribute(fill, "d", drawn.get(family)[0].join("") || null);
      setAttribute(stroke, "d", drawn.get(family)[1].join("") || null);
      setAttribute(stroke, "stroke-width", Math.max(1, size / 9));
    }
    show(words, isWide && cells.map((cell) => drawWord(cell, metric)));
  }

  function drawWord(cell, metric) {
    const [x, y] = placeOf(cell);
    const number = getNumber(cell, metric);
    const text = number !== null ? writeNumber(number, 4) : cell.family === "done" ? findLack(cell, metric) : cell.row.status;
    return svg("text", { x: x + 21, y: y + 17, class: cell.family }, cutLabel(text, 11));
  }

  // --- marks ---------------------------------------------------------------------------------------------------------

  function mark(marks) {
    state.marks = marks;
    if (state.shape) drawRings();
  }

  function drawRings() {
    const { pitchX, pitchY } = state.shape;
    const ring = (key, kind) => {
      const cell = state.model.byKey.get(key);
      if (!cell) return null;
      const [x, y] = placeOf(cell);
      return svg("rect", { x: x - 1, y: y - 1, width: pitchX + 1, height: pitchY + 1, class: `ring ${kind}`, fill: "none" });
    };
    const { best, base, hovered, selected } = state.marks;
    show(layers.over, ring(base, "base"), ring(best, "best"), ring(hovered, "hovered"), ring(state.at, "focused"), ring(selected, "selected"));
  }

  function tell(key) {
    const cell = state.model?.byKey.get(key);
    if (!cell) return setText(told, "");
    const { axes, metric, best } = state.model;
    const number = getNumber(cell, metric);
    const value = number === null ? "" : `, ${metric} = ${writeNumber(number)}`;
    setText(told, `${nameCell(cell, axes)}: ${cell.row.status}${value}${best === cell ? ", the best" : ""}`);
  }

  function findCell({ x, y }) {
    if (!state.shape) return null;
    const { left, top, pitchX, pitchY } = state.shape;
    return state.byPlace.get(`${Math.floor((x - left) / pitchX)},${Math.floor((y - top) / pitchY)}`) ?? null;
  }

  layers.hear({
    find: findCell,
    whenHovered: (cell) => {
      whenHovered(cell?.key ?? null);
      tell(cell?.key ?? state.at);
    },
    whenPicked: (cell) => {
      state.at = cell.key;
      whenSelected(cell.key);
    },
  });

  const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1], PageDown: [0, 10], PageUp: [0, -10] };

  function move(event) {
    if (!state.shape || event.ctrlKey || event.metaKey || event.altKey) return;
    const { places, rows, count } = state.shape;
    if (event.key === "Enter" || event.key === " ") {
      if (state.at) whenSelected(state.at);
      event.preventDefault();
      return;
    }
    const step = STEPS[event.key];
    if (!step && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const [column, row] = places.get(state.at) ?? places.get(state.marks.selected) ?? [step?.[0] > 0 ? -1 : 0, 0];
    const along = step ?? [event.key === "Home" ? -1 : 1, 0];
    const from = step ? [column + along[0], row + along[1]] : [event.key === "Home" ? 0 : count - 1, row];
    const turn = step ? along : [-along[0], 0];
    focusCell(from.map((each, at) => Math.max(0, Math.min((at === 0 ? count : rows.length) - 1, each))), turn, [count, rows.length]);
  }

  // Go to the cell of a place, or where it was left out of the matrix to the next one in the same direction.
  function focusCell([column, row], [stepX, stepY], [columns, rows]) {
    for (; column >= 0 && column < columns && row >= 0 && row < rows; column += Math.sign(stepX), row += Math.sign(stepY)) {
      const cell = state.byPlace.get(`${column},${row}`);
      if (!cell) continue;
      state.at = cell.key;
      drawRings();
      tell(cell.key);
      layers.over.querySelector(".focused")?.scrollIntoView({ block: "nearest", inline: "nearest" });
      return;
    }
  }

  return { node, draw, mark };
}
