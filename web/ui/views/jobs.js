// Jobs: all that run and wait, and those that ended lately.

import { h, setText, show } from "../core/dom.js";
import { getWhole } from "../core/api.js";
import { makeLiveList } from "../core/live.js";
import { makeTable, makeColumnChooser } from "../core/table.js";
import { changeQuery, makeLink } from "../core/router.js";
import { readDuration, toMs, writeCount, writeDuration, writeShortTime } from "../core/format.js";
import { findFamily } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";

const PAGE_ROWS = 1000;

export const COLUMNS = [
  { key: "job_id", title: "Id", width: "6.5rem", value: (job) => job.job_id, render: fillId },
  { key: "job_name", title: "Name", width: "minmax(10rem, 2fr)", value: (job) => job.job_name },
  { key: "state", title: "State", width: "8.5rem", value: (job) => job.state, render: (cell, job) => fillState(cell, job.state) },
  { key: "reason", title: "Reason", value: (job) => job.reason, write: (job) => job.reason },
  { key: "elapsed", title: "Elapsed", width: "6.5rem", numeric: true, value: getElapsed, write: (job) => writeDuration(getElapsed(job)), ticks: (job) => findFamily(job.state) === "running" },
  { key: "time_limit", title: "Limit", width: "7rem", numeric: true, value: (job) => readDuration(job.time_limit), write: (job) => job.time_limit },
  { key: "user", title: "User", width: "7rem", value: (job) => job.user },
  { key: "partition", title: "Partition", width: "7rem", value: (job) => job.partition },
  { key: "node_count", title: "Nodes", width: "4.5rem", numeric: true, value: (job) => job.node_count },
  { key: "cpu_count", title: "CPUs", width: "4.5rem", numeric: true, value: (job) => job.cpu_count },
  { key: "gpus", title: "GPUs", width: "4.5rem", numeric: true, value: (job) => job.gpus },
  { key: "submit_time", title: "Submitted", width: "8rem", value: (job) => toMs(job.submit_time), write: (job) => writeShortTime(job.submit_time) },
  { key: "start_time", title: "Began", width: "8rem", shown: false, value: (job) => toMs(job.start_time), write: (job) => writeShortTime(job.start_time) },
  { key: "end_time", title: "Ended", width: "8rem", shown: false, value: (job) => toMs(job.end_time), write: (job) => writeShortTime(job.end_time) },
  { key: "account", title: "Account", width: "7rem", shown: false, value: (job) => job.account },
  { key: "qos", title: "QOS", width: "6rem", shown: false, value: (job) => job.qos },
  { key: "priority", title: "Priority", width: "6rem", numeric: true, shown: false, value: (job) => job.priority },
  { key: "nodes", title: "Node list", width: "9rem", shown: false, value: (job) => job.nodes.join(" ") },
  { key: "memory", title: "Memory", width: "7rem", numeric: true, shown: false, value: (job) => job.memory },
  { key: "working_directory", title: "Work folder", shown: false, value: (job) => job.working_directory },
];

function getElapsed(job) {
  if (findFamily(job.state) === "running" && job.start_time) return (Date.now() - toMs(job.start_time)) / 1000;
  return readDuration(job.elapsed_time);
}

function fillId(cell, job) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  link.setAttribute("href", makeLink(["jobs", job.job_id]));
  setText(link, job.job_id);
}

// Read all rows that are wanted, page by page.
export async function loadJobs(query, signal) {
  const rows = [];
  for (;;) {
    const { data, change } = await getWhole("api/v1/jobs", { ...query, limit: PAGE_ROWS, offset: rows.length }, { signal });
    rows.push(...data.jobs.map((job) => [job.job_id, job]));
    if (!data.has_more) return { rows, change };
  }
}

// Open the view.
export function open(outlet, { query }) {
  const count = h("span", { class: "count", role: "status" });
  const place = h("div");
  const [key, descending] = readSort(query.get("sort") ?? "-submit_time");
  const table = makeTable({
    id: "jobs",
    label: "Jobs",
    columns: COLUMNS,
    sort: { key, descending },
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
    selects: true,
  });
  show(outlet, h("div", { class: "bar" }, h("h1", null, "Jobs"), count, makeColumnChooser(table)), place);
  setTitle("Jobs");
  const list = makeLiveList({ kinds: ["job"], load: ({ signal }) => loadJobs({}, signal), getKey: (change) => change.row?.job_id ?? change.id });
  list.listen((changed) => {
    if (list.state === "failed") return showProblem(place, "The jobs", list.problem, list.reload);
    if (list.rows.size === 0) return showEmpty(place, "There are no jobs yet. A job that is submitted stands here at once.");
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(list.rows, changed);
    setText(count, writeCount(list.rows.size, "job"));
  });
  return () => {
    list.close();
    table.close();
  };
}

function readSort(text) {
  return text.startsWith("-") ? [text.slice(1), true] : [text, false];
}
