// Two runs beside each other: what they were given, what they ran, and what came of it; only what differs, or all.

import { h, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makePane } from "../core/pane.js";
import { changeQuery, goTo, makeLink } from "../core/router.js";
import { writeDuration, writeTime } from "../core/format.js";
import { makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { compareLines, compareValues, readEnvironment } from "../run/difference.js";
import { findState, measureJob, measureRun, writeArgs, writeProgress, writeValue } from "../run/facts.js";

const CONTEXT = 3; // so many same lines stand around a difference

// Open the view.
export function open(outlet, { query }) {
  const [a, b] = [query.get("a"), query.get("b")];
  setTitle("Compare runs");
  if (!a || !b) return openChoice(outlet, a ?? b);
  const state = { all: query.get("all") === "yes" };
  const box = h("input", { type: "checkbox", checked: !state.all });
  const pane = makePane({
    title: "The comparison",
    kinds: ["run"],
    isOwn: ({ id }) => id === a || id === b,
    calm_ms: 1000,
    load: ({ signal }) => Promise.all([a, b].map((id) => loadRun(id, signal))),
    draw: (place, [left, right]) => show(place, drawComparison(left, right, state.all)),
    actions: [h("label", null, box, " only what differs"), h("a", { href: makeLink(["compare"], { a: b, b: a }) }, "Swap")],
  });
  box.addEventListener("change", () => {
    state.all = !box.checked;
    changeQuery({ all: state.all ? "yes" : null });
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
      const own = runs.find((run) => run.id === given) ?? (given ? await get(`api/workflows/runs/${encodeURIComponent(given)}`, {}, { signal }) : null);
      return { own, runs: runs.filter((run) => run.id !== given).sort((one, other) => rank(own, one) - rank(own, other)) };
    },
    draw: (place, { own, runs }) => {
      if (runs.length === 0) return showEmpty(place, "There is no other run yet to compare with.", h("a", { href: makeLink(["runs"]) }, "All runs"));
      const name = (run) => `${run.workflow_name}, ${writeTime(run.started_at)}, ${run.status}${Object.keys(run.args ?? {}).length > 0 ? `: ${writeArgs(run.args)}` : ""}`;
      const makeSelect = (label, list) => h("select", { "aria-label": label }, list.map((run) => h("option", { value: run.id }, name(run))));
      const [one, other] = [makeSelect("First run", own ? [own] : runs), makeSelect("Second run", runs)];
      const start = h("button", { type: "button", class: "main", onclick: () => goTo(makeLink(["compare"], { a: one.value, b: other.value })) }, "Compare");
      show(place, h("div", { class: "fields" }, one, other, start));
    },
  });
  show(outlet, h("h1", null, "Two runs"), pane.node);
  return pane.close;
}

const rank = (own, run) => (own && run.workflow_name === own.workflow_name ? 0 : 1);

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
    ["Results", joinJobs(jobs, (job) => job.job?.result ?? {})],
  ].map(([title, rows]) => drawSection(title, rows, isAll, [one, other]));
  const scripts = jobs.map((job) => drawScript(job, isAll)).filter(Boolean);
  return [drawHead(one, other), sections, h("h3", null, "Scripts"), scripts.length > 0 ? scripts : h("p", { class: "hint" }, "The scripts are the same.")];
}

function describeJob({ run, planned }, name) {
  const job = run.jobs.find((each) => each.name === name);
  const times = job ? measureJob(job) : {};
  const outcome = job ? { state: findState(job, run), waited: writeDuration(times.waited_s), ran: writeDuration(times.ran_s), tries: job.attempts.length, "exit code": job.exit_code } : {};
  return { job, planned: planned.get(name), outcome };
}

const joinJobs = (jobs, pick) => jobs.flatMap(({ name, left, right }) => compareValues(pick(left), pick(right)).map((row) => ({ ...row, name: `${name}: ${row.name.replaceAll("_", " ")}` })));

function drawHead(one, other) {
  const facts = (run) => h("td", null, h("a", { href: makeLink(["runs", run.id]) }, run.workflow_name), " ", makeState(run.status), h("div", null, writeTime(run.started_at), ", ", writeDuration(measureRun(run))), h("div", null, writeProgress(run).words));
  return h("table", { class: "compared" }, h("tbody", null, h("tr", null, h("th", { scope: "row" }, "Run"), facts(one), facts(other))));
}

function drawSection(title, rows, isAll) {
  const shown = rows.filter((row) => isAll || row.differs);
  const write = (value) => (value === undefined || value === null || value === "" ? "–" : h("code", null, writeValue(value)));
  const draw = (name, value) => (value && name.endsWith(": state") ? makeState(value) : write(value));
  if (shown.length === 0) return [h("h3", null, title), h("p", { class: "hint" }, rows.length > 0 ? "Nothing differs." : "There is nothing to compare.")];
  return [
    h("h3", null, title),
    h(
      "table",
      { class: "compared", "aria-label": title },
      h("tbody", null, shown.map((row) => h("tr", { class: row.differs && isAll ? "differs" : null }, h("th", { scope: "row" }, row.name), [row.left, row.right].map((value) => h("td", null, draw(row.name, value)))))),
    ),
  ];
}

function drawScript({ name, left, right }, isAll) {
  const [one, other] = [left.planned?.script ?? "", right.planned?.script ?? ""];
  if (one === other && !isAll) return null;
  const parts = compareLines(one, other);
  const lines = parts.flatMap((part, at) => (part.kind === "same" ? drawSame(part, at === 0, at === parts.length - 1, isAll) : drawChanged(part)));
  return h("div", { class: "pane" }, h("h3", null, name), h("div", { class: "difference", role: "group", tabindex: 0, "aria-label": `Scripts of ${name}: first run at the left, second at the right` }, lines));
}

function drawSame({ left }, isFirst, isLast, isAll) {
  const cells = (line) => [h("span", null, line), h("span", null, line)];
  if (isAll || left.length <= 2 * CONTEXT + 1) return left.flatMap(cells);
  const head = isFirst ? [] : left.slice(0, CONTEXT);
  const tail = isLast ? [] : left.slice(-CONTEXT);
  const gap = `… ${left.length - head.length - tail.length} same lines …`;
  return [...head.flatMap(cells), h("span", { class: "gap" }, gap), h("span", { class: "gap", "aria-hidden": "true" }), ...tail.flatMap(cells)];
}

function drawChanged({ left, right }) {
  const rows = Math.max(left.length, right.length);
  return Array.from({ length: rows }, (_, at) => [
    at < left.length ? h("span", { class: "removed" }, `− ${left[at]}`) : h("span", { class: "gap" }),
    at < right.length ? h("span", { class: "added" }, `+ ${right[at]}`) : h("span", { class: "gap" }),
  ]).flat();
}
