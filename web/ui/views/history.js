// History: jobs that ended in a range of time, what they used, and files of them for other programs.

import { debounce, h, setText, show } from "../core/dom.js";
import { getWhole } from "../core/api.js";
import { makeTabs } from "../core/pane.js";
import { makeColumnChooser, makeTable } from "../core/table.js";
import { changeQuery, makeLink } from "../core/router.js";
import { nameZone, readDuration, readField, toMs, whenZoneChanges, writeCount, writeDuration, writeField, writeTime } from "../core/format.js";
import { findFamily } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { openExportDialog, openFiles, openReportDialog } from "../files/exports.js";

const PAGE_ROWS = 1000;
const MOST_ROWS = 10_000;
const TYPING_MS = 300;
const HOUR_MS = 3_600_000;
const PRESETS = [["1h", "last hour", 1], ["1d", "last day", 24], ["7d", "last 7 days", 168], ["30d", "last 30 days", 720], ["365d", "last year", 8760]];
const GROUPS = [["user", "user"], ["account", "account"], ["partition", "partition"], ["state", "state"], ["qos", "QOS"]];

const COLUMNS = [
  { key: "job_id", title: "Id", width: "6.5rem", value: (job) => job.job_id, render: fillId },
  { key: "job_name", title: "Name", width: "minmax(10rem, 2fr)", value: (job) => job.job_name },
  { key: "state", title: "State", width: "8.5rem", value: (job) => job.state, render: (cell, job) => fillState(cell, job.state) },
  { key: "user", title: "User", width: "7rem", value: (job) => job.user },
  { key: "account", title: "Account", width: "7rem", value: (job) => job.account },
  { key: "partition", title: "Partition", width: "7rem", value: (job) => job.partition },
  { key: "end_time", title: "Ended", width: "10rem", value: (job) => toMs(job.end_time), write: (job) => writeTime(job.end_time) },
  { key: "elapsed_time", title: "Elapsed", width: "7rem", numeric: true, value: (job) => readDuration(job.elapsed_time), write: (job) => writeDuration(readDuration(job.elapsed_time)) },
  { key: "cpu_count", title: "CPUs", width: "4.5rem", numeric: true, value: (job) => job.cpu_count },
  { key: "gpus", title: "GPUs", width: "4.5rem", numeric: true, value: (job) => job.gpus },
  { key: "cpu_hours", title: "CPU hours", width: "6rem", numeric: true, value: getCpuHours, write: (job) => writeHours(getCpuHours(job)) },
  { key: "exit_code", title: "Exit", width: "4rem", numeric: true, value: (job) => job.exit_code },
  { key: "start_time", title: "Began", width: "10rem", shown: false, value: (job) => toMs(job.start_time), write: (job) => writeTime(job.start_time) },
  { key: "submit_time", title: "Submitted", width: "10rem", shown: false, value: (job) => toMs(job.submit_time), write: (job) => writeTime(job.submit_time) },
  { key: "reason", title: "Reason", width: "9rem", shown: false, value: (job) => job.reason },
  { key: "nodes", title: "Node list", width: "9rem", shown: false, value: (job) => job.nodes.join(" ") },
];

const getHours = (job) => (readDuration(job.elapsed_time) ?? 0) / 3600;
const writeHours = (hours) => hours.toLocaleString("en", { maximumFractionDigits: hours < 10 ? 2 : 0 });

function getCpuHours(job) {
  return getHours(job) * (job.cpu_count ?? 0);
}

function fillId(cell, job) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  link.setAttribute("href", makeLink(["jobs", job.job_id]));
  setText(link, job.job_id);
}

// Open the view.
export function open(outlet, { query }) {
  const range = { last: query.get("last") ?? (query.get("from") ? "" : "1d"), from: query.get("from") ?? "", to: query.get("to") ?? "", filter: query.get("filter") ?? "" };
  const closers = [];
  const describe = () => ({ ...readRange(range), filter: range.filter });
  const act = (label, openDialog) => h("button", { type: "button", onclick: () => openDialog(describe(), () => tabs.choose("files")) }, label);
  const tabs = makeTabs({
    label: "History",
    tabs: [
      { key: "jobs", title: "Jobs", open: (place) => openJobs(place, range, query) },
      { key: "files", title: "Exports and reports", open: openFiles },
    ],
    chosen: query.get("tab"),
    whenChosen: (tab) => changeQuery({ tab: tab === "jobs" ? "" : tab }),
  });
  show(outlet, h("div", { class: "bar" }, h("h1", null, "History"), h("span", { class: "count" }), act("Export…", openExportDialog), act("Report…", openReportDialog)), tabs.node);
  setTitle("History");
  return () => {
    tabs.close();
    for (const close of closers) close();
  };
}

