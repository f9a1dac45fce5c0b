// One cell of a sweep: its values, why it failed, its jobs and their logs.

import { h, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeLiveDocument } from "../core/live.js";
import { fillState, makeState } from "../core/marks.js";
import { makeCopyButton, showProblem } from "../core/notice.js";
import { changeQuery, makeLink, readAddress } from "../core/router.js";
import { findFamily } from "../core/states.js";
import { writeDuration, writeTime } from "../core/format.js";
import { makeLogViewer } from "../log/viewer.js";
import { getNumber, nameCell, writeDifference } from "./cells.js";
import { writeValue } from "./scales.js";

// Make the pane of the selected cell. `whenBased(key or null)` pins the baseline, `whenClosed()` ends the selection.
//
// Returns { node, show(cell or null, model), close }.
export function makeCellPane({ whenBased, whenClosed }) {
  const title = h("h2", { id: "cell-title" });
  const state = h("span", { class: "state" });
  const pin = h("button", { type: "button", onclick: () => whenBased(pin.getAttribute("aria-pressed") === "true" ? null : own.cell.key) }, "Baseline");
  const path = () => `api/workflows/runs/${own.cell.key}`;
  const cancel = makeAction({ label: "Cancel cell", question: () => `Cancel the cell ${nameCell(own.cell, own.model.axes)}?`, call: () => ({ method: "POST", path: `${path()}/cancel` }), done: () => "The cell is being cancelled." });
  const again = makeAction({ label: "Re-run cell", call: () => ({ method: "POST", path: `api/sweep_runs/${own.model.sweep.id}/rerun`, body: { cells: [own.cell.key] } }), done: () => "The cell runs again." });
  const link = h("a", null, "Open its run");
  const error = h("pre", { class: "cell-failure" });
  const values = h("table", { class: "values" });
  const jobs = h("div", { class: "bar", role: "group", "aria-label": "Jobs of the cell" });
  const facts = h("p", { class: "hint" });
  const logPlace = h("div");
  const node = h(
    "aside",
    { class: "cell-pane pane", "aria-labelledby": "cell-title", hidden: true },
    h("div", { class: "bar" }, title, state, h("button", { type: "button", class: "plain", "aria-label": "Close the cell", onclick: whenClosed }, "×")),
    h("div", { class: "bar" }, pin, again, cancel, link),
    error, facts, values, jobs, logPlace,
  );
  const own = { cell: null, model: null, document: null, viewer: null, job: null, told: "" };

  function showCell(cell, model) {
    const isOther = own.cell?.key !== cell?.key;
    Object.assign(own, { cell, model });
    node.hidden = cell === null;
    if (isOther) openRun();
    if (cell === null) return;
    setText(title, `Cell ${cell.number}`);
    fillState(state, cell.row.status);
    pin.setAttribute("aria-pressed", String(model.base === cell));
    const isOpen = cell.family === "waiting" || cell.family === "running";
    cancel.hidden = !isOpen;
    again.hidden = isOpen;
    link.href = makeLink(["runs", cell.key]);
    error.hidden = !cell.row.error;
    setText(error, cell.row.error ?? "");
    setText(facts, [cell.row.duration_seconds !== null && `took ${writeDuration(cell.row.duration_seconds)}`, cell.row.completed_at && `ended ${writeTime(cell.row.completed_at)}`].filter(Boolean).join(", "));
    drawValues(cell, model);
  }

  function drawValues({ row }, { base, cells, axes }) {
    const told = JSON.stringify([own.cell.key, row.args, row.result, base?.key, base?.row.result]);
    if (told === own.told) return;
    own.told = told;
    const named = [...axes.map(({ name }) => [name, row.args[name], ""]), ...Object.entries(row.result).map(([name, value]) => [name, value, base && base !== own.cell ? writeDifference(getNumber(own.cell, name), getNumber(base, name)) : ""])];
    const hasBase = base && base !== own.cell;
    show(
      values,
      h("caption", { class: "unseen" }, `Values of cell ${own.cell.number} of ${cells.length}`),
      h("thead", null, h("tr", null, ["Name", "Value", ...(hasBase ? ["To baseline"] : []), "Copy"].map((word) => h("th", { scope: "col" }, word)))),
      h("tbody", null, named.map(([name, value, difference]) => {
        const text = value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
        return h("tr", null, h("th", { scope: "row" }, name), h("td", { title: text }, writeValue(value)), hasBase && h("td", null, difference), h("td", null, makeCopyButton(() => text)));
      })),
    );
  }

  // --- its jobs ------------------------------------------------------------------------------------------------------

  function openRun() {
    own.document?.close();
    own.document = null;
    openLog(null);
    show(jobs);
    if (own.cell === null) return;
    const { key } = own.cell;
    const document = (own.document = makeLiveDocument({ kinds: ["run"], isOwn: (change) => change.id === key, load: ({ signal }) => get(`api/workflows/runs/${key}`, {}, { signal }) }));
    document.listen(() => {
      if (own.document !== document) return;
      if (document.state === "failed") showProblem(logPlace, "The jobs of the cell", document.problem, document.reload);
      else drawJobs(document.value);
    });
  }

  function drawJobs(run) {
    const asked = readAddress().query.get("job");
    const named = (name) => run.jobs.find((job) => job.name === name && job.job_id);
    const begun = run.jobs.filter((job) => job.job_id);
    const chosen = named(asked) ?? begun.find((job) => findFamily(job.slurm_state) === "failed") ?? begun.at(-1) ?? null;
    show(jobs, run.jobs.map((job) => makeJob(job, job === chosen, run)));
    openLog(chosen, run);
  }

  function makeJob(job, isChosen, run) {
    const choose = () => {
      changeQuery({ job: job.name, lines: null, stream: null });
      drawJobs(run);
    };
    const attempts = job.attempts.length > 1 ? `, attempt ${job.attempts.length}` : "";
    return h(
      "span", { class: "chip" },
      h("button", { type: "button", class: "plain link", "aria-pressed": String(isChosen), disabled: !job.job_id, onclick: choose }, job.name),
      makeState(job.job_id ? job.slurm_state : "waiting"), attempts,
      job.job_id && h("a", { href: makeLink(["jobs", job.job_id]) }, ` job ${job.job_id}`),
    );
  }

  function openLog(job, run) {
    const key = job ? `${job.job_id} ${own.cell.key}` : null;
    if (key === own.job && key !== null) return;
    own.job = key;
    own.viewer?.close();
    own.viewer = null;
    if (job === null) return show(logPlace, own.cell && h("p", { class: "hint" }, "No job of this cell has begun, so there is no log yet."));
    const stream = findFamily(job.slurm_state) === "failed" && job.stderr && job.stderr !== job.stdout ? "stderr" : "stdout";
    own.viewer = makeLogViewer({ job: job.job_id, cluster: run.cluster ?? null, label: `job ${job.name}`, stream });
    show(logPlace, own.viewer.node);
  }

  const close = () => {
    own.document?.close();
    own.viewer?.close();
  };
  return { node, show: showCell, close };
}
