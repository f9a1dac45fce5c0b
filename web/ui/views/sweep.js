// One sweep: its matrix live, its results, and plots that need no set-up. What is chosen stands in the address.
//
// All parts draw one model (see makeModel) and share one selection: `draw(model)` shows what is known, `mark(marks)` the
// selected, hovered, best and baseline cell, in every part at once.

import { debounce, h, makeId, setAttribute, setText, show } from "../core/dom.js";
import { getWhole } from "../core/api.js";
import { makeLiveList } from "../core/live.js";
import { say, showEmpty, showProblem } from "../core/notice.js";
import { changeQuery, readAddress } from "../core/router.js";
import { findFamily } from "../core/states.js";
import { writeCount } from "../core/format.js";
import { setTitle } from "../core/shell.js";
import { makeCellPane } from "../sweeps/cell.js";
import { chooseMetric, describeLack, findBest, getNumber, guessGoal, hasState, isWithin, listAxes, listMetrics, makeCell } from "../sweeps/cells.js";
import { countEnded, describeProgress, makeHeader } from "../sweeps/header.js";
import { makeHeatmap } from "../sweeps/heatmap.js";
import { makeMatrix } from "../sweeps/matrix.js";
import { chooseLanes, makeLimits, makeParallel, makeScales } from "../sweeps/parallel.js";
import { makePoints } from "../sweeps/points.js";
import { makeResults } from "../sweeps/results.js";
import { isLogSpaced, makeScale } from "../sweeps/scales.js";

const MANY_CELLS = 1000; // of more, only the matrix is drawn with each change, the rest once a second
const HEAVY_MS = 1000;

// Open the view.
export function open(outlet, { params }) {
  const state = { cells: [], byKey: new Map(), axes: null, sweep: null, model: null, hovered: null, drawn_ms: -Infinity, timer: 0, size: 0 };
  const place = h("div", { class: "sweep-place" }, h("p", { class: "hint" }, "Loading…"));
  show(outlet, place);
  setTitle(`Sweep ${params.id}`);
  const sweeps = makeLiveList({
    kinds: ["sweep"],
    load: async ({ signal }) => {
      const { data, change } = await getWhole(`api/sweep_runs/${encodeURIComponent(params.id)}`, {}, { signal });
      return { rows: [[String(data.id), data]], change };
    },
    getKey: (change) => (change.id === params.id ? change.id : null),
  });
  const cells = makeLiveList({
    kinds: ["cell"],
    load: async ({ signal }) => {
      const { data, change } = await getWhole(`api/sweep_runs/${encodeURIComponent(params.id)}/cells`, {}, { signal });
      return { rows: data.toSorted((one, other) => (one.id < other.id ? -1 : 1)).map((row) => [row.id, row]), change };
    },
    getKey: (change) => (change.parent === params.id ? change.id : null),
  });
  const parts = makeParts(state, { select, hover, change });

  sweeps.listen(() => {
    if (sweeps.state === "failed") return showProblem(place, `Sweep ${params.id}`, sweeps.problem, sweeps.reload);
    const next = sweeps.rows.get(params.id);
    if (!next) return state.sweep && showEmpty(place, "This sweep was deleted.");
    if (state.sweep?.completed_at === null && next.completed_at !== null) say(`Sweep ${next.name} has ended: ${describeProgress(next)}`);
    if (!parts.node.isConnected) show(place, parts.node);
    state.sweep = next;
    setTitle(`${next.name} · sweep ${next.id}`, { family: findFamily(next.status), progress: `${countEnded(next)}/${next.cell_count}` });
    const shape = JSON.stringify(next.matrix);
    if (state.shape !== shape) Object.assign(state, { shape, axes: listAxes(next.matrix) });
    drawSome();
  });

  cells.listen((changed) => {
    parts.cellsPlace.hidden = cells.state === "failed";
    if (cells.state === "failed") return showProblem(parts.wrong, "The cells of the sweep", cells.problem, cells.reload);
    show(parts.wrong);
    if (state.cells.length !== cells.rows.size) {
      state.cells = [...cells.rows.values()].map(makeCell);
      state.byKey = new Map(state.cells.map((cell) => [cell.key, cell]));
    } else {
      for (const key of changed) {
        const known = state.byKey.get(key);
        const next = makeCell(cells.rows.get(key), known.number);
        state.cells[known.number] = next;
        state.byKey.set(key, next);
      }
    }
    drawSome();
  });

  function drawSome() {
    if (!state.sweep) return;
    if (state.cells.length === 0) return parts.header.draw(state.sweep, null);
    const isMany = state.cells.length > MANY_CELLS;
    if (isMany && state.model === null) {
      state.model = makeModel(state); // the matrix stands there before the rest is drawn
      state.drawn_ms = performance.now() - HEAVY_MS + 50;
    }
    const wait_ms = isMany ? HEAVY_MS - (performance.now() - state.drawn_ms) : 0;
    if (wait_ms <= 0) return drawAll();
    state.timer ||= setTimeout(drawAll, wait_ms);
    parts.matrix.draw({ ...state.model, cells: state.cells, byKey: state.byKey });
    parts.header.draw(state.sweep, state.model);
  }

  function drawAll() {
    clearTimeout(state.timer);
    state.timer = 0;
    if (!state.sweep || state.cells.length === 0) return;
    state.model = makeModel(state);
    parts.draw(state.model);
    mark();
    state.drawn_ms = performance.now();
  }

  function mark() {
    const { best, base, selected } = state.model;
    parts.mark({ best: best?.key ?? null, base: base?.key ?? null, selected: selected?.key ?? null, hovered: state.hovered });
  }

  function select(key) {
    const number = key === null ? null : state.byKey.get(key)?.number;
    const isSame = String(number) === readAddress().query.get("cell");
    changeQuery({ cell: number, ...(isSame ? {} : { job: null, lines: null, stream: null }) });
    state.model = makeModel(state);
    parts.pane.show(state.model.selected, state.model);
    setAttribute(parts.body, "class", state.model.selected ? "sweep-body has-cell" : "sweep-body");
    mark();
  }

  function hover(key) {
    if (key === state.hovered || !state.model) return;
    state.hovered = key;
    mark();
  }

  // Change what is chosen, in the address and on the page.
  function change(changes) {
    changeQuery(changes);
    drawAll();
  }

  const resized = new ResizeObserver(debounce(() => {
    if (Math.abs(parts.cellsPlace.clientWidth - state.size) < 8) return;
    state.size = parts.cellsPlace.clientWidth;
    drawAll();
  }, 50));
  resized.observe(parts.cellsPlace);
  const ticking = setInterval(() => state.sweep && !state.sweep.completed_at && !document.hidden && parts.header.draw(state.sweep, state.model), 1000);
  return () => {
    resized.disconnect();
    clearInterval(ticking);
    clearTimeout(state.timer);
    for (const part of [sweeps, cells, parts.results, parts.pane]) part.close();
  };
}

