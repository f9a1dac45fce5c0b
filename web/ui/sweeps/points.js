// A metric against an axis: a point for each cell, and lines that join cells which differ in this axis alone.

import { h, setAttribute, setText, show, svg } from "../core/dom.js";
import { describeLack, getNumber, getValue, nameCell } from "./cells.js";
import { cutLabel, makeLayers } from "./layers.js";
import { makeScale, makeValueKey, writeNumber } from "./scales.js";

const [HIGH, LEFT, RIGHT, TOP, BOTTOM] = [280, 64, 16, 14, 40];
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

// Draw the frame of a plot: ticks and names of both scales.
function drawFrame(place, { width, x, y, xName, yName, high = HIGH }) {
  const [right, bottom] = [width - RIGHT, high - BOTTOM];
  const letters = Math.max(3, Math.floor((right - LEFT) / Math.max(1, x.ticks.length) / 7));
  const each = Math.max(1, Math.ceil((x.ticks.length * 22) / (right - LEFT)));
  show(
    place,
    y.ticks.map(({ at, label }) => {
      const height = bottom - at * (bottom - TOP);
      return [svg("line", { x1: LEFT - 4, x2: right, y1: height, y2: height, class: "plot-grid" }), svg("text", { x: LEFT - 8, y: height + 4, "text-anchor": "end" }, cutLabel(label, 8))];
    }),
    x.ticks.map(({ at, label }, index) => index % each === 0 && svg("text", { x: LEFT + 8 + at * (right - LEFT - 16), y: bottom + 16, "text-anchor": "middle" }, cutLabel(label, Math.max(4, letters * each)))),
    svg("text", { x: (LEFT + right) / 2, y: bottom + 34, "text-anchor": "middle", class: "axis-name" }, `${xName}${x.kind === "log" ? " (log)" : ""}`),
    svg("text", { x: 4, y: 10, class: "axis-name" }, `${yName}${y.kind === "log" ? " (log)" : ""}`),
  );
}

// Make the plot. Returns { node, draw(model), mark(marks) }.
export function makePoints({ whenSelected, whenHovered }) {
  const frame = svg("g", { class: "plot-label" });
  const lines = svg("path", { class: "plot-line", fill: "none" });
  const faint = svg("path", { class: "plot-dots faint" });
  const dots = svg("path", { class: "plot-dots" });
  const layers = makeLayers([frame, lines, faint, dots]);
  const told = h("p", { class: "hint readout" });
  const node = h("div", { class: "plot" }, layers.node, told);
  const state = { places: [], byKey: new Map(), model: null, marks: {} };

  function draw(model) {
    state.model = model;
    const { metric, cells, options } = model;
    const width = Math.max(280, node.clientWidth || 560);
    const axis = model.axes.find(({ name }) => name === options.x);
    const shown = cells.filter((cell) => getNumber(cell, metric) !== null);
    const x = makeScale(axis?.values ?? shown.map((cell) => getValue(cell, options.x)), { log: options.logx, count: 6 });
    const y = makeScale(shown.map((cell) => getNumber(cell, metric)), { log: options.logy ?? false });
    state.places = placeCells(shown, x, y, width, options.x, metric);
    state.byKey = new Map(state.places.map((each) => [each.key, each]));
    layers.setSize(width, HIGH, `${metric} against ${options.x}: ${shown.length} cells; the table below has their values. ${describeLack(cells, metric)}`);
    drawFrame(frame, { width, x, y, xName: options.x, yName: metric });
    setAttribute(lines, "d", joinCells(state.places, model, options.x) || null);
    const draws = (isSeen) => state.places.filter((place) => model.isShown(place.cell) === isSeen).map((place) => `M${place.x} ${place.y}h0`).join("") || null;
    setAttribute(dots, "d", draws(true));
    setAttribute(faint, "d", draws(false));
    drawRings();
  }

  function mark(marks) {
    state.marks = marks;
    drawRings();
  }

  function drawRings() {
    const ring = (key, kind, radius) => {
      const place = state.byKey.get(key);
      return place ? svg("circle", { cx: place.x, cy: place.y, r: radius, class: `ring ${kind}`, fill: "none" }) : null;
    };
    const { best, base, hovered, selected } = state.marks;
    const star = state.byKey.get(best);
    show(
      layers.over,
      ring(base, "base", 7),
      star && [svg("circle", { cx: star.x, cy: star.y, r: 6, class: "ring best", fill: "none" }), svg("text", { x: star.x + 9, y: Math.max(12, star.y - 6), class: "plot-best" }, `best ${writeNumber(star.value)}`)],
      ring(hovered, "hovered", 6),
      ring(selected, "selected", 8),
    );
  }

  layers.hear({
    find: ({ x, y }) => findNearestPoint(state.places, x, y),
    whenHovered: (place) => {
      whenHovered(place?.key ?? null);
      setText(told, place ? `${nameCell(place.cell, state.model.axes)}: ${state.model.metric} = ${writeNumber(place.value)}` : "");
    },
    whenPicked: (place) => whenSelected(place.key),
  });
  return { node, draw, mark };
}

function placeCells(cells, x, y, width, xName, metric) {
  const [right, bottom] = [width - RIGHT, HIGH - BOTTOM];
  const places = [];
  for (const cell of cells) {
    const value = getNumber(cell, metric);
    const [across, up] = [x.place(getValue(cell, xName)), y.place(value)];
    if (across === null || up === null) continue;
    places.push({ key: cell.key, cell, value, x: round(LEFT + 8 + across * (right - LEFT - 16)), y: round(bottom - up * (bottom - TOP)) });
  }
  return places;
}

const round = (number) => Math.round(number * 10) / 10;

// Lines through the cells that agree in all other axes, where these lines are few.
function joinCells(places, { axes }, xName) {
  const others = axes.filter(({ name, varies }) => varies && name !== xName);
  if (!axes.some(({ name }) => name === xName)) return "";
  const groups = Map.groupBy(places, ({ cell }) => others.map(({ name }) => makeValueKey(cell.row.args[name])).join());
  if (groups.size > MOST_LINES) return "";
  return [...groups.values()]
    .map((group) => group.toSorted((one, other) => one.x - other.x).map(({ x, y }, at) => `${at === 0 ? "M" : "L"}${x} ${y}`).join(""))
    .join("");
}
