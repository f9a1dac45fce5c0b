// Runs of workflows: those that go on and those that ended, two of them to compare.

import { h, show } from "../core/dom.js";
import { makeBulkAction, makeButton } from "../core/action.js";
import { get, getWhole } from "../core/api.js";
import { makeListView } from "../core/list_view.js";
import { goTo, makeLink } from "../core/router.js";
import { writeCount, writeDuration } from "../core/format.js";
import { FAMILIES, isOpen, writeState } from "../core/states.js";
import { countJobs, measureRun, writeArgs } from "../run/facts.js";

const PAGE_ROWS = 500;
const MOST_ROWS = 2000;
const STATES = ["running", "failed", "completed", "cancelled", "pending", "syncing", "submitting"];

const COLUMNS = [
  { key: "workflow_name", title: "Workflow", width: "minmax(9rem, 1.5fr)", link: (run) => ["runs", run.id] },
  { key: "status", title: "State", width: "7.5rem", kind: "state" },
  { key: "progress", title: "Jobs", width: "9rem", value: measureProgress, write: writeCounts },
  { key: "started_at", title: "Started", width: "8rem", kind: "short time" },
  {
    key: "duration",
    title: "Duration",
    width: "6rem",
    numeric: true,
    value: measureRun,
    write: (run) => writeDuration(measureRun(run)),
    ticks: (run) => isOpen(run.status),
  },
  { key: "args", title: "Args", width: "minmax(8rem, 2fr)", value: (run) => writeArgs(run.args) },
  { key: "error", title: "What failed", width: "minmax(8rem, 2fr)", value: (run) => run.error?.split("\n")[0] },
  { key: "sweep_run_id", title: "Sweep", width: "4.5rem", shown: false },
  { key: "completed_at", title: "Ended", width: "8rem", shown: false, kind: "short time" },
  { key: "triggered_by", title: "Started by", width: "6rem", shown: false },
  { key: "cluster", title: "Cluster", width: "7rem", shown: false },
  { key: "id", title: "Id", width: "20rem", shown: false },
];

function measureProgress(run) {
  const { counts, total } = countJobs(run);
  return counts.done / Math.max(1, total);
}

function writeCounts(run) {
  const { counts, total } = countJobs(run);
  const others = ["failed", "running"].filter((family) => counts[family] > 0).map((family) => `${FAMILIES[family].mark} ${counts[family]}`);
  return [`${counts.done}/${total}`, ...others].join("  ");
}

// Open the view.
export function open(outlet, { query }) {
  const view = makeListView({
    query,
    id: "runs",
    title: "Runs",
    noun: "run",
    columns: COLUMNS,
    sort: "-started_at",
    fields: [
      { name: "q", label: "Find runs", placeholder: "workflow, job, arg, error", getText: listWords },
      { name: "status", label: "State", choices: [["", "every state"], ...STATES], asks: true, fits: hasStatus },
      { name: "workflow", label: "Workflow", choices: [["", "every workflow"]], more: listWorkflows, asks: true, fits: isOf },
      { name: "open", box: "hide finished", fits: (run) => isOpen(run.status) },
      { name: "cells", box: "cells of sweeps", asks: true, isScope: true },
    ],
    kinds: ["run"],
    load: loadRuns,
    getRow: ({ row }) => (row?.sweep_run_id === undefined || view.values.cells === "yes" ? row : null),
    getLink: (run) => makeLink(["runs", run.id]),
    selects: true,
    drawMarked,
    summarize,
    none: () => [
      "There are no runs yet. A run is one execution of a workflow, with all of its jobs.",
      h("a", { href: makeLink(["workflows"]) }, "Start a workflow"),
    ],
  });
  show(outlet, view.nodes);
  return view.close;
}

const hasStatus = (run, status) => status.split(",").includes(run.status);
const isOf = (run, name) => run.workflow_name === name;
const listWorkflows = async () => (await get("api/workflows")).map(({ name }) => name);

function drawMarked(runs) {
  const start = () => goTo(makeLink(["compare"], { a: runs[0].id, b: runs[1].id }));
  const title = "Two runs can be compared";
  const compare = makeButton("Compare", start, { disabled: runs.length !== 2, title });
  const goingOn = runs.filter((run) => isOpen(run.status));
  const total = (family) => goingOn.reduce((sum, run) => sum + countJobs(run).counts[family], 0);
  const cancel = {
    label: "Cancel",
    calls: goingOn.map((run) => ({
      method: "POST",
      path: `api/workflows/runs/${run.id}/cancel`,
      name: `${run.workflow_name} ${run.id}`,
    })),
    question: `Cancel ${writeCount(goingOn.length, "run")} with ${total("running")} running and ${writeCount(total("waiting"), "waiting job")}?`,
    whenDone: () => {}, // they stay chosen: two of them may be compared
  };
  return [h("strong", null, `${writeCount(runs.length, "run")} chosen`), compare, goingOn.length > 0 && makeBulkAction(cancel)];
}

function summarize(runs) {
  const count = (state) => runs.filter(({ status }) => status === state).length;
  const words = ["running", "failed"].filter(count).map((state) => `${count(state)} ${writeState(state)}`);
  return { words, mark: count("running") ? { family: "running", progress: String(count("running")) } : {} };
}

// The server chooses by state, workflow and sweep; words are looked for in what is here.
async function loadRuns({ signal, values }) {
  const rows = [];
  const cells = values.cells === "yes" ? null : "false";
  const query = { status: values.status, workflow: values.workflow, cells, limit: PAGE_ROWS };
  for (;;) {
    const { data, change, total } = await getWhole("api/workflows/runs", { ...query, offset: rows.length }, { signal });
    rows.push(...data.map((run) => [run.id, run]));
    if (data.length < PAGE_ROWS || rows.length >= MOST_ROWS) return { rows, change, total };
  }
}

function listWords(run) {
  const jobs = run.jobs.flatMap((job) => [job.name, job.job_id]);
  return [run.workflow_name, run.id, run.status, writeArgs(run.args), run.error, ...jobs].join(" ");
}
