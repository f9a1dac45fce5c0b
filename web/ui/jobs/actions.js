// What is done to many jobs at once: asked in place, with names and numbers, and told job by job.

import { h, show } from "../core/dom.js";
import { formatCurl, request } from "../core/api.js";
import { askFirst } from "../core/dialog.js";
import { makeCopyButton } from "../core/notice.js";
import { makeLink } from "../core/router.js";
import { writeCount } from "../core/format.js";
import { findFamily, isHeld } from "../core/states.js";
import { may, me } from "../core/signin.js";
import { countTasks } from "./bundles.js";

const AT_ONCE = 1000;
const SHOWN_NAMES = 3;

const ACTIONS = [
  { action: "cancel", label: "Cancel", fits: (job) => ["waiting", "running"].includes(findFamily(job.state)), isLast: true, none: "None of them waits or runs" },
  { action: "hold", label: "Hold", fits: (job) => findFamily(job.state) === "waiting" && !isHeld(job), none: "None of them waits" },
  { action: "release", label: "Release", fits: isHeld, none: "None of them is held" },
  { action: "requeue", label: "Requeue", fits: (job) => findFamily(job.state) !== "waiting", isLast: true, none: "None of them has begun" },
];

// Make what can be done with the jobs that are chosen.
//
// draw(jobs) takes the rows that are acted on: those of the API, a task of a waiting row as itself; and returns nodes.
// `clear` chooses none. Returns { draw, report (node) }.
export function makeJobActions({ clear }) {
  const report = h("div");
  const draw = (jobs) => [h("strong", { role: "status" }, `${writeCount(sumTasks(jobs), "job")} chosen`), ACTIONS.map((action) => makeButton(action, jobs))];

  function makeButton({ action, label, fits, none, isLast }, jobs) {
    const fitting = jobs.filter(fits);
    const [size, denied] = [sumTasks(fitting), !may("write")];
    const why = denied ? `This needs the scope write; ${me.user} has ${[...me.scopes].join(", ")}` : size === 0 ? `${none}` : null;
    const button = h("button", { type: "button", class: isLast ? "danger" : null, disabled: why !== null, title: why }, size === 0 ? label : `${label} ${size.toLocaleString("en")}`);
    const ids = fitting.map(({ job_id }) => job_id);
    button.addEventListener("click", async () => {
      if (isLast && !(await askFirst(button, describeQuestion(label, fitting), label))) return;
      for (const other of button.closest(".bar").querySelectorAll(".action button")) other.disabled = true;
      await act(action, label, ids);
      clear();
    });
    const copy = size > 0 && makeCopyButton(() => listCalls(action, ids).map(({ method, path, body }) => formatCurl(method, path, body)).join("\n"), "curl");
    copy && copy.setAttribute("title", `Copy “${label}” as curl`);
    copy && copy.setAttribute("aria-label", `Copy “${label}” as curl`);
    return h("span", { class: "action" }, button, copy);
  }

  async function act(action, label, ids) {
    const results = [];
    for (const call of listCalls(action, ids)) {
      show(report, h("p", { role: "status", class: "hint" }, `${label}: ${results.length} of ${ids.length}…`));
      try {
        results.push(...(await request(call.method, call.path, { body: call.body })).data.results);
      } catch (problem) {
        results.push(...call.body.job_ids.map((job_id) => ({ job_id, status: "error", message: problem.message })));
      }
    }
    showReport(label, results);
  }

  function showReport(label, results) {
    const wrong = results.filter(({ status }) => status !== "success");
    const done = results.length - wrong.length;
    const words = wrong.length === 0 ? `${label}: done for ${writeCount(done, "job")}.` : `${label}: done for ${writeCount(done, "job")}, refused for ${wrong.length}.`;
    const line = ({ job_id, message }) => h("li", null, h("a", { href: makeLink(["jobs", job_id]) }, job_id), ` ${message}`);
    show(
      report,
      h(
        "div",
        { class: wrong.length > 0 ? "outcome failed" : "outcome", role: "status" },
        h("span", null, words),
        wrong.length > 0 && h("ul", null, wrong.map(line)),
        done > 0 && h("details", null, h("summary", null, "Each of them"), h("ul", null, results.map(line))),
        h("button", { type: "button", class: "plain", "aria-label": "Close the report", onclick: () => show(report) }, "×"),
      ),
    );
  }

  return { draw, report };
}

const sumTasks = (jobs) => jobs.reduce((sum, job) => sum + countTasks(job), 0);

function listCalls(action, ids) {
  const calls = [];
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    calls.push({ method: "POST", path: "api/v1/jobs/bulk", body: { action, job_ids: ids.slice(at, at + AT_ONCE) } });
  }
  return calls;
}

// "Cancel 3 running and 40 waiting jobs (train, test, …)?"
function describeQuestion(label, jobs) {
  const numbers = new Map();
  for (const job of jobs) {
    const family = findFamily(job.state);
    const word = { waiting: "waiting", running: "running" }[family] ?? "ended";
    numbers.set(word, (numbers.get(word) ?? 0) + countTasks(job));
  }
  const parts = [...numbers].map(([word, number]) => `${number.toLocaleString("en")} ${word}`);
  const total = sumTasks(jobs);
  const names = [...new Set(jobs.map((job) => job.job_name))];
  const shown = names.slice(0, SHOWN_NAMES).map((name) => (name.length > 40 ? `${name.slice(0, 39)}…` : name)).map((name) => `\u2068${name}\u2069`); // what turns the text round ends with the name
  const more = names.length > SHOWN_NAMES ? `, and ${names.length - SHOWN_NAMES} other names` : "";
  return `${label} ${parts.join(" and ")} ${total === 1 ? "job" : "jobs"} (${shown.join(", ")}${more})?`;
}
