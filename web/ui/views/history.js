// History: jobs that ended in a range of time, what they used, and files of them for other programs.

import { debounce, h, makeChoice, renew, setText, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { makeListView } from "../core/list_view.js";
import { makePlainTable, makeTabs } from "../core/pane.js";
import { changeQuery, makeLink } from "../core/router.js";
import { getNow, nameZone, readDuration, readField, toMs, whenZoneChanges, writeDuration, writeField } from "../core/format.js";
import { findFamily } from "../core/states.js";
import { setTitle } from "../core/shell.js";
import { makeJobFilter } from "../jobs/filter.js";
import { getOwnKey, loadJobs } from "../jobs/list.js";
import { openExportDialog, openFiles, openReportDialog } from "../files/exports.js";

const MOST_ROWS = 10_000;
const SOON_MS = 2000; // after a job has ended, before the server is asked whether it fits
const HOUR_MS = 3_600_000;
const RANGE = "range"; // from one time to another
const HOURS = { "1h": 1, "": 24, "7d": 168, "30d": 720, "365d": 8760 };
const TIMES = [["1h", "last hour"], ["", "last day"], ["7d", "last 7 days"], ["30d", "last 30 days"], ["365d", "last year"], [RANGE, "from – to"]];
const GROUPS = { user: "User", account: "Account", partition: "Partition", state: "State", qos: "QOS" };

const getElapsed = (job) => readDuration(job.elapsed_time);
const getHours = (job) => (getElapsed(job) ?? 0) / 3600;
const getCpuHours = (job) => getHours(job) * (job.cpu_count ?? 0);
const writeHours = (hours) => hours.toLocaleString("en", { maximumFractionDigits: hours < 10 ? 2 : 0 });

const COLUMNS = [
  { key: "job_id", title: "Id", width: "6.5rem", link: (job) => ["jobs", job.job_id] },
  { key: "job_name", title: "Name", width: "minmax(10rem, 2fr)" },
  { key: "state", title: "State", width: "8.5rem", kind: "state" },
  { key: "user", title: "User", width: "7rem" },
  { key: "account", title: "Account", width: "7rem" },
  { key: "partition", title: "Partition", width: "7rem" },
  { key: "end_time", title: "Ended", width: "10rem", kind: "time" },
  { key: "elapsed_time", title: "Elapsed", width: "7rem", numeric: true, value: getElapsed, write: (job) => writeDuration(getElapsed(job)) },
  { key: "cpu_count", title: "CPUs", width: "4.5rem", numeric: true },
  { key: "gpus", title: "GPUs", width: "4.5rem", numeric: true },
  { key: "cpu_hours", title: "CPU hours", width: "6rem", numeric: true, value: getCpuHours, write: (job) => writeHours(getCpuHours(job)) },
  { key: "exit_code", title: "Exit", width: "4rem", numeric: true },
  { key: "start_time", title: "Began", width: "10rem", shown: false, kind: "time" },
  { key: "submit_time", title: "Submitted", width: "10rem", shown: false, kind: "time" },
  { key: "reason", title: "Reason", width: "9rem", shown: false },
  { key: "nodes", title: "Node list", width: "9rem", shown: false, value: (job) => job.nodes.join(" ") },
];

// Open the view.
export function open(outlet, { query }) {
  const range = { last: query.get("last") ?? (query.has("from") ? RANGE : ""), from_ms: toMs(query.get("from")), to_ms: toMs(query.get("to")) };
  const act = (label, openDialog) => makeButton(label, () => openDialog(readRange(range), () => tabs.choose("files")), { scope: "write" });
  const tabs = makeTabs({
    label: "History",
    tabs: [
      { key: "jobs", title: "Jobs", open: (place) => openJobs(place, range, query) },
      { key: "files", title: "Exports and reports", open: openFiles },
    ],
    chosen: query.get("tab"),
    whenChosen: (tab) => changeQuery({ tab: tab === "jobs" ? "" : tab }),
  });
  const buttons = [act("Export…", openExportDialog), act("Report…", openReportDialog)];
  show(outlet, h("div", { class: "bar" }, h("h1", null, "History"), h("span", { class: "count" }), buttons), tabs.node);
  setTitle("History");
  return tabs.close;
}

// Return the range in ms; one that ends now has no end.
function readRange({ last, from_ms, to_ms }) {
  if (last === RANGE) return { from_ms: from_ms ?? getNow() - 24 * HOUR_MS, to_ms };
  return { from_ms: getNow() - (HOURS[last] ?? 24) * HOUR_MS, to_ms: null };
}

function openJobs(place, range, query) {
  let open = 0;
  const times = makeTimes(range, () => view.reload());
  const last = makeChoice("Time", TIMES, range.last, times.choose);
  const filter = makeJobFilter({ text: query.get("filter") ?? "", getScope: () => writeScope(range), whenFound: () => view.reload() });
  const groups = Object.entries(GROUPS).map(([key, title]) => [key, `by ${title === "QOS" ? title : key}`]);
  const by = makeChoice("Sums by", groups, query.get("by") ?? "user", (group) => {
    changeQuery({ by: group === "user" ? "" : group });
    drawSums();
  });
  const used = h("div");
  const sums = h("div", { class: "pane", hidden: true }, h("div", { class: "bar" }, h("h3", null, "Used"), by), used);
  const reloadSoon = debounce(() => view.list.reload(), SOON_MS);

  const view = makeListView({
    query,
    id: "history",
    title: "Jobs that ended",
    heading: null,
    noun: "job",
    columns: COLUMNS,
    sort: "-end_time",
    kinds: ["job"],
    // Only the server knows whether a job that ends now fits the filter.
    getKey: (change) => {
      if (!change.row?.end_time || readRange(range).to_ms !== null) return null;
      if (filter.accepted) reloadSoon();
      return filter.accepted ? null : getOwnKey(change, null);
    },
    load: async ({ signal, showSome }) => {
      const pick = (rows) => rows.filter(([, job]) => job.end_time !== null);
      const query = { ...writeScope(range), filter: filter.accepted, sort: "end_time", order: "desc" };
      const found = await loadJobs(query, signal, (rows) => showSome(pick(rows)), MOST_ROWS);
      const rows = pick(found.rows);
      open = found.rows.length - rows.length;
      return { ...found, rows, total: found.rows.length < MOST_ROWS ? 0 : found.total - open };
    },
    getLink: (job) => makeLink(["jobs", job.job_id]),
    whenHeard: drawSums,
    summarize: (jobs) => {
      const failed = jobs.filter((job) => findFamily(job.state) === "failed").length;
      return { words: [failed && `${failed.toLocaleString("en")} failed`, open && `${open.toLocaleString("en")} more not ended yet`].filter(Boolean) };
    },
    none: () => {
      if (!filter.accepted) return ["No job ended in this time. Choose a longer one above."];
      return ["No job that ended in this time fits the filter.", makeButton("Clear the filter", filter.clear)];
    },
    tools: [last, times.node, filter.node],
    above: sums,
  });

  function drawSums() {
    const jobs = [...view.list.rows.values()];
    sums.hidden = jobs.length === 0;
    renew(used, jobs.length > 0 && makeSums(jobs, by.value));
  }

  const stopZone = whenZoneChanges(times.draw);
  show(place, h("div", { class: "view-parts" }, view.nodes));
  return () => {
    stopZone();
    view.close();
  };
}

function writeScope(range) {
  const { from_ms, to_ms } = readRange(range);
  return { start_time: new Date(from_ms).toISOString(), end_time: to_ms === null ? "" : new Date(to_ms).toISOString() };
}

// Make the two fields of a range, in the zone that is chosen.
function makeTimes(range, whenSet) {
  const makeTime = (key, title) => {
    const onchange = ({ target }) => set({ [key]: readField(target.value) });
    return h("input", { type: "datetime-local", step: 1, "aria-label": title, onchange });
  };
  const [from, to] = [makeTime("from_ms", "From"), makeTime("to_ms", "To")];
  const zone = h("span", { class: "hint" });
  const node = h("span", { class: "bar" }, from, "–", to, zone);
  const write = (at_ms) => (range.last !== RANGE || at_ms === null ? "" : new Date(at_ms).toISOString());

  function set(changes) {
    Object.assign(range, changes);
    changeQuery({ last: range.last === RANGE ? "" : range.last, from: write(range.from_ms), to: write(range.to_ms) });
    draw();
    whenSet();
  }

  function draw() {
    const { from_ms, to_ms } = readRange(range);
    node.hidden = range.last !== RANGE;
    from.value = writeField(from_ms);
    to.value = to_ms === null ? "" : writeField(to_ms);
    setText(zone, nameZone());
  }

  draw();
  return { node, draw, choose: (last) => set({ ...readRange(range), last }) };
}

// Add up what jobs used, by one of their fields: groups with the most CPU hours first.
function makeSums(jobs, field) {
  const groups = new Map();
  const all = [0, 0, 0, 0];
  for (const job of jobs) {
    const name = job[field] ?? "(none)";
    if (!groups.has(name)) groups.set(name, [0, 0, 0, 0]);
    const own = [1, Number(findFamily(job.state) === "failed"), getCpuHours(job), getHours(job) * job.gpus];
    for (const sums of [groups.get(name), all]) own.forEach((number, at) => (sums[at] += number));
  }
  const write = (name, [count, failed, ...hours]) =>
    [name, count.toLocaleString("en"), failed.toLocaleString("en"), ...hours.map(writeHours)];
  const ordered = [...groups].sort(([, one], [, other]) => other[2] - one[2] || other[0] - one[0]);
  const rows = ordered.map(([name, sums]) => write(name, sums));
  const numbers = ["Jobs", "Failed", "CPU hours", "GPU hours"].map((title) => [title, "numeric"]);
  return makePlainTable("Sums", [GROUPS[field], ...numbers], rows, rows.length > 1 && write("All", all));
}
