// What failed last and why: each with the last line that it wrote before.

import { h, keepInStep, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLink } from "../core/router.js";
import { writeAge, writeTime } from "../core/format.js";
import { makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { makePane } from "../core/pane.js";

const STATES = "FAILED,TIMEOUT,NODE_FAIL,OUT_OF_MEMORY,BOOT_FAIL,DEADLINE";
const MOST = 8;
const LAST_LINES = 5;

// Read the jobs and runs that failed last: { key, link, name, state, at, why }.
async function loadFailed(signal) {
  const [jobs, runs] = await Promise.all([
    get("api/v1/jobs", { state: STATES, sort: "end_time", order: "desc", limit: MOST }, { signal }),
    get("api/workflows/runs", { status: "failed", limit: MOST }, { signal }),
  ]);
  const rows = [
    ...jobs.jobs.map((job) => ({ key: `job ${job.job_id}`, job, link: makeLink(["jobs", job.job_id]), kind: "job", name: job.job_name ?? job.job_id, state: job.state, at: job.end_time, why: describeExit(job) })),
    ...runs.map((run) => ({ key: `run ${run.id}`, link: makeLink(["runs", run.id]), kind: "run", name: run.workflow_name, state: run.status, at: run.completed_at, why: run.error?.split("\n")[0] })),
  ];
  return rows.sort((one, other) => String(other.at).localeCompare(String(one.at))).slice(0, MOST);
}

function describeExit(job) {
  if (job.state === "FAILED" && job.exit_code) return `exit code ${job.exit_code}`;
  return job.reason_text ?? "";
}

const lastLines = new Map(); // by job: the last line that it wrote, read once

async function showLastLine(place, job) {
  if (!lastLines.has(job.job_id)) lastLines.set(job.job_id, await readLastLine(job.job_id));
  setText(place, lastLines.get(job.job_id));
}

async function readLastLine(id) {
  try {
    const found = await get(`api/v1/jobs/${encodeURIComponent(id)}/error`, { lines: LAST_LINES });
    return found.lines.findLast((line) => line.trim()) ?? "";
  } catch {
    return ""; // its log is gone or is nobody else's business: the state says enough
  }
}

function makeRow(row) {
  const line = h("code", { class: "last-line" });
  const item = h("li", null, h("div", { class: "item" }, makeState(row.state), h("a", { href: row.link }, `${row.kind} ${row.name}`), h("time", { class: "hint", datetime: row.at, title: writeTime(row.at), tabindex: 0 })), h("div", { class: "hint why" }), line);
  if (row.job) showLastLine(line, row.job);
  updateRow(item, row);
  return item;
}

function updateRow(item, row) {
  setText(item.querySelector("time"), writeAge(row.at));
  setText(item.querySelector(".why"), row.why);
}

// Make the pane.
export function makeFailedPane() {
  return makePane({
    title: "Failed lately",
    kinds: ["job", "run"],
    calm_ms: 3000,
    load: ({ signal }) => loadFailed(signal),
    draw(place, rows) {
      if (rows.length === 0) return showEmpty(place, "Nothing has failed in the last hours.");
      const list = place.querySelector("ul") ?? show(place, h("ul", { class: "items" })).firstElementChild;
      keepInStep(list, rows, (row) => row.key, makeRow, updateRow);
    },
  });
}
