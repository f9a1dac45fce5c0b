// The list of jobs as the server has it: of whom, of which time, page by page, live.

import { getWhole } from "../core/api.js";
import { isOpen, JOB_STATES } from "../core/states.js";
import { getNow, toMs } from "../core/format.js";
import { me } from "../core/signin.js";

const PAGE_ROWS = 1000;
const OVERLAP_ROWS = 5; // of two pages: what shifted between them is noticed
const DAY_MS = 86_400_000;

// Times that are one click away; what is older stands in the history.
export const RANGES = [
  { key: "now", title: "Only now", words: "now", days: 0 },
  { key: "", title: "Now and the last day", words: "now, or in the last day", days: 1 },
  { key: "3d", title: "Now and 3 days", words: "now, or in 3 days", days: 3 },
  { key: "week", title: "Now and a week", words: "now, or in a week", days: 7 },
];

export const findRange = (key) => RANGES.find((range) => range.key === key) ?? RANGES[1];

// Return the parameters of a list: whose jobs (mine are "", all of them "all", or a name), and of which time.
export function makeScope({ who, since }) {
  const { key, days } = findRange(since);
  const user = who === "all" ? null : who || (me.session?.job_user ?? null);
  const times = key === "now" ? {} : key === "" ? { state: JOB_STATES.join(",") } : { start_time: `now-${days * 24}h` };
  return { user, ...times };
}

// Read all rows, or so many, page by page; `showSome` gets what there is so far.
export async function loadJobs(scope, signal, showSome, most = Infinity) {
  for (;;) {
    const rows = new Map();
    const found = { change: null, warnings: [] };
    let isWhole = true;
    for (let offset = 0; ; ) {
      const { data, change } = await getWhole("api/v1/jobs", { ...scope, limit: PAGE_ROWS, offset }, { signal });
      found.change ??= change; // what changed since the first page is heard again
      Object.assign(found, { warnings: data.warnings ?? [], total: data.total });
      if (offset > 0 && data.jobs.length > 0 && !rows.has(data.jobs[0].job_id)) isWhole = false;
      for (const job of data.jobs) rows.set(job.job_id, job);
      if (!data.has_more || !isWhole || rows.size >= most) break;
      showSome([...rows]);
      offset += data.jobs.length - OVERLAP_ROWS;
    }
    if (isWhole) return { ...found, rows: [...rows] };
  }
}

// Return the key of a change in a list of this user's jobs (of all where it is null), null for one of others.
export function getOwnKey({ parent, row, id }, user) {
  if (parent && parent !== me.session.cluster) return null;
  if (row && user && row.user !== user) return null;
  return row?.job_id ?? id;
}

// Return whether a list of the last days has a job still; the queue forgets jobs soon after their end.
export function isKept(job, since) {
  const { days } = findRange(since);
  return days > 0 && !isOpen(job.state) && toMs(job.end_time) > getNow() - days * DAY_MS;
}
