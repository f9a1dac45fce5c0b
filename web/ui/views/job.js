// One job: how it goes and why, what it uses, what it writes, and what can be done with it.

import { h, renew, show } from "../core/dom.js";
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
  const inSight = () => (document.hidden ? null : (document_.value?.job ?? null));
  const ticking = setInterval(() => inSight() && isOpen(inSight().state) && parts.tick(document_.value), TICK_MS);
  const asking = setInterval(() => inSight()?.state === "RUNNING" && document_.reload(), AGAIN_MS);
  const zone = whenZoneChanges(() => document_.value && parts?.draw(document_.value));
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
  return { job, more: { run: other.run_id, workflow: other.workflow_name, sweep: run?.sweep_run_id, report: report?.job_id }, report };
}

function showUnknown(place, id, problem) {
  setTitle(`Job ${id}`, { family: "unknown" });
  const isNoId = problem.status === 400;
  const unknown = "SLURM forgets jobs some minutes after their end where it keeps no accounting, and an id belongs to one cluster.";
  const forms = "Ids are such as 42, 42_7 for a task of an array, or 42+1 for a component.";
  const text = isNoId ? `“${id}” is no id of a job. ${forms}` : `Nobody here knows a job ${id}. ${unknown}`;
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
  const [resources, facts, dependencies] = [h("div"), h("div"), h("div", { class: "pane" })];
  const stage = h("p");
  const first = document_.value.job;
  const whole = first.array_job_id ?? first.het_job_id ?? first.job_id;
  const isWhole = first.array_tasks_summary !== null;
  const noun = findNoun(first);
  let drawTab = null; // what a tab shows follows the job
  const follow = (draw) => {
    drawTab = draw;
    draw(document_.value);
    return () => (drawTab = null);
  };
  const tabs = makeTabs({
    label: "Parts of the job",
    chosen: query.get("tab") ?? (isWhole ? "tasks" : "log"),
    whenChosen: (tab) => changeQuery({ tab }),
    tabs: [
      noun && { key: "tasks", title: noun === "task" ? "Tasks" : "Components", open: (body) => openParts(body, whole, noun, query) },
      !isWhole && { key: "log", title: "Log", open: openLog },
      { key: "script", title: "Script", open: (body) => openScript(body, id) },
      { key: "variables", title: "Variables", open: (body) => follow(({ job }) => showVariables(body, job)) },
      { key: "events", title: "Events", open: (body) => follow(({ job, report }) => showStory(body, job, report)) },
    ].filter(Boolean),
  });
  const side = [dependencies, makeSection("Given and used", resources), makeSection("Facts", facts)];
  show(place, head.node, stage, h("div", { class: "beside" }, tabs.node, h("div", { class: "view-parts" }, side)));

  function openLog(body) {
    const log = openJobLog(body, document_.value.job);
    const stop = follow(({ job }) => log.draw(job));
    return () => {
      stop();
      log.close();
    };
  }

  return {
    noun,
    draw: (value) => {
      const { job, more, report } = value;
      head.draw(job);
      drawJobFacts(facts, job, more);
      drawResources(resources, job);
      drawDependencies(dependencies, job);
      renew(stage, report && ["It reports: ", h("strong", null, report.stage ?? report.status), report.message && ` – ${report.message}`]);
      drawTab?.(value);
    },
    tick: ({ job }) => {
      drawResources(resources, job);
      if (findFamily(job.state) === "waiting") head.draw(job);
    },
    close: tabs.close,
  };
}

const makeSection = (title, body) => h("section", { class: "pane" }, h("h2", null, title), body);
