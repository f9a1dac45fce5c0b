// Status reports: the jobs that say themselves how far they are, those that failed first.

import { debounce, h, setText, show } from "../core/dom.js";
import { base, getWhole } from "../core/api.js";
import { makeLiveList } from "../core/live.js";
import { makeColumnChooser, makeTable } from "../core/table.js";
import { changeQuery, makeLink } from "../core/router.js";
import { toMs, writeAge, writeCount, writeTime } from "../core/format.js";
import { findFamily, isOpen } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { makeCopyButton, showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";

const PAGE_ROWS = 100;
const MOST_ROWS = 2000;
const TYPING_MS = 250;
const STATUSES = ["submitted", "starting", "workers", "frontend", "benchmark", "completed", "failed", "timeout"];
const URGENT_FIRST = ["failed", "running", "waiting", "unknown", "cancelled", "done"];
const URGENCY = "urgency";

const COLUMNS = [
  { key: "job_id", title: "Id", width: "7rem", value: (report) => report.job_id, render: fillId },
  { key: "job_name", title: "Name", width: "minmax(10rem, 2fr)", value: (report) => report.job_name },
  { key: "status", title: "Status", width: "8.5rem", value: (report) => report.status, render: (cell, report) => fillState(cell, report.status) },
  { key: "stage", title: "Stage", width: "8rem", value: (report) => report.stage },
  { key: "message", title: "Message", width: "minmax(12rem, 3fr)", value: (report) => report.message },
  { key: "updated_at", title: "Last heard", width: "8rem", value: (report) => toMs(report.updated_at), write: (report) => (isOpen(report.status) ? writeAge(report.updated_at) : writeTime(report.updated_at).slice(0, 16)), ticks: (report) => isOpen(report.status) },
  { key: "cluster", title: "Cluster", width: "8rem", value: (report) => report.cluster },
  { key: "exit_code", title: "Exit", width: "4rem", numeric: true, value: (report) => report.exit_code },
  { key: "submitted_at", title: "Submitted", width: "10rem", shown: false, value: (report) => toMs(report.submitted_at), write: (report) => writeTime(report.submitted_at) },
  { key: "completed_at", title: "Ended", width: "10rem", shown: false, value: (report) => toMs(report.completed_at), write: (report) => writeTime(report.completed_at) },
  { key: URGENCY, title: "Urgency", width: "6rem", numeric: true, shown: false, value: (report) => URGENT_FIRST.indexOf(findFamily(report.status)) },
];

function fillId(cell, report) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  link.setAttribute("href", makeLink(["reports", report.job_id]));
  setText(link, report.job_id);
}

// Open the view.
export function open(outlet, { query }) {
  const filter = { status: query.get("status") ?? "", cluster: query.get("cluster") ?? "", tag: query.get("tag") ?? "" };
  const count = h("span", { class: "count", role: "status" });
  const place = h("div");
  const table = makeTable({
    id: "reports",
    label: "Status reports",
    columns: COLUMNS,
    sort: readSort(query.get("sort") ?? URGENCY),
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
    getLink: (report) => makeLink(["reports", report.job_id]),
  });
  const list = makeReportList(filter);
  const controls = makeFilter(filter, () => {
    changeQuery(filter);
    list.reload();
  });
  const first = h("button", { type: "button", onclick: () => table.sort.key === URGENCY || table.sortBy(URGENCY) }, "Failed first");
  show(outlet, h("div", { class: "bar" }, h("h1", null, "Status reports"), count, controls.node, first, makeColumnChooser(table)), place);
  setTitle("Status reports");

  list.listen((changed) => {
    if (list.state === "failed") return showProblem(place, "The status reports", list.problem, list.reload);
    if (list.rows.size === 0) return showNone(place, filter, controls.clear);
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(list.rows, changed);
    const left = list.total > list.rows.size && list.rows.size >= MOST_ROWS ? ` of ${list.total.toLocaleString("en")}: filter to see older ones` : "";
    const failed = [...list.rows.values()].filter((report) => findFamily(report.status) === "failed").length;
    setText(count, `${writeCount(list.rows.size, "job")}${left}${failed ? `, ${failed} failed` : ""}`);
    setTitle("Status reports", failed ? { family: "failed", progress: String(failed) } : {});
  });
  return () => {
    list.close();
    table.close();
  };
}

// The list of reports that fit; the server chooses, and what changes later is held to the same.
function makeReportList(filter) {
  const fits = (report) => (!filter.status || report.status === filter.status) && (!filter.cluster || report.cluster === filter.cluster);
  const list = makeLiveList({
    kinds: ["report"],
    load: async ({ signal }) => {
      const found = await loadReports(filter, signal);
      list.total = found.total;
      return found;
    },
    // Rows do not name their tags: with a tag, a job that is new has to be asked for.
    getRow: (change) => {
      if (filter.tag && !list.rows.has(change.id)) reloadSoon();
      return fits(change.row) && (!filter.tag || list.rows.has(change.id)) ? change.row : null;
    },
  });
  const reloadSoon = debounce(() => list.reload(), TYPING_MS);
  return list;
}

async function loadReports(filter, signal) {
  const rows = [];
  for (let page = 1; ; page += 1) {
    const { data, change } = await getWhole("srtslurm/api/jobs", { ...filter, page, per_page: PAGE_ROWS }, { signal });
    rows.push(...data.jobs.map((report) => [report.job_id, report]));
    if (data.jobs.length < PAGE_ROWS || rows.length >= MOST_ROWS) return { rows, change, total: data.total };
  }
}

function makeFilter(filter, whenChanged) {
  const soon = debounce(whenChanged, TYPING_MS);
  const status = h("select", { "aria-label": "Status", onchange: () => choose("status", status.value, whenChanged) }, h("option", { value: "" }, "every status"), STATUSES.map((word) => h("option", { value: word }, word)));
  const makeInput = (name, title) => {
    const input = h("input", { type: "search", "aria-label": title, placeholder: title, size: 12, value: filter[name] });
    input.addEventListener("input", () => choose(name, input.value.trim(), soon));
    return input;
  };
  const inputs = [makeInput("cluster", "Cluster"), makeInput("tag", "Tag")];
  status.value = filter.status;
  const choose = (name, value, tell) => {
    filter[name] = value;
    tell();
  };
  return {
    node: [status, inputs],
    clear: () => {
      Object.assign(filter, { status: "", cluster: "", tag: "" });
      for (const control of [status, ...inputs]) control.value = "";
      whenChanged();
    },
  };
}

function showNone(place, filter, clear) {
  if (filter.status || filter.cluster || filter.tag) {
    return showEmpty(place, "No job that reports fits this filter.", h("button", { type: "button", onclick: clear }, "Clear the filter"));
  }
  const line = `curl -X PUT ${new URL("srtslurm/api/jobs/", base)}$SLURM_JOB_ID -H 'Content-Type: application/json' -d '{"status": "benchmark", "message": "epoch 1 of 10"}'`;
  return showEmpty(
    place,
    "No job has reported yet. A job that says how far it is stands here, with its stages, messages and logs. One line in its script reports:",
    h("pre", { class: "wrapped" }, line),
    makeCopyButton(() => line, "Copy the line"),
    h("p", { class: "hint" }, `Jobs of srt-slurm report by themselves when reporting.status.endpoint in srtslurm.yaml is ${new URL("srtslurm", base)}.`),
  );
}

function readSort(text) {
  return text.startsWith("-") ? { key: text.slice(1), descending: true } : { key: text, descending: false };
}
