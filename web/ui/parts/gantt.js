// The timeline of a run's jobs: every attempt has its bar, waiting apart from running, and running bars grow.
//
// A thin line is a job that waits for others, a hollow bar one that waits in the queue, a full bar one that ran.

import { h, keepInStep, oncePerFrame, setAttributes, setText, svg } from "../core/dom.js";
import { FAMILIES, findFamily, writeState } from "../core/states.js";
import { findOffset, getNow, toMs, whenZoneChanges, writeClockTime, writeDuration, writeTime } from "../core/format.js";
import { cutText, makeTools, whenPrinted, whenResized } from "./canvas.js";
import { findState } from "../run/facts.js";
import { readNeed } from "./layout.js";

const ROW_PX = 24;
const AXIS_PX = 22;
const NAME_PX = 24; // here names begin, behind their marks
const TICK_PX = 90; // so far apart are the times of the axis at least
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const SIXTIETHS = [1, 2, 5, 10, 15, 30];
const UNITS = [[SECOND, SIXTIETHS], [MINUTE, SIXTIETHS], [HOUR, [1, 2, 3, 6, 12]], [DAY, [1, 2, 7, 14, 28]]];
const STEPS_MS = UNITS.flatMap(([unit, counts]) => counts.map((count) => count * unit));
const SHORTEST_MS = 2 * SECOND;
const [ZOOM, MOVE] = [1.6, 0.2];
const KINDS = {
  blocked: ["waits for others", "waited for other jobs"],
  queued: ["waits in the queue", "waited in the queue"],
  ran: ["runs"],
};

// List the bars of a job: [{ kind (blocked, queued or ran), from, to (now for those that are open), isOpen, attempt }].
export function listBars(job, run, ends, now) {
  const start = toMs(run.started_at) ?? now;
  const bars = [];
  const add = (kind, from, to, attempt, isOpen) => to > from && bars.push({ kind, from, to, attempt, isOpen });
  const attempts = job.attempts.filter((attempt) => attempt.submitted_at || attempt.started_at);
  const isWaiting = !job.ended_at && findFamily(job.status) !== "cancelled" && !toMs(run.completed_at);
  if (attempts.length === 0) {
    if (isWaiting) add("blocked", start, now, null, true);
    return bars;
  }
  for (const attempt of attempts) {
    const begun = toMs(attempt.started_at);
    const ended = toMs(attempt.ended_at);
    const submitted = toMs(attempt.submitted_at) ?? begun;
    const waited = begun ?? ended ?? now;
    const needed = job.depends_on.map((need) => ends.get(readNeed(need)) ?? (begun ? submitted : waited));
    const free = Math.min(waited, Math.max(submitted, ...needed));
    add("blocked", submitted, free, attempt, begun === null && ended === null && free === waited);
    add("queued", free, waited, attempt, begun === null && ended === null);
    if (begun !== null) bars.push({ kind: "ran", from: begun, to: Math.max(begun, ended ?? now), attempt, isOpen: ended === null });
  }
  return bars;
}

// Return the times of an axis: a step that fits, and those it falls on in the zone that is chosen.
export function listTicks(from, to, width) {
  const step = STEPS_MS.find((each) => ((to - from) / each) * TICK_PX <= width) ?? STEPS_MS.at(-1);
  const offset = findOffset(from) * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from + offset) / step) * step - offset; at <= to; at += step) ticks.push(at);
  return { step, ticks };
}

