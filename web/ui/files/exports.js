// Exports and reports on the cluster: made in the background, watched, fetched and deleted.

import { h, keepInStep, setText, show } from "../core/dom.js";
import { get, makeUrl } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeField, makeInput, openForm } from "../core/dialog.js";
import { nameZone, readField, writeBytes, writeCount, writeField, writeTime } from "../core/format.js";
import { fillState } from "../core/marks.js";
import { notify, showEmpty } from "../core/notice.js";
import { makePane, makePlainTable, showPanes } from "../core/pane.js";
import { isOpen } from "../core/states.js";

const BUSY_MS = 1000; // how many rows are written so far is not told by the stream
const MOST_ROWS = 200;
const KINDS = [
  { path: "api/v1/exports", list: "exports", id: "export_id", word: "export" },
  { path: "api/v1/reports", list: "reports", id: "report_id", word: "report" },
];
const TYPES = ["jobs", "nodes", "users", "partitions", "metrics"];
const FORMATS = ["csv", "xlsx", "json", "jsonl", "tsv", "md", "html", "txt", "parquet"];
const REPORTS = [
  "efficiency",
  "utilization",
  ["job_summary", "jobs by outcome"],
  ["user_activity", "activity of users"],
  ["node_health", "health of nodes"],
];
const NONE =
  "There are no exports or reports. An export is a list as a file, for a spreadsheet or another program; a report sums up a period. " +
  "Make one with the buttons above; each is kept for a day.";
const REPORT_FORMATS = ["html", "pdf", "md", "csv", "json"];

// Show all exports and reports of the caller in a place, and how far each is. Returns what ends it.
export function openFiles(place) {
  const table = makePlainTable("Exports and reports", ["What", "State", ["Made", "nowrap"], "Size", ["Kept until", "nowrap"], ""], []);
  const body = table.querySelector("tbody");
  const pane = makePane({
    title: "Exports and reports",
    kinds: ["export", "cluster_report"],
    load: loadFiles,
    every_ms: BUSY_MS,
    isBusy: (files) => files?.some(({ status }) => isOpen(status)),
    draw: (shown, files) => {
      if (files.length === 0) return showEmpty(shown, NONE);
      if (!table.isConnected) show(shown, table);
      return keepInStep(body, files, (file) => file.id, makeRow, updateRow);
    },
  });
  return showPanes(place, null, [pane]);
}

async function loadFiles({ signal }) {
  const found = await Promise.all(KINDS.map((kind) => get(kind.path, { limit: MOST_ROWS }, { signal })));
  const files = KINDS.flatMap((kind, at) => found[at][kind.list].map((file) => ({ ...file, id: file[kind.id], kind })));
  return files.sort((one, other) => other.created_at.localeCompare(one.created_at));
}

function makeRow(file) {
  const what = h("div", { class: "hint" }, `${file.kind.word}: ${file.type} as ${file.format}`);
  const cells = [[h("div", null, file.filename), what], [h("span", { class: "state" }), h("div", { class: "hint" })], [], [], [], []];
  const row = h("tr", null, cells.map((cell, at) => h("td", { class: at > 1 ? "nowrap" : null }, cell)));
  updateRow(row, file);
  return row;
}

function updateRow(row, file) {
  const [, state, made, size, kept, actions] = row.children;
  const isDone = file.status === "completed";
  const rows = file.rows_written ?? file.record_count;
  fillState(state.firstElementChild, file.status);
  setText(state.lastElementChild, file.error ?? (isOpen(file.status) && rows ? writeCount(rows, "row") : ""));
  setText(made, writeTime(file.created_at));
  setText(size, [writeBytes(file.file_size), isDone && Number.isInteger(rows) && writeCount(rows, "row")].filter(Boolean).join(", "));
  setText(kept, isDone ? writeTime(file.expires_at) : "");
  if (row.dataset.status !== file.status) show(actions, makeActions(file));
  row.dataset.status = file.status;
}

