// A metric over two axes: the mean of the cells of each place, in seven steps of one colour, with the number where it fits.

import { h, show, svg } from "../core/dom.js";
import { describeCell, findBest, getNumber, keepLast } from "./cells.js";
import { makeGrid } from "./grid.js";
import { findBin, makeScale, writeNumber } from "./scales.js";

export const BINS = Array.from({ length: 7 }, (_, at) => `bin-${at}`);

const HIGH = 420; // all rows, where they are many

const measure = (most, room, count) => Math.min(most, Math.max(6, Math.floor(room / count)));

// Return the mean of the numbers of cells, null where there are none.
function findMean(cells, metric) {
  const numbers = cells.map((cell) => getNumber(cell, metric)).filter((number) => number !== null);
  return numbers.length === 0 ? null : numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

// Make the heat map, with its legend.
export function makeHeatmap(hear) {
  const legend = h("p", { class: "bar" });
  const chooseAxes = keepLast((axes, x, y) => axes.filter(({ name }) => name === x || name === y));

  function judge(places, { metric }) {
    const means = places.map((cells) => findMean(cells, metric));
    const scale = makeScale(means);
    drawLegend(means, metric, places.some(({ length }) => length > 1));
    const findKind = (mean) => BINS[findBin(scale.place(mean), BINS.length)];
    return means.map((mean) => (mean === null ? { kind: "none" } : { kind: findKind(mean), word: writeNumber(mean, 3) }));
  }

  function drawLegend(means, metric, isCrowded) {
    const known = means.filter((mean) => mean !== null);
    if (known.length === 0) return show(legend, "No cell has a value yet.");
    const [least, most] = [Math.min, Math.max].map((choose) => writeNumber(known.reduce((one, other) => choose(one, other))));
    const boxes = BINS.map((kind, at) => svg("rect", { x: at * 18, width: 17, height: 12, class: `cell-fill ${kind}` }));
    const words = [metric, isCrowded && "means of the cells of one place", known.length < means.length && "struck out: no value"];
    const scale = svg("svg", { width: BINS.length * 18, height: 12, "aria-hidden": "true" }, boxes);
    return show(legend, least, scale, most, h("span", { class: "hint" }, words.filter(Boolean).join("; ")));
  }

  const grid = makeGrid({
    ...hear,
    kinds: { ...Object.fromEntries(BINS.map((kind) => [kind, null])), none: "m4 12l8 -8" },
    choose: ({ axes, options: { heatX, heatY }, metric }) => ({
      axes: chooseAxes(axes, heatX, heatY),
      across: heatX,
      down: heatY,
      label: `${metric} over ${heatX} and ${heatY}`,
    }),
    measure: ({ columns, rows }, room) => [measure(88, room, columns), measure(28, HIGH, rows)],
    judge,
    describe: (cells, model) =>
      cells.length === 1
        ? describeCell(cells[0], model)
        : `${cells.length} cells: ${writeNumber(findMean(cells, model.metric) ?? NaN)}`,
    // Of several cells of one place, that with the best value stands for all.
    pick: (cells, { metric, goal }) => findBest(cells, metric, goal) ?? cells[0],
  });
  return { ...grid, node: h("div", { class: "plot" }, grid.node, legend) };
}
