// Running again: in the same run what did not complete, one job or all of it; or a new run, filled with the old values.

import { h, makeChoice, setText } from "../core/dom.js";
import { makeField, openForm } from "../core/dialog.js";
import { notify } from "../core/notice.js";
import { writeCount } from "../core/format.js";
import { openRunOf } from "../workflows/run_dialog.js";
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
export function openNewRun(run, args = {}) {
  return openRunOf(run.workflow_name, run.mount, () => ({
    before: run.args,
    body: { args_override: { ...run.args, ...args } },
    note: "The workflow is taken as it is now.",
  }));
}

// Open the dialog for a run that has ended. `what` is failed, one or all.
export function openRerun(run, { what, job }) {
  const unfinished = listUnfinished(run);
  const bodies = {
    failed: () => ({ only: "failed" }),
    one: () => ({ only: "failed", jobs: [choice.value] }),
    all: () => ({ only: "all" }),
  };
  const choices = [
    unfinished.length > 0 && unfinished.length < run.jobs.length && ["failed", `What did not complete: ${nameJobs(unfinished)}`],
    ["one", "One job, and what did not complete"],
    ["all", `All of it: ${writeCount(run.jobs.length, "job")}`],
  ].filter(Boolean);
  let [chosen] = choices.find(([each]) => each === what) ?? choices[0];
  const makeRadio = ([value, words]) => {
    const choose = () => {
      chosen = value;
      draw();
    };
    const radio = h("input", { type: "radio", name: "what", value, checked: value === chosen, onchange: choose });
    return h("label", { class: "choice" }, radio, words);
  };
  const choice = makeChoice("Job", run.jobs.map(({ name }) => name), job ?? run.jobs[0]?.name, () => draw());
  const hint = "Its earlier attempts stay; jobs after it that completed are not run again.";
  const field = makeField("Job", choice, { name: "jobs", hint });
  const preview = h("pre", { class: "text", tabindex: 0, "aria-label": "What is sent" });
  const call = () => ({ method: "POST", path: `api/workflows/runs/${run.id}/rerun`, body: bodies[chosen]() });

  function draw() {
    const { method, path, body } = call();
    field.hidden = chosen !== "one";
    setText(preview, `${method} ${path}\n${JSON.stringify(body, null, 2)}`);
  }

  const radios = h("fieldset", null, h("legend", null, "What runs again"), choices.map(makeRadio));
  const done = () => notify("The run has begun again.");
  openForm(`Run ${run.workflow_name} again`, [radios, field, h("h3", null, "This is sent"), preview], { label: "Run again", call, done });
  draw();
}

const nameJobs = (jobs) => (jobs.length <= 4 ? jobs.map(({ name }) => name).join(", ") : writeCount(jobs.length, "job"));
