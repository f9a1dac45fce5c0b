// One sweep: its matrix live, its results, and plots that need no set-up. What is chosen stands in the address.
//
// All parts draw one model (see makeModel) and share one selection: `draw(model)` shows what is known, `mark(marks)` the
// selected, hovered, best and baseline cell, in every part at once. Of many cells, parts out of sight are not drawn.

import { debounce, h, makeCalm, makeId, setAttribute, setText, show } from "../core/dom.js";
import { loadList, makeLiveList } from "../core/live.js";
import { say, showEmpty, showProblem } from "../core/notice.js";
import { changeQuery, readAddress } from "../core/router.js";
import { findFamily } from "../core/states.js";
import { writeCount } from "../core/format.js";
import { setTitle } from "../core/shell.js";
import { makeCellPane } from "../sweeps/cell.js";
import { chooseAxes, chooseMetric, describeLack, findBest, getNumber, guessGoal } from "../sweeps/cells.js";
import { hasState, isWithin, listAxes, listMetrics, makeCell } from "../sweeps/cells.js";
import { makeMenu, makeSelect, makeSwitch } from "../sweeps/controls.js";
import { countEnded, describeProgress, makeHeader } from "../sweeps/header.js";
import { makeHeatmap } from "../sweeps/heatmap.js";
import { makeMatrix } from "../sweeps/matrix.js";
import { chooseLanes, makeLimits, makeParallel, makeScales } from "../sweeps/parallel.js";
import { makePoints } from "../sweeps/points.js";
import { makeResults } from "../sweeps/results.js";

const MANY_CELLS = 1000; // of more, only what is in sight is drawn, the matrix so often, the rest so often
const MATRIX_MS = 100;
const REST_MS = 1000;

