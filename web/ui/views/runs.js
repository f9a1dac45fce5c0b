// Runs of workflows: those that go on and those that ended, two of them to compare.

import { debounce, h, setAttribute, setText, show } from "../core/dom.js";
import { get, getWhole } from "../core/api.js";
import { makeLiveList } from "../core/live.js";
import { makeColumnChooser, makeTable } from "../core/table.js";
import { changeQuery, goTo, makeLink } from "../core/router.js";
import { toMs, writeCount, writeDuration, writeShortTime, writeTime } from "../core/format.js";
import { FAMILIES, isOpen, writeState } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { makeCancelRuns } from "../run/cancel.js";
import { countJobs, measureRun, writeArgs } from "../run/facts.js";

const PAGE_ROWS = 500;
const MOST_ROWS = 2000;
const TYPING_MS = 200;
const STATES = ["running", "failed", "completed", "cancelled", "pending", "syncing", "submitting"];

const COLUMNS = [
  { key: "workflow_name", title: "Workflow", width: "minmax(9rem, 1.5fr)", value: (run) => run.workflow_name, render: fillName },
  { key: "status", title: "State", width: "7.5rem", value: (run) => run.status, render: (cell, run) => fillState(cell, run.status) },
  { key: "progress", title: "Jobs", width: "9rem", value: (run) => countJobs(run).counts.done / Math.max(1, countJobs(run).total), write: writeCounts },
  { key: "started_at", title: "Started", width: "8rem", value: (run) => toMs(run.started_at), write: (run) => writeShortTime(run.started_at) },
  { key: "duration", title: "Duration", width: "6rem", numeric: true, value: (run) => measureRun(run), write: (run) => writeDuration(measureRun(run)), ticks: (run) => isOpen(run.status) },
  { key: "args", title: "Args", width: "minmax(8rem, 2fr)", value: (run) => writeArgs(run.args) },
  { key: "error", title: "What failed", width: "minmax(8rem, 2fr)", value: (run) => run.error?.split("\n")[0] },
  { key: "sweep_run_id", title: "Sweep", width: "4.5rem", shown: false, value: (run) => run.sweep_run_id },
  { key: "completed_at", title: "Ended", width: "8rem", shown: false, value: (run) => toMs(run.completed_at), write: (run) => writeShortTime(run.completed_at) },
  { key: "triggered_by", title: "Started by", width: "6rem", shown: false, value: (run) => run.triggered_by },
  { key: "cluster", title: "Cluster", width: "7rem", shown: false, value: (run) => run.cluster },
  { key: "id", title: "Id", width: "20rem", shown: false, value: (run) => run.id },
];

function fillName(cell, run) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  setAttribute(link, "href", makeLink(["runs", run.id]));
  setText(link, run.workflow_name);
  setAttribute(cell, "title", run.workflow_name);
}

function writeCounts(run) {
  const { counts, total } = countJobs(run);
  const others = ["failed", "running"].filter((family) => counts[family] > 0).map((family) => `${FAMILIES[family].mark} ${counts[family]}`);
  return [`${counts.done}/${total}`, ...others].join("  ");
}

// Open the view.
export function open(outlet, { query }) {
  const filter = { q: query.get("q") ?? "", status: query.get("status") ?? "", workflow: query.get("workflow") ?? "", cells: query.get("cells") ?? "", open: query.get("open") ?? "" };
  const count = h("span", { class: "count", role: "status" });
  const place = h("div");
  const chosen = h("div", { class: "bar", hidden: true });
  const descendingSort = query.get("sort") ?? "-started_at";
  const table = makeTable({
    id: "runs",
    label: "Runs",
    columns: COLUMNS,
    sort: { key: descendingSort.replace(/^-/, ""), descending: descendingSort.startsWith("-") },
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
    getLink: (run) => makeLink(["runs", run.id]),
    selects: true,
    whenSelected: drawChosen,
  });
  const list = makeRunList(filter);
  const controls = makeFilter(filter, (mustLoad) => {
    changeQuery(filter);
    if (mustLoad) list.reload();
    else draw(null);
  });
  const csv = h("button", { type: "button", onclick: () => saveCsv(table) }, "CSV");
  show(outlet, h("div", { class: "bar" }, h("h1", null, "Runs"), count, controls.node, makeColumnChooser(table), csv), chosen, place);
  setTitle("Runs");

  function drawChosen(ids) {
    const runs = ids.map((id) => list.rows.get(id)).filter(Boolean);
    chosen.hidden = runs.length === 0;
    const compare = h("button", { type: "button", disabled: runs.length !== 2, title: "Two runs can be compared", onclick: () => goTo(makeLink(["compare"], { a: ids[0], b: ids[1] })) }, "Compare");
    const goingOn = runs.filter((run) => isOpen(run.status));
    show(chosen, h("span", null, `${writeCount(runs.length, "run")} chosen`), compare, goingOn.length > 0 && makeCancelRuns(goingOn));
  }

  function draw(changed) {
    if (list.state === "loading") return null;
    if (list.state === "failed") return showProblem(place, "The runs", list.problem, list.reload);
    const fits = makeTest(filter);
    const rows = new Map([...list.rows].filter(([, run]) => fits(run)));
    if (rows.size === 0) return showNone(place, filter, controls.clear);
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(rows, changed);
    return drawCount(rows);
  }

  function drawCount(rows) {
    const states = new Map();
    for (const run of rows.values()) states.set(run.status, (states.get(run.status) ?? 0) + 1);
    const parts = ["running", "failed"].filter((state) => states.has(state)).map((state) => `${states.get(state)} ${writeState(state)}`);
    const left = list.total > list.rows.size ? ` of ${list.total.toLocaleString("en")}: filter to see older ones` : "";
    setText(count, [`${writeCount(rows.size, "run")}${left}`, ...parts].join(", "));
    const going = states.get("running") ?? 0;
    setTitle("Runs", going ? { family: "running", progress: String(going) } : {});
  }

  list.listen(draw);
  return () => {
    list.close();
    table.close();
  };
}

