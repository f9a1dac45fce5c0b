// The timeline of a run's jobs: every attempt has its bar, waiting apart from running, and running bars grow.
//
// A thin line is a job that waits for others, a hollow bar one that waits in the queue, a full bar one that ran.

import { h, keepInStep, oncePerFrame, setAttribute, setText, svg } from "../core/dom.js";
import { findFamily, writeState } from "../core/states.js";
import { findOffset, toMs, whenZoneChanges, writeClockTime, writeDuration, writeTime } from "../core/format.js";
import { readNeed } from "./layout.js";

const ROW_PX = 24;
const AXIS_PX = 22;
const TICK_PX = 90; // so far apart are the times of the axis at least
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const STEPS_MS = [1, 2, 5, 10, 15, 30].map((n) => n * SECOND).concat([1, 2, 5, 10, 15, 30].map((n) => n * MINUTE), [1, 2, 3, 6, 12].map((n) => n * HOUR), [1, 2, 7, 14, 28].map((n) => n * DAY));
const SHORTEST_MS = 2 * SECOND;

// List the bars of a job: [{ kind, from, to, isOpen, attempt }] with kind blocked, queued or ran; `to` is now for those that are open.
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
    const free = Math.min(waited, Math.max(submitted, ...(job.depends_on ?? []).map((need) => ends.get(readNeed(need)) ?? (begun ? submitted : waited))));
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
  const chart = { run: null, jobs: [], ends: new Map(), selected: null, width: 0, names: 0, view: null, hover: null };
  const axis = svg("g", { class: "axis" });
  const nowLine = svg("line", { class: "now" });
  const rows = svg("g", { role: "list", "aria-label": label });
  const canvas = svg("svg", { class: "chart" }, axis, rows, nowLine);
  const scroller = h("div", { class: "scroller", tabindex: 0, role: "group", "aria-label": `${label}; + and − change the scale of time, arrow keys move it` }, canvas);
  const tool = (text, title, act) => h("button", { type: "button", class: "plain", title, "aria-label": title, onclick: act }, text);
  const legend = h(
    "span",
    { class: "legend small" },
    h("span", null, h("i", { class: "blocked" }), "waits for others"),
    h("span", null, h("i", { class: "queued" }), "waits in the queue"),
    h("span", null, h("i", { class: "ran" }), "runs"),
  );
  const tools = h(
    "div",
    { class: "bar" },
    legend,
    h("span", { class: "tools", role: "group", "aria-label": "Scale of time" }, tool("−", "More time", () => zoom(1 / 1.6)), tool("+", "Less time", () => zoom(1.6)), tool("Fit", "All of the time", fit)),
  );
  const node = h("div", { class: "gantt" }, tools, scroller);
  const drawSoon = oncePerFrame(draw);
  const ending = new AbortController();

  function setRun(run) {
    chart.run = run;
    chart.jobs = run.jobs;
    chart.ends = new Map(run.jobs.map((job) => [job.name, toMs(job.ended_at)]));
    draw();
  }

  // All of the time: from the first attempt to the end, or to now.
  function findSpan(now) {
    const starts = chart.jobs.flatMap((job) => job.attempts.map((attempt) => toMs(attempt.submitted_at ?? attempt.started_at))).filter((each) => each !== null);
    const from = Math.min(toMs(chart.run.started_at) ?? now, ...starts);
    const ends = chart.jobs.flatMap((job) => job.attempts.map((attempt) => toMs(attempt.ended_at))).filter((each) => each !== null);
    const to = isRunning() ? now : Math.max(toMs(chart.run.completed_at) ?? from, ...ends);
    return { from, to: Math.max(to, from + SHORTEST_MS) };
  }

  const isRunning = () => chart.run !== null && !chart.run.completed_at;

  function fit() {
    chart.view = null;
    draw();
  }

  function change(from, to) {
    chart.view = { from, to };
    drawSoon();
  }

  function zoom(factor, share = 0.5) {
    if (chart.run === null) return;
    const { from, to } = chart.view ?? findSpan(Date.now());
    const length = Math.min(400 * DAY, Math.max(SHORTEST_MS, (to - from) / factor));
    const middle = from + (to - from) * share;
    change(middle - length * share, middle + length * (1 - share));
  }

  function move(share) {
    if (chart.run === null) return;
    const { from, to } = chart.view ?? findSpan(Date.now());
    change(from + (to - from) * share, to + (to - from) * share);
  }

  function draw() {
    const { run, width } = chart;
    if (run === null || width === 0) return;
    const now = Date.now();
    const span = chart.view ?? findSpan(now);
    chart.names = Math.round(Math.min(180, width * 0.3));
    const room = Math.max(1, width - chart.names - 8);
    const x = (at) => chart.names + ((at - span.from) / (span.to - span.from)) * room;
    const height = AXIS_PX + chart.jobs.length * ROW_PX;
    setAttribute(canvas, "width", width);
    setAttribute(canvas, "height", height);
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW_PX) - 5);
    const last = first + Math.ceil((scroller.clientHeight || 600) / ROW_PX) + 10;
    const shown = chart.isPrinted ? chart.jobs.map((job, at) => ({ job, at })) : chart.jobs.slice(first, last).map((job, at) => ({ job, at: at + first }));
    drawAxis(span, x, room, height);
    keepInStep(rows, shown, ({ job }) => job.name, makeRow, () => {});
    for (const [at, row] of [...rows.children].entries()) updateRow(row, shown[at], x, now, width);
    setAttribute(nowLine, "visibility", isRunning() && now <= span.to + 1 && now >= span.from ? "visible" : "hidden");
    for (const [name, value] of Object.entries({ x1: x(now), x2: x(now), y1: AXIS_PX, y2: height })) setAttribute(nowLine, name, value.toFixed(1));
  }

  function drawAxis(span, x, room, height) {
    const { step, ticks } = listTicks(span.from, span.to, room);
    keepInStep(
      axis,
      ticks,
      (at) => at,
      () => svg("g", null, svg("line"), svg("text", { y: 15 })),
      () => {},
    );
    for (const [at, mark] of [...axis.children].entries()) {
      const [line, text] = mark.children;
      const place = x(ticks[at]).toFixed(1);
      for (const [name, value] of Object.entries({ x1: place, x2: place, y1: AXIS_PX - 4, y2: height })) setAttribute(line, name, value);
      setAttribute(text, "x", place);
      setText(text, writeClockTime(ticks[at], step));
    }
  }

  function makeRow() {
    return svg("g", { role: "listitem" }, svg("rect", { class: "back", height: ROW_PX }), svg("g", { class: "bars" }), svg("g", { class: "label", role: "button", tabindex: 0 }, svg("rect", { height: ROW_PX }), svg("text", { x: 6, y: 16 }), svg("title")));
  }

  function updateRow(row, { job, at }, x, now, width) {
    const [back, bars, name] = row.children;
    const isSelected = chart.selected === job.name;
    setAttribute(row, "transform", `translate(0 ${AXIS_PX + at * ROW_PX})`);
    setAttribute(row, "class", isSelected ? "row selected" : "row");
    setAttribute(back, "width", width);
    setAttribute(name.children[0], "width", chart.names - 4);
    setText(name.children[1], cutName(job.name, chart.names));
    setText(name.children[2], job.name);
    setAttribute(name, "aria-label", `${job.name}, ${writeState(job.slurm_state ?? job.status)}`);
    setAttribute(name, "aria-pressed", isSelected);
    const found = listBars(job, chart.run, chart.ends, now);
    keepInStep(bars, found, (bar) => `${bar.attempt?.number ?? 0}${bar.kind}`, () => svg("rect", { role: "img" }, svg("title")), () => {});
    for (const [number, bar] of found.entries()) drawBar(bars.children[number], bar, job, x);
  }

  function drawBar(rect, bar, job, x) {
    const family = bar.kind === "ran" ? (bar.isOpen ? "running" : findFamily(bar.attempt.slurm_state)) : "waiting";
    const [left, right] = [Math.max(chart.names, x(bar.from)), Math.max(chart.names, x(bar.to))];
    const thin = bar.kind === "blocked";
    const facts = { class: `${bar.kind} ${family}`, x: left.toFixed(1), width: Math.max(right > chart.names ? 2 : 0, right - left).toFixed(1), y: thin ? 11 : 5, height: thin ? 2 : 14 };
    for (const [name, value] of Object.entries(facts)) setAttribute(rect, name, value);
    const words = { blocked: "waited for other jobs", queued: "waited in the queue", ran: writeState(bar.isOpen ? "RUNNING" : bar.attempt?.slurm_state) };
    const tries = bar.attempt && job.attempts.length > 1 ? `, attempt ${bar.attempt.number}` : "";
    const text = `${job.name}${tries}: ${words[bar.kind]} ${writeDuration((bar.to - bar.from) / 1000)}, from ${writeTime(bar.from)}${bar.isOpen ? "" : ` to ${writeTime(bar.to)}`}`;
    setText(rect.firstChild, text);
    setAttribute(rect, "aria-label", text);
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
    const at = chart.jobs.findIndex((job) => job.name === name);
    const top = at * ROW_PX;
    if (at >= 0 && (top < scroller.scrollTop || top + ROW_PX + AXIS_PX > scroller.scrollTop + scroller.clientHeight)) scroller.scrollTop = Math.max(0, top - 2 * ROW_PX);
    draw();
  }

  function hearKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ((event.key === "Enter" || event.key === " ") && event.target.closest(".label")) choose(event);
    else if (event.key === "+") zoom(1.6);
    else if (event.key === "-") zoom(1 / 1.6);
    else if (event.key === "0") fit();
    else if (event.key === "ArrowLeft") move(-0.2);
    else if (event.key === "ArrowRight") move(0.2);
    else return;
    event.preventDefault();
  }

  // Time alone is zoomed, with Ctrl and the wheel; the wheel alone scrolls.
  function hearWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const { left } = canvas.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 300), Math.min(1, Math.max(0, (event.clientX - left - chart.names) / (chart.width - chart.names))));
  }

  function print(isPrinted) {
    chart.isPrinted = isPrinted;
    setAttribute(canvas, "viewBox", isPrinted ? `0 0 ${chart.width} ${AXIS_PX + chart.jobs.length * ROW_PX}` : null);
    draw();
  }

  const { signal } = ending;
  rows.addEventListener("click", choose);
  scroller.addEventListener("keydown", hearKey);
  scroller.addEventListener("wheel", hearWheel, { passive: false });
  scroller.addEventListener("scroll", drawSoon, { passive: true });
  addEventListener("beforeprint", () => print(true), { signal });
  addEventListener("afterprint", () => print(false), { signal });
  const leaveZone = whenZoneChanges(draw);
  const timer = setInterval(() => isRunning() && !document.hidden && draw(), 1000);
  const resized = new ResizeObserver(([{ contentRect }]) => {
    chart.width = Math.floor(contentRect.width);
    draw();
  });
  resized.observe(scroller);
  return {
    node,
    setRun,
    select,
    close: () => {
      ending.abort();
      leaveZone();
      clearInterval(timer);
      resized.disconnect();
    },
  };
}

const cutName = (name, width) => {
  const most = Math.max(4, Math.floor((width - 14) / 7));
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`;
};
