// Some jobs beside a node or a partition, as a table.

import { h, renew } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLink } from "../core/router.js";
import { readDuration, writeCount, writeDuration, writeTime } from "../core/format.js";
import { findFamily } from "../core/states.js";
import { makeAge, makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { makePane, makePlainTable } from "../core/pane.js";

const MOST = 30;

const COLUMNS = {
  state: ["State", (job) => makeState(job.state)],
  user: ["User", (job) => job.user],
  cpus: ["CPUs", (job) => job.cpu_count, "numeric"],
  gpus: ["GPUs", (job) => job.gpus, "numeric"],
  priority: ["Priority", (job) => job.priority, "numeric"],
  submitted: ["Submitted", (job) => writeTime(job.submit_time), "nowrap"],
  began: ["Began", (job) => writeTime(job.start_time), "nowrap"],
  elapsed: ["Elapsed", (job) => (findFamily(job.state) === "running" && job.start_time ? makeAge(job.start_time, "elapsed") : writeDuration(readDuration(job.elapsed_time))), "nowrap"],
  why: ["Why it waits", (job) => job.reason_text ?? job.reason],
};

// Make the pane: the jobs that a query finds, with some of the columns above; `none` is said where there are none.
export function makeJobsPane({ title, none, query, columns, isOwn }) {
  const chosen = columns.map((key) => COLUMNS[key]);
  return makePane({
    title,
    kinds: ["job"],
    isOwn,
    calm_ms: 3000,
    load: ({ signal }) => get("api/v1/jobs", { ...query, limit: MOST }, { signal }),
    draw(place, { jobs, total }) {
      if (jobs.length === 0) return showEmpty(place, none);
      const rows = jobs.map((job) => [[h("a", { href: makeLink(["jobs", job.job_id]) }, job.job_id), " ", job.job_name], ...chosen.map(([, write]) => write(job))]);
      renew(place, makePlainTable(title, ["Job", ...chosen.map(([name, , kind]) => [name, kind])], rows), total > MOST && h("p", { class: "hint" }, `${MOST} of ${writeCount(total, "job")}.`));
    },
  });
}