// Read what is chosen from the address, and fill in what is not.
function makeModel({ sweep, cells, byKey, axes }) {
  const query = readAddress().query;
  const metrics = listMetrics(cells);
  const metric = metrics.includes(query.get("metric")) ? query.get("metric") : chooseMetric(cells, metrics);
  const goal = ["min", "max"].includes(query.get("goal")) ? query.get("goal") : guessGoal(metric);
  const varying = axes.filter(({ varies }) => varies);
  const names = [...axes.map(({ name }) => name), ...metrics];
  const choose = (key, usual, among = names) => (among.includes(query.get(key)) ? query.get(key) : usual);
  const readLog = (key) => ({ on: true, off: false })[query.get(key)] ?? null;
  const axisNames = varying.map(({ name }) => name);
  const heatX = choose("heatx", axisNames[0], axisNames);
  const options = {
    state: query.get("state"),
    cols: query.get("cols"),
    rows: query.get("rows"),
    x: choose("x", axisNames[0] ?? metrics[0]),
    logx: readLog("logx"),
    logy: readLog("logy"),
    heatX,
    heatY: choose("heaty", axisNames.find((name) => name !== heatX), axisNames),
  };
  if (options.heatY === heatX) options.heatY = axisNames.find((name) => name !== heatX);
  const lanes = chooseLanes(query.getAll("lanes").flatMap((text) => readJson(text, [])), axes, metrics, metric);
  const scales = makeScales(lanes, axes, cells);
  const limits = Object.fromEntries(Object.entries(readJson(query.get("limit"), {})).filter(([name, pair]) => scales.has(name) && Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite)));
  const best = findBest(cells, metric, goal);
  const find = (key) => (query.has(key) ? (cells[Number(query.get(key))] ?? null) : null);
  const isShown = makeTest({ options, metric, limits, scales });
  return {
    sweep, cells, byKey, axes, metrics, metric, goal, options, lanes, scales, limits, isShown, best,
    bestValue: best && getNumber(best, metric), selected: find("cell"), base: find("base"), sortText: query.get("sort"),
  };
}

