// Running again: in the same run what did not complete, one job or all; or a new run with other values. What is shown is
// exactly what is sent.

import { h, setText, show } from "../core/dom.js";
import { formatCurl, makeKey, request } from "../core/api.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { goTo, makeLink } from "../core/router.js";
import { makeCopyButton, notify } from "../core/notice.js";
import { may, showDenied } from "../core/signin.js";
import { writeCount } from "../core/format.js";
import { listUnfinished, writeValue } from "./facts.js";

// Read from an address how the dialog is filled: ?rerun=new&args={"lr":0.1}
export function readRerun(query, job) {
  let args = {};
  try {
    args = JSON.parse(query.get("args") ?? "{}");
  } catch {
    notify("The args in the address are not JSON, so the dialog has the old values.", { kind: "failed" });
  }
  return { what: query.get("rerun"), job: query.get("one") ?? job, args };
}

// Open the dialog for a run that has ended. `given` is { what: failed | one | all | new, job, args }.
export function openRerun(run, given) {
  const key = makeKey(); // made now: pressing twice, or again after a lost answer, is one intention
  const unfinished = listUnfinished(run);
  const choices = [
    unfinished.length > 0 && unfinished.length < run.jobs.length && ["failed", `What did not complete: ${nameJobs(unfinished)}`],
    ["one", "One job, and what did not complete"],
    ["all", `All of it: ${writeCount(run.jobs.length, "job")}`],
    ["new", "A new run, with other values or a part of it"],
  ].filter(Boolean);
  const state = { what: choices.some(([what]) => what === given.what) ? given.what : choices[0][0] };
  const job = makeSelect(run.jobs.map(({ name }) => [name, name]), given.job ?? run.jobs[0]?.name);
  const args = Object.entries({ ...run.args, ...given.args }).map(([name, value]) => makeArg(name, run.args?.[name], value, tell));
  const part = makePart(run, tell);
  const preview = h("pre", { class: "text", tabindex: 0, "aria-label": "What is sent" });
  const more = h("div", { class: "fields" });
  const radios = choices.map(([what, text]) => h("label", { class: "choice" }, h("input", { type: "radio", name: "what", value: what, checked: what === state.what, onchange: () => choose(what) }), text));

  const describe = () => describeCall(run, state.what, { job: job.value, args, part });
  const form = makeForm([h("fieldset", null, h("legend", null, "What runs again"), radios), more, h("h3", null, "This is sent"), preview], {
    label: "Run again",
    act: async () => {
      const call = describe();
      const { data } = await request(call.method, call.path, { body: call.body, query: call.query, key });
      dialog.close();
      if (state.what === "new") goTo(makeLink(["runs", data.id]));
      notify(state.what === "new" ? "A new run has begun." : "The run has begun again.");
    },
    extra: makeCopyButton(() => {
      const call = describe();
      return formatCurl(call.method, call.path, call.body, call.query);
    }, "Copy as curl"),
  });

  function choose(what) {
    state.what = what;
    if (what === "one") show(more, makeField("Job", job, { name: "jobs", hint: "Its earlier attempts stay; jobs after it that completed are not run again." }));
    else if (what === "new") show(more, h("p", { class: "hint" }, `The workflow ${run.workflow_name} is taken as it is now.`), args.map((arg) => arg.node), part.nodes);
    else show(more);
    tell();
  }

  function tell() {
    const call = describe();
    setText(preview, `${call.method} ${call.path}${call.query?.mount ? `?mount=${call.query.mount}` : ""}\n${JSON.stringify(call.body, null, 2)}`);
  }

  job.addEventListener("change", tell);
  const content = may("write") ? form : showDenied(h("div"), "write");
  const dialog = openDialog(`Run ${run.workflow_name} again`, content);
  choose(state.what);
}

function describeCall(run, what, { job, args, part }) {
  if (what !== "new") {
    const body = { failed: { only: "failed" }, one: { only: "failed", jobs: [job] }, all: { only: "all" } }[what];
    return { method: "POST", path: `api/workflows/runs/${run.id}/rerun`, body };
  }
  const body = { args_override: Object.fromEntries(args.map((arg) => [arg.name, arg.read()])), ...part.read() };
  return { method: "POST", path: `api/workflows/${encodeURIComponent(run.workflow_name)}/run`, body, query: run.mount ? { mount: run.mount } : undefined };
}

const nameJobs = (jobs) => (jobs.length <= 4 ? jobs.map(({ name }) => name).join(", ") : writeCount(jobs.length, "job"));

const makeSelect = (options, value) => h("select", null, options.map(([each, text]) => h("option", { value: each, selected: each === value }, text)));

// A field for one arg, filled with the old value; another value is marked, with the old one beside it.
function makeArg(name, old, value, tell) {
  const isText = typeof old === "string" || (old === undefined && typeof value === "string");
  const control = typeof old === "boolean" ? makeSelect([["true", "true"], ["false", "false"]], String(value)) : h("input", { value: writeValue(value), spellcheck: "false", autocomplete: "off" });
  const node = makeField(name, control, { name });
  const hint = node.querySelector("small");
  const read = () => (isText ? control.value : readTyped(control.value));
  const mark = () => {
    const isChanged = JSON.stringify(read()) !== JSON.stringify(old);
    node.classList.toggle("changed", isChanged);
    setText(hint, isChanged ? `changed: it was ${old === undefined ? "not given" : writeValue(old)}` : "");
  };
  control.addEventListener("input", () => {
    mark();
    tell();
  });
  mark();
  return { name, node, read };
}

// A value that is no text is JSON; what is not is sent as a text, as the preview shows.
function readTyped(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function makePart(run, tell) {
  const names = [["", "–"], ...run.jobs.map(({ name }) => [name, name])];
  const selects = [
    ["from_job", "Begin with"],
    ["to_job", "End with"],
    ["single_job", "Only this job"],
  ].map(([name, title]) => {
    const select = makeSelect(names, "");
    select.addEventListener("change", tell);
    return { name, select, node: makeField(title, select, { name }) };
  });
  return {
    nodes: selects.map(({ node }) => node),
    read: () => Object.fromEntries(selects.filter(({ select }) => select.value).map(({ name, select }) => [name, select.value])),
  };
}
