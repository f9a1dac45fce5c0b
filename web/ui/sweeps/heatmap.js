// A metric over two axes: the mean of the cells of each place, in seven steps of one colour, with the number where it fits.

import { h, setAttribute, setText, show, svg } from "../core/dom.js";
import { getNumber, nameCell } from "./cells.js";
import { cutLabel, makeLayers } from "./layers.js";
import { findBin, makeScale, makeValueKey, writeNumber, writeValue } from "./scales.js";

export const BINS = 7;
const [LEFT_MOST, TOP, LETTER_PX] = [160, 40, 7];
const HIGHEST_PX = 420;

// Group cells by the values of two axes: [{ column, row, cells, numbers }].
function groupCells(cells, across, down, metric) {
  const [columns, rows] = [across, down].map(({ values }) => new Map(values.map((value, at) => [makeValueKey(value), at])));
  const groups = new Map();
  for (const cell of cells) {
    const [column, row] = [columns.get(makeValueKey(cell.row.args[across.name])), rows.get(makeValueKey(cell.row.args[down.name]))];
    if (column === undefined || row === undefined) continue;
    const key = `${column},${row}`;
    if (!groups.has(key)) groups.set(key, { column, row, cells: [], numbers: [] });
    const group = groups.get(key);
    group.cells.push(cell);
    const number = getNumber(cell, metric);
    if (number !== null) group.numbers.push(number);
  }
  return [...groups.values()];
}

const findMean = (numbers) => (numbers.length === 0 ? null : numbers.reduce((sum, number) => sum + number, 0) / numbers.length);

