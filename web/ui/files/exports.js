// Exports and reports on the cluster: made in the background, watched, fetched and deleted.

import { h, keepInStep, setText, show } from "../core/dom.js";
import { get, makeKey, makeUrl, send } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { nameZone, readField, writeBytes, writeCount, writeField, writeTime } from "../core/format.js";
import { makeState } from "../core/marks.js";
import { notify, showEmpty, showProblem } from "../core/notice.js";

const BUSY_MS = 1000;
const IDLE_MS = 15_000;
const MOST_ROWS = 200;
const KINDS = [
  { path: "api/v1/exports", list: "exports", id: "export_id", word: "export" },
  { path: "api/v1/reports", list: "reports", id: "report_id", word: "report" },
];
const TYPES = ["jobs", "nodes", "users", "partitions", "metrics"];
const FORMATS = ["csv", "xlsx", "json", "jsonl", "tsv", "md", "html", "txt", "parquet"];
const REPORTS = [["efficiency", "efficiency"], ["utilization", "utilization"], ["job_summary", "jobs by outcome"], ["user_activity", "activity of users"], ["node_health", "health of nodes"]];
const REPORT_FORMATS = ["html", "pdf", "md", "csv", "json"];

// Show all exports and reports of the caller in a place, and how far each is. Returns what ends it.
export function openFiles(place) {
  const list = h("tbody");
  const head = h("tr", null, ["What", "State", "Made", "Size", "Kept until", ""].map((title) => h("th", { scope: "col" }, title)));
  const table = h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Exports and reports" }, h("table", { class: "plain-table" }, h("thead", null, head), list));
  const abort = new AbortController();
  let timer = 0;

  async function load() {
    clearTimeout(timer);
    let isBusy = false;
    try {
      const files = await loadFiles(abort.signal);
      isBusy = files.some((file) => file.status === "processing");
      draw(files);
    } catch (problem) {
      if (abort.signal.aborted) return;
      if (!table.isConnected) showProblem(place, "Exports and reports", problem, load);
    }
    if (!abort.signal.aborted) timer = setTimeout(() => (document.hidden ? waitUntilSeen() : load()), isBusy ? BUSY_MS : IDLE_MS);
  }

  function waitUntilSeen() {
    document.addEventListener("visibilitychange", load, { once: true, signal: abort.signal });
  }

  function draw(files) {
    if (files.length === 0) {
      showEmpty(place, "There are no exports or reports. An export is a list as a file, for a spreadsheet or another program; a report sums up a period. Make one with the buttons above; each is kept for a day.");
      return;
    }
    if (!table.isConnected) show(place, table);
    keepInStep(list, files, (file) => file.id, (file) => makeRow(file, load), (row, file) => updateRow(row, file, load));
  }

  addEventListener("exportmade", load, { signal: abort.signal });
  load();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}

async function loadFiles(signal) {
  const found = await Promise.all(KINDS.map(async (kind) => {
    const data = await get(kind.path, { limit: MOST_ROWS }, { signal });
    return data[kind.list].map((file) => ({ ...file, id: file[kind.id], kind }));
  }));
  return found.flat().sort((one, other) => other.created_at.localeCompare(one.created_at));
}

function makeRow(file, reload) {
  const name = h("td", null, h("div", null, file.filename), h("div", { class: "hint" }, `${file.kind.word}: ${file.type} as ${file.format}`));
  const row = h("tr", null, name, h("td"), h("td", { class: "nowrap" }, writeTime(file.created_at)), h("td", { class: "nowrap" }), h("td", { class: "nowrap" }), h("td"));
  updateRow(row, file, reload);
  return row;
}

function makeActions(file, reload) {
  const path = `${file.kind.path}/${file.id}`;
  const isMade = file.status === "processing";
  const remove = makeAction({
    label: isMade ? "Cancel" : "Delete",
    question: () => (isMade ? `Cancel the ${file.kind.word} ${file.filename}?` : `Delete ${file.filename}?`),
    call: () => ({ method: "DELETE", path }),
    done: () => {
      reload();
      return `${file.filename} is ${isMade ? "cancelled" : "deleted"}`;
    },
  });
  const link = file.status === "completed" && h("a", { href: makeUrl(`${file.kind.path}/${file.id}/download`).href, download: file.filename }, "Download");
  return h("span", { class: "actions" }, link, remove);
}

