// Two runs beside each other: what they were given, what they ran, and what came of it; only what differs, or all.

import { h, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makePane } from "../core/pane.js";
import { changeQuery, goTo, makeLink } from "../core/router.js";
import { writeDuration, writeTime } from "../core/format.js";
import { makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { compareTexts } from "../editor/diff.js";
import { findState, measureJob, measureRun, writeArgs, writeProgress, writeValue } from "../run/facts.js";

const CONTEXT = 3; // so many same lines stand around a difference

// Open the view.
export function open(outlet, { query }) {
  const [a, b] = [query.get("a"), query.get("b")];
  setTitle("Compare runs");
  if (!a || !b) return openChoice(outlet, a ?? b);
  const box = h("input", { type: "checkbox", checked: query.get("all") !== "yes" });
  const pane = makePane({
    title: "The comparison",
    kinds: ["run"],
    isOwn: ({ id }) => id === a || id === b,
    calm_ms: 1000,
    load: ({ signal }) => Promise.all([a, b].map((id) => loadRun(id, signal))),
    draw: (place, [left, right]) => show(place, drawComparison(left, right, !box.checked)),
    actions: [h("label", null, box, " only what differs"), h("a", { href: makeLink(["compare"], { a: b, b: a }) }, "Swap")],
  });
  box.addEventListener("change", () => {
    changeQuery({ all: box.checked ? null : "yes" });
    if (pane.document.value) pane.document.reload();
  });
  show(outlet, h("h1", null, "Two runs"), pane.node);
  return pane.close;
}

async function loadRun(id, signal) {
  const path = `api/workflows/runs/${encodeURIComponent(id)}`;
  const [run, planned] = await Promise.all([get(path, {}, { signal }), get(`${path}/jobs`, {}, { signal })]);
  // The run's own id, in the paths of its folders, is no difference that anybody looks for.
  const hide = (text) => text?.replaceAll(run.id, "RUN") ?? null;
  return { run, planned: new Map(planned.map((job) => [job.name, { ...job, script: hide(job.script) }])) };
}

// With one run, or none, the other is chosen here: those of the same workflow stand first.
function openChoice(outlet, given) {
  const pane = makePane({
    title: given ? "Compare with" : "Compare",
    load: async ({ signal }) => {
      const runs = await get("api/workflows/runs", { limit: 200 }, { signal });
      const find = () => given && get(`api/workflows/runs/${encodeURIComponent(given)}`, {}, { signal });
      const own = runs.find((run) => run.id === given) ?? (await find());
      const rank = (run) => (run.workflow_name === own?.workflow_name ? 0 : 1);
      return { own, runs: runs.filter((run) => run.id !== given).sort((one, other) => rank(one) - rank(other)) };
    },
    draw: (place, { own, runs }) => {
      const all = h("a", { href: makeLink(["runs"]) }, "All runs");
      if (runs.length === 0) return showEmpty(place, "There is no other run yet to compare with.", all);
      const makeSelect = (label, list) =>
        h("select", { class: "wide", "aria-label": label }, list.map((run) => h("option", { value: run.id }, nameRun(run))));
      const [one, other] = [makeSelect("First run", own ? [own] : runs), makeSelect("Second run", runs)];
      const compare = () => goTo(makeLink(["compare"], { a: one.value, b: other.value }));
      show(place, h("div", { class: "bar" }, one, other, h("button", { class: "main", onclick: compare }, "Compare")));
    },
  });
  show(outlet, h("h1", null, "Two runs"), pane.node);
  return pane.close;
}

function nameRun({ workflow_name, started_at, status, args }) {
  return [`${workflow_name}, ${writeTime(started_at)}, ${status}`, writeArgs(args)].filter(Boolean).join(": ");
}

// --- what differs ------------------------------------------------------------------------------------------------------

function drawComparison(left, right, isAll) {
  const [one, other] = [left.run, right.run];
  const names = [...new Set([...one.jobs, ...other.jobs].map((job) => job.name))];
  const jobs = names.map((name) => ({ name, left: describeJob(left, name), right: describeJob(right, name) }));
  const sections = [
    ["Args", compareValues(one.args, other.args)],
    ["Environment", joinJobs(jobs, (job) => readEnvironment(job.planned?.script))],
    ["Resources", joinJobs(jobs, (job) => job.planned?.resources)],
    ["Outcome", joinJobs(jobs, (job) => job.outcome)],
    ["Results", joinJobs(jobs, (job) => job.result)],
  ].map(([title, rows]) => drawSection(title, rows, isAll));
  const scripts = jobs.map((job) => drawScript(job, isAll)).filter(Boolean);
  const same = h("p", { class: "hint" }, "The scripts are the same.");
  return [drawHead(one, other), sections, h("h3", null, "Scripts"), scripts.length > 0 ? scripts : same];
}

function describeJob({ run, planned }, name) {
  const job = run.jobs.find((each) => each.name === name);
  if (!job) return { planned: planned.get(name) };
  const { waited_s, ran_s } = measureJob(job);
  const times = { waited: writeDuration(waited_s), ran: writeDuration(ran_s) };
  const outcome = { state: findState(job, run), ...times, tries: job.attempts.length, "exit code": job.exit_code };
  return { planned: planned.get(name), outcome, result: job.result };
}

// Compare two objects by name: [{ name, left, right, differs }], names of both in order.
function compareValues(left, right) {
  const names = [...new Set([...Object.keys(left ?? {}), ...Object.keys(right ?? {})])];
  return names.map((name) => {
    const [one, other] = [left?.[name], right?.[name]];
    return { name, left: one, right: other, differs: JSON.stringify(one) !== JSON.stringify(other) };
  });
}

const joinJobs = (jobs, pick) =>
  jobs.flatMap(({ name, left, right }) =>
    compareValues(pick(left), pick(right)).map((row) => ({ ...row, name: `${name}: ${row.name.replaceAll("_", " ")}` })),
  );

// Return the variables that a script exports, but for the server's own: { NAME: value }.
function readEnvironment(script) {
  const found = (script ?? "").matchAll(/^export (?!SLUICE_)([A-Za-z_]\w*)=(.*)$/gm);
  return Object.fromEntries([...found].map(([, name, value]) => [name, value]));
}

function drawHead(one, other) {
  const describe = (run) => [
    h("a", { href: makeLink(["runs", run.id]) }, run.workflow_name), " ", makeState(run.status),
    h("div", null, writeTime(run.started_at), ", ", writeDuration(measureRun(run))), h("div", null, writeProgress(run).words),
  ];
  return makeTable(null, makeRow("Run", [one, other].map(describe)));
}

const makeTable = (label, rows) => h("table", { class: "compared", "aria-label": label }, h("tbody", null, rows));

const makeRow = (name, cells, kind) =>
  h("tr", { class: kind }, h("th", { scope: "row" }, name), cells.map((cell) => h("td", null, cell)));

function drawSection(title, rows, isAll) {
  const shown = rows.filter((row) => isAll || row.differs);
  const none = rows.length > 0 ? "Nothing differs." : "There is nothing to compare.";
  if (shown.length === 0) return [h("h3", null, title), h("p", { class: "hint" }, none)];
  const write = (value) => (value === undefined || value === null || value === "" ? "–" : h("code", null, writeValue(value)));
  const draw = (name, value) => (value && name.endsWith(": state") ? makeState(value) : write(value));
  const drawRow = ({ name, left, right, differs }) =>
    makeRow(name, [left, right].map((value) => draw(name, value)), differs && isAll ? "differs" : null);
  return [h("h3", null, title), makeTable(title, shown.map(drawRow))];
}

function drawScript({ name, left, right }, isAll) {
  const [one, other] = [left, right].map(({ planned }) => (planned?.script ?? "").replace(/\n$/, ""));
  if (one === other && !isAll) return null;
  const parts = compareTexts(one, other);
  const lines = parts.map((part, at) => (part.isSame ? drawSame(part.left, at === 0, at === parts.length - 1, isAll) : drawChanged(part)));
  const label = `Scripts of ${name}: first run at the left, second at the right`;
  const difference = h("div", { class: "difference", role: "group", tabindex: 0, "aria-label": label }, lines);
  return h("div", { class: "pane" }, h("h3", null, name), difference);
}

function drawSame(lines, isFirst, isLast, isAll) {
  const draw = (line) => [h("span", null, line), h("span", null, line)];
  if (isAll || lines.length <= 2 * CONTEXT + 1) return lines.map(draw);
  const head = isFirst ? [] : lines.slice(0, CONTEXT);
  const tail = isLast ? [] : lines.slice(-CONTEXT);
  const gap = `… ${lines.length - head.length - tail.length} same lines …`;
  return [head.map(draw), h("span", { class: "gap" }, gap), h("span", { class: "gap", "aria-hidden": "true" }), tail.map(draw)];
}

function drawChanged({ left, right }) {
  const draw = (line, kind, sign) => h("span", { class: line === undefined ? "gap" : kind }, line === undefined ? "" : `${sign} ${line}`);
  const rows = Array.from({ length: Math.max(left.length, right.length) });
  return rows.map((_, at) => [draw(left[at], "removed", "−"), draw(right[at], "added", "+")]);
}
