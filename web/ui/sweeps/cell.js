// One cell of a sweep: its values, why it failed, its jobs and their logs.

import { h, keepInStep, setAttribute, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { makeLiveDocument } from "../core/live.js";
import { fillState } from "../core/marks.js";
import { makeCopyButton, showProblem } from "../core/notice.js";
import { changeQuery, makeLink, readAddress } from "../core/router.js";
import { findFamily, isOpen } from "../core/states.js";
import { writeDuration, writeTime } from "../core/format.js";
import { makeLogViewer } from "../log/viewer.js";
import { writeFailure } from "../run/facts.js";
import { getNumber, nameCell, writeDifference } from "./cells.js";
import { writeValue } from "./scales.js";

// Make the pane of the selected cell. `whenBased(key or null)` pins the baseline, `whenClosed()` ends the selection.
//
// Returns { node, show(cell or null, model), close }.
export function makeCellPane({ whenBased, whenClosed }) {
  const own = { cell: null, model: null, document: null, viewer: null, job: null };
  const title = h("h2", { id: "cell-title" });
  const state = h("span", { class: "state" });
  const pin = h("button", { onclick: () => whenBased(own.model.base === own.cell ? null : own.cell.key) }, "Baseline");
  const path = () => `api/workflows/runs/${own.cell.key}`;
  const cancel = makeAction({
    label: "Cancel cell",
    question: () => `Cancel the cell ${nameCell(own.cell, own.model.axes)}?`,
    call: () => ({ method: "POST", path: `${path()}/cancel` }),
    done: () => "The cell is being cancelled.",
  });
  const again = makeAction({
    label: "Re-run cell",
    call: () => ({ method: "POST", path: `api/sweep_runs/${own.model.sweep.id}/rerun`, body: { cells: [own.cell.key] } }),
    done: () => "The cell runs again.",
  });
  const link = h("a", null, "Open its run");
  const error = h("pre", { class: "cell-failure" });
  const values = h("tbody");
  const makeHead = (word) => h("th", { scope: "col" }, word);
  const toBase = makeHead("To baseline");
  const jobs = h("div", { class: "bar", role: "group", "aria-label": "Jobs of the cell" });
  const facts = h("p", { class: "hint" });
  const logPlace = h("div");
  const head = h("tr", null, makeHead("Name"), makeHead("Value"), toBase, makeHead("Copy"));
  const node = h("aside", { class: "cell-pane pane", "aria-labelledby": "cell-title", hidden: true },
    h("div", { class: "bar" }, title, state, makeButton("×", whenClosed, { class: "plain", "aria-label": "Close the cell" })),
    h("div", { class: "bar" }, pin, again, cancel, link),
    error, facts,
    h("table", null, h("caption", { class: "unseen" }, "Values of the cell"), h("thead", null, head), values),
    jobs, logPlace);

  function showCell(cell, model) {
    const isOther = own.cell?.key !== cell?.key;
    Object.assign(own, { cell, model });
    node.hidden = cell === null;
    if (isOther) openRun();
    if (cell === null) return;
    const { row } = cell;
    setText(title, `Cell ${cell.number}`);
    fillState(state, row.status);
    setAttribute(pin, "aria-pressed", String(model.base === cell));
    cancel.hidden = !isOpen(row.status);
    again.hidden = isOpen(row.status) || model.sweep.archived === true;
    link.href = makeLink(["runs", cell.key]);
    error.hidden = !row.error;
    setText(error, writeFailure(row.error));
    const took = row.duration_seconds !== null && `It took ${writeDuration(row.duration_seconds)}.`;
    setText(facts, [took, row.completed_at && `It ended at ${writeTime(row.completed_at)}.`].filter(Boolean).join(" "));
    drawValues(cell, model);
  }

  function drawValues(cell, { base, axes }) {
    const hasBase = Boolean(base) && base !== cell;
    toBase.hidden = !hasBase;
    const args = axes.map(({ name }) => [name, cell.row.args[name]]);
    const named = [...args, ...Object.entries(cell.row.result).map(([name, value]) => [name, value, name])];
    const makeLine = ([name]) => {
      const value = h("td");
      return h("tr", null, h("th", { scope: "row" }, name), value, h("td"), h("td", null, makeCopyButton(() => value.title)));
    };
    keepInStep(values, named, ([name, , result]) => `${result ? "result" : "arg"} ${name}`, makeLine);
    named.forEach(([, value, result], at) => {
      const [, text, difference] = values.children[at].children;
      setText(text, writeValue(value));
      text.title = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
      difference.hidden = !hasBase;
      setText(difference, result && hasBase ? writeDifference(getNumber(cell, result), getNumber(base, result)) : "");
    });
  }

  // --- its jobs ------------------------------------------------------------------------------------------------------

  function openRun() {
    own.document?.close();
    openLog(null);
    show(jobs);
    if (own.cell === null) return;
    const { key } = own.cell;
    const document = makeLiveDocument({
      kinds: ["run"],
      isOwn: (change) => change.id === key,
      load: ({ signal }) => get(`api/workflows/runs/${key}`, {}, { signal }),
    });
    own.document = document;
    document.listen(() => {
      if (document.state === "failed") showProblem(logPlace, "The jobs of the cell", document.problem, document.reload);
      else drawJobs(document.value);
    });
  }

  function drawJobs(run) {
    const begun = run.jobs.filter((job) => job.job_id);
    const asked = readAddress().query.get("job");
    const isFailed = (job) => findFamily(job.slurm_state) === "failed";
    const chosen = begun.find(({ name }) => name === asked) ?? begun.find(isFailed) ?? begun.at(-1) ?? null;
    keepInStep(jobs, run.jobs, ({ name }) => name, ({ name }) => {
      const choose = () => {
        changeQuery({ job: name, lines: null, stream: null });
        drawJobs(own.document.value);
      };
      const button = h("button", { class: "plain link", onclick: choose }, name);
      return h("span", { class: "chip" }, button, h("span", { class: "state" }), h("a"), h("span"));
    });
    run.jobs.forEach((job, at) => {
      const [button, mark, link, attempts] = jobs.children[at].children;
      button.disabled = !job.job_id;
      setAttribute(button, "aria-pressed", String(job === chosen));
      fillState(mark, job.job_id ? job.slurm_state : "waiting");
      setText(link, job.job_id && `job ${job.job_id}`);
      setAttribute(link, "href", job.job_id && makeLink(["jobs", job.job_id]));
      setText(attempts, job.attempts.length > 1 ? `attempt ${job.attempts.length}` : "");
    });
    openLog(chosen, run);
  }

  function openLog(job, run) {
    const key = job ? `${job.job_id} ${own.cell.key}` : null;
    if (key === own.job && key !== null) return;
    own.job = key;
    own.viewer?.close();
    own.viewer = null;
    const none = "No job of this cell has begun, so there is no log yet.";
    if (job === null) return show(logPlace, own.cell && h("p", { class: "hint" }, none));
    const isFailed = findFamily(job.slurm_state) === "failed" && job.stderr && job.stderr !== job.stdout;
    const stream = isFailed ? "stderr" : "stdout";
    own.viewer = makeLogViewer({ job: job.job_id, cluster: run.cluster ?? null, label: `job ${job.name}`, stream });
    show(logPlace, own.viewer.node);
  }

  const close = () => {
    own.document?.close();
    own.viewer?.close();
  };
  return { node, show: showCell, close };
}
