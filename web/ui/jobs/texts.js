// Texts of a job: its script, its variables, its story, and what it reported.

import { h, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makePane } from "../core/pane.js";
import { makeCopyButton, showEmpty } from "../core/notice.js";
import { toMs, writeDuration, writeTime } from "../core/format.js";
import { makeLink } from "../core/router.js";

const NO_SCRIPT = { 404: "The script is not kept: SLURM has forgotten the job, and it was not submitted here.", 403: "The script belongs to another user." };

// Open the script of a job in a place.
export function openScript(place, job_id) {
  const pane = makePane({
    title: "Script",
    load: async ({ signal }) => {
      try {
        return await get(`api/v1/jobs/${encodeURIComponent(job_id)}/script`, {}, { signal });
      } catch (problem) {
        if (NO_SCRIPT[problem.status]) return { script: null, why: NO_SCRIPT[problem.status] };
        throw problem;
      }
    },
    draw: (body, { script, why, source }) => {
      if (script === null) return showEmpty(body, why);
      return show(body, h("div", { class: "bar" }, h("span", { class: "count" }, source === "sluice" ? "as it was submitted here" : "as SLURM keeps it"), makeCopyButton(() => script)), h("pre", { class: "text", tabindex: 0, role: "region", "aria-label": "Script" }, script));
    },
  });
  show(place, pane.node);
  return pane.close;
}

// Show the variables that a job was submitted with.
export function showVariables(place, job) {
  const names = Object.keys(job.environment).sort();
  if (names.length === 0) return showEmpty(place, "No variables are known: SLURM tells none, and none were given when it was submitted here.");
  return show(place, h("pre", { class: "text", tabindex: 0, role: "region", "aria-label": "Variables" }, names.map((name) => `${name}=${job.environment[name]}\n`).join("")));
}

// Show what happened to a job and when; what it reported is told among it.
export function showStory(place, job, report) {
  const moments = [
    [job.submit_time, "submitted"],
    [job.start_time, job.restarts > 0 ? `began, after ${job.restarts} restarts` : "began"],
    [job.end_time, `ended: ${job.state}`],
    ...(report?.events ?? []).map((event) => [event.created_at, [event.stage ?? event.status, event.message].filter(Boolean).join(": "), "reported"]),
  ].filter(([at]) => at !== null && at !== undefined);
  moments.sort((one, other) => toMs(one[0]) - toMs(other[0]));
  const lines = moments.map(([at, what, by], number) => {
    const passed = number === 0 ? "" : `+${writeDuration((toMs(at) - toMs(moments[number - 1][0])) / 1000)}`;
    return h("tr", null, h("td", null, writeTime(at)), h("td", { class: "numeric" }, passed), h("td", null, by ?? "SLURM"), h("td", null, what));
  });
  const heads = ["When", "After", "Told by", "What"].map((title) => h("th", { scope: "col" }, title));
  const scrolled = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Events" }, h("table", null, h("thead", null, h("tr", null, heads)), h("tbody", null, lines)));
  return show(place, scrolled, report && h("p", null, h("a", { href: makeLink(["reports", report.job_id]) }, "The whole report")));
}