// Open the view.
export function open(outlet, { params }) {
  const state = { cells: [], byKey: new Map(), axes: null, sweep: null, model: null, hovered: null };
  const place = h("div", null, h("p", { class: "hint" }, "Loading…"));
  const path = `api/sweep_runs/${encodeURIComponent(params.id)}`;
  show(outlet, place);
  setTitle(`Sweep ${params.id}`);
  const sortCells = (rows) => rows.toSorted((one, other) => (one.id < other.id ? -1 : 1));
  const sweeps = makeLiveList({
    kinds: ["sweep"],
    load: loadList(path, {}, (row) => String(row.id), (row) => [row]),
    getKey: (change) => (change.id === params.id ? change.id : null),
  });
  const cells = makeLiveList({
    kinds: ["cell"],
    load: loadList(`${path}/cells`, {}, (row) => row.id, sortCells),
    getKey: (change) => (change.parent === params.id ? change.id : null),
  });
  const parts = makeParts(state, { select, hover, change });
  const isMany = () => state.cells.length > MANY_CELLS;

  sweeps.listen(() => {
    if (sweeps.state === "failed") return showProblem(place, `Sweep ${params.id}`, sweeps.problem, sweeps.reload);
    const next = sweeps.rows.get(params.id);
    if (!next) return state.sweep && showEmpty(place, "This sweep was deleted.");
    if (state.sweep?.completed_at === null && next.completed_at !== null) say(`Sweep ${next.name} has ended: ${describeProgress(next)}`);
    if (!parts.node.isConnected) show(place, parts.node);
    if (JSON.stringify(state.sweep?.matrix) !== JSON.stringify(next.matrix)) state.axes = listAxes(next.matrix);
    state.sweep = next;
    setTitle(`${next.name} · sweep ${next.id}`, { family: findFamily(next.status), progress: `${countEnded(next)}/${next.cell_count}` });
    return drawSome();
  });

  cells.listen((changed) => {
    parts.main.hidden = cells.state === "failed";
    if (cells.state === "failed") return showProblem(parts.wrong, "The cells of the sweep", cells.problem, cells.reload);
    show(parts.wrong);
    const isWhole = state.cells.length !== cells.rows.size || changed.size === cells.rows.size;
    if (isWhole) {
      state.cells = [...cells.rows.values()].map(makeCell);
      state.byKey = new Map(state.cells.map((cell) => [cell.key, cell]));
      return drawSome();
    }
    for (const key of changed) {
      const cell = makeCell(cells.rows.get(key), state.byKey.get(key).number);
      state.cells[cell.number] = cell;
      state.byKey.set(key, cell);
    }
    return drawSome();
  });

  function drawSome() {
    if (!state.sweep) return;
    parts.header.draw(state.sweep, state.model);
    if (state.cells.length === 0) return;
    if (!isMany()) return drawAll();
    if (state.model) matrixCalm.ask();
    restCalm.ask();
  }

  const matrixCalm = makeCalm(() => parts.matrix.draw({ ...state.model, cells: state.cells, byKey: state.byKey }), MATRIX_MS);
  const restCalm = makeCalm(() => drawAll(), REST_MS);

  function drawAll(isWhole = !isMany()) {
    if (!state.sweep || state.cells.length === 0) return;
    state.model = makeModel(state);
    parts.draw(state.model, isWhole);
    mark();
  }

  function mark() {
    const { best, base, selected } = state.model;
    parts.mark({ best: best?.key ?? null, base: base?.key ?? null, selected: selected?.key ?? null, hovered: state.hovered });
  }

  function select(key) {
    const number = key === null ? null : state.byKey.get(key)?.number;
    const isSame = String(number) === readAddress().query.get("cell");
    changeQuery({ cell: number, ...(isSame ? {} : { job: null, lines: null, stream: null }) });
    state.model = { ...state.model, selected: state.cells[number] ?? null };
    parts.showCell(state.model);
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

  const ending = new AbortController();
  const { signal } = ending;
  const resized = new ResizeObserver(debounce(() => {
    if (Math.abs(parts.main.clientWidth - (state.width ?? 0)) < 8) return;
    state.width = parts.main.clientWidth;
    drawAll();
  }, 50));
  resized.observe(parts.main);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(), { signal });
  addEventListener("beforeprint", () => drawAll(true), { signal });
  const ticking = setInterval(() => {
    if (state.sweep?.completed_at === null && !document.hidden) parts.header.draw(state.sweep, state.model);
  }, 1000);
  return () => {
    ending.abort();
    resized.disconnect();
    clearInterval(ticking);
    for (const calm of [matrixCalm, restCalm]) calm.stop();
    for (const part of [sweeps, cells, parts]) part.close();
  };
}

// Read what is chosen from the address, and fill in what is not.
function makeModel({ sweep, cells, byKey, axes }) {
  const query = readAddress().query;
  const metrics = listMetrics(cells);
  const metric = metrics.includes(query.get("metric")) ? query.get("metric") : chooseMetric(cells, metrics);
  const goal = ["min", "max"].includes(query.get("goal")) ? query.get("goal") : guessGoal(metric);
  const varying = axes.filter(({ varies }) => varies);
  const axisNames = varying.map(({ name }) => name);
  const names = [...axes.map(({ name }) => name), ...metrics];
  const choose = (key, usual, among = names) => (among.includes(query.get(key)) ? query.get(key) : usual);
  const readLog = (key) => ({ on: true, off: false })[query.get(key)] ?? null;
  const heatX = choose("heatx", axisNames[0], axisNames);
  const others = axisNames.filter((name) => name !== heatX);
  const [columns, ...rows] = varying.length > 1 ? chooseAxes(varying, query.get("cols"), query.get("rows")) : varying;
  const options = {
    state: query.get("state"),
    cols: columns?.name,
    rows: rows.at(-1)?.name,
    x: choose("x", axisNames[0] ?? metrics[0]),
    logx: readLog("logx"),
    logy: readLog("logy"),
    heatX,
    heatY: choose("heaty", others[0], others),
  };
  const lanes = chooseLanes(query.getAll("lanes").flatMap((text) => readJson(text, [])), axes, metrics, metric);
  const scales = makeScales(lanes, axes, cells);
  const isLimit = ([name, pair]) => scales.has(name) && Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite);
  const limits = Object.fromEntries(Object.entries(readJson(query.get("limit"), {})).filter(isLimit));
  const best = findBest(cells, metric, goal);
  const find = (key) => (query.has(key) ? (cells[Number(query.get(key))] ?? null) : null);
  return withTest({
    sweep, cells, byKey, axes, axisNames, names, metrics, metric, goal, options, lanes, scales, limits, best,
    bestValue: best && getNumber(best, metric), selected: find("cell"), base: find("base"), getSort: () => readAddress().query.get("sort"),
  });
}