const makeTest = ({ options, metric, limits, scales }) => (cell) => hasState(cell, options.state, metric) && isWithin(cell, limits, scales);

function readJson(text, otherwise) {
  try {
    return JSON.parse(text) ?? otherwise;
  } catch {
    return otherwise;
  }
}

// --- parts ------------------------------------------------------------------------------------------------------------

function makeParts(state, { select, hover, change }) {
  const hear = { whenSelected: select, whenHovered: hover };
  const whenLimited = (name, limit, isLast = true) => {
    const limits = name === null ? {} : { ...state.model.limits, [name]: limit };
    if (name !== null && limit === null) delete limits[name];
    if (isLast) return change({ limit: Object.keys(limits).length > 0 ? JSON.stringify(limits) : null });
    state.model = { ...state.model, limits };
    state.model.isShown = makeTest(state.model);
    parallel.drawLimited(state.model);
  };
  const header = makeHeader({ whenFiltered: (filter) => change({ state: filter }), whenSelected: select, getSweep: () => state.sweep });
  const matrix = makeMatrix(hear);
  const points = makePoints(hear);
  const heatmap = makeHeatmap(hear);
  const parallel = makeParallel({ ...hear, whenLimited });
  const limits = makeLimits({ whenLimited });
  const results = makeResults({ ...hear, whenSorted: (sort) => changeQuery({ sort }) });
  const pane = makeCellPane({ whenBased: (key) => change({ base: key === null ? null : state.byKey.get(key).number }), whenClosed: () => select(null) });

  const metric = makeSelect("Metric", (value) => change({ metric: value, goal: null, limit: null }));
  const goal = makeSelect("Best is", (value) => change({ goal: value }));
  const across = makeSelect("Across", (value) => change({ cols: value, rows: null }), "Matrix across");
  const down = makeSelect("Down", (value) => change({ rows: value }), "Matrix down");
  const x = makeSelect("Against", (value) => change({ x: value, logx: null }), "Plot against");
  const logX = makeSwitch("Log across", (isOn) => change({ logx: isOn ? "on" : "off" }));
  const logY = makeSwitch("Log up", (isOn) => change({ logy: isOn ? "on" : null }));
  const heatX = makeSelect("Across", (value) => change({ heatx: value }), "Heat map across");
  const heatY = makeSelect("Down", (value) => change({ heaty: value }), "Heat map down");
  const lanes = makeLanes((names) => change({ lanes: names === null ? null : JSON.stringify(names) }));
  const lack = h("button", { type: "button", class: "plain link", onclick: () => change({ state: "missing" }) });
  const seen = h("span", { class: "count", role: "status" });
  const all = h("button", { type: "button", onclick: () => change({ state: null, limit: null }) }, "Show all cells");
  const csv = h("button", { type: "button", onclick: () => downloadText(`sweep-${state.sweep.id}.csv`, results.toCsv()) }, "Download CSV");

  const matrixPart = makePart("Matrix", [across.node, down.node], matrix.node);
  const heatPart = makePart("Over two axes", [heatX.node, heatY.node], heatmap.node);
  const pointsPart = makePart("Against one axis", [x.node, logX.node, logY.node], points.node);
  const parallelPart = makePart("All axes", [lanes.node], h("div", null, parallel.node, limits.node));
  const table = makePart("Results", [seen, all, results.tools, csv], results.node);
  const cellsPlace = h("div", { class: "sweep-main" },
    h("div", { class: "bar" }, metric.node, goal.node, lack),
    matrixPart, h("div", { class: "sweep-plots" }, pointsPart, heatPart), parallelPart, table,
  );
  const body = h("div", { class: "sweep-body" }, cellsPlace, pane.node);
  const wrong = h("div");
  const node = h("div", { class: "sweep" }, header.node, wrong, body);

  function draw(model) {
    setAttribute(body, "class", model.selected ? "sweep-body has-cell" : "sweep-body");
    const varying = model.axes.filter((axis) => axis.varies).map(({ name }) => name);
    const names = [...model.axes.map((axis) => axis.name), ...model.metrics];
    header.draw(model.sweep, model);
    metric.draw(model.metrics, model.metric);
    goal.draw([["min", "the lowest value"], ["max", "the highest value"]], model.goal);
    setText(lack, describeLack(model.cells, model.metric));
    matrix.draw(model);
    const { across: columns, down: rows } = chooseMatrixAxes(model, varying);
    across.draw(varying, columns);
    down.draw(varying.filter((name) => name !== columns), rows);
    across.node.hidden = down.node.hidden = varying.length < 2;
    x.draw(names, model.options.x);
    const xValues = model.axes.find(({ name }) => name === model.options.x)?.values ?? model.cells.map((cell) => getNumber(cell, model.options.x));
    logX.draw(makeScale(xValues).canLog, model.options.logx ?? isLogSpaced(xValues));
    logY.draw(makeScale(model.cells.map((cell) => getNumber(cell, model.metric))).canLog, model.options.logy ?? false);
    points.draw(model);
    heatPart.hidden = varying.length < 2;
    if (varying.length >= 2) {
      heatX.draw(varying, model.options.heatX);
      heatY.draw(varying.filter((name) => name !== model.options.heatX), model.options.heatY);
      heatmap.draw(model);
    }
    parallelPart.hidden = model.lanes.length < 2;
    lanes.draw(names.filter((name) => name !== model.metric), model.lanes);
    if (model.lanes.length >= 2) {
      parallel.draw(model);
      limits.draw(model);
    }
    const count = model.cells.reduce((sum, cell) => sum + (model.isShown(cell) ? 1 : 0), 0);
    setText(seen, count === model.cells.length ? writeCount(count, "cell") : `${count.toLocaleString("en")} of ${writeCount(model.cells.length, "cell")}`);
    all.hidden = count === model.cells.length && !model.options.state && Object.keys(model.limits).length === 0;
    results.draw(model);
    pane.show(model.selected, model);
  }

  const mark = (marks) => [matrix, points, heatPart.hidden ? null : heatmap, parallelPart.hidden ? null : parallel, results].forEach((part) => part?.mark(marks));
  return { node, body, wrong, cellsPlace, header, matrix, results, pane, draw, mark };
}