// Make the heat map. Returns { node, draw(model), mark(marks) }.
export function makeHeatmap({ whenSelected, whenHovered }) {
  const fills = Array.from({ length: BINS }, (_, bin) => svg("path", { class: `bin-${bin}` }));
  const missing = svg("path", { class: "bin-none", fill: "none" });
  const labels = svg("g", { class: "plot-label" });
  const numbers = svg("g", { class: "heat-numbers" });
  const layers = makeLayers([fills, missing, numbers, labels]);
  const legend = h("p", { class: "bar" });
  const told = h("p", { class: "hint readout" });
  const node = h("div", { class: "plot" }, h("div", { class: "scrolls" }, layers.node), legend, told);
  const state = { model: null, marks: {}, byPlace: new Map(), placeOf: new Map(), shape: null };

  function draw(model) {
    state.model = model;
    const { axes, options, metric, cells } = model;
    const [across, down] = [options.heatX, options.heatY].map((name) => axes.find((axis) => axis.name === name));
    const groups = groupCells(cells, across, down, metric).map((group) => ({ ...group, mean: findMean(group.numbers) }));
    const scale = makeScale(groups.map(({ mean }) => mean));
    const shape = (state.shape = measure(node.clientWidth || 560, across, down));
    state.byPlace = new Map(groups.map((group) => [`${group.column},${group.row}`, group]));
    state.placeOf = new Map(groups.flatMap((group) => group.cells.map((cell) => [cell.key, group])));
    layers.setSize(shape.left + across.values.length * shape.wide + 4, TOP + down.values.length * shape.high + 4, `${metric} over ${across.name} and ${down.name}; the table below has the values`);
    drawPlaces(groups, scale, shape);
    drawNames(across, down, shape);
    drawLegend(groups, scale, metric);
    drawRings();
  }

  function drawPlaces(groups, scale, { left, wide, high }) {
    const rectangle = `h${wide - 1}v${high - 1}h${1 - wide}z`;
    const drawn = Array.from({ length: BINS }, () => []);
    const none = [];
    for (const { column, row, mean } of groups) {
      const [x, y] = [left + column * wide, TOP + row * high];
      if (mean === null) none.push(`M${x} ${y}${rectangle}l${wide - 1} ${high - 1}`);
      else drawn[findBin(scale.place(mean), BINS)].push(`M${x} ${y}${rectangle}`);
    }
    fills.forEach((fill, bin) => setAttribute(fill, "d", drawn[bin].join("") || null));
    setAttribute(missing, "d", none.join("") || null);
    const fits = wide >= 44 && high >= 16;
    show(
      numbers,
      fits &&
        groups.map(({ column, row, mean }) => {
          const isDark = mean !== null && findBin(scale.place(mean), BINS) >= 4;
          return mean === null ? null : svg("text", { x: left + (column + 0.5) * wide, y: TOP + (row + 0.5) * high + 4, "text-anchor": "middle", class: isDark ? "on-dark" : null }, writeNumber(mean, 3));
        }),
    );
  }

  function drawNames(across, down, { left, wide, high }) {
    const widest = Math.max(...across.values.map((value) => Math.min(10, writeValue(value).length))) * LETTER_PX + 6;
    const [eachColumn, eachRow] = [Math.max(1, Math.ceil(widest / wide)), Math.max(1, Math.ceil(15 / high))];
    show(
      labels,
      svg("text", { x: left, y: 12, class: "axis-name" }, `${across.name} →`),
      svg("text", { x: left - 6, y: 32, "text-anchor": "end", class: "axis-name" }, cutLabel(`${down.name} ↓`, Math.floor(left / LETTER_PX))),
      across.values.map((value, at) => at % eachColumn === 0 && svg("text", { x: left + at * wide + 2, y: 32 }, cutLabel(writeValue(value), Math.max(10, Math.floor((eachColumn * wide) / LETTER_PX))))),
      down.values.map((value, at) => at % eachRow === 0 && svg("text", { x: left - 6, y: TOP + (at + 0.5) * high + 4, "text-anchor": "end" }, cutLabel(writeValue(value), Math.floor(left / LETTER_PX)))),
    );
  }

  function drawLegend(groups, scale, metric) {
    const known = groups.filter(({ mean }) => mean !== null);
    if (known.length === 0) return show(legend, "No cell has a value yet.");
    const means = known.map(({ mean }) => mean);
    const boxes = fills.map((_, bin) => svg("rect", { x: bin * 18, width: 17, height: 12, class: `bin-${bin}` }));
    const crowd = known.some(({ cells }) => cells.length > 1) ? ", means of the cells of one place" : "";
    show(legend, h("span", null, writeNumber(means.reduce((one, other) => Math.min(one, other)))), svg("svg", { width: BINS * 18, height: 12, "aria-hidden": "true" }, boxes), h("span", null, writeNumber(means.reduce((one, other) => Math.max(one, other)))), h("span", { class: "hint" }, `${metric}${crowd}${known.length < groups.length ? "; struck out: no value" : ""}`));
  }

  function mark(marks) {
    state.marks = marks;
    drawRings();
  }

  function drawRings() {
    if (!state.shape) return;
    const { left, wide, high } = state.shape;
    const ring = (key, kind) => {
      const group = state.placeOf.get(key);
      return group && svg("rect", { x: left + group.column * wide - 1, y: TOP + group.row * high - 1, width: wide + 1, height: high + 1, class: `ring ${kind}`, fill: "none" });
    };
    const { best, base, hovered, selected } = state.marks;
    show(layers.over, ring(base, "base"), ring(best, "best"), ring(hovered, "hovered"), ring(selected, "selected"));
  }

  function findGroup({ x, y }) {
    if (!state.shape) return null;
    const { left, wide, high } = state.shape;
    return state.byPlace.get(`${Math.floor((x - left) / wide)},${Math.floor((y - TOP) / high)}`) ?? null;
  }

  // Of several cells of one place, that with the best value stands for all.
  function findFirst(group) {
    const { metric, goal } = state.model;
    const known = group.cells.filter((cell) => getNumber(cell, metric) !== null);
    const sign = goal === "min" ? 1 : -1;
    return known.toSorted((one, other) => sign * (getNumber(one, metric) - getNumber(other, metric)))[0] ?? group.cells[0];
  }

  layers.hear({
    find: findGroup,
    whenHovered: (group) => {
      whenHovered(group ? findFirst(group).key : null);
      if (!group) return setText(told, "");
      const one = group.cells.length === 1 ? nameCell(group.cells[0], state.model.axes) : `${group.cells.length} cells`;
      setText(told, `${one}: ${group.mean === null ? "no value" : writeNumber(group.mean)}`);
    },
    whenPicked: (group) => whenSelected(findFirst(group).key),
  });
  return { node, draw, mark };
}

function measure(width, across, down) {
  const widest = Math.max(down.name.length + 2, ...down.values.map((value) => writeValue(value).length));
  const left = Math.min(LEFT_MOST, Math.max(48, widest * LETTER_PX + 10));
  const wide = Math.min(88, Math.max(6, Math.floor((width - left - 8) / across.values.length)));
  const high = Math.min(28, Math.max(6, Math.floor(HIGHEST_PX / down.values.length)));
  return { left, wide, high };
}