// Make a timeline. Returns { node, setRun, select, close }; whenSelected(name) hears which job was chosen.
export function makeGantt({ label, whenSelected = () => {} }) {
  const chart = { run: null, jobs: [], ends: new Map(), selected: null, width: 0, names: 0, view: null };
  const axis = svg("g", { class: "axis" });
  const nowLine = svg("line", { class: "now" });
  const rows = svg("g", { role: "list", "aria-label": label });
  const canvas = svg("svg", { class: "chart" }, axis, rows, nowLine);
  const spoken = `${label}; + and − change the scale of time, arrow keys move it`;
  const scroller = h("div", { class: "scroller", tabindex: 0, role: "group", "aria-label": spoken }, canvas);
  const legend = Object.entries(KINDS).map(([kind, [words]]) => h("span", null, h("i", { class: kind }), words));
  const tools = makeTools("Scale of time", [
    ["−", "More time", () => zoom(1 / ZOOM)],
    ["+", "Less time", () => zoom(ZOOM)],
    ["Fit", "All of the time", fit],
  ]);
  const head = h("div", { class: "bar" }, h("span", { class: "legend small" }, legend), tools);
  const node = h("div", { class: "gantt" }, head, scroller);
  const drawSoon = oncePerFrame(draw);

  function setRun(run) {
    const ends = new Map(run.jobs.map((job) => [job.name, toMs(job.ended_at)]));
    Object.assign(chart, { run, jobs: run.jobs, ends });
    draw();
  }

  const isRunning = () => chart.run !== null && !chart.run.completed_at;

  // All of the time: from the first attempt to the end, or to now. SLURM's times are whole seconds, so that a job may
  // have begun before its run.
  function findSpan(now) {
    const attempts = chart.jobs.flatMap((job) => job.attempts);
    const moments = attempts.flatMap((attempt) => [attempt.submitted_at, attempt.started_at, attempt.ended_at]);
    const times = moments.map(toMs).filter((each) => each !== null);
    const start = toMs(chart.run.started_at) ?? now;
    const end = toMs(chart.run.completed_at) ?? start;
    const from = times.reduce((one, other) => Math.min(one, other), start);
    const to = isRunning() ? now : times.reduce((one, other) => Math.max(one, other), end);
    return { from, to: Math.max(to, from + SHORTEST_MS) };
  }

  function fit() {
    chart.view = null;
    draw();
  }

  // Show other times: `factor` as many, those at `share` of the width stay; then all moved by a part of the width.
  function zoom(factor, share = 0.5, moved = 0) {
    if (chart.run === null) return;
    const { from, to } = chart.view ?? findSpan(getNow());
    const length = Math.min(400 * DAY, Math.max(SHORTEST_MS, (to - from) / factor));
    const begin = from + (to - from - length) * share + length * moved;
    chart.view = { from: begin, to: begin + length };
    drawSoon();
  }

  function draw() {
    const { run, jobs, width } = chart;
    if (run === null || width === 0) return;
    const now = getNow();
    const span = chart.view ?? findSpan(now);
    chart.names = Math.round(Math.min(180, width * 0.3));
    const room = Math.max(1, width - chart.names - 8);
    const x = (at) => chart.names + ((at - span.from) / (span.to - span.from)) * room;
    const height = AXIS_PX + jobs.length * ROW_PX;
    setAttributes(canvas, { width, height, viewBox: chart.isPrinted ? `0 0 ${width} ${height}` : null });
    const first = chart.isPrinted ? 0 : Math.max(0, Math.floor(scroller.scrollTop / ROW_PX) - 5);
    const last = chart.isPrinted ? jobs.length : first + Math.ceil((scroller.clientHeight || 600) / ROW_PX) + 10;
    drawAxis(span, x, room, height);
    const update = (row, job) => updateRow(row, job, x, now);
    keepInStep(rows, jobs.slice(first, last), (job) => job.name, (job) => update(makeRow(), job), update);
    const setTop = (row, at) => setAttributes(row, { transform: `translate(0 ${AXIS_PX + (first + at) * ROW_PX})` });
    [...rows.children].forEach(setTop);
    const isSeen = isRunning() && now <= span.to + 1 && now >= span.from;
    setAttributes(nowLine, { visibility: isSeen ? "visible" : "hidden", x1: x(now), x2: x(now), y1: AXIS_PX, y2: height });
  }

  function drawAxis({ from, to }, x, room, height) {
    const { step, ticks } = listTicks(from, to, room);
    const update = (mark, at) => {
      const place = x(at).toFixed(1);
      setAttributes(mark.firstChild, { x1: place, x2: place, y1: AXIS_PX - 4, y2: height });
      setAttributes(mark.lastChild, { x: Math.min(place, chart.width - TICK_PX / 3) });
      setText(mark.lastChild, writeClockTime(at, step));
      return mark;
    };
    keepInStep(axis, ticks, (at) => at, (at) => update(svg("g", null, svg("line"), svg("text", { y: 15 })), at), update);
  }

  function makeRow() {
    const texts = [svg("text", { x: 6, y: 16 }), svg("text", { class: "name", x: NAME_PX, y: 16 })];
    const label = svg("g", { class: "label", role: "button", tabindex: 0 }, svg("rect", { height: ROW_PX }), texts, svg("title"));
    return svg("g", { role: "listitem" }, svg("rect", { class: "back", height: ROW_PX }), svg("g", { class: "bars" }), label);
  }

  function updateRow(row, job, x, now) {
    const [back, bars, name] = row.children;
    const isSelected = chart.selected === job.name;
    const state = findState(job, chart.run);
    const family = findFamily(state);
    const [area, mark, written, title] = name.children;
    setAttributes(row, { class: isSelected ? "row selected" : "row" });
    setAttributes(back, { width: chart.width });
    setAttributes(name, { "aria-label": `${job.name}, ${writeState(state)}`, "aria-pressed": isSelected });
    setAttributes(area, { width: chart.names - 4 });
    setAttributes(mark, { class: `mark ${family}` });
    setText(mark, FAMILIES[family].mark);
    setText(written, cutText(job.name, chart.names - NAME_PX - 8));
    setText(title, job.name);
    const update = (rect, bar) => updateBar(rect, bar, job, x);
    const make = (bar) => update(svg("rect", { role: "img" }, svg("title")), bar);
    const getKey = (bar) => `${bar.attempt?.number ?? 0}${bar.kind}`;
    keepInStep(bars, listBars(job, chart.run, chart.ends, now), getKey, make, update);
    return row;
  }

  function updateBar(rect, { kind, from, to, isOpen, attempt }, job, x) {
    const family = kind !== "ran" ? "waiting" : isOpen ? "running" : findFamily(attempt.slurm_state);
    const [left, right] = [x(from), x(to)].map((each) => Math.max(chart.names, each));
    const isInSight = x(to) >= chart.names;
    const thin = kind === "blocked";
    const words = KINDS[kind][1] ?? writeState(isOpen ? "RUNNING" : attempt.slurm_state);
    const tries = attempt && job.attempts.length > 1 ? `, attempt ${attempt.number}` : "";
    const until = isOpen ? "" : ` to ${writeTime(to)}`;
    const text = `${job.name}${tries}: ${words} ${writeDuration((to - from) / 1000)}, from ${writeTime(from)}${until}`;
    setAttributes(rect, {
      class: `${kind} ${family}`,
      x: left.toFixed(1),
      width: (isInSight ? Math.max(2, right - left) : 0).toFixed(1),
      y: thin ? 11 : 5,
      height: thin ? 2 : 14,
      "aria-label": text,
    });
    setText(rect.firstChild, text);
    return rect;
  }

  function choose(event) {
    const name = event.target.closest(".row")?.dataset.key;
    if (!name) return;
    select(name);
    whenSelected(name);
  }

  function select(name) {
    if (chart.selected === name) return;
    chart.selected = name;
    const top = chart.jobs.findIndex((job) => job.name === name) * ROW_PX;
    const isInSight = top >= scroller.scrollTop && top + ROW_PX + AXIS_PX <= scroller.scrollTop + scroller.clientHeight;
    if (top >= 0 && !isInSight) scroller.scrollTop = Math.max(0, top - 2 * ROW_PX);
    draw();
  }

  const KEYS = {
    "+": () => zoom(ZOOM),
    "-": () => zoom(1 / ZOOM),
    0: fit,
    ArrowLeft: () => zoom(1, 0, -MOVE),
    ArrowRight: () => zoom(1, 0, MOVE),
  };

  function hearKey(event) {
    const chooses = (event.key === "Enter" || event.key === " ") && event.target.closest(".label");
    const act = chooses ? () => choose(event) : KEYS[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    act();
    event.preventDefault();
  }

  // Time alone is zoomed, with Ctrl and the wheel; the wheel alone scrolls.
  function hearWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const { left } = canvas.getBoundingClientRect();
    const share = (event.clientX - left - chart.names) / (chart.width - chart.names);
    zoom(Math.exp(-event.deltaY / 300), Math.min(1, Math.max(0, share)));
  }

  rows.addEventListener("click", choose);
  scroller.addEventListener("keydown", hearKey);
  scroller.addEventListener("wheel", hearWheel, { passive: false });
  scroller.addEventListener("scroll", drawSoon, { passive: true });
  const endings = [
    whenZoneChanges(draw),
    whenPrinted((isPrinted) => {
      chart.isPrinted = isPrinted;
      draw();
    }),
    whenResized(scroller, ({ width }) => {
      chart.width = Math.floor(width);
      draw();
    }),
  ];
  const timer = setInterval(() => isRunning() && !document.hidden && draw(), 1000);
  return {
    node,
    setRun,
    select,
    close: () => {
      clearInterval(timer);
      for (const end of endings) end();
    },
  };
}
