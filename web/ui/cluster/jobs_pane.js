// Some jobs beside a node or a partition, as a table.

import { h, renew } from "../core/dom.js";
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
  elapsed: ["Elapsed", writeElapsed, "nowrap"],
  why: ["Why it waits", (job) => job.reason_text ?? job.reason, "told"],
};

function writeElapsed({ state, start_time, elapsed_time }) {
  if (findFamily(state) === "running" && start_time) return makeAge(start_time, "elapsed");
  return writeDuration(readDuration(elapsed_time));
}

// Make the pane: the jobs that a query finds, with some of the columns above; `none` is said where there are none.
export function makeJobsPane({ title, none, query, columns, isOwn }) {
  const chosen = columns.map((key) => COLUMNS[key]);
  return makePane({
    title,
    kinds: ["job"],
    isOwn,
    calm_ms: 3000,
    load: "api/v1/jobs",
    query: { ...query, limit: MOST },
    draw(place, { jobs, total }) {
      if (jobs.length === 0) return showEmpty(place, none);
      const write = ({ job_id, job_name }) => [h("a", { href: makeLink(["jobs", job_id]) }, job_id), " ", job_name];
      const rows = jobs.map((job) => [write(job), ...chosen.map(([, writeCell]) => writeCell(job))]);
      const more = total > MOST && h("p", { class: "hint" }, `${MOST} of ${writeCount(total, "job")}.`);
      renew(place, makePlainTable(title, ["Job", ...chosen.map(([name, , kind]) => [name, kind])], rows), more);
    },
  });
}