// Return the range in ms; one that ends now has no end.
function readRange(range) {
  const preset = PRESETS.find(([key]) => key === range.last);
  if (preset) return { from_ms: Date.now() - preset[2] * HOUR_MS, to_ms: null };
  return { from_ms: toMs(range.from) ?? Date.now() - 24 * HOUR_MS, to_ms: toMs(range.to) };
}

function openJobs(place, range, query) {
  const view = { rows: new Map(), abort: null, group: query.get("by") ?? "user" };
  const count = h("span", { class: "count", role: "status" });
  const body = h("div", { class: "pane" });
  const sums = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Sums" });
  const [key, descending] = readSort(query.get("sort") ?? "-end_time");
  const table = makeTable({
    id: "history",
    label: "Jobs that ended",
    columns: COLUMNS,
    sort: { key, descending },
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
    getLink: (job) => makeLink(["jobs", job.job_id]),
  });
  const controls = makeControls(range, load);
  const by = makeGroupChoice(view, drawSums);
  show(place, h("div", { class: "pane" }, controls.node, h("div", { class: "bar" }, count, makeCsvButton(table), makeColumnChooser(table)), body));

  async function load() {
    changeQuery({ last: range.last, from: range.last ? "" : range.from, to: range.last ? "" : range.to, filter: range.filter });
    view.abort?.abort();
    const abort = (view.abort = new AbortController());
    setText(count, "Loading…");
    try {
      const found = await loadEnded(range, abort.signal, (number) => setText(count, `Loading… ${writeCount(number, "job")}`));
      draw(found);
    } catch (problem) {
      if (abort.signal.aborted) return;
      setText(count, "");
      if (range.filter && (problem.status === 400 || problem.status === 422)) controls.showProblem(problem.message);
      else showProblem(body, "The history", problem, load);
    }
  }

  function draw({ rows, warnings, isCut, open: left }) {
    view.rows = new Map(rows);
    controls.showProblem("");
    const more = isCut ? ` (the newest ${MOST_ROWS.toLocaleString("en")}: choose a shorter time to see all)` : "";
    setText(count, `${writeCount(view.rows.size, "job")} ended${more}${left ? `, ${left.toLocaleString("en")} have not` : ""}`);
    const told = warnings.map((text) => h("p", { class: "hint", role: "status" }, text));
    if (view.rows.size > 0) {
      if (!table.node.isConnected || told.length) show(body, told, h("div", { class: "bar" }, h("h2", null, "Used"), by), sums, table.node);
      table.setRows(view.rows);
      drawSums();
      return;
    }
    const clear = h("button", { type: "button", onclick: controls.clear }, "Clear the filter");
    if (range.filter) showEmpty(body, "No job that ended in this time fits the filter.", clear);
    else showEmpty(body, "No job ended in this time. Choose a longer one above.");
    body.prepend(...told);
  }

  function drawSums() {
    changeQuery({ by: view.group === "user" ? "" : view.group });
    show(sums, makeSums(addUp([...view.rows.values()], view.group), GROUPS.find(([each]) => each === view.group)[1]));
  }

  const stopZone = whenZoneChanges(() => {
    controls.drawTimes();
    table.draw();
  });
  load();
  return () => {
    view.abort?.abort();
    stopZone();
    table.close();
  };
}

// Read the jobs that ended in the range and fit; page by page, the newest first.
async function loadEnded(range, signal, tell) {
  const { from_ms, to_ms } = readRange(range);
  const query = { start_time: new Date(from_ms).toISOString(), end_time: to_ms === null ? "" : new Date(to_ms).toISOString(), filter: range.filter, sort: "end_time", order: "desc" };
  const found = { rows: [], warnings: [], open: 0, isCut: false };
  for (let offset = 0; ; offset += PAGE_ROWS) {
    const { data } = await getWhole("api/v1/jobs", { ...query, limit: PAGE_ROWS, offset }, { signal });
    const ended = data.jobs.filter((job) => job.end_time !== null);
    found.open += data.jobs.length - ended.length;
    found.rows.push(...ended.map((job) => [job.job_id, job]));
    found.warnings = data.warnings ?? [];
    found.isCut = data.has_more && found.rows.length >= MOST_ROWS;
    if (!data.has_more || found.isCut) return found;
    tell(found.rows.length);
  }
}

// --- range and filter ------------------------------------------------------------------------------------------------