function updateRow(row, file, reload) {
  const [, state, , size, kept, actions] = row.children;
  const rows = file.rows_written ?? file.record_count;
  const progress = file.status === "processing" && rows ? writeCount(rows, "row") : "";
  if (row.dataset.status !== file.status) {
    show(state, makeState(file.status), h("div", { class: "hint" }));
    show(actions, makeActions(file, reload));
    row.dataset.status = file.status;
  }
  setText(state.querySelector(".hint"), file.error ?? progress);
  setText(size, [file.file_size === null ? "" : writeBytes(file.file_size), file.record_count === null || file.record_count === undefined ? "" : writeCount(file.record_count, "row")].filter(Boolean).join(", "));
  setText(kept, file.status === "completed" ? writeTime(file.expires_at) : "");
}

// --- making one ------------------------------------------------------------------------------------------------------

// Open the dialog that makes an export of the range that is shown. `whenMade()` is called once it has begun.
export function openExportDialog(shown, whenMade) {
  const type = makeChoice("type", TYPES);
  const format = makeChoice("format", FORMATS);
  const times = makeTimes(shown);
  const inputs = Object.fromEntries(["state", "user", "partition", "fields", "filename"].map((name) => [name, h("input", { name })]));
  const jobsOnly = [makeField("States", inputs.state, { hint: "with commas between them, such as FAILED,TIMEOUT", name: "state" }), makeField("Users", inputs.user, { name: "user" }), ...times.fields];
  type.addEventListener("change", () => jobsOnly.forEach((field) => (field.hidden = type.value !== "jobs")));
  const describe = () => ({
    method: "POST",
    path: "api/v1/export",
    body: {
      type: type.value,
      format: format.value,
      ...leaveOut({
        filter: leaveOut(type.value === "jobs" ? { state: inputs.state.value, user: inputs.user.value, partition: inputs.partition.value, ...times.read("start_time", "end_time") } : { partition: inputs.partition.value }),
        fields: inputs.fields.value.split(/[\s,]+/).filter(Boolean),
        options: leaveOut({ filename: inputs.filename.value }),
      }),
    },
  });
  openMaker("Make an export", describe, whenMade, [
    h("div", { class: "pair" }, makeField("Rows", type), makeField("Format", format)),
    ...jobsOnly,
    makeField("Partitions", inputs.partition, { name: "partition" }),
    makeField("Columns", inputs.fields, { hint: "with commas between them, such as job_id,user,state,elapsed_time; all where empty", name: "fields" }),
    makeField("File name", inputs.filename, { hint: "made by the server where empty", name: "filename" }),
  ]);
}

// Open the dialog that makes a report on the range that is shown.
export function openReportDialog(shown, whenMade) {
  const type = h("select", { name: "type" }, REPORTS.map(([value, title]) => h("option", { value }, title)));
  const format = makeChoice("format", REPORT_FORMATS);
  const times = makeTimes(shown);
  const partitions = h("input", { name: "partitions" });
  const email = h("input", { name: "email", type: "email" });
  const describe = () => ({
    method: "POST",
    path: "api/v1/reports",
    body: {
      type: type.value,
      format: format.value,
      ...leaveOut({
        parameters: leaveOut({ ...times.read("start_date", "end_date"), partitions: partitions.value.split(/[\s,]+/).filter(Boolean) }),
        delivery: email.value ? { method: "email", email: email.value } : null,
      }),
    },
  });
  openMaker("Make a report", describe, whenMade, [
    h("div", { class: "pair" }, makeField("About", type), makeField("Format", format)),
    ...times.fields,
    makeField("Partitions", partitions, { hint: "all where empty" }),
    makeField("Send to", email, { hint: "an e-mail address; needs the section smtp in config.yaml" }),
  ]);
}

function openMaker(title, describe, whenMade, fields) {
  const key = makeKey();
  const form = makeForm(fields, {
    label: "Make",
    describe,
    act: async () => {
      const { method, path, body } = describe();
      const made = await send(method, path, body, { key });
      dialog.close();
      notify(`${made.filename} is being made`);
      whenMade();
      dispatchEvent(new Event("exportmade"));
    },
  });
  const dialog = openDialog(title, form);
}

function makeChoice(name, values) {
  return h("select", { name }, values.map((value) => h("option", { value }, value)));
}

// The two fields of a range, in the zone that is chosen.
function makeTimes({ from_ms, to_ms }) {
  const from = h("input", { type: "datetime-local", step: 1, value: writeField(from_ms) });
  const to = h("input", { type: "datetime-local", step: 1, value: to_ms === null ? "" : writeField(to_ms) });
  const write = (field) => (readField(field.value) === null ? "" : new Date(readField(field.value)).toISOString());
  return {
    fields: [makeField("From", from, { hint: nameZone(), name: "start_time" }), makeField("Until", to, { hint: `${nameZone()}; now where empty`, name: "end_time" })],
    read: (start, end) => ({ [start]: write(from), [end]: write(to) }),
  };
}

// Leave out what says nothing.
function leaveOut(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value && (typeof value !== "object" || Object.keys(value).length > 0)));
}
