// A metric against an axis: a point for each cell, and lines that join cells which differ in this axis alone.

import { setAttribute, show, svg } from "../core/dom.js";
import { writeCount } from "../core/format.js";
import { describeCell, describeLack, getNumber, getValue, keepLast } from "./cells.js";
import { cutLabel, findStep, LETTER_PX, makeLabel, makePlot } from "./plot.js";
import { makeScale, makeValueKey, writeNumber } from "./scales.js";

const [HIGH, LEFT, RIGHT, TOP, BOTTOM, INSET] = [280, 64, 16, 14, 240, 8];
const REACH_PX = 12;
const MOST_LINES = 60;

// Find the place nearest to a point, within reach; null where there is none. `places` are { key, x, y }.
export function findNearestPoint(places, x, y, reach = REACH_PX) {
  let nearest = null;
  let least = reach;
  for (const place of places) {
    const distance = Math.hypot(place.x - x, place.y - y);
    if (distance <= least) [nearest, least] = [place, distance];
  }
  return nearest;
}

// Make the scales of the plot, and list the cells that have a value.
function scalePoints({ metric, cells, axes, options }) {
  const shown = cells.filter((cell) => getNumber(cell, metric) !== null);
  const axis = axes.find(({ name }) => name === options.x);
  return {
    shown,
    x: makeScale(axis?.values ?? shown.map((cell) => getValue(cell, options.x)), { log: options.logx, count: 6 }),
    y: makeScale(shown.map((cell) => getNumber(cell, metric)), { log: options.logy ?? false }),
  };
}

// Make the plot. Returns { node, draw(model), mark(marks), scale(model) → { x, y } }.
export function makePoints(hear) {
  const frame = svg("g", { class: "plot-label" });
  const [lines, faint, dots] = ["plot-line", "plot-dots faint", "plot-dots"].map((kind) => svg("path", { class: kind }));
  const plot = makePlot({ ...hear, children: [frame, lines, faint, dots], ring, find });
  const state = { places: [], byKey: new Map(), model: null };

  const scale = keepLast(scalePoints);

  function draw(model) {
    state.model = model;
    const { metric, options } = model;
    const width = Math.max(280, plot.node.clientWidth || 560);
    const right = width - RIGHT;
    const { x, y, shown } = scale(model);
    const toX = (at) => round(LEFT + INSET + at * (right - LEFT - 2 * INSET));
    const toY = (at) => round(BOTTOM - at * (BOTTOM - TOP));
    state.places = [];
    for (const cell of shown) {
      const value = getNumber(cell, metric);
      const [across, up] = [x.place(getValue(cell, options.x)), y.place(value)];
      if (across !== null && up !== null) state.places.push({ key: cell.key, cell, value, x: toX(across), y: toY(up) });
    }
    state.byKey = new Map(state.places.map((each) => [each.key, each]));
    const words = `${metric} against ${options.x}: ${writeCount(shown.length, "cell")}; the table below has their values.`;
    plot.setSize(width, HIGH, `${words} ${describeLack(model.cells, metric)}`);
    const step = findStep(x.ticks.length * 22, right - LEFT);
    const letters = Math.max(4, Math.max(3, Math.floor((right - LEFT) / Math.max(1, x.ticks.length) / LETTER_PX)) * step);
    const nameOf = (name, { kind }) => `${name}${kind === "log" ? " (log)" : ""}`;
    const drawLine = ({ at, label }) => [
      svg("line", { x1: LEFT - 4, x2: right, y1: toY(at), y2: toY(at), class: "plot-grid" }),
      makeLabel(LEFT - 8, toY(at) + 4, cutLabel(label, 8), "end"),
    ];
    show(frame,
      y.ticks.map(drawLine),
      x.ticks.map(({ at, label }, index) => index % step === 0 && makeLabel(toX(at), BOTTOM + 16, cutLabel(label, letters), "middle")),
      makeLabel((LEFT + right) / 2, BOTTOM + 34, nameOf(options.x, x), "middle", "axis-name"),
      makeLabel(4, 10, nameOf(metric, y), null, "axis-name"));
    setAttribute(lines, "d", joinCells(state.places, model) || null);
    const parts = Map.groupBy(state.places, ({ cell }) => model.isShown(cell));
    for (const [path, isSeen] of [[dots, true], [faint, false]]) {
      setAttribute(path, "d", parts.get(isSeen)?.map((each) => `M${each.x} ${each.y}h0`).join(""));
    }
    plot.drawRings();
  }

  function ring(key, kind) {
    const place = state.byKey.get(key);
    if (!place) return null;
    const { x, y, value } = place;
    const circle = svg("circle", { cx: x, cy: y, r: kind === "selected" ? 8 : 6 });
    const makeBest = () => makeLabel(x + 9, Math.max(12, y - 6), `best ${writeNumber(value)}`, null, "plot-best");
    return svg("g", null, circle, kind === "best" && makeBest());
  }

  function find({ x, y }) {
    const place = findNearestPoint(state.places, x, y);
    return place && { key: place.key, text: describeCell(place.cell, state.model) };
  }

  return { node: plot.node, draw, mark: plot.mark, scale };
}

const round = (number) => Math.round(number * 10) / 10;

// Lines through the cells that agree in all other axes, where these lines are few.
function joinCells(places, { axes, options }) {
  const others = axes.filter(({ name, varies }) => varies && name !== options.x);
  if (!axes.some(({ name }) => name === options.x)) return "";
  const groups = Map.groupBy(places, ({ cell }) => others.map(({ name }) => makeValueKey(cell.row.args[name])).join());
  if (groups.size > MOST_LINES) return "";
  const join = (group) => group.toSorted((one, other) => one.x - other.x).map(({ x, y }) => `${x} ${y}`).join("L");
  return [...groups.values()].map((group) => `M${join(group)}`).join("");
}
