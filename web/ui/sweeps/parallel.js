// Parallel coordinates: a line for each cell over all axes and the metric, with limits drawn along the axes.
//
// A limit is a pair of values of its scale, so that it stays where it is when values come. Its ends can be drawn to the
// ends of an axis and take these in; it can be moved over lines, and a click on it or a button takes it away.

import { h, keepInStep, oncePerFrame, show, svg } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { describeCell, getNumber, getValue } from "./cells.js";
import { makeSelect } from "./controls.js";
import { BINS } from "./heatmap.js";
import { paintLines } from "./lines.js";
import { cutLabel, findStep, LETTER_PX, makeLabel, makePlot } from "./plot.js";
import { findBin, makeScale } from "./scales.js";

const [HIGH, SIDE, TOP, BOTTOM] = [320, 56, 34, 290];
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
export function makeParallel({ whenLimited, ...hear }) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const frame = svg("g", { class: "plot-label" });
  const limits = svg("g");
  const plot = makePlot({ ...hear, children: [frame], below: canvas, props: { class: "plot-picture parallels" }, find, ring });
  const { picture, locate } = plot;
  plot.over.prepend(limits);
  const state = { model: null, names: [], xs: [], lines: [], seen: [], byKey: new Map(), drag: null, width: 0 };
  const toY = (at) => BOTTOM - at * (BOTTOM - TOP);
  const toPlace = (y) => Math.min(1, Math.max(0, (BOTTOM - y) / (BOTTOM - TOP)));
  const getScale = (name) => state.model.scales.get(name);

  function draw(model) {
    const names = model.lanes;
    const width = Math.max(names.length * 64 + 2 * SIDE, plot.node.clientWidth || 560);
    const xs = names.map((_, at) => SIDE + (at * (width - 2 * SIDE)) / (names.length - 1));
    const scales = names.map((name) => model.scales.get(name));
    const known = model.cells.filter((cell) => getNumber(cell, model.metric) !== null);
    const listPlaces = (cell) => names.map((name, at) => scales[at].place(getValue(cell, name)));
    const lines = known.map((cell) => ({ key: cell.key, cell, ys: listPlaces(cell) })).filter(({ ys }) => !ys.includes(null));
    for (const { ys } of lines) ys.forEach((at, lane) => (ys[lane] = Math.round(toY(at) * 10) / 10));
    Object.assign(state, { model, names, width, xs, lines, byKey: new Map(lines.map((line) => [line.key, line])) });
    plot.setSize(width, HIGH, `Parallel coordinates of ${names.join(", ")}; limits can be set below, the table has the values`);
    drawLimited(model);
    drawAxes();
    plot.drawRings();
  }

  // Draw what depends on the limits. While one is drawn, only this is drawn anew.
  function drawLimited(model) {
    state.model = model;
    const { metric, goal, isShown } = model;
    const scale = getScale(metric);
    const batches = new Map(["faint", ...BINS].map((kind) => [kind, []]));
    state.seen = state.lines.filter(({ cell }) => isShown(cell));
    const seen = new Set(state.seen);
    for (const line of state.lines) {
      const at = scale.place(getNumber(line.cell, metric));
      batches.get(seen.has(line) ? BINS[findBin(goal === "min" ? 1 - at : at, BINS.length)] : "faint").push(line);
    }
    paintLines(canvas, [state.width, HIGH], [...batches], state.xs);
    drawLimits();
  }

  function drawAxes() {
    const letters = Math.max(6, Math.floor((state.xs[1] - state.xs[0]) / LETTER_PX));
    show(frame, state.names.map((name, at) => {
      const x = state.xs[at];
      const { ticks, kind } = getScale(name);
      const step = findStep(ticks.length * 15, BOTTOM - TOP);
      const title = makeLabel(x, 14, cutLabel(`${name}${kind === "log" ? " (log)" : ""}`, letters), "middle", "axis-name");
      title.append(svg("title", null, name));
      const drawTick = (tick) => [
        svg("line", { x1: x - 4, x2: x, y1: toY(tick.at), y2: toY(tick.at), class: "plot-axis" }),
        makeLabel(x + 6, toY(tick.at) - 4, cutLabel(tick.label, 9), null, "on-lines"),
      ];
      return [
        svg("line", { x1: x, x2: x, y1: TOP, y2: BOTTOM, class: "plot-axis" }),
        title,
        ticks.filter((_, index) => index % step === 0).map(drawTick),
        svg("rect", { x: x - BAND_PX, y: TOP - 8, width: 2 * BAND_PX, height: BOTTOM - TOP + 16, class: "band" }),
      ];
    }));
  }

  function ring(key) {
    return state.byKey.has(key) && svg("path", { d: `M${state.byKey.get(key).ys.map((y, at) => `${state.xs[at]} ${y}`).join("L")}` });
  }

  // --- limits --------------------------------------------------------------------------------------------------------

  // The ends of a limit on the screen: [top, bottom]; null where an axis has none.
  function findLimit(name) {
    if (state.drag?.limit && state.drag.name === name) return state.drag.limit;
    const given = state.model.limits[name];
    if (!given) return null;
    const [low, high] = given.map((position) => toY(Math.min(1, Math.max(0, getScale(name).toPlace(position)))));
    return [high - 1, low + 1];
  }

  function drawLimits() {
    show(limits, state.names.map((name, at) => {
      const [top, bottom] = findLimit(name) ?? [];
      const box = { x: state.xs[at] - 8, y: top - 2, width: 16, height: Math.max(4, bottom - top + 4) };
      return top !== undefined && svg("rect", { ...box, class: "limit" });
    }));
  }

  const findAxis = (x) => state.xs.findIndex((each) => Math.abs(each - x) <= BAND_PX);

  // Turn places on the screen into values of the scale. What reaches to the end of an axis takes its last value in.
  function readLimit({ name, limit: [high, low] }) {
    const scale = getScale(name);
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

  const tellLimit = oncePerFrame(() => state.drag?.isMoved && whenLimited(state.drag.name, readLimit(state.drag), false));

  picture.addEventListener("pointermove", (event) => {
    const { drag } = state;
    if (!drag) return;
    const { y } = locate(event);
    if (!drag.isMoved && Math.abs(y - drag.from) < CLICK_PX) return;
    Object.assign(drag, { isMoved: true, limit: moveLimit(drag.hold, drag.before, drag.from, y, [TOP, BOTTOM]) });
    tellLimit();
  });

  picture.addEventListener("pointerup", () => {
    const { drag } = state;
    state.drag = null;
    if (drag?.isMoved) whenLimited(drag.name, readLimit(drag), true);
    else if (drag?.before) whenLimited(drag.name, null, true);
  });
  picture.addEventListener("pointercancel", () => (state.drag = null));

  function find({ x, y }) {
    const line = state.drag || findAxis(x) >= 0 ? null : findNearestLine(state.seen, state.xs, x, y);
    return line && { key: line.key, text: describeCell(line.cell, state.model) };
  }

  return { node: plot.node, draw, drawLimited, mark: plot.mark };
}

