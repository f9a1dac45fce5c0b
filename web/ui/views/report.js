// One status report: its stages over time, what the job said, and what it sent of its files.

import { h, keepInStep, setText, show } from "../core/dom.js";
import { get, makeUrl } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeFacts, makePane } from "../core/pane.js";
import { makeLink } from "../core/router.js";
import { nameZone, toMs, whenZoneChanges, writeBytes, writeDuration, writeTime } from "../core/format.js";
import { findFamily, isOpen } from "../core/states.js";
import { fillState, makeState } from "../core/marks.js";
import { notifyRefusal, showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";

const TICK_MS = 1000;
const TAIL_BYTES = 64 * 1024;
const FILES_MS = 5000; // files grow without a word in the stream of changes

// Open the view.
export function open(outlet, { params }) {
  const id = params.id;
  const path = `srtslurm/api/jobs/${encodeURIComponent(id)}`;
  const parts = { head: h("div", { class: "pane" }), stages: h("ol", { class: "timeline" }), events: h("tbody"), told: h("div", { class: "pane" }) };
  const remove = makeAction({
    label: "Delete the report",
    question: () => `Delete the report of job ${id} with its logs and captures? The job itself stays.`,
    call: () => ({ method: "DELETE", path }),
    done: () => `The report of job ${id} is deleted`,
  });
  const pane = makePane({
    title: `Job ${id}`,
    kinds: ["report"],
    isOwn: (change) => change.id === id,
    load: ({ signal }) => get(path, {}, { signal }),
    draw: (place, report) => drawReport(place, report, parts),
    actions: [remove],
  });
  const files = makeFiles(id, path);
  show(outlet, h("p", null, h("a", { href: makeLink(["reports"]) }, "Status reports")), pane.node, files.node);
  setTitle(`Report ${id}`);
  const redraw = () => pane.document.value && drawReport(null, pane.document.value, parts);
  const ticking = setInterval(() => !document.hidden && pane.document.value && isOpen(pane.document.value.status) && drawStages(parts.stages, pane.document.value), TICK_MS);
  const stopZone = whenZoneChanges(redraw);
  return () => {
    clearInterval(ticking);
    stopZone();
    pane.close();
    files.close();
  };
}

function drawReport(place, report, parts) {
  if (place && !parts.head.isConnected) {
    const head = h("tr", null, ["When", "Status", "Stage", "Message", "From"].map((title) => h("th", { scope: "col" }, title)));
    show(place, h("div", { class: "pane" }, parts.head, h("h3", null, "Stages"), parts.stages, h("h3", null, "Events"), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Events" }, h("table", { class: "plain-table" }, h("thead", null, head), parts.events)), parts.told));
  }
  setTitle(report.job_name, { family: findFamily(report.status), progress: report.stage });
  showOnce(parts.head, [report.message, report.status, report.stage, report.slurm_state, report.completed_at, report.started_at, nameZone()], () => makeHead(report));
  drawStages(parts.stages, report);
  keepInStep(parts.events, [...report.events].reverse(), (event) => event.id, makeEvent, updateEvent);
  showOnce(parts.told, [report.metadata, report.benchmark_results, report.artifacts], () => makeTold(report));
}

// Fill a place only where what it is made of has changed, so that a selection in it survives.
function showOnce(place, facts, make) {
  const key = JSON.stringify(facts);
  if (place.dataset.facts === key) return;
  place.dataset.facts = key;
  show(place, make());
}

function makeHead(report) {
  const slurm = report.slurm_state && h("a", { href: makeLink(["jobs", report.job_id]) }, makeState(report.slurm_state));
  const facts = makeFacts([
    ["Name", report.job_name],
    ["Status", makeState(report.status)],
    ["Stage", report.stage],
    ["In SLURM", slurm ?? "SLURM does not know this job"],
    ["Cluster", report.cluster],
    ["Recipe", report.recipe],
    ["Submitted", writeTime(report.submitted_at)],
    ["Began", writeTime(report.started_at)],
    ["Ended", writeTime(report.completed_at)],
    ["Exit code", report.exit_code],
    ["Logs", report.logs_url],
  ]);
  const failed = findFamily(report.status) === "failed";
  return [report.message && h("p", { class: failed ? "told failed" : "told" }, report.message), facts];
}

// List the stages that the events tell of: [{ id, status, stage, begun, ended }], times in ms.
function listStages(report, now_ms) {
  const stages = [];
  for (const event of report.events) {
    const last = stages.at(-1);
    if (last && last.status === event.status && last.stage === event.stage) continue;
    const at = toMs(event.created_at);
    if (last) last.ended = Math.max(at, last.begun);
    stages.push({ id: event.id, status: event.status, stage: event.stage, begun: last ? Math.max(at, last.begun) : at, ended: null });
  }
  const last = stages.at(-1);
  if (last) last.ended = isOpen(last.status) ? Math.max(now_ms, last.begun) : last.begun;
  return stages;
}

function drawStages(place, report) {
  const stages = listStages(report, Date.now());
  const [first, last] = [stages[0]?.begun ?? 0, stages.at(-1)?.ended ?? 0];
  const span = Math.max(last - first, 1);
  const update = (row, stage) => {
    const [state, bar, time] = row.children;
    fillState(state, stage.status);
    setText(state.querySelector(".word"), stage.stage && stage.stage !== stage.status ? `${stage.status}: ${stage.stage}` : stage.status);
    bar.firstElementChild.className = `fill ${findFamily(stage.status)}`;
    bar.firstElementChild.style.setProperty("margin-left", `${(100 * (stage.begun - first)) / span}%`);
    bar.firstElementChild.style.setProperty("width", `${(100 * (stage.ended - stage.begun)) / span}%`);
    setText(time, stage.ended > stage.begun || isOpen(stage.status) ? writeDuration((stage.ended - stage.begun) / 1000) : "");
    row.title = `from ${writeTime(stage.begun)}`;
  };
  const make = (stage) => {
    const row = h("li", null, h("span", { class: "state" }), h("span", { class: "track", "aria-hidden": "true" }, h("span")), h("span", { class: "numeric" }));
    update(row, stage);
    return row;
  };
  keepInStep(place, stages, (stage) => stage.id, make, update);
}

function makeEvent(event) {
  const row = h("tr", null, h("td", { class: "nowrap" }), h("td", null, makeState(event.status)), h("td", null, event.stage), h("td", null, event.message), h("td", null, event.source === "slurm" ? "SLURM" : "the job"));
  updateEvent(row, event);
  return row;
}

function updateEvent(row, event) {
  setText(row.firstElementChild, writeTime(event.created_at));
}

function makeTold(report) {
  const parts = [["Metadata", report.metadata], ["Results", report.benchmark_results], ["Artifacts", report.artifacts]];
  const given = parts.filter(([, value]) => value && Object.keys(value).length > 0);
  return given.map(([title, value]) => [h("h3", null, title), h("pre", { class: "window", tabindex: 0, role: "region", "aria-label": title }, JSON.stringify(value, null, 2))]);
}

// --- files that the job sent ---------------------------------------------------------------------------------------

function makeFiles(id, path) {
  const log = { file: null, from: 0, next: 0, text: "" };
  const list = h("ul", { class: "files" });
  const shown = h("div", { class: "pane" });
  const pane = makePane({
    title: "Logs and captures",
    load: async ({ signal }) => {
      const [logs, captures] = await Promise.all([get(`${path}/logs`, {}, { signal }), get(`${path}/captures`, {}, { signal })]);
      return [...logs.files.map((file) => ({ ...file, kind: "logs" })), ...captures.files.map((file) => ({ ...file, kind: "captures" }))];
    },
    draw: (place, files) => {
      if (files.length === 0) return showEmpty(place, "This job has sent no logs or files.");
      if (!list.isConnected) show(place, h("div", { class: "pane" }, list, shown));
      keepInStep(list, files, (file) => `${file.kind}/${file.file}`, makeFile, updateFile);
      const current = files.find((file) => file.kind === "logs" && file.file === log.file);
      if (current && current.size !== log.next) readLog(log.next <= current.size ? log.next : 0);
      return null;
    },
  });
  const timer = setInterval(() => document.hidden || pane.document.reload(), FILES_MS);

  function makeFile(file) {
    const name = file.kind === "logs"
      ? h("button", { type: "button", class: "plain", onclick: () => openLog(file) }, file.file)
      : h("a", { href: makeUrl(`${path}/captures`, { file: file.file }).href, download: file.file.split("/").at(-1) }, file.file);
    const row = h("li", null, name, h("span", { class: "hint" }));
    updateFile(row, file);
    return row;
  }

  function updateFile(row, file) {
    const left = file.kind === "captures" && !file.complete ? ", not complete yet" : "";
    setText(row.lastElementChild, `${writeBytes(file.size)}, ${writeTime(file.updated_at)}${left}`);
  }

  function openLog(file) {
    const from = Math.max(0, file.size - TAIL_BYTES);
    Object.assign(log, { file: file.file, from, next: from, text: "" });
    readLog(from);
  }

  // Read the log from an offset on, and what was there of it before it stays.
  async function readLog(offset) {
    const piece = await readPiece(offset);
    if (piece?.file !== log.file) return;
    log.text = offset === log.next ? log.text + piece.data : piece.data;
    log.next = piece.next_offset;
    drawLog();
  }

  const readPiece = (offset) => get(`${path}/logs`, { file: log.file, offset }).catch((problem) => notifyRefusal("The log could not be read", problem));

  function drawLog() {
    let text = shown.querySelector("pre");
    if (text?.dataset.file !== log.file) {
      text = h("pre", { class: "window", tabindex: 0, role: "region", "aria-label": `Log ${log.file}`, "data-file": log.file });
      const whole = h("a", { href: makeUrl(`${path}/logs`, { file: log.file }).href, target: "_blank", rel: "noopener" }, "As the server gives it");
      const all = log.from > 0 && h("button", { type: "button", onclick: showBefore }, "Show what is before");
      show(shown, h("div", { class: "bar" }, h("h3", null, log.file), all, whole), text);
    }
    const atEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 4;
    const added = text.firstChild && log.text.startsWith(text.textContent) ? log.text.slice(text.textContent.length) : null;
    if (added === null) show(text, log.text);
    else if (added) text.append(added);
    if (atEnd || added === null) text.scrollTop = text.scrollHeight;
  }

  async function showBefore() {
    const from = Math.max(0, log.from - 4 * TAIL_BYTES);
    const kept = shown.querySelector("pre");
    const bottom = kept.scrollHeight - kept.scrollTop;
    const piece = await readPiece(from);
    if (piece?.file !== log.file) return;
    Object.assign(log, { from, next: piece.next_offset, text: piece.data });
    show(kept, log.text);
    kept.scrollTop = kept.scrollHeight - bottom;
    if (from === 0) shown.querySelector(".bar button")?.remove();
  }

  return {
    node: pane.node,
    close: () => {
      clearInterval(timer);
      pane.close();
    },
  };
}