function makeActions({ id, kind, filename, status }) {
  const path = `${kind.path}/${id}`;
  const isMade = isOpen(status);
  const remove = makeAction({
    label: isMade ? "Cancel" : "Delete",
    question: () => (isMade ? `Cancel the ${kind.word} ${filename}?` : `Delete ${filename}?`),
    call: () => ({ method: "DELETE", path }),
    done: () => `${filename} is ${isMade ? "cancelled" : "deleted"}`,
  });
  const download = h("a", { href: makeUrl(`${path}/download`).href, download: filename }, "Download");
  return h("span", { class: "actions" }, status === "completed" && download, remove);
}

// --- making one ------------------------------------------------------------------------------------------------------

// Open the dialog that makes an export of the range that is shown. `whenMade()` is called once it has begun.
export function openExportDialog(shown, whenMade) {
  const times = makeTimes(shown);
  const type = makeInput("type", "Rows", "", { choices: TYPES });
  const jobsOnly = [makeInput("state", "States", "with commas between them, such as FAILED,TIMEOUT"), makeInput("user", "Users"), ...times.fields];
  type.addEventListener("change", ({ target }) => jobsOnly.forEach((field) => (field.hidden = target.value !== "jobs")));
  const makeBody = ({ type, format, state, user, partition, fields, filename }) => ({
    type,
    format,
    filter: leaveOut({ partition, ...(type === "jobs" && { state, user, ...times.read("start_time", "end_time") }) }),
    fields: readWords(fields),
    options: leaveOut({ filename }),
  });
  openMaker("Make an export", "api/v1/export", whenMade, makeBody, [
    h("div", { class: "fields" }, type, makeInput("format", "Format", "", { choices: FORMATS })),
    ...jobsOnly,
    ["partition", "Partitions"],
    ["fields", "Columns", "with commas between them, such as job_id,user,state,elapsed_time; all where empty"],
    ["filename", "File name", "made by the server where empty"],
  ]);
}

// Open the dialog that makes a report on the range that is shown.
export function openReportDialog(shown, whenMade) {
  const times = makeTimes(shown);
  const makeBody = ({ type, format, partitions, email }) => ({
    type,
    format,
    parameters: leaveOut({ ...times.read("start_date", "end_date"), partitions: readWords(partitions) }),
    delivery: email && { method: "email", email },
  });
  const type = makeInput("type", "About", "", { choices: REPORTS });
  openMaker("Make a report", "api/v1/reports", whenMade, makeBody, [
    h("div", { class: "fields" }, type, makeInput("format", "Format", "", { choices: REPORT_FORMATS })),
    ...times.fields,
    ["partitions", "Partitions", "all where empty"],
    ["email", "Send to", "an e-mail address; needs the section smtp in config.yaml", { type: "email" }],
  ]);
}

function openMaker(title, path, whenMade, makeBody, fields) {
  openForm(title, fields, {
    label: "Make",
    call: (values) => ({ method: "POST", path, body: leaveOut(makeBody(values)) }),
    done: (made) => {
      notify(`${made.filename} is being made`);
      whenMade();
    },
  });
}

const readWords = (text) => text?.split(/[\s,]+/).filter(Boolean);

// Make the two fields of a range, in the zone that is chosen.
function makeTimes({ from_ms, to_ms }) {
  const makeTime = (at_ms) => h("input", { type: "datetime-local", step: 1, value: at_ms === null ? "" : writeField(at_ms) });
  const [from, to] = [makeTime(from_ms), makeTime(to_ms)];
  const write = (field) => (readField(field.value) === null ? "" : new Date(readField(field.value)).toISOString());
  return {
    fields: [
      makeField("From", from, { hint: nameZone(), name: "start_time" }),
      makeField("Until", to, { hint: `${nameZone()}; now where empty`, name: "end_time" }),
    ],
    read: (start, end) => ({ [start]: write(from), [end]: write(to) }),
  };
}

// Leave out what says nothing.
function leaveOut(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value && (typeof value !== "object" || Object.keys(value).length > 0)));
}
