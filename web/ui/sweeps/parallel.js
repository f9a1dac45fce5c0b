// Parallel coordinates: a line for each cell over all axes and the metric, with limits drawn along the axes.
//
// A limit is a pair of values of its scale, so that it stays where it is when values come. Its ends can be drawn to the
// ends of an axis and take these in; it can be moved over lines, and a click on it, Escape or a button takes it away.

import { h, oncePerFrame, setAttribute, setText, show, svg } from "../core/dom.js";
import { getNumber, getValue, nameCell } from "./cells.js";
import { BINS } from "./heatmap.js";
import { cutLabel, makeLayers } from "./layers.js";
import { findBin, makeScale, writeNumber } from "./scales.js";

const [HIGH, SIDE, TOP, BOTTOM] = [320, 56, 34, 30];
const [BAND_PX, END_PX, CLICK_PX, REACH_PX] = [14, 7, 3, 8];

// Find the line that passes nearest to a point; null beyond reach. `lines` are { key, ys }, `xs` the places of the axes.
export function findNearestLine(lines, xs, x, y, reach = REACH_PX) {
  const after = Math.min(xs.length - 1, Math.max(1, xs.findIndex((each) => each >= x)));
  const [from, to] = [xs[after - 1], xs[after]];
  if (x < from - reach || x > xs.at(-1) + reach) return null;
  const part = Math.min(1, Math.max(0, (x - from) / (to - from)));
  let nearest = null;
  let least = reach;
  for (const line of lines) {
    const distance = Math.abs(line.ys[after - 1] + part * (line.ys[after] - line.ys[after - 1]) - y);
    if (distance < least) [nearest, least] = [line, distance];
  }
  return nearest;
}

// Say what a press on an axis takes hold of: "low" or "high" end of its limit, "all" of it, or "new" where there is none.
export function findHold(y, limit) {
  if (limit === null) return "new";
  const [top, bottom] = limit;
  if (Math.abs(y - top) <= END_PX && (y <= top || bottom - top > END_PX)) return "high";
  if (Math.abs(y - bottom) <= END_PX) return "low";
  return y > top && y < bottom ? "all" : "new";
}

// Return where a limit is after the pointer moved from one place to another: [top, bottom] within the axis.
export function moveLimit(hold, limit, from, to, [top, bottom]) {
  const inside = (y) => Math.min(bottom, Math.max(top, y));
  if (hold === "new") return [inside(Math.min(from, to)), inside(Math.max(from, to))];
  if (hold === "all") {
    const by = Math.max(top - limit[0], Math.min(bottom - limit[1], to - from));
    return [limit[0] + by, limit[1] + by];
  }
  const [fixed, moved] = hold === "high" ? [limit[1], limit[0]] : [limit[0], limit[1]];
  const end = inside(moved + to - from);
  return [Math.min(fixed, end), Math.max(fixed, end)];
}