function chooseMatrixAxes({ options, axes }, varying) {
  const longest = axes.filter((axis) => axis.varies).reduce((one, other) => (one && one.values.length >= other.values.length ? one : other), null);
  const across = varying.includes(options.cols) ? options.cols : longest?.name;
  const rest = varying.filter((name) => name !== across);
  return { across, down: rest.includes(options.rows) ? options.rows : rest.at(-1) };
}

function makePart(title, tools, content) {
  const id = makeId("part");
  return h("section", { class: "pane", "aria-labelledby": id }, h("div", { class: "bar" }, h("h2", { id }, title), tools), content);
}

// A select that keeps its options while they are the same. Options are names or [value, words].
function makeSelect(label, choose, name = label) {
  const select = h("select", { "aria-label": name, onchange: () => choose(select.value) });
  let told = "";
  return {
    node: h("label", { class: "bar" }, h("span", { class: "hint" }, label), select),
    draw: (options, value) => {
      const text = JSON.stringify(options);
      if (text !== told) show(select, options.map((each) => (Array.isArray(each) ? h("option", { value: each[0] }, each[1]) : h("option", { value: each }, each))));
      told = text;
      if (select.value !== value) select.value = value ?? "";
    },
  };
}

function makeSwitch(label, choose) {
  const box = h("input", { type: "checkbox", onchange: () => choose(box.checked) });
  const node = h("label", { class: "bar" }, box, label);
  return {
    node,
    draw: (isOffered, isOn) => {
      node.hidden = !isOffered;
      box.checked = isOn;
    },
  };
}

// The menu of axes that parallel coordinates show.
function makeLanes(choose) {
  const list = h("div", { class: "menu", popover: "auto", id: makeId("lanes") });
  let told = "";
  return {
    node: h("span", null, h("button", { type: "button", popovertarget: list.id }, "Axes"), list),
    draw: (names, lanes) => {
      const text = JSON.stringify([names, lanes]);
      if (text === told) return;
      told = text;
      const boxes = names.map((name) => h("input", { type: "checkbox", value: name, checked: lanes.includes(name), onchange: () => choose(boxes.filter((box) => box.checked).map((box) => box.value)) }));
      show(list, boxes.map((box) => h("label", null, box, box.value)), h("button", { type: "button", onclick: () => choose(null) }, "As at first"));
    },
  };
}

function downloadText(name, text) {
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
