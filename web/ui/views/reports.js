// Status reports: the jobs that say themselves how far they are, those that failed first.

import { h, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { getWhole, makeUrl } from "../core/api.js";
import { makeListView } from "../core/list_view.js";
import { makeLink } from "../core/router.js";
import { toMs, writeAge, writeShortTime } from "../core/format.js";
import { findFamily, isOpen } from "../core/states.js";
import { makeCopyButton } from "../core/notice.js";

const PAGE_ROWS = 100;
const MOST_ROWS = 2000;
const STATUSES = ["submitted", "starting", "workers", "frontend", "benchmark", "completed", "failed", "timeout"];
const URGENT_FIRST = ["failed", "running", "waiting", "unknown", "cancelled", "done"];

const COLUMNS = [
  { key: "job_id", title: "Id", width: "7rem", link: (report) => ["reports", report.job_id] },
  { key: "job_name", title: "Name", width: "minmax(10rem, 2fr)" },
  { key: "status", title: "Status", width: "8.5rem", kind: "state" },
  { key: "stage", title: "Stage", width: "8rem" },
  { key: "message", title: "Message", width: "minmax(12rem, 3fr)" },
  { key: "updated_at", title: "Last heard", width: "8rem", value: (report) => toMs(report.updated_at), write: writeHeard, ticks },
  { key: "cluster", title: "Cluster", width: "8rem" },
  { key: "exit_code", title: "Exit", width: "4rem", numeric: true },
  { key: "submitted_at", title: "Submitted", width: "10rem", shown: false, kind: "time" },
  { key: "completed_at", title: "Ended", width: "10rem", shown: false, kind: "time" },
  { key: "urgency", title: "Urgency", width: "6rem", numeric: true, shown: false, value: (report) => URGENT_FIRST.indexOf(findFamily(report.status)) },
];

function ticks({ status }) {
  return isOpen(status);
}

function writeHeard({ status, updated_at }) {
  return (isOpen(status) ? writeAge : writeShortTime)(updated_at);
}

// Open the view.
export function open(outlet, { query }) {
  const view = makeListView({
    query,
    id: "reports",
    title: "Status reports",
    noun: "job",
    columns: COLUMNS,
    sort: "urgency",
    fields: [
      { name: "status", label: "Status", choices: [["", "every status"], ...STATUSES], asks: true, fits: (report, status) => report.status === status },
      { name: "cluster", label: "Cluster", asks: true, fits: (report, cluster) => report.cluster === cluster },
      { name: "tag", label: "Tag", asks: true }, // rows do not name their tags
    ],
    kinds: ["report"],
    load: loadReports,
    getLink: (report) => makeLink(["reports", report.job_id]),
    summarize: (reports) => {
      const failed = reports.filter((report) => findFamily(report.status) === "failed").length;
      return failed ? { words: [`${failed} failed`], mark: { family: "failed", progress: String(failed) } } : {};
    },
    none: listNone,
    tools: makeButton("Failed first", () => view.table.sort.key === "urgency" || view.table.sortBy("urgency")),
  });
  show(outlet, view.nodes);
  return view.close;
}

async function loadReports({ signal, values }) {
  const rows = [];
  for (let page = 1; ; page += 1) {
    const { data, change } = await getWhole("srtslurm/api/jobs", { ...values, page, per_page: PAGE_ROWS }, { signal });
    rows.push(...data.jobs.map((report) => [report.job_id, report]));
    if (data.jobs.length < PAGE_ROWS || rows.length >= MOST_ROWS) return { rows, change, total: data.total };
  }
}

function listNone() {
  const body = '{"status": "benchmark", "message": "epoch 1 of 10"}';
  const line = `curl -X PUT ${makeUrl("srtslurm/api/jobs/")}$SLURM_JOB_ID -H 'Content-Type: application/json' -d '${body}'`;
  return [
    "No job has reported yet. A job that says how far it is stands here, with its stages, messages and logs. One line in its script reports:",
    h("pre", { class: "wrapped" }, line),
    makeCopyButton(() => line, "Copy the line"),
    h("p", { class: "hint" }, `Jobs of srt-slurm report by themselves when reporting.status.endpoint in srtslurm.yaml is ${makeUrl("srtslurm")}.`),
  ];
}