// Make the plot. `whenLimited(name, [from, to] or null, isLast)` hears of limits; not last while they are drawn.
//
// Returns { node, draw(model), drawLimited(model), mark(marks) }.
export function makeParallel({ whenSelected, whenHovered, whenLimited }) {
  const faint = svg("path", { class: "parallel faint", fill: "none" });
  const paths = Array.from({ length: BINS }, (_, bin) => svg("path", { class: `parallel line-${bin}`, fill: "none" }));
  const frame = svg("g", { class: "plot-label" });
  const limits = svg("g");
  const rings = svg("g");
  const layers = makeLayers([faint, paths, frame], { class: "plot-picture parallels" });
  const { picture, locate } = layers;
  layers.over.append(limits, rings);
  const told = h("p", { class: "hint readout" });
  const node = h("div", { class: "plot" }, h("div", { class: "scrolls" }, layers.node), told);
  const state = { model: null, names: [], xs: [], lines: [], seen: [], byKey: new Map(), scales: new Map(), marks: {}, drag: null };
  const [top, bottom] = [TOP, HIGH - BOTTOM];
  const toY = (at) => bottom - at * (bottom - top);
  const toPlace = (y) => Math.min(1, Math.max(0, (bottom - y) / (bottom - top)));

  function draw(model) {
    state.model = model;
    const names = (state.names = model.lanes);
    const width = Math.max(names.length * 64 + 2 * SIDE, node.clientWidth || 560);
    state.xs = names.map((_, at) => (names.length === 1 ? width / 2 : SIDE + (at * (width - 2 * SIDE)) / (names.length - 1)));
    state.scales = model.scales;
    layers.setSize(width, HIGH, `Parallel coordinates of ${names.join(", ")}; limits can be set below, the table has the values`);
    placeLines(model);
    state.byKey = new Map(state.lines.map((line) => [line.key, line]));
    drawLines(model);
    drawAxes();
    drawLimits();
    drawRings();
  }

  function placeLines({ cells, metric }) {
    const scales = state.names.map((name) => state.scales.get(name));
    state.lines = [];
    for (const cell of cells) {
      if (getNumber(cell, metric) === null) continue;
      const ats = state.names.map((name, at) => scales[at].place(getValue(cell, name)));
      if (ats.includes(null)) continue;
      const ys = ats.map((at) => Math.round(toY(at) * 10) / 10);
      state.lines.push({ key: cell.key, cell, ys, d: ys.map((y, at) => `${at === 0 ? "M" : "L"}${Math.round(state.xs[at])} ${y}`).join("") });
    }
  }

  function drawLines({ metric, goal, isShown }) {
    const bins = Array.from({ length: BINS }, () => []);
    const out = [];
    state.seen = [];
    for (const line of state.lines) {
      if (!isShown(line.cell)) {
        out.push(line.d);
        continue;
      }
      const at = state.scales.get(metric).place(getNumber(line.cell, metric)) ?? 0;
      bins[findBin(goal === "min" ? 1 - at : at, BINS)].push(line.d);
      state.seen.push(line);
    }
    paths.forEach((path, bin) => setAttribute(path, "d", bins[bin].join("") || null));
    setAttribute(faint, "d", out.join("") || null);
    const width = state.lines.length > 2000 ? 0.5 : state.lines.length > 200 ? 0.8 : 1.4;
    setAttribute(picture, "stroke-width", width);
  }

  function drawAxes() {
    const room = Math.max(6, Math.floor((state.xs.length > 1 ? state.xs[1] - state.xs[0] : 200) / 7));
    const axes = state.names.map((name, at) => {
      const x = state.xs[at];
      const { ticks, kind } = state.scales.get(name);
      const each = Math.max(1, Math.ceil((ticks.length * 15) / (bottom - top)));
      return [
        svg("line", { x1: x, x2: x, y1: top, y2: bottom, class: "plot-axis" }),
        svg("text", { x, y: 14, "text-anchor": "middle", class: "axis-name" }, cutLabel(`${name}${kind === "log" ? " (log)" : ""}`, room), svg("title", null, name)),
        ticks.map((tick, index) => index % each === 0 && [svg("line", { x1: x - 4, x2: x, y1: toY(tick.at), y2: toY(tick.at), class: "plot-axis" }), svg("text", { x: x + 6, y: toY(tick.at) - 4, class: "on-lines" }, cutLabel(tick.label, 9))]),
        svg("rect", { x: x - BAND_PX, y: top - 8, width: 2 * BAND_PX, height: bottom - top + 16, class: "band" }),
      ];
    });
    show(frame, axes);
  }

  // The ends of a limit on the screen: [top, bottom]; null where an axis has none.
  function findLimit(name) {
    const limit = state.drag?.name === name ? state.drag.limit : null;
    if (limit) return limit;
    const given = state.model.limits[name];
    if (!given) return null;
    const scale = state.scales.get(name);
    const toAt = (position) => (scale.kind === "category" ? (scale.ticks.length === 1 ? 0.5 : position / Math.max(1, scale.ticks.length - 1)) : (scale.place(position) ?? (position <= 0 ? 0 : 1)));
    const [low, high] = given.map((position) => toY(Math.min(1, Math.max(0, toAt(position)))));
    return [high - 1, low + 1];
  }

  function drawLimits() {
    const boxes = state.names.map((name, at) => {
      const limit = findLimit(name);
      if (!limit) return null;
      return svg("rect", { x: state.xs[at] - 8, y: limit[0] - 2, width: 16, height: Math.max(4, limit[1] - limit[0] + 4), class: "limit", "data-name": name });
    });
    show(limits, boxes);
  }

  function mark(marks) {
    state.marks = marks;
    drawRings();
  }

  function drawRings() {
    const ring = (key, kind) => {
      const line = state.byKey.get(key);
      return line ? svg("path", { d: line.d, class: `ring ${kind}`, fill: "none" }) : null;
    };
    const { best, base, hovered, selected } = state.marks;
    show(rings, ring(base, "base"), ring(best, "best"), ring(selected, "selected"), ring(hovered, "hovered"));
  }

  // --- limits --------------------------------------------------------------------------------------------------------

  const findAxis = (x) => state.xs.findIndex((each) => Math.abs(each - x) <= BAND_PX);

  // Turn places on the screen into values of the scale. What reaches to the end of an axis takes its last value in.
  function readLimit(name, [high, low]) {
    const scale = state.scales.get(name);
    const [from, to] = [scale.read(toPlace(low)), scale.read(toPlace(high))];
    return scale.kind === "category" ? [Math.ceil(from - 0.3), Math.floor(to + 0.3)] : [from, to];
  }

  picture.addEventListener("pointerdown", (event) => {
    const { x, y } = locate(event);
    const at = findAxis(x);
    if (at < 0 || event.button !== 0) return;
    event.preventDefault();
    const name = state.names[at];
    const limit = findLimit(name);
    state.drag = { name, from: y, before: limit, limit, hold: findHold(y, limit), isMoved: false };
    picture.setPointerCapture(event.pointerId);
  });

  const tellLimit = oncePerFrame(() => state.drag?.isMoved && whenLimited(state.drag.name, readLimit(state.drag.name, state.drag.limit), false));

  function drag({ y }) {
    const { hold, before, from } = state.drag;
    if (!state.drag.isMoved && Math.abs(y - from) < CLICK_PX) return;
    state.drag.isMoved = true;
    state.drag.limit = moveLimit(hold, before, from, y, [top, bottom]);
    drawLimits();
    tellLimit();
  }

  picture.addEventListener("pointerup", () => {
    if (!state.drag) return;
    const { name, isMoved, limit, before } = state.drag;
    state.drag = null;
    if (isMoved) whenLimited(name, readLimit(name, limit), true);
    else if (before) whenLimited(name, null, true);
  });
  picture.addEventListener("pointercancel", () => (state.drag = null));

  // --- lines ---------------------------------------------------------------------------------------------------------

  picture.addEventListener("pointermove", (event) => state.drag && drag(locate(event)));
  layers.hear({
    find: ({ x, y }) => (state.drag || findAxis(x) >= 0 || state.names.length < 2 ? null : findNearestLine(state.seen, state.xs, x, y)),
    whenHovered: (line) => {
      whenHovered(line?.key ?? null);
      setText(told, line ? `${nameCell(line.cell, state.model.axes)}: ${state.model.metric} = ${writeNumber(getNumber(line.cell, state.model.metric))}` : "");
    },
    whenPicked: (line) => whenSelected(line.key),
  });
  // While a limit is drawn, only lines are drawn anew.
  function drawLimited(model) {
    state.model = model;
    drawLines(model);
    drawLimits();
  }

  return { node, draw, drawLimited, mark };
}