// The server chooses by state, workflow and sweep; words are looked for in what is here.
function makeRunList(filter) {
  const list = makeLiveList({
    kinds: ["run"],
    load: async ({ signal }) => {
      const found = await loadRuns(filter, signal);
      list.total = found.total;
      return found;
    },
    getRow: ({ row }) => (row && fitsServer(filter, row) ? row : null),
  });
  return list;
}

async function loadRuns(filter, signal) {
  const rows = [];
  const query = { status: filter.status, workflow: filter.workflow || null, cells: filter.cells === "yes" ? null : "false", limit: PAGE_ROWS };
  for (;;) {
    const { data, change, total } = await getWhole("api/workflows/runs", { ...query, offset: rows.length }, { signal });
    rows.push(...data.map((run) => [run.id, run]));
    if (data.length < PAGE_ROWS || rows.length >= MOST_ROWS) return { rows, change, total };
  }
}

function fitsServer(filter, run) {
  const hasState = !filter.status || filter.status.split(",").includes(run.status);
  return hasState && (!filter.workflow || run.workflow_name === filter.workflow) && (filter.cells === "yes" || run.sweep_run_id === undefined);
}

function makeTest(filter) {
  const words = filter.q.toLowerCase().split(/\s+/).filter(Boolean);
  return (run) => {
    if (filter.open === "yes" && !isOpen(run.status)) return false;
    if (words.length === 0) return true;
    const text = `${run.workflow_name} ${run.id} ${run.status} ${writeArgs(run.args)} ${run.error ?? ""} ${run.jobs.map((job) => `${job.name} ${job.job_id ?? ""}`).join(" ")}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

function makeFilter(filter, whenChanged) {
  const soon = debounce(() => whenChanged(false), TYPING_MS);
  const set = (name, value, tell) => {
    filter[name] = value;
    tell();
  };
  const text = h("input", { type: "search", "aria-label": "Find runs", placeholder: "workflow, job, arg, error", value: filter.q, oninput: () => set("q", text.value.trim(), soon) });
  const makeSelect = (name, label, all, values) => {
    const select = h("select", { "aria-label": label }, h("option", { value: "" }, all), values.map((value) => h("option", { value, selected: value === filter[name] }, value)));
    select.addEventListener("change", () => set(name, select.value, () => whenChanged(true)));
    return select;
  };
  const status = makeSelect("status", "State", "every state", STATES);
  const workflow = makeSelect("workflow", "Workflow", "every workflow", filter.workflow ? [filter.workflow] : []);
  get("api/workflows").then((found) => addNames(workflow, found.map(({ name }) => name)), () => {});
  const makeBox = (name, label, mustLoad) => {
    const box = h("input", { type: "checkbox", checked: filter[name] === "yes" });
    box.addEventListener("change", () => set(name, box.checked ? "yes" : "", () => whenChanged(mustLoad)));
    return { box, node: h("label", null, box, ` ${label}`) };
  };
  const finished = makeBox("open", "hide finished", false);
  const cells = makeBox("cells", "cells of sweeps", true);
  const clear = () => {
    Object.assign(filter, { q: "", status: "", workflow: "", open: "" });
    for (const control of [text, status, workflow]) control.value = "";
    finished.box.checked = false;
    whenChanged(true);
  };
  return { node: h("span", { class: "bar" }, text, status, workflow, finished.node, cells.node), clear };
}

function addNames(select, names) {
  const known = new Set([...select.options].map((option) => option.value));
  select.append(...names.filter((name) => !known.has(name)).map((name) => h("option", { value: name }, name)));
}

function showNone(place, filter, clear) {
  if (filter.q || filter.status || filter.workflow || filter.open) {
    return showEmpty(place, "No run matches this filter.", h("button", { type: "button", onclick: clear }, "Clear the filter"));
  }
  return showEmpty(place, "There are no runs yet. A run is one execution of a workflow, with all of its jobs.", h("a", { href: makeLink(["workflows"]) }, "Start a workflow"));
}

function saveCsv(table) {
  const link = h("a", { href: URL.createObjectURL(new Blob([table.toCsv()], { type: "text/csv" })), download: `runs ${writeTime(Date.now()).replaceAll(":", "-")}.csv` });
  link.click();
  URL.revokeObjectURL(link.href);
}

