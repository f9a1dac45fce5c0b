// The first visit: what this is, and one button that shows it at work. Once there is anything, the usual view stands here.

import { makeButton } from "../core/action.js";
import { h, show } from "../core/dom.js";
import { get, getWhole, makeKey, send } from "../core/api.js";
import { makeLiveDocument } from "../core/live.js";
import { makeCurlButton } from "../core/dialog.js";
import { makeFacts } from "../core/pane.js";
import { makeLink } from "../core/router.js";
import { notifyRefusal, showProblem } from "../core/notice.js";
import { makeState } from "../core/marks.js";
import { isOpen } from "../core/states.js";
import { setTitle } from "../core/shell.js";
import { may, me, showDenied } from "../core/signin.js";
import { makeGraph } from "../parts/graph.js";
import { makeLogViewer } from "../log/viewer.js";
import { openSubmit } from "../jobs/submit.js";

const EXAMPLE = "hello";
// The example as the store has it at first, for one whose file was removed.
const JOBS = [
  { name: "write", command: ["sh", "-c", "for i in 1 2 3; do echo Hello from Sluice $i; done | tee greetings.txt"], resources: { time_limit: "0:05:00" } },
  { name: "count", command: ["wc", "-l", "greetings.txt"], depends_on: ["write"] },
];

const openUsual = () => import("./overview.js");

// Open the view: the first visit while the store is empty, else the usual one.
export function open(outlet, context) {
  const opened = { close: null, isClosed: false };
  show(outlet, h("p", { class: "hint" }, "Loading…"));
  begin(outlet, context, opened);
  return () => {
    opened.isClosed = true;
    opened.close?.();
  };
}

async function begin(outlet, context, opened) {
  let isFirst = false;
  try {
    isFirst = await isEmpty();
  } catch {
    // The usual view says what is wrong.
  }
  const view = isFirst ? null : await openUsual();
  if (opened.isClosed) return;
  show(outlet);
  opened.close = view ? view.open(outlet, context) : drawWelcome(outlet);
}

async function isEmpty() {
  const [jobs, runs] = await Promise.all([get("api/v1/jobs", { limit: 1 }), getWhole("api/workflows/runs", { limit: 1 })]);
  return jobs.total === 0 && runs.total === 0;
}

function drawWelcome(outlet) {
  setTitle("Welcome");
  const stage = h("div", { class: "view-parts", "aria-live": "polite" });
  const place = h("div", { class: "actions" });
  const view = { close: null };
  const key = makeKey();
  const button = makeButton("Run the example", run, { class: "main" });
  const describe = () => ({ method: "POST", path: `api/workflows/${EXAMPLE}/run`, body: {} });
  if (may("write")) show(place, button, makeCurlButton(describe), makeButton("Submit a job of your own", () => openSubmit()));
  else showDenied(place, "write");
  show(
    outlet,
    h(
      "div",
      { class: "welcome" },
      h("h1", null, "Welcome to Sluice"),
      h("p", null, `Sluice runs your jobs on ${nameCluster(me.session.cluster)}, and this page shows all of them as they go.`),
      h("p", null, "A workflow is a small YAML file of jobs that wait for each other; a sweep runs it over many values at once."),
      h("p", null, "The example has two jobs, the second of which counts what the first has written: it takes a few seconds."),
      place,
    ),
    stage,
  );

  async function run() {
    button.disabled = true;
    try {
      const { id } = await startExample(key);
      view.close?.();
      view.close = showRun(stage, id);
      button.hidden = true;
    } catch (problem) {
      notifyRefusal("The example did not start", problem);
    }
    button.disabled = false;
  }

  return () => view.close?.();
}

const nameCluster = (name) => (name === "embedded" ? "the embedded cluster, which is this machine" : `the cluster ${name}`);

async function startExample(key) {
  const workflows = await get("api/workflows");
  if (!workflows.some(({ name }) => name === EXAMPLE)) await send("POST", "api/workflows/create", { name: EXAMPLE, jobs: JOBS });
  return await send("POST", `api/workflows/${EXAMPLE}/run`, {}, { key });
}

// Show a run as it goes: its graph, the log of its last job, its result. Returns what ends it.
function showRun(place, id) {
  const state = h("p");
  const graph = makeGraph({ label: "The example" });
  const log = h("div", { class: "welcome-log" });
  const result = h("div");
  const next = h("p", { class: "actions" });
  const shown = { viewer: null, logOf: null, isOver: false };
  show(place, h("h2", null, "The run"), state, graph.node, log, result, next);
  const document_ = makeLiveDocument({
    kinds: ["run", "job"],
    isOwn: (change) => change.kind === "job" || change.id === id,
    load: ({ signal }) => get(`api/workflows/runs/${id}`, {}, { signal }),
  });
  document_.listen(() => {
    if (document_.state === "failed") return showProblem(result, "The run", document_.problem, document_.reload);
    const run = document_.value;
    graph.setJobs(run.jobs.map(({ name, depends_on, status, slurm_state }) => ({ name, depends_on, status: slurm_state ?? status })));
    if (isOpen(run.status)) show(state, makeState(run.status));
    drawLog(run);
    if (!isOpen(run.status) && !shown.isOver) finish(run);
  });

  // The log of the job that began last.
  function drawLog(run) {
    const job = run.jobs.findLast(({ job_id, started_at }) => job_id && started_at);
    if (!job || job.job_id === shown.logOf) return;
    shown.viewer?.close();
    shown.logOf = job.job_id;
    shown.viewer = makeLogViewer({ job: job.job_id, label: `the job ${job.name}`, hasPlace: false });
    show(log, h("h2", null, `What ${job.name} writes`), shown.viewer.node);
  }

  function finish(run) {
    shown.isOver = true;
    const facts = run.jobs.flatMap((job) => Object.entries(job.result ?? {}).map(([name, value]) => [`${job.name}: ${name}`, String(value)]));
    show(result, facts.length > 0 && [h("h2", null, "Its result"), makeFacts(facts)]);
    show(
      next,
      h("a", { href: makeLink(["runs", id]) }, "Look at the run"),
      h("a", { href: makeLink(["jobs"]) }, "All jobs"),
      h("a", { href: makeLink(["workflows", EXAMPLE]) }, "Change the workflow"),
    );
    const kept = " – that was a run: all of it is kept, and can be looked at again.";
    show(state, makeState(run.status), run.status === "completed" ? kept : ` ${run.error ?? ""}`);
  }

  return () => {
    document_.close();
    graph.close();
    shown.viewer?.close();
  };
}
