// The head of a job's page: what it is, how it goes or ended, and what can be done with it.

import { h, renew, setText, show } from "../core/dom.js";
import { makeAction, makeButton } from "../core/action.js";
import { findFamily, isHeld, isOpen } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { writeCount } from "../core/format.js";
import { may } from "../core/signin.js";
import { describeEnd } from "./exit_words.js";
import { describeWaiting } from "./facts.js";
import { openSubmit } from "./submit.js";

const PATH = "api/v1/jobs/";

// Make the head. Returns { node, draw(job) }.
export function makeJobHead() {
  const name = h("h1");
  const id = h("span", { class: "count" });
  const state = h("span", { class: "state" });
  const buttons = h("div", { class: "actions" });
  const story = h("div");
  let shown = "";

  function drawButtons(job) {
    const wanted = listActions(job);
    const key = wanted.map(({ label }) => label).join();
    if (key === shown || buttons.querySelector(".question")) return;
    shown = key;
    show(buttons, makeAgain(job), wanted.map(makeAction));
  }

  // Why it waits, or how it ended; the log below begins at what a failed one said last.
  function drawStory(job) {
    const family = findFamily(job.state);
    const isWrong = family === "failed" || job.state === "LOST";
    const ended = isOpen(job.state) ? "" : describeEnd(job) || `It ended as ${job.state}.`;
    story.className = isWrong ? "why failed-box" : family === "waiting" ? "why" : "";
    const texts = family === "waiting" ? describeWaiting(job) : ended ? [isWrong ? h("strong", null, ended) : ended] : [];
    renew(story, texts.map((text) => h("p", null, text)));
  }

  return {
    node: h("div", { class: "job-head" }, h("div", { class: "bar" }, name, id, state, buttons), story),
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
  if (job.het_job_id) return `heterogeneous job ${job.job_id}, ${writeCount(count, "component")}`;
  return `array ${job.job_id}, ${writeCount(count, "task")}`;
}

function makeAgain(job) {
  const label = isOpen(job.state) ? "Submit like this…" : "Run again…";
  const kind = findFamily(job.state) === "failed" ? "main" : null;
  const title = "Opens the submission, filled with what this job had";
  return makeButton(label, () => openSubmit({ from: job.job_id }), { scope: "write", class: kind, title });
}

function listActions(job) {
  const path = `${PATH}${encodeURIComponent(job.job_id)}`;
  const family = findFamily(job.state);
  const isWhole = job.array_tasks_summary !== null;
  const name = `job ${job.job_id} (${shorten(job.job_name)})`;
  const what = isWhole ? `all that is left of ${nameKind(job)}` : `${job.state === "PENDING" ? "waiting" : "running"} ${name}`;
  const isSomeOpen = isOpen(job.state) || Object.keys(job.array_tasks_summary ?? {}).some(isOpen);
  const again = () => `Put ${name} back into the queue? It begins from the start.`;
  const done = (answer) => answer.message;
  const put = (label, more) => ({ label, call: () => ({ method: "PUT", path: `${path}/${label.toLowerCase()}` }), done, ...more });
  return [
    isSomeOpen && { label: "Cancel", question: () => `Cancel ${what}?`, call: () => ({ method: "DELETE", path }), done },
    family === "waiting" && !isHeld(job) && put("Hold"),
    isHeld(job) && put("Release"),
    family !== "waiting" && put("Requeue", { question: again }),
    job.state === "RUNNING" && may("admin") && put("Suspend", { scope: "admin" }),
    job.state === "SUSPENDED" && put("Resume"),
  ].filter(Boolean);
}

const shorten = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);
