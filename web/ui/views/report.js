// One status report: its stages over time, what the job said, and what it sent of its files.

import { h, keepInStep, renew, setText, show } from "../core/dom.js";
import { get, makeUrl } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeFacts, makePane, makePlainTable } from "../core/pane.js";
import { changeQuery, makeLink } from "../core/router.js";
import { getNow, toMs, writeBytes, writeDuration, writeTime } from "../core/format.js";
import { findFamily, isOpen } from "../core/states.js";
import { fillState, makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { makeLogViewer } from "../log/viewer.js";

const TICK_MS = 1000;
const FILES_MS = 5000; // files grow without a word in the stream of changes

// Open the view.
export function open(outlet, { params, query }) {
  const id = params.id;
  const path = `srtslurm/api/jobs/${encodeURIComponent(id)}`;
  const events = makePlainTable("Events", [["When", "nowrap"], "Status", "Stage", "Message", "From"], []);
  const [about, told] = [h("div", { class: "pane" }), h("div", { class: "pane" })];
  const parts = { head: about, stages: h("ol", { class: "timeline" }), events: events.querySelector("tbody"), told };
  const all = h("div", { class: "pane" }, parts.head, h("h3", null, "Stages"), parts.stages, h("h3", null, "Events"), events, parts.told);
  const head = h("h1", null, h("a", { href: makeLink(["reports"]) }, "Status reports"), " / ", id);
  const place = h("div", { class: "view-parts" });
  let files = null;
  const pane = makePane({
    title: "Report",
    kinds: ["report"],
    isOwn: (change) => change.id === id && (change.action !== "deleted" || leave()),
    load: path,
    draw: (body, report) => {
      if (!all.isConnected) show(body, all);
      drawReport(report, parts);
      if (files) return;
      files = makeFiles(id, path, query.get("log"));
      place.append(files.node);
    },
    actions: [
      makeAction({
        label: "Delete the report",
        question: () => `Delete the report of job ${id} with its logs and captures? The job itself stays.`,
        call: () => ({ method: "DELETE", path }),
      }),
    ],
  });
  show(outlet, head, show(place, pane.node));
  setTitle(`Report ${id}`);
  const tick = (report) => !document.hidden && isOpen(report?.status) && drawStages(parts.stages, report);
  const ticking = setInterval(() => tick(pane.document.value), TICK_MS);

  function leave() {
    close();
    showEmpty(place, `The report of job ${id} is deleted.`);
    return false;
  }

  function close() {
    clearInterval(ticking);
    pane.close();
    files?.close();
  }
  return close;
}

function drawReport(report, parts) {
  setTitle(report.job_name, { family: findFamily(report.status), progress: report.stage });
  renew(parts.head, makeHead(report));
  drawStages(parts.stages, report);
  const update = (row, event) => setText(row.firstElementChild, writeTime(event.created_at));
  keepInStep(parts.events, report.events.toReversed(), (event) => event.id, makeEvent, update);
  renew(parts.told, makeTold(report));
}

function makeHead(report) {
  const facts = makeFacts([
    ["Name", report.job_name],
    ["Status", makeState(report.status)],
    ["Stage", report.stage],
    ["In SLURM", report.slurm_state ? h("a", { href: makeLink(["jobs", report.job_id]) }, makeState(report.slurm_state)) : "SLURM does not know this job"],
    ["Cluster", report.cluster],
    ["Recipe", report.recipe],
    ["Submitted", writeTime(report.submitted_at)],
    ["Began", writeTime(report.started_at)],
    ["Ended", writeTime(report.completed_at)],
    ["Exit code", report.exit_code],
    ["Logs", report.logs_url],
  ]);
  const look = findFamily(report.status) === "failed" ? "told failed" : "told";
  return [report.message && h("p", { class: look }, report.message), facts];
}

// List the stages that the events tell of: [{ id, status, stage, begun, ended }], times in ms.
function listStages(report, now_ms) {
  const stages = [];
  for (const event of report.events) {
    const last = stages.at(-1);
    if (last && last.status === event.status && last.stage === event.stage) continue;
    const begun = Math.max(toMs(event.created_at), last?.begun ?? 0);
    if (last) last.ended = begun;
    stages.push({ id: event.id, status: event.status, stage: event.stage, begun, ended: begun });
  }
  const last = stages.at(-1);
  if (last && isOpen(last.status)) last.ended = Math.max(now_ms, last.begun);
  return stages;
}

function drawStages(place, report) {
  const stages = listStages(report, getNow());
  const first = stages[0]?.begun;
  const span = Math.max(stages.at(-1)?.ended - first, 1);
  const update = (row, stage) => {
    const [state, { firstElementChild: bar }, time] = row.children;
    fillState(state, stage.status);
    setText(state.querySelector(".word"), stage.stage && stage.stage !== stage.status ? `${stage.status}: ${stage.stage}` : stage.status);
    bar.className = `fill ${findFamily(stage.status)}`;
    bar.style.setProperty("margin-left", `${(100 * (stage.begun - first)) / span}%`);
    bar.style.setProperty("width", `${(100 * (stage.ended - stage.begun)) / span}%`);
    setText(time, stage.ended > stage.begun || isOpen(stage.status) ? writeDuration((stage.ended - stage.begun) / 1000) : "");
    row.title = `from ${writeTime(stage.begun)}`;
  };
  const make = (stage) => {
    const track = h("span", { class: "track", "aria-hidden": "true" }, h("span"));
    const row = h("li", null, h("span", { class: "state" }), track, h("span", { class: "numeric" }));
    update(row, stage);
    return row;
  };
  keepInStep(place, stages, (stage) => stage.id, make, update);
}

function makeEvent(event) {
  const { created_at, status, stage, message, source } = event;
  const cells = [writeTime(created_at), makeState(status), stage, message, source === "slurm" ? "SLURM" : "the job"];
  return h("tr", null, cells.map((cell, at) => h("td", { class: at === 3 ? "told" : "nowrap" }, cell)));
}

function makeTold(report) {
  const parts = Object.entries({ Metadata: report.metadata, Results: report.benchmark_results, Artifacts: report.artifacts });
  const given = parts.filter(([, value]) => value && Object.keys(value).length > 0);
  const look = (title) => ({ tabindex: 0, role: "region", "aria-label": title });
  return given.map(([title, value]) => [h("h3", null, title), h("pre", look(title), JSON.stringify(value, null, 2))]);
}

// --- files that the job sent ---------------------------------------------------------------------------------------

// Make the pane of logs and captures. The log that was written to last is opened, unless the address names one.
function makeFiles(id, path, asked) {
  const list = h("ul", { class: "files" });
  const shown = h("div");
  const log = { file: null, viewer: null };
  const pane = makePane({
    title: "Logs and captures",
    every_ms: FILES_MS,
    load: async ({ signal }) => {
      const found = await Promise.all(["logs", "captures"].map((kind) => get(`${path}/${kind}`, {}, { signal })));
      return found.flatMap(({ files }, at) => files.map((file) => ({ ...file, isLog: at === 0 })));
    },
    draw: (place, files) => {
      if (files.length === 0) return showEmpty(place, "This job has sent no logs or files.");
      if (!list.isConnected) show(place, h("div", { class: "pane" }, list, shown));
      keepInStep(list, files, (file) => `${file.isLog} ${file.file}`, makeFile, updateFile);
      const logs = files.filter((file) => file.isLog).sort((one, other) => toMs(other.updated_at) - toMs(one.updated_at));
      const first = logs.find((file) => file.file === asked) ?? logs[0];
      if (!log.viewer && first) openLog(first.file);
    },
  });

  function makeFile(file) {
    const name = file.isLog
      ? h("button", { class: "link plain", onclick: () => chooseLog(file.file) }, file.file)
      : h("a", { href: makeUrl(`${path}/captures`, { file: file.file }).href, download: file.file.split("/").at(-1) }, file.file);
    const row = h("li", null, name, h("span", { class: "hint" }));
    updateFile(row, file);
    return row;
  }

  function updateFile(row, file) {
    setText(row.lastElementChild, `${writeBytes(file.size)}, ${writeTime(file.updated_at)}${file.complete === false ? ", not complete yet" : ""}`);
  }

  function chooseLog(file) {
    changeQuery({ log: file, lines: null });
    openLog(file);
  }

  function openLog(file) {
    if (log.file === file) return;
    log.viewer?.close();
    log.file = file;
    log.viewer = makeLogViewer({ job: file, label: `log ${file}`, sent: { path: `${path}/log`, file } });
    show(shown, h("h3", null, file), log.viewer.node);
  }

  return {
    node: pane.node,
    close: () => {
      log.viewer?.close();
      pane.close();
    },
  };
}