// Make the limits as words and fields, for those who do not draw them. Returns { node, draw(model) }.
export function makeLimits({ whenLimited }) {
  const list = h("span", { class: "bar" });
  const add = makeSelect("", (name) => name && whenLimited(name, model.scales.get(name).ends, true), "Limit an axis");
  const clear = h("button", { onclick: () => whenLimited(null, null, true) }, "Clear all limits");
  const node = h("div", { class: "bar" }, add.node, list, clear);
  let model = null;

  function draw(next) {
    model = next;
    const names = Object.keys(model.limits);
    add.draw([["", "Limit an axis…"], ...model.lanes.filter((name) => !names.includes(name))], "");
    clear.hidden = names.length === 0;
    keepInStep(list, names, (name) => name, makeLimit, fillLimit);
  }

  function makeLimit(name) {
    const fields = ["from", "to"].map((word, at) => {
      const { kind, ticks } = model.scales.get(name);
      const set = () => field.value !== "" && whenLimited(name, model.limits[name].with(at, Number(field.value)), true);
      const props = { "aria-label": `${name} ${word}`, onchange: set };
      const makeChoices = () => ticks.map(({ label }, value) => h("option", { value }, label));
      const isChoice = kind === "category";
      const field = isChoice ? h("select", props, makeChoices()) : h("input", { ...props, type: "number", step: "any", class: "narrow" });
      return field;
    });
    const clear = { class: "plain", "aria-label": `Clear the limit of ${name}` };
    const button = makeButton("×", () => whenLimited(name, null, true), clear);
    const node = h("span", { class: "chip" }, name, fields[0], "to", fields[1], button);
    fillLimit(node, name);
    return node;
  }

  function fillLimit(node, name) {
    node.querySelectorAll("input, select").forEach((field, at) => {
      if (field !== document.activeElement) field.value = model.limits[name][at];
    });
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
