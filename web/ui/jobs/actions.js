// What is done to many jobs at once: asked in place, with names and numbers, and told job by job.

import { makeButton } from "../core/action.js";
import { h, setAttributes, show } from "../core/dom.js";
import { formatCurl, request } from "../core/api.js";
import { askFirst } from "../core/dialog.js";
import { makeCopyButton } from "../core/notice.js";
import { makeLink } from "../core/router.js";
import { writeCount } from "../core/format.js";
import { findFamily, isHeld } from "../core/states.js";
import { countTasks } from "./bundles.js";

const AT_ONCE = 1000;
const SHOWN_NAMES = 3;

const isIn = (...families) => (job) => families.includes(findFamily(job.state));
const ACTIONS = [
  { action: "cancel", label: "Cancel", fits: isIn("waiting", "running"), isLast: true, none: "None of them waits or runs" },
  { action: "hold", label: "Hold", fits: (job) => isIn("waiting")(job) && !isHeld(job), none: "None of them waits" },
  { action: "release", label: "Release", fits: isHeld, none: "None of them is held" },
  { action: "requeue", label: "Requeue", fits: (job) => !isIn("waiting")(job), isLast: true, none: "None of them has begun" },
];

// Make what can be done with the jobs that are chosen.
//
// draw(jobs) takes the rows that are acted on: those of the API, a task of a waiting row as itself; and returns nodes.
// `clear` chooses none. Returns { draw, report (node) }.
export function makeJobActions({ clear }) {
  const report = h("div");
  const draw = (jobs) => [h("strong", { role: "status" }, `${writeCount(sumTasks(jobs), "job")} chosen`), ACTIONS.map((action) => makeOne(action, jobs))];

  function makeOne({ action, label, fits, none, isLast }, jobs) {
    const fitting = jobs.filter(fits);
    const size = sumTasks(fitting);
    const ids = fitting.map(({ job_id }) => job_id);
    const kind = isLast ? "danger" : null;
    if (size === 0) return makeButton(label, null, { class: kind, disabled: true, title: none });
    const button = makeButton(`${label} ${size.toLocaleString("en")}`, begin, { scope: "write", class: kind });
    const words = `Copy “${label}” as curl`;
    const copy = makeCopyButton(() => listCalls(action, ids).map(({ method, path, body }) => formatCurl(method, path, body)).join("\n"), "curl");
    setAttributes(copy, { title: words, "aria-label": words });
    return h("span", { class: "action" }, button, copy);

    async function begin() {
      if (isLast && !(await askFirst(button, describeQuestion(label, fitting), label))) return;
      for (const other of button.closest(".bar").querySelectorAll(".action button")) other.disabled = true;
      await act(action, label, ids);
      clear();
    }
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
    const refused = wrong.length > 0 ? `, refused for ${wrong.length}` : "";
    const list = (some) => h("ul", null, some.map(({ job_id, message }) => h("li", null, h("a", { href: makeLink(["jobs", job_id]) }, job_id), ` ${message}`)));
    const close = makeButton("×", () => show(report), { class: "plain", "aria-label": "Close the report" });
    const node = h(
      "div",
      { class: refused ? "outcome failed" : "outcome", role: "status" },
      h("span", null, `${label}: done for ${writeCount(done, "job")}${refused}.`),
      refused && list(wrong),
      done > 0 && h("details", null, h("summary", null, "Each of them"), list(results)),
      close,
    );
    show(report, node);
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
    const word = ["waiting", "running"].includes(family) ? family : "ended";
    numbers.set(word, (numbers.get(word) ?? 0) + countTasks(job));
  }
  const parts = [...numbers].map(([word, number]) => `${number.toLocaleString("en")} ${word}`);
  const names = [...new Set(jobs.map((job) => job.job_name))];
  const cut = (name) => (name.length > 40 ? `${name.slice(0, 39)}…` : name);
  const shown = names.slice(0, SHOWN_NAMES).map((name) => `\u2068${cut(name)}\u2069`); // what turns the text round ends with the name
  const more = names.length > SHOWN_NAMES ? `, and ${writeCount(names.length - SHOWN_NAMES, "other name")}` : "";
  return `${label} ${parts.join(" and ")} ${sumTasks(jobs) === 1 ? "job" : "jobs"} (${shown.join(", ")}${more})?`;
}
