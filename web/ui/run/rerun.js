// Running again: in the same run what did not complete, one job or all of it; or a new run, filled with the old values.

import { h, makeChoice, setText } from "../core/dom.js";
import { get, makeKey, request } from "../core/api.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { notify, notifyRefusal } from "../core/notice.js";
import { writeCount } from "../core/format.js";
import { isOpen } from "../core/states.js";
import { openRunDialog } from "../workflows/run_dialog.js";
import { listUnfinished } from "./facts.js";

// Open the dialog that an address asks for: ?rerun=new&args={"lr":0.1}, or what else runs again and which job.
export function openAsked(run, query, job) {
  if (query.get("rerun") !== "new") return openRerun(run, { what: query.get("rerun"), job: query.get("one") ?? job });
  try {
    return openNewRun(run, JSON.parse(query.get("args") ?? "{}"));
  } catch {
    notify("The args in the address are not JSON, so the dialog has the old values.", { kind: "failed" });
    return openNewRun(run);
  }
}

// Open the dialog of the workflow, as it is now, with the values of this run; `args` are other ones.
export async function openNewRun(run, args = {}) {
  try {
    const workflow = await get(`api/workflows/${encodeURIComponent(run.workflow_name)}`, { mount: run.mount });
    openRunDialog({ workflow: { ...workflow, name: run.workflow_name }, mount: run.mount, before: run.args, body: { args_override: { ...run.args, ...args } }, note: "The workflow is taken as it is now." });
  } catch (problem) {
    notifyRefusal("The workflow", problem);
  }
}

// Open the dialog for a run that has ended. `what` is failed, one or all.
export function openRerun(run, { what, job }) {
  const path = `api/workflows/runs/${run.id}`;
  const key = makeKey();
  const unfinished = listUnfinished(run);
  const bodies = { failed: () => ({ only: "failed" }), one: () => ({ only: "failed", jobs: [choice.value] }), all: () => ({ only: "all" }) };
  const choices = [
    unfinished.length > 0 && unfinished.length < run.jobs.length && ["failed", `What did not complete: ${nameJobs(unfinished)}`],
    ["one", "One job, and what did not complete"],
    ["all", `All of it: ${writeCount(run.jobs.length, "job")}`],
  ].filter(Boolean);
  const chosen = choices.find(([each]) => each === what) ?? choices[0];
  const choice = makeChoice("Job", run.jobs.map(({ name }) => name), job ?? run.jobs[0]?.name, draw);
  const field = makeField("Job", choice, { name: "jobs", hint: "Its earlier attempts stay; jobs after it that completed are not run again." });
  const preview = h("pre", { class: "text", tabindex: 0, "aria-label": "What is sent" });
  const radios = choices.map((each) => h("label", { class: "choice" }, h("input", { type: "radio", name: "what", value: each[0], checked: each === chosen, onchange: draw }), each[1]));
  const describe = () => ({ method: "POST", path: `${path}/rerun`, body: bodies[form.elements.what.value]() });
  let isLost = false;
  const form = makeForm([h("fieldset", null, h("legend", null, "What runs again"), radios), field, h("h3", null, "This is sent"), preview], { label: "Run again", act, describe });

  async function act() {
    // Where no answer came the last time, it may have begun all the same: once is enough.
    const now = isLost ? await get(path) : run;
    if (now.started_at === run.started_at && !isOpen(now.status)) await start();
    dialog.close();
    notify("The run has begun again.");
  }

  async function start() {
    const { method, path: called, body } = describe();
    try {
      await request(method, called, { body, key });
    } catch (problem) {
      isLost = problem.status === 0 || problem.status >= 502;
      throw problem;
    }
  }

  function draw() {
    const { method, path: called, body } = describe();
    field.hidden = form.elements.what.value !== "one";
    setText(preview, `${method} ${called}\n${JSON.stringify(body, null, 2)}`);
  }

  const dialog = openDialog(`Run ${run.workflow_name} again`, form);
  draw();
}

const nameJobs = (jobs) => (jobs.length <= 4 ? jobs.map(({ name }) => name).join(", ") : writeCount(jobs.length, "job"));
