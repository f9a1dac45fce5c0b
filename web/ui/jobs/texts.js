// Texts of a job: its script, its variables, its story, and what it reported.

import { h, renew, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makePane, makePlainTable } from "../core/pane.js";
import { makeCopyButton, showEmpty } from "../core/notice.js";
import { toMs, writeCount, writeDuration, writeTime } from "../core/format.js";
import { makeLink } from "../core/router.js";

const NO_SCRIPT = {
  404: "The script is not kept: SLURM has forgotten the job, and it was not submitted here.",
  403: "The script belongs to another user.",
};

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
      const origin = source === "sluice" ? "as it was submitted here" : "as SLURM keeps it";
      const bar = h("div", { class: "bar" }, h("span", { class: "count" }, origin), makeCopyButton(() => script));
      return show(body, bar, makeText("Script", script));
    },
  });
  show(place, pane.node);
  return pane.close;
}

// Show the variables that a job was submitted with.
export function showVariables(place, { environment }) {
  const names = Object.keys(environment).sort();
  if (names.length > 0) return show(place, makeText("Variables", names.map((name) => `${name}=${environment[name]}\n`).join("")));
  return showEmpty(place, "No variables are known: SLURM tells none, and none were given when it was submitted here.");
}

// Show what happened to a job and when; what it reported is told among it.
export function showStory(place, job, report) {
  const moments = [
    [job.submit_time, "submitted"],
    [job.start_time, job.restarts > 0 ? `began, after ${writeCount(job.restarts, "restart")}` : "began"],
    [job.end_time, `ended: ${job.state}`],
    ...(report?.events ?? []).map(({ created_at, stage, status, message }) => [created_at, [stage ?? status, message].filter(Boolean).join(": "), "the job"]),
  ].filter(([at]) => at);
  moments.sort((one, other) => toMs(one[0]) - toMs(other[0]));
  const rows = moments.map(([at, what, by = "SLURM"], number) => {
    const passed = number > 0 && `+${writeDuration((toMs(at) - toMs(moments[number - 1][0])) / 1000)}`;
    return [writeTime(at), passed, by, what];
  });
  renew(
    place,
    makePlainTable("Events", [["When", "nowrap"], ["After", "numeric"], ["Told by", "nowrap"], "What"], rows),
    report && h("p", null, h("a", { href: makeLink(["reports", report.job_id]) }, "The whole report")),
  );
}

const makeText = (label, text) => h("pre", { class: "text", tabindex: 0, role: "region", "aria-label": label }, text);
