// What failed last and why: each with the last line that it wrote before.

import { h, setText } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLink } from "../core/router.js";
import { makeAge, makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { makePane, showItems } from "../core/pane.js";
import { me } from "../core/signin.js";
import { describeEnd } from "../jobs/exit_words.js";

const STATES = "FAILED,TIMEOUT,NODE_FAIL,OUT_OF_MEMORY,BOOT_FAIL,DEADLINE";
const MOST = 8;
const LAST_LINES = 5;

// Read my jobs and the runs that failed last: { key, link, name, state, at, why }.
async function loadFailed(signal) {
  const user = me.session.job_user;
  const [{ jobs }, runs] = await Promise.all([
    get("api/v1/jobs", { user, state: STATES, sort: "end_time", order: "desc", limit: MOST }, { signal }),
    get("api/workflows/runs", { status: "failed", limit: MOST }, { signal }),
  ]);
  const rows = [
    ...jobs.map((job) => ({
      ...job,
      id: job.job_id,
      link: ["jobs", job.job_id],
      name: `job ${job.job_name ?? job.job_id}`,
      at: job.end_time,
      why: describeEnd(job),
    })),
    ...runs.map(({ id, workflow_name, status, completed_at, error }) => ({
      link: ["runs", id],
      name: `run ${workflow_name}`,
      state: status,
      at: completed_at,
      why: error?.split("\n")[0],
    })),
  ];
  return rows.sort((one, other) => String(other.at).localeCompare(String(one.at))).slice(0, MOST);
}

const lastLines = new Map(); // by job: a promise of the last line that it wrote

async function showLastLine(place, id) {
  if (!lastLines.has(id)) lastLines.set(id, readLastLine(id));
  setText(place, await lastLines.get(id));
}

async function readLastLine(id) {
  try {
    const found = await get(`api/v1/jobs/${encodeURIComponent(id)}/error`, { lines: LAST_LINES });
    return found.lines.findLast((line) => line.trim()) ?? "";
  } catch {
    return ""; // its log is gone or is nobody else's business: the state says enough
  }
}

function makeRow({ id, link, name, state, at, why }) {
  const line = h("code", { class: "last-line" });
  if (id) showLastLine(line, id);
  const head = h("div", { class: "item" }, makeState(state), h("a", { href: makeLink(link), title: name }, name), makeAge(at));
  return h("li", null, head, h("p", null, why), line);
}

// Make the pane.
export function makeFailedPane() {
  return makePane({
    title: "Failed lately",
    kinds: ["job", "run"],
    calm_ms: 3000,
    actions: [h("a", { href: makeLink(["jobs"], { filter: "state=FAILED" }) }, "Failed jobs")],
    load: ({ signal }) => loadFailed(signal),
    draw(place, rows) {
      if (rows.length === 0) return showEmpty(place, "Nothing has failed in the last hours.");
      showItems(place, rows, (row) => row.link.join(" "), makeRow);
    },
  });
}