function makeControls(range, load) {
  const soon = debounce(load, TYPING_MS);
  const preset = h("select", { "aria-label": "Time" }, PRESETS.map(([key, title]) => h("option", { value: key }, title)), h("option", { value: "" }, "from – to"));
  const makeTime = (name, title) => h("input", { type: "datetime-local", step: 1, "aria-label": title, onchange: (event) => chooseTime(name, event.target.value) });
  const [from, to] = [makeTime("from", "From"), makeTime("to", "To")];
  const zone = h("span", { class: "hint" });
  const times = h("span", { class: "bar" }, from, "–", to, zone);
  const filter = h("input", { type: "search", class: "wide", "aria-label": "Filter", placeholder: "state = FAILED and partition = gpu", value: range.filter });
  const wrong = h("p", { class: "refusal", role: "alert" });

  preset.addEventListener("change", () => {
    const { from_ms, to_ms } = readRange(range);
    range.last = preset.value;
    if (!range.last) Object.assign(range, { from: new Date(from_ms).toISOString(), to: new Date(to_ms ?? Date.now()).toISOString() });
    drawTimes();
    load();
  });
  filter.addEventListener("input", () => {
    range.filter = filter.value.trim();
    soon();
  });

  function chooseTime(name, text) {
    const at = readField(text);
    range[name] = at === null ? "" : new Date(at).toISOString();
    load();
  }

  function drawTimes() {
    times.hidden = Boolean(range.last);
    const { from_ms, to_ms } = readRange(range);
    from.value = writeField(from_ms);
    to.value = to_ms === null ? "" : writeField(to_ms);
    setText(zone, nameZone());
  }

  preset.value = range.last;
  drawTimes();
  return {
    node: h("div", { class: "pane" }, h("div", { class: "bar" }, preset, times, filter), wrong),
    drawTimes,
    showProblem: (text) => setText(wrong, text),
    clear: () => {
      range.filter = filter.value = "";
      load();
    },
  };
}

function makeGroupChoice(view, draw) {
  const select = h("select", { "aria-label": "Sums by" }, GROUPS.map(([key, title]) => h("option", { value: key }, `by ${title}`)));
  select.value = view.group;
  select.addEventListener("change", () => {
    view.group = select.value;
    draw();
  });
  return select;
}

function makeCsvButton(table) {
  const save = () => {
    const link = h("a", { href: URL.createObjectURL(new Blob([table.toCsv()], { type: "text/csv" })), download: "jobs.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  return h("button", { type: "button", onclick: save }, "CSV of this table");
}

// --- sums ------------------------------------------------------------------------------------------------------------

// Add up what jobs used, by one of their fields: rows with the most CPU hours first.
function addUp(jobs, field) {
  const groups = new Map();
  for (const job of jobs) {
    const name = job[field] ?? "";
    const group = groups.get(name) ?? { name, jobs: 0, failed: 0, cpu_hours: 0, gpu_hours: 0 };
    group.jobs += 1;
    group.failed += findFamily(job.state) === "failed" ? 1 : 0;
    group.cpu_hours += getCpuHours(job);
    group.gpu_hours += getHours(job) * job.gpus;
    groups.set(name, group);
  }
  return [...groups.values()].sort((one, other) => other.cpu_hours - one.cpu_hours || other.jobs - one.jobs);
}

function makeSums(groups, title) {
  const all = groups.reduce((sum, group) => ({ jobs: sum.jobs + group.jobs, failed: sum.failed + group.failed, cpu_hours: sum.cpu_hours + group.cpu_hours, gpu_hours: sum.gpu_hours + group.gpu_hours }), { jobs: 0, failed: 0, cpu_hours: 0, gpu_hours: 0 });
  const makeRow = (group, name, tag) =>
    h("tr", null, h("th", { scope: "row" }, name), [group.jobs.toLocaleString("en"), group.failed.toLocaleString("en"), writeHours(group.cpu_hours), writeHours(group.gpu_hours)].map((text) => h(tag, { class: "numeric" }, text)));
  const head = h("tr", null, h("th", { scope: "col" }, title), ["Jobs", "Failed", "CPU hours", "GPU hours"].map((text) => h("th", { scope: "col", class: "numeric" }, text)));
  return h("table", { class: "plain-table" }, h("thead", null, head), h("tbody", null, groups.map((group) => makeRow(group, group.name || "(none)", "td"))), h("tfoot", null, makeRow(all, "All", "td")));
}

function readSort(text) {
  return text.startsWith("-") ? [text.slice(1), true] : [text, false];
}
