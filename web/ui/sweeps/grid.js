// Cells over axes, as the matrix and the heat map show them. However many they are, it is a handful of paths: one fill
// and one mark for each kind of place. Arrow keys move.

import { h, setAttribute, show, svg } from "../core/dom.js";
import { keepLast, layOut } from "./cells.js";
import { cutLabel, findStep, LETTER_PX, makeLabel, makePlot } from "./plot.js";

const TOP = 38;
const WORD_PX = 60; // a place that is so wide has its word
const STEPS = {
  ArrowRight: [1, 0],
  ArrowLeft: [-1, 0],
  ArrowDown: [0, 1],
  ArrowUp: [0, -1],
  PageDown: [0, 10],
  PageUp: [0, -10],
  Home: [-Infinity, 0],
  End: [Infinity, 0],
};

// Make a grid.
//
//   kinds    how places look: { name: its mark in a box of 16 × 16, all numbers lengths, or null }
//   choose   (model) => { axes, across, down, label }: what is laid out
//   measure  ({ count, columns, rows }, room) => [width, height] of a place
//   judge    (lists of the cells of each place, model) => [{ kind, word }]
//   describe (cells, model) => what is told of a place
//   pick     (cells, model) => the cell that stands for a place
//
// Returns { node, draw(model), mark(marks) }.
export function makeGrid({ kinds, choose, measure, judge, describe, pick, ...hear }) {
  const paths = Object.keys(kinds).map((kind) => [svg("path", { class: `cell-fill ${kind}` }), svg("path", { class: `cell-mark ${kind}` })]);
  const words = svg("g", { class: "cell-words" });
  const labels = svg("g", { class: "plot-label" });
  const grid = { model: null, laid: null, at: null };
  const plot = makePlot({
    ...hear,
    children: [paths, words, labels],
    props: { role: null, "aria-hidden": "true" },
    find,
    ring,
    getText: () => tell(grid.laid?.placeOf.get(grid.at)),
  });
  const box = plot.layers.parentElement;
  for (const [name, value] of Object.entries({ class: "grid", tabindex: 0, role: "group" })) box.setAttribute(name, value);
  box.addEventListener("keydown", move);

  const layOutAgain = keepLast((axes, across, down, count, room) => {
    const laid = layOut(grid.model.cells, axes, across, down);
    const { columns, rows, down: names } = laid;
    laid.left = Math.min(220, Math.max(40, ...[...rows, `${names.join(" · ")} ↓`].map((text) => text.length * LETTER_PX + 12)));
    [laid.wide, laid.high] = measure({ count, columns: laid.width, rows: rows.length }, Math.max(200, room - laid.left - 8));
    plot.setSize(laid.left + laid.width * laid.wide + 2, TOP + rows.length * laid.high + 2);
    drawLabels(laid, columns);
    return laid;
  });

  function draw(model) {
    grid.model = model;
    const { axes, across, down, label } = choose(model);
    grid.laid = layOutAgain(axes, across, down, model.cells.length, box.clientWidth || 800);
    setAttribute(box, "aria-label", `${label}. Arrow keys move, Enter selects; the table below has all cells.`);
    drawPlaces(grid.laid);
    plot.drawRings();
    plot.tell();
  }

  const listCells = (place) => place.numbers.map((number) => grid.model.cells[number]);
  const locate = ({ column, row }) => [grid.laid.left + column * grid.laid.wide, TOP + row * grid.laid.high];
  const tell = (place) => (place ? describe(listCells(place), grid.model) : "");

  function drawLabels({ left, wide, high, rows, across, down }, columns) {
    const step = findStep(Math.max(0, ...columns.map((label) => Math.min(12, label.length) * LETTER_PX + 6)), wide);
    const each = findStep(15, high);
    const letters = Math.max(12, Math.floor((step * wide - 6) / LETTER_PX));
    show(labels,
      makeLabel(left, 12, `${across} →`, null, "axis-name"),
      down.length > 0 && makeLabel(left - 6, 32, cutLabel(`${down.join(" · ")} ↓`, 30), "end", "axis-name"),
      columns.map((label, at) => at % step === 0 && makeLabel(left + at * wide + 2, 32, cutLabel(label, letters))),
      rows.map((label, at) => at % each === 0 && makeLabel(left - 6, TOP + (at + 0.5) * high + 4, cutLabel(label, 30), "end")));
  }

  function drawPlaces({ wide, high, places }) {
    const judged = judge(places.map(listCells), grid.model);
    const hasWords = wide >= WORD_PX;
    const size = Math.min(16, wide - 1, high - 1);
    const scale = (number) => String(Math.round(number * size * 6.25) / 100);
    const sized = Object.entries(kinds).map(([kind, mark]) => [kind, mark?.replace(/[\d.]+/g, scale)]);
    const marks = Object.fromEntries(sized);
    const drawn = Object.fromEntries(sized.map(([kind]) => [kind, ["", ""]]));
    const rectangle = `h${wide - 1}v${high - 1}h${1 - wide}z`;
    const [right, lower] = [hasWords ? 2 : (wide - 1 - size) / 2, (high - 1 - size) / 2];
    places.forEach((place, at) => {
      const [x, y] = locate(place);
      const { kind } = judged[at];
      drawn[kind][0] += `M${x} ${y}${rectangle}`;
      if (marks[kind]) drawn[kind][1] += `M${x + right} ${y + lower}${marks[kind]}`;
    });
    const setPath = (at) => (path, part) => setAttribute(paths[at][part], "d", path || null);
    Object.values(drawn).forEach((pair, at) => pair.forEach(setPath(at)));
    for (const [, mark] of paths) setAttribute(mark, "stroke-width", Math.max(1, size / 9));
    show(words, hasWords && places.map((place, at) => {
      const [x, y] = locate(place);
      const { kind, word } = judged[at];
      return word && makeLabel(x + (marks[kind] ? 21 : 6), y + high / 2 + 4, cutLabel(word, Math.floor((wide - 15) / LETTER_PX)), null, kind);
    }));
  }

  // --- marks ---------------------------------------------------------------------------------------------------------

  function ring(key) {
    const place = grid.laid?.placeOf.get(key);
    if (!place) return null;
    const [x, y] = locate(place);
    return svg("rect", { x: x - 1, y: y - 1, width: grid.laid.wide + 1, height: grid.laid.high + 1 });
  }

  function find({ x, y }) {
    if (!grid.laid) return null;
    const { left, wide, high, byPlace } = grid.laid;
    const place = byPlace.get(`${Math.floor((x - left) / wide)},${Math.floor((y - TOP) / high)}`);
    return place ? { key: pick(listCells(place), grid.model).key, text: tell(place) } : null;
  }

  function move(event) {
    const { laid } = grid;
    if (!laid || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEPS[event.key];
    const isChoice = event.key === "Enter" || event.key === " ";
    if (!step && !isChoice) return;
    event.preventDefault();
    if (isChoice) return grid.at && hear.whenSelected(grid.at);
    const [lastColumn, lastRow] = [laid.width - 1, laid.rows.length - 1];
    const { column, row } = laid.placeOf.get(grid.at) ?? { column: step[0] > 0 ? -1 : 0, row: 0 };
    const within = (at, last) => Math.max(0, Math.min(last, at));
    let [x, y] = [within(column + step[0], lastColumn), within(row + step[1], lastRow)];
    // Where a cell was left out of the matrix, the next one in the same direction is meant; from an end, inwards.
    const [right, down] = step.map((size) => (Number.isFinite(size) ? Math.sign(size) : -Math.sign(size)));
    while (x >= 0 && x <= lastColumn && y >= 0 && y <= lastRow && !laid.byPlace.has(`${x},${y}`)) [x, y] = [x + right, y + down];
    const place = laid.byPlace.get(`${x},${y}`);
    if (!place) return;
    grid.at = pick(listCells(place), grid.model).key;
    plot.mark({ focused: grid.at });
    plot.tell();
    plot.over.querySelector(".focused").scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  return { node: plot.node, draw, mark: plot.mark };
}
