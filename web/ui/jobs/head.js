// The head of a job's page: what it is, how it goes or ended, and what can be done with it.

import { h, setText, show } from "../core/dom.js";
import { makeAction } from "../core/action.js";
import { get } from "../core/api.js";
import { makePane } from "../core/pane.js";
import { findFamily, isHeld, isOpen } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { writeCount } from "../core/format.js";
import { may, me } from "../core/signin.js";
import { describeEnd } from "./exit_words.js";
import { describeWaiting } from "./facts.js";
import { openSubmit } from "./submit.js";

const LAST_LINES = 20;
const PATH = "api/v1/jobs/";

// Make the head. Returns { node, draw(job), close }.
export function makeJobHead() {
  const name = h("h1");
  const id = h("span", { class: "count" });
  const state = h("span", { class: "state" });
  const buttons = h("div", { class: "actions" });
  const story = h("div");
  let failure = null;
  let shown = "";

  function drawButtons(job) {
    const wanted = listActions(job);
    const key = wanted.map(({ label, disabled }) => label + disabled).join();
    if (key === shown || buttons.querySelector(".question")) return;
    shown = key;
    show(buttons, makeAgain(job), wanted.map(makeAction));
  }

  function drawStory(job) {
    const family = findFamily(job.state);
    if (family === "waiting") {
      closeFailure();
      drawWaiting(story, job);
    } else if (family === "failed" || job.state === "LOST") {
      if (failure?.state === job.state) return;
      closeFailure();
      failure = { ...makeFailure(job), state: job.state };
      show(story, failure.node);
    } else {
      closeFailure();
      const text = isOpen(job.state) ? "" : describeEnd(job);
      if (!story.querySelector(".end")) show(story, h("p", { class: "end" }));
      setText(story.firstElementChild, text);
    }
  }

  function closeFailure() {
    failure?.close();
    failure = null;
  }

  return {
    node: h("div", { class: "job-head" }, h("div", { class: "bar" }, name, id, state, buttons), story),
    close: closeFailure,
    draw: (job) => {
      setText(name, job.job_name);
      setText(id, nameKind(job));
      fillState(state, job.state);
      drawButtons(job);
      drawStory(job);
    },
  };
}

function nameKind(job) {
  if (!job.array_tasks_summary) return `job ${job.job_id}`;
  const count = Object.values(job.array_tasks_summary).reduce((sum, number) => sum + number, 0);
  return job.het_job_id ? `heterogeneous job ${job.job_id}, ${writeCount(count, "component")}` : `array ${job.job_id}, ${writeCount(count, "task")}`;
}

function makeAgain(job) {
  const label = isOpen(job.state) ? "Submit like this…" : "Run again…";
  const title = may("write") ? "Opens the submission, filled with what this job had" : `This needs the scope write; ${me.user} has ${[...me.scopes].join(", ")}`;
  return h("button", { type: "button", class: findFamily(job.state) === "failed" ? "main" : null, disabled: !may("write"), title, onclick: () => openSubmit({ from: job.job_id }) }, label);
}

function listActions(job) {
  const path = `${PATH}${encodeURIComponent(job.job_id)}`;
  const family = findFamily(job.state);
  const what = `${job.state === "PENDING" ? "waiting" : "running"} job ${job.job_id} (${shorten(job.job_name)})`;
  const put = (verb) => () => ({ method: "PUT", path: `${path}/${verb}` });
  const told = (answer) => answer.message;
  const parts = job.array_tasks_summary ?? {};
  const isSomeOpen = isOpen(job.state) || Object.keys(parts).some(isOpen);
  return [
    isSomeOpen && { label: "Cancel", question: () => `Cancel ${job.array_tasks_summary ? `all that is left of ${nameKind(job)}` : what}?`, call: () => ({ method: "DELETE", path }), done: told },
    family === "waiting" && !isHeld(job) && { label: "Hold", call: put("hold"), done: told },
    isHeld(job) && { label: "Release", call: put("release"), done: told },
    family !== "waiting" && { label: "Requeue", question: () => `Put job ${job.job_id} (${shorten(job.job_name)}) back into the queue? It begins from the start.`, call: put("requeue"), done: told },
    job.state === "RUNNING" && may("admin") && { label: "Suspend", scope: "admin", call: put("suspend"), done: told },
    job.state === "SUSPENDED" && { label: "Resume", call: put("resume"), done: told },
  ].filter(Boolean);
}

const shorten = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

function drawWaiting(place, job) {
  const sentences = describeWaiting(job);
  if (job.hold_reason) sentences.unshift(`It is held: ${job.hold_reason}.`);
  if (!place.querySelector(".why")) show(place, h("div", { class: "why" }));
  const box = place.firstElementChild;
  while (box.children.length < sentences.length) box.append(h("p"));
  while (box.children.length > sentences.length) box.lastElementChild.remove();
  sentences.forEach((sentence, at) => setText(box.children[at], sentence));
}

// What failed comes first: the exit code in words, and the last that it said.
function makeFailure(job) {
  const pane = makePane({
    title: "The last it said",
    load: async ({ signal }) => {
      const path = `${PATH}${encodeURIComponent(job.job_id)}`;
      const error = await get(`${path}/error`, { lines: LAST_LINES }, { signal });
      return error.content.trim() === "" && !error.merged ? get(`${path}/output`, { lines: LAST_LINES }, { signal }) : error;
    },
    draw: (place, output) => {
      if (output.content === "") show(place, h("p", { class: "hint" }, output.exists ? "It wrote nothing." : `There is no file ${output.path ?? "of its output"}.`));
      else show(place, h("pre", { tabindex: 0, role: "region", "aria-label": "Last lines" }, output.content));
    },
  });
  const whole = job.array_tasks_summary !== null;
  return { node: h("div", { class: "why failed-box" }, h("p", null, h("strong", null, describeEnd(job) || `It ended as ${job.state}.`)), !whole && pane.node), close: pane.close };
}