// Make the limits as words and fields, for those who do not draw them. Returns { node, draw(model) }.
export function makeLimits({ whenLimited }) {
  const list = h("div", { class: "bar" });
  const add = h("select", { "aria-label": "Limit an axis", onchange: () => begin(add.value) });
  const clear = h("button", { type: "button", onclick: () => whenLimited(null, null, true) }, "Clear all limits");
  const node = h("div", { class: "bar" }, add, list, clear);
  let model = null;

  function begin(name) {
    add.value = "";
    const scale = model.scales.get(name);
    whenLimited(name, scale.kind === "category" ? [0, Math.max(0, scale.ticks.length - 1)] : [scale.read(0), scale.read(1)], true);
  }

  function draw(next) {
    model = next;
    const names = Object.keys(model.limits);
    const free = model.lanes.filter((name) => !names.includes(name));
    const wanted = ["", ...free].join("\n");
    if (add.dataset.names !== wanted) {
      add.dataset.names = wanted;
      show(add, h("option", { value: "" }, "Limit an axis…"), free.map((name) => h("option", { value: name }, name)));
      add.value = "";
    }
    clear.hidden = names.length === 0;
    if (list.contains(document.activeElement) && list.children.length === names.length) return;
    show(list, names.map(makeLimit));
  }

  function makeLimit(name) {
    const scale = model.scales.get(name);
    const fields = ["from", "to"].map((word, at) => {
      const change = (value) => whenLimited(name, model.limits[name].map((each, index) => (index === at ? value : each)), true);
      const given = model.limits[name][at];
      if (scale?.kind !== "category") {
        return h("input", { type: "number", step: "any", class: "narrow", "aria-label": `${name} ${word}`, value: given, onchange: (event) => Number.isFinite(event.target.valueAsNumber) && change(event.target.valueAsNumber) });
      }
      const select = h("select", { "aria-label": `${name} ${word}`, onchange: (event) => change(Number(event.target.value)) }, scale.ticks.map(({ label }, value) => h("option", { value }, label)));
      select.value = given;
      return select;
    });
    return h("span", { class: "chip" }, name, " ", fields[0], " to ", fields[1], h("button", { type: "button", class: "plain", "aria-label": `Clear the limit of ${name}`, onclick: () => whenLimited(name, null, true) }, "×"));
  }

  return { node, draw };
}

// Choose the axes of the plot: those that vary, and the metric as the last one.
export function chooseLanes(wanted, axes, metrics, metric) {
  const known = new Set([...axes.map(({ name }) => name), ...metrics]);
  const lanes = wanted.filter((name) => known.has(name) && name !== metric);
  const usual = axes.filter(({ varies }) => varies).map(({ name }) => name);
  return [...(lanes.length > 0 ? lanes : usual), metric];
}

// Make the scales of all axes and metrics of a plot.
export function makeScales(names, axes, cells, count = 5) {
  return new Map(
    names.map((name) => {
      const axis = axes.find((each) => each.name === name);
      return [name, makeScale(axis?.values ?? cells.map((cell) => getNumber(cell, name)), { log: axis ? null : false, count })];
    }),
  );
}