function withTest(model) {
  const { options, metric, limits, scales } = model;
  return { ...model, isShown: (cell) => hasState(cell, options.state, metric) && isWithin(cell, limits, scales) };
}

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
  const whenLimited = (name, limit, isLast) => {
    const { [name]: _old, ...others } = name === null ? {} : state.model.limits;
    const limits = limit === null ? others : { ...others, [name]: limit };
    if (isLast) return change({ limit: Object.keys(limits).length > 0 ? JSON.stringify(limits) : null });
    state.model = withTest({ ...state.model, limits });
    return parallel.drawLimited(state.model);
  };
  const openCell = (key) => {
    select(key);
    pane.node.scrollIntoView({ block: "nearest" });
  };
  const header = makeHeader({ whenFiltered: (filter) => change({ state: filter }), whenSelected: openCell });
  const matrix = makeMatrix(hear);
  const heatmap = makeHeatmap(hear);
  const points = makePoints(hear);
  const parallel = makeParallel({ ...hear, whenLimited });
  const limits = makeLimits({ whenLimited });
  const results = makeResults({ ...hear, whenSorted: (sort) => changeQuery({ sort }) });
  const pane = makeCellPane({
    whenBased: (key) => change({ base: key === null ? null : state.byKey.get(key).number }),
    whenClosed: () => select(null),
  });
  const lack = h("button", { class: "plain link", onclick: () => change({ state: "missing" }) });
  const seen = h("span", { class: "count", role: "status" });
  const all = h("button", { onclick: () => change({ state: null, limit: null }) }, "Show all cells");

  const makeChoice = (label, name, list, read, write) => {
    const select = makeSelect(label, (value) => change(write(value)), name);
    const draw = (model) => {
      select.node.hidden = list(model).length < 2;
      select.draw(list(model), read(model));
    };
    return { node: select.node, draw };
  };
  const makeLog = (label, key, words) => {
    const box = makeSwitch(label, (isOn) => change({ [key]: words[Number(isOn)] }));
    return { node: box.node, draw: (model) => box.draw(points.scale(model)[key.at(-1)]) };
  };
  const lanes = makeMenu("Axes", (names) => change({ lanes: names && JSON.stringify(names) }));
  const not = (name) => (each) => each !== name;
  const choices = [
    makeChoice("Metric", "Metric", ({ metrics }) => metrics, ({ metric }) => metric, (metric) => ({ metric, goal: null, limit: null })),
    makeChoice("Best is", "Best is", () => [["min", "the lowest value"], ["max", "the highest value"]], ({ goal }) => goal, (goal) => ({ goal })),
  ];
  const hasTwo = ({ axisNames }) => axisNames.length > 1;
  const drawLines = (model) => [parallel, limits].forEach((part) => part.draw(model));
  const lines = { node: h("div", null, parallel.node, limits.node), mark: parallel.mark, draw: drawLines };
  const drawLanes = (model) => lanes.draw(model.names.filter(not(model.metric)), model.lanes);
  const listDown = (across) => ({ axisNames, options }) => axisNames.filter(not(options[across]));
  const sections = [
    makePart("Matrix", matrix, [
      makeChoice("Across", "Matrix across", ({ axisNames }) => axisNames, ({ options }) => options.cols, (cols) => ({ cols, rows: null })),
      makeChoice("Down", "Matrix down", listDown("cols"), ({ options }) => options.rows, (rows) => ({ rows })),
    ]),
    makePart("Against one axis", points, [
      makeChoice("Against", "Plot against", ({ names }) => names, ({ options }) => options.x, (x) => ({ x, logx: null })),
      makeLog("Log across", "logx", ["off", "on"]),
      makeLog("Log up", "logy", [null, "on"]),
    ]),
    makePart("Over two axes", heatmap, [
      makeChoice("Across", "Heat map across", ({ axisNames }) => axisNames, ({ options }) => options.heatX, (heatx) => ({ heatx })),
      makeChoice("Down", "Heat map down", listDown("heatX"), ({ options }) => options.heatY, (heaty) => ({ heaty })),
    ], hasTwo),
    makePart("All axes", lines, [{ node: lanes.node, draw: drawLanes }], (model) => model.lanes.length > 1),
    makePart("Results", results, [{ node: h("span", { class: "bar" }, seen, all, results.tools), draw: drawCount }]),
  ];
  const [matrixPart, pointsPart, heatPart, ...rest] = sections.map((part) => part.node);
  const main = h("div", { class: "sweep-main" },
    h("div", { class: "bar" }, choices.map((choice) => choice.node), lack),
    matrixPart, h("div", { class: "sweep-plots" }, pointsPart, heatPart), rest);
  const body = h("div", { class: "sweep-body" }, main, pane.node);
  const wrong = h("div");
  const node = h("div", { class: "sweep" }, header.node, wrong, body);

  function drawCount(model) {
    const count = model.cells.filter(model.isShown).length;
    const most = writeCount(model.cells.length, "cell");
    setText(seen, count === model.cells.length ? most : `${count.toLocaleString("en")} of ${most}`);
    all.hidden = count === model.cells.length && !model.options.state && Object.keys(model.limits).length === 0;
  }

  function showCell(model) {
    setAttribute(body, "class", model.selected ? "sweep-body has-cell" : "sweep-body");
    pane.show(model.selected, model);
  }

  return {
    node, main, wrong, header, matrix, showCell,
    draw: (model, isWhole) => {
      showCell(model);
      header.draw(model.sweep, model);
      for (const choice of choices) choice.draw(model);
      setText(lack, describeLack(model.cells, model.metric));
      sections.forEach((section, at) => section.draw(model, isWhole || at === 0));
    },
    mark: (marks) => sections.forEach((section) => section.mark(marks)),
    close: () => [...sections, results, pane].forEach((part) => part.close()),
  };
}

// Make a part with a heading and what is chosen for it. What is out of sight is drawn when it comes into sight.
function makePart(title, content, tools, isOffered = () => true) {
  const id = makeId("part");
  const head = h("div", { class: "bar" }, h("h2", { id }, title), tools.map((tool) => tool.node));
  const node = h("section", { class: "pane", "aria-labelledby": id }, head, content.node);
  let isSeen = false;
  let late = null; // the model that is to be drawn
  const drawNow = () => {
    const model = late;
    late = null;
    for (const tool of tools) tool.draw(model);
    content.draw(model);
  };
  const observer = new IntersectionObserver(([entry]) => {
    isSeen = entry.isIntersecting;
    if (isSeen && late) drawNow();
  }, { rootMargin: "200px" });
  return {
    node,
    draw: (model, isWhole) => {
      observer.observe(node); // not before: as long as there is nothing, all of it is in sight
      node.hidden = !isOffered(model);
      late = node.hidden ? null : model;
      if (late && (isSeen || isWhole)) drawNow();
    },
    mark: content.mark,
    close: () => observer.disconnect(),
  };
}
