// One job: how it goes and why, what it uses, what it writes, and what can be done with it.

import { h, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLiveDocument } from "../core/live.js";
import { makeTabs } from "../core/pane.js";
import { changeQuery, makeLink } from "../core/router.js";
import { findFamily, isOpen, writeState } from "../core/states.js";
import { say, showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { whenZoneChanges } from "../core/format.js";
import { drawDependencies, drawJobFacts, drawResources } from "../jobs/facts.js";
import { makeJobHead } from "../jobs/head.js";
import { openScript, showStory, showVariables } from "../jobs/texts.js";
import { openParts } from "../jobs/tasks.js";
import { openJobLog } from "../jobs/job_log.js";

const AGAIN_MS = 30_000; // what a running job uses is asked for again so often
const TICK_MS = 1000;

// Open the view.
export function open(outlet, { params, query }) {
  const { id } = params;
  const back = h("p", { class: "hint" }, h("a", { href: makeLink(["jobs"]) }, "Jobs"), ` / ${id}`);
  const place = h("div", { class: "view-parts" }, h("p", { class: "hint" }, `Loading job ${id}…`));
  show(outlet, back, place);
  setTitle(`Job ${id}`);
  const findWhole = (each) => each.split(/[_+]/)[0];
  const isPart = findWhole(id) !== id && !id.includes("[");
  const document_ = makeLiveDocument({
    kinds: ["job", "report"],
    isOwn: (change) => change.id === id || (change.kind === "job" && !isPart && findWhole(change.id) === findWhole(id)),
    load: ({ signal }) => readJob(id, signal),
  });
  let parts = null;
  let family = null;

  function draw() {
    if (document_.value === null) {
      if (document_.problem?.status === 404 || document_.problem?.status === 400) return showUnknown(place, id, document_.problem);
      return showProblem(place, `Job ${id}`, document_.problem, document_.reload);
    }
    const { job } = document_.value;
    if (parts && !parts.noun && findNoun(job)) {
      // Only a moment after its submission SLURM tells that a job has parts.
      parts.close();
      parts = null;
    }
    parts ??= makeParts(place, id, query, document_);
    parts.draw(document_.value);
    const now = findFamily(job.state);
    setTitle(`${job.job_name} (${job.job_id})`, { family: now, progress: writeState(job.state) });
    if (family !== null && family !== now && !isOpen(job.state)) say(`Job ${job.job_id} is ${writeState(job.state)}`);
    family = now;
  }

  document_.listen(draw);
  const ticking = setInterval(() => parts && !document.hidden && isOpen(document_.value.job.state) && parts.tick(document_.value), TICK_MS);
  const asking = setInterval(() => !document.hidden && document_.value?.job.state === "RUNNING" && document_.reload(), AGAIN_MS);
  const zone = whenZoneChanges(() => document_.value && parts?.drawAnew(document_.value));
  return () => {
    clearInterval(ticking);
    clearInterval(asking);
    zone();
    parts?.close();
    document_.close();
  };
}

// Read a job with what else is known of it: its run, its sweep, its report.
async function readJob(id, signal) {
  const path = encodeURIComponent(id);
  const job = await get(`api/v1/jobs/${path}`, {}, { signal });
  const other = await get(`api/jobs/${path}`, {}, { signal }).catch(() => ({}));
  const [run, report] = await Promise.all([
    other.run_id ? get(`api/workflows/runs/${other.run_id}`, {}, { signal }).catch(() => null) : null,
    other.stage ? get(`srtslurm/api/jobs/${path}`, {}, { signal }).catch(() => null) : null,
  ]);
  const more = { run: other.run_id ?? null, workflow: other.workflow_name ?? null, sweep: run?.sweep_run_id ?? null, report: report?.job_id ?? null };
  return { job, more, report };
}

function showUnknown(place, id, problem) {
  setTitle(`Job ${id}`, { family: "unknown" });
  const text = problem.status === 400 ? `“${id}” is no id of a job. Ids are such as 42, 42_7 for a task of an array, or 42+1 for a component.` : `Nobody here knows a job ${id}. SLURM forgets jobs some minutes after their end where it keeps no accounting, and an id belongs to one cluster.`;
  const actions = [h("a", { href: makeLink(["jobs"], { who: "all" }) }, "All jobs"), h("a", { href: makeLink(["history"]) }, "History")];
  return showEmpty(place, text, h("span", { class: "actions" }, actions));
}

// Say what the parts of a job are called; null where it has none.
function findNoun(job) {
  if (job.het_job_id) return "component";
  return (job.array_job_id ?? job.array_tasks_summary) ? "task" : null;
}

function makeParts(place, id, query, document_) {
  const head = makeJobHead();
  const facts = h("dl", { class: "facts" });
  const resources = h("div");
  const dependencies = h("div");
  const stage = h("p");
  const first = document_.value.job;
  const noun = findNoun(first);
  const isWhole = first.array_tasks_summary !== null;
  const drawn = { variables: null, story: null, log: null };
  const tabs = makeTabs({
    label: "Parts of the job",
    chosen: query.get("tab") ?? (isWhole ? "tasks" : "log"),
    whenChosen: (tab) => changeQuery({ tab }),
    tabs: [
      noun && {
        key: "tasks",
        title: noun === "task" ? "Tasks" : "Components",
        open: (body) => openParts(body, first.array_job_id ?? first.het_job_id ?? first.job_id, noun, query),
      },
      !isWhole && { key: "log", title: "Log", open: openLog },
      { key: "script", title: "Script", open: (body) => openScript(body, id) },
      { key: "variables", title: "Variables", open: (body) => keepDrawn("variables", () => showVariables(body, document_.value.job)) },
      { key: "events", title: "Events", open: (body) => keepDrawn("story", () => showStory(body, document_.value.job, document_.value.report)) },
    ].filter(Boolean),
  });
  show(place, head.node, dependencies, stage, h("div", { class: "two" }, h("section", { class: "pane" }, h("h2", null, "Given and used"), resources), h("section", { class: "pane" }, h("h2", null, "Facts"), facts)), tabs.node);

  function keepDrawn(name, draw) {
    drawn[name] = draw;
    draw();
    return () => (drawn[name] = null);
  }

  function openLog(body) {
    const log = openJobLog(body, document_.value.job);
    drawn.log = log.draw;
    return () => {
      drawn.log = null;
      log.close();
    };
  }

  function drawStage(report) {
    if (!report) return show(stage);
    return show(stage, "It reports: ", h("strong", null, report.stage ?? report.status), report.message && ` – ${report.message}`);
  }

  function drawAll({ job, more, report }) {
    head.draw(job);
    drawJobFacts(facts, job, more);
    drawResources(resources, job);
    drawDependencies(dependencies, job.dependencies);
    drawStage(report);
    drawn.story?.();
    drawn.log?.(job);
  }

  return {
    noun,
    draw: drawAll,
    drawAnew: (value) => {
      show(facts);
      drawAll(value);
    },
    tick: ({ job }) => {
      drawResources(resources, job);
      if (findFamily(job.state) === "waiting") head.draw(job);
    },
    close: () => {
      head.close();
      tabs.close();
    },
  };
}
