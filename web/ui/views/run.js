// One run: what failed first, its graph and timeline, and of the job that is chosen its log, script and result.

import { h, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLiveDocument } from "../core/live.js";
import { makeFacts, makeTabs } from "../core/pane.js";
import { makeAction, makeButton } from "../core/action.js";
import { makeNotifyButton } from "../core/notify.js";
import { changeQuery, makeLink } from "../core/router.js";
import { whenZoneChanges, writeCount, writeDuration, writeTime } from "../core/format.js";
import { findFamily, isOpen, writeState } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { makeCopyButton, say, showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { makeGraph } from "../parts/graph.js";
import { makeGantt } from "../parts/gantt.js";
import { makeJobPane } from "../run/job.js";
import { makeFailure } from "../run/failure.js";
import { makeJobTable } from "../run/jobs.js";
import { openAsked, openNewRun, openRerun } from "../run/rerun.js";
import { canRunAgain, countJobs, findState, isSimulation, listFailed, measureRun, writeProgress, writeValue } from "../run/facts.js";

const CALM_MS = 250;
const ARCHIVED = "A run in the archive does not change: it cannot be run again, but a new run can begin with its values.";

// Open the view.
export function open(outlet, { params, query }) {
  const view = { id: params.id, run: null, selected: query.get("job"), told: new Map() };
  const document_ = makeLiveDocument({
    kinds: ["run", "cell"],
    isOwn: (change) => change.id === view.id,
    load: ({ signal }) => get(`api/workflows/runs/${encodeURIComponent(view.id)}`, {}, { signal }),
    calm_ms: CALM_MS,
  });
  const parts = makeParts(view, query, select);
  show(outlet, h("p", { class: "hint" }, "Loading…"));
  setTitle("Run");

  function select(name) {
    view.selected = name;
    changeQuery({ job: name, stream: null, lines: null });
    drawSelected();
  }

  function drawSelected() {
    parts.graph.select(view.selected);
    parts.gantt.select(view.selected);
    parts.table?.setRun(view.run, view.selected);
    parts.job.setJob(view.run.jobs.find((job) => job.name === view.selected) ?? null, view.run);
  }

  document_.listen(() => {
    if (document_.state === "failed") return showMissing(outlet, document_);
    const isFirst = view.run === null;
    view.run = document_.value;
    if (isFirst) {
      view.selected ??= chooseJob(view.run);
      show(outlet, parts.nodes);
    }
    drawRun(view, parts);
    drawSelected();
    tellEnds(view);
    if (isFirst && query.get("rerun") && !isSimulation(view.run)) openAsked(view.run, query, view.selected);
  });
  const ticking = setInterval(() => view.run && !document.hidden && isOpen(view.run.status) && parts.header.tick(view.run), 1000);
  const endZone = whenZoneChanges(() => view.run && drawRun(view, parts));
  return () => {
    clearInterval(ticking);
    endZone();
    document_.close();
    parts.close();
  };
}

function showMissing(outlet, document_) {
  if (document_.problem.status !== 404) return showProblem(outlet, "The run", document_.problem, document_.reload);
  const why = "There is no run with this id. It may have been deleted, or belongs to another server.";
  return showEmpty(outlet, why, h("a", { href: makeLink(["runs"]) }, "All runs"));
}

// What is looked at first: what failed, else what runs, else the beginning.
function chooseJob(run) {
  const running = run.jobs.find((job) => findFamily(findState(job, run)) === "running");
  return (listFailed(run)[0] ?? running ?? run.jobs[0])?.name ?? null;
}

function makeParts(view, query, select) {
  const whenRerun = (what, job) => openRerun(view.run, { what, job });
  const parts = {
    header: makeHeader(view),
    failure: makeFailure({ whenSelected: select, whenRerun }),
    graph: makeGraph({ label: "Jobs of the run", whenSelected: select }),
    gantt: makeGantt({ label: "Timeline of the jobs", whenSelected: select }),
    job: makeJobPane({ whenRerun, tab: query.get("tab") }),
    table: null,
  };
  const tabs = makeTabs({
    label: "Jobs over time, as a list, and what the run was given",
    chosen: query.get("below") ?? "timeline",
    whenChosen: (below) => changeQuery({ below: below === "timeline" ? null : below }),
    tabs: [
      { key: "timeline", title: "Timeline", open: (place) => void show(place, parts.gantt.node) },
      { key: "jobs", title: "Jobs", open: openTable },
      { key: "given", title: "Args and facts", open: openFacts },
    ],
  });

  function openTable(place) {
    parts.table = makeJobTable({ whenSelected: select });
    show(place, parts.table.node);
    if (view.run) parts.table.setRun(view.run, view.selected);
    return () => {
      parts.table.close();
      parts.table = null;
    };
  }

  function openFacts(place) {
    parts.facts = place;
    if (view.run) show(place, makeRunFacts(view.run));
    return () => (parts.facts = null);
  }

  const left = h("div", { class: "left" }, parts.graph.node, tabs.node);
  parts.nodes = [parts.header.node, parts.failure.node, h("div", { class: "split" }, left, parts.job.node)];
  parts.close = () => {
    for (const part of [tabs, parts.graph, parts.gantt, parts.job, parts.failure]) part.close();
  };
  return parts;
}

function drawRun(view, parts) {
  const { run } = view;
  parts.header.draw(run);
  parts.failure.setRun(run);
  parts.graph.setJobs(run.jobs.map((job) => ({ ...job, status: findState(job, run) })));
  parts.gantt.setRun(run);
  if (parts.facts) show(parts.facts, makeRunFacts(run));
  setTitle(run.workflow_name, { family: findFamily(run.status), progress: writeProgress(run).short });
}

// --- the header ---------------------------------------------------------------------------------------------------------

function makeHeader(view) {
  const state = h("span", { class: "state" });
  const title = h("h1");
  const progress = h("span", { role: "status" });
  const duration = h("span", { class: "count" });
  const actions = h("span", { class: "bar" });
  const node = h("div", { class: "bar" }, title, state, progress, duration, actions);
  let drawn = null;
  const tick = (run) => setText(duration, writeDuration(measureRun(run)));

  function draw(run) {
    fillState(state, run.status);
    const href = makeLink(["workflows", run.workflow_name], { mount: run.mount });
    const name = isSimulation(run) ? `simulation ${run.args.title ?? ""}`.trimEnd() : run.workflow_name;
    if (title.textContent !== name) show(title, isSimulation(run) ? name : h("a", { href }, name));
    setText(progress, writeProgress(run).words);
    tick(run);
    if (drawn === isOpen(run.status)) return;
    drawn = isOpen(run.status);
    show(actions, listActions(view, run));
  }
  return { node, draw, tick };
}

function listActions(view, run) {
  const sweep = run.sweep_run_id !== undefined && h("a", { href: makeLink(["sweeps", run.sweep_run_id]) }, `Sweep ${run.sweep_run_id}`);
  const compare = h("a", { href: makeLink(["compare"], { a: run.id }) }, "Compare");
  const openAgain = () => openRerun(view.run, { what: "failed", job: view.selected });
  const again = canRunAgain(run) && makeButton("Re-run…", openAgain, { scope: "write" });
  const words = "The same workflow with these values, or with others";
  const other = !isSimulation(run) && makeButton("New run…", () => openNewRun(view.run), { scope: "write", title: words });
  if (!isOpen(run.status)) return [again, other, compare, sweep];
  const cancel = makeAction({
    label: "Cancel",
    question: () => {
      const { counts } = countJobs(view.run);
      return `Cancel this run of ${run.workflow_name}, with ${counts.running} running and ${writeCount(counts.waiting, "waiting job")}?`;
    },
    call: () => ({ method: "POST", path: `api/workflows/runs/${run.id}/cancel` }),
    done: ({ warnings }) => (warnings?.length ? `Cancelled, but: ${warnings.join("; ")}` : "The run is cancelled."),
  });
  return [cancel, makeNotifyButton(run.id), compare, sweep];
}

function makeResultsLink(run) {
  return h("a", { href: `results?job_id=${encodeURIComponent(run.args.simulation)}` }, "of the simulation, as JSON");
}

function makeRunFacts(run) {
  const args = Object.entries(run.args ?? {}).map(([name, value]) => [name, h("code", null, writeValue(value))]);
  const copied = (text) => text && h("span", null, h("code", null, text), " ", makeCopyButton(() => text));
  const facts = [
    ["Run", copied(run.id)],
    ["Started", writeTime(run.started_at)],
    ["Ended", writeTime(run.completed_at)],
    ["Cancelled", writeTime(run.cancel_requested_at)],
    ["Folder", copied(run.work_dir)],
    ["Cluster", run.cluster],
    ["Mount", run.mount && h("a", { href: makeLink(["files", run.mount]) }, run.mount)],
    ["Started by", run.triggered_by],
    ["Results", isSimulation(run) && !isOpen(run.status) && makeResultsLink(run)],
    ["Archived", run.archived && ARCHIVED],
  ];
  const given = args.length > 0 ? makeFacts(args) : h("p", { class: "hint" }, "This run was given no args.");
  return h("div", { class: "pane" }, h("h3", null, "Args"), given, h("h3", null, "Facts"), makeFacts(facts));
}

// Say what ended since this was looked at; what had ended before is no news.
function tellEnds(view) {
  const isFirst = view.told.size === 0;
  for (const job of view.run.jobs) {
    const state = findState(job, view.run);
    const before = view.told.get(job.name);
    view.told.set(job.name, state);
    if (!isFirst && before !== state && findFamily(state) === "failed") say(`${job.name} failed`);
  }
  const before = view.told.get("");
  view.told.set("", view.run.status);
  if (before && isOpen(before) && !isOpen(view.run.status)) say(`The run of ${view.run.workflow_name} is ${writeState(view.run.status)}`);
}
