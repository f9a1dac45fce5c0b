// The head of a sweep: its state, how far it is, what failed first, and what can be done.

import { h, keepInStep, setText } from "../core/dom.js";
import { makeAction } from "../core/action.js";
import { makeFacts } from "../core/pane.js";
import { fillState } from "../core/marks.js";
import { FAMILIES, findFamily } from "../core/states.js";
import { makeLink } from "../core/router.js";
import { toMs, writeCount, writeDuration, writeTime } from "../core/format.js";
import { may } from "../core/signin.js";
import { nameCell } from "./cells.js";
import { writeValue } from "./scales.js";

const COUNTERS = [["done", "cells_completed"], ["failed", "cells_failed"], ["cancelled", "cells_cancelled"], ["running", "cells_running"], ["waiting", "cells_pending"]];
const SHOWN_FAILURES = 3;

// Return how many cells of a sweep have ended.
export const countEnded = (sweep) => sweep.cells_completed + sweep.cells_failed + sweep.cells_cancelled;

// Say how far a sweep is: "7 of 9 ended, 1 failed".
export function describeProgress(sweep) {
  const parts = [`${countEnded(sweep).toLocaleString("en")} of ${sweep.cell_count.toLocaleString("en")} ended`];
  if (sweep.cells_failed > 0) parts.push(`${sweep.cells_failed.toLocaleString("en")} failed`);
  if (sweep.cells_running > 0) parts.push(`${sweep.cells_running.toLocaleString("en")} running`);
  return parts.join(", ");
}

// Fill a bar with the parts of a sweep by state; the words stand beside it.
export function fillBar(bar, sweep) {
  keepInStep(bar, COUNTERS.filter(([, key]) => sweep[key] > 0), ([family]) => family, ([family]) => h("span", { class: `bar-part ${family}` }));
  for (const [family, key] of COUNTERS) {
    const part = bar.querySelector(`.${family}`);
    part?.style.setProperty("flex-grow", sweep[key]);
    if (part) part.title = `${sweep[key]} ${FAMILIES[family].word}`;
  }
}

// List the calls that can be made of a sweep: { key, label, isOpen(sweep), question(sweep), call(sweep) }.
export const ACTIONS = [
  {
    label: "Cancel",
    isOffered: (sweep) => ["waiting", "running"].includes(findFamily(sweep.status)) && !sweep.cancel_requested_at,
    question: (sweep) => `Cancel ${sweep.cells_running} running and ${sweep.cells_pending} waiting cells of sweep ${sweep.name}?`,
    call: (sweep) => ({ method: "POST", path: `api/sweep_runs/${sweep.id}/cancel` }),
    done: (sweep) => `Sweep ${sweep.name} is being cancelled.`,
  },
  {
    label: "Re-run failed",
    isOffered: (sweep) => sweep.cells_failed > 0 && sweep.status !== "draining",
    call: (sweep) => ({ method: "POST", path: `api/sweep_runs/${sweep.id}/rerun`, body: { cells: "failed" } }),
    done: (sweep) => `The failed cells of sweep ${sweep.name} run again.`,
  },
  {
    label: "Re-run failed and cancelled",
    isOffered: (sweep) => sweep.cells_cancelled > 0 && sweep.status !== "draining",
    call: (sweep) => ({ method: "POST", path: `api/sweep_runs/${sweep.id}/rerun`, body: { cells: "unfinished" } }),
    done: (sweep) => `All cells of sweep ${sweep.name} that have not completed run again.`,
  },
];

// Make the head. `whenFiltered(state or null)` and `whenSelected(key)` hear of clicks.
//
// Returns { node, draw(sweep, model or null) }.
export function makeHeader({ whenFiltered, whenSelected, getSweep }) {
  const title = h("h1");
  const state = h("span", { class: "state" });
  const progress = h("span", { class: "count" });
  const bar = h("div", { class: "sweep-bar", "aria-hidden": "true" });
  const chips = h("div", { class: "bar", role: "group", "aria-label": "Show only cells that are" });
  const actions = ACTIONS.map(({ label, isOffered, question, call, done }) => ({
    isOffered,
    node: makeAction({ label, question: question && (() => question(getSweep())), call: () => call(getSweep()), done: () => done(getSweep()) }),
  }));
  const parallel = makeParallelField(getSweep);
  const facts = h("div");
  const failures = h("section", { class: "failures", "aria-label": "What failed", hidden: true });
  const node = h("header", { class: "sweep-head" }, h("div", { class: "bar" }, title, state, progress, h("span", { class: "actions" }, actions.map((action) => action.node))), bar, failures, h("div", { class: "bar" }, chips, parallel.node), facts);
  const lasting = h("span");
  let told = "";

  function draw(sweep, model) {
    setText(title, `Sweep ${sweep.id}: ${sweep.name}`);
    fillState(state, sweep.status);
    setText(progress, describeProgress(sweep));
    fillBar(bar, sweep);
    for (const action of actions) action.node.hidden = !action.isOffered(sweep);
    parallel.draw(sweep);
    drawChips(sweep, model);
    drawFacts(sweep, model);
    if (model) drawFailures(model);
  }

  function drawChips(sweep, model) {
    const filter = model?.options.state ?? null;
    const items = COUNTERS.filter(([family, key]) => sweep[key] > 0 || filter === family).map(([family, key]) => ({ key: family, count: sweep[key], mark: FAMILIES[family].mark, word: FAMILIES[family].word }));
    const open = sweep.cells_pending + sweep.cells_running;
    if ((open > 0 && open < sweep.cell_count) || filter === "open") items.push({ key: "open", count: open, mark: "", word: "not ended" });
    keepInStep(chips, items, ({ key }) => key, makeChip, (chip, item) => fillChip(chip, item, filter));
    for (const item of items) fillChip(chips.querySelector(`[data-key="${item.key}"]`), item, filter);
  }

  function makeChip({ key, mark }) {
    const chip = h("button", { type: "button", class: "chip", onclick: () => whenFiltered(chip.getAttribute("aria-pressed") === "true" ? null : key) });
    if (mark) chip.append(h("span", { class: `mark ${key}`, "aria-hidden": "true" }, mark));
    chip.append(h("span"));
    return chip;
  }

  function fillChip(chip, { key, count, word }, filter) {
    chip.setAttribute("aria-pressed", String(filter === key));
    setText(chip.lastChild, `${count.toLocaleString("en")} ${word}`);
  }

  function drawFacts(sweep, model) {
    setText(lasting, writeDuration(((toMs(sweep.completed_at) ?? Date.now()) - toMs(sweep.started_at)) / 1000));
    const best = model?.best ? `${nameCell(model.best, model.axes)} (${model.metric} ${writeValue(model.bestValue)})` : null;
    const text = JSON.stringify([sweep.args, sweep.started_at, sweep.completed_at, best, sweep.error, sweep.fail_fast]);
    if (text === told) return;
    told = text;
    const args = Object.entries(sweep.args ?? {}).map(([name, value]) => `${name} = ${writeValue(value)}`).join(", ");
    facts.replaceChildren(
      makeFacts([
        ["Best cell so far", best && h("button", { type: "button", class: "plain link", onclick: () => whenSelected(model.best.key) }, best)],
        ["Workflow", h("a", { href: makeLink(["workflows", workflowOf(sweep)]) }, workflowOf(sweep))],
        ["Started", writeTime(sweep.started_at)],
        [sweep.completed_at ? "Took" : "Runs for", lasting],
        ["Args of all cells", args],
        ["When a cell fails", sweep.fail_fast ? "no further cell is started" : null],
        ["Error", sweep.error],
      ]),
    );
  }

  function drawFailures({ cells, axes }) {
    const failed = cells.filter(({ family }) => family === "failed");
    failures.hidden = failed.length === 0;
    keepInStep(failures, failed.slice(0, SHOWN_FAILURES), ({ key }) => key, (cell) => makeFailure(cell, axes), (place, cell) => setText(place.querySelector("pre"), cell.row.error ?? "no reason is known"));
    if (failed.length > SHOWN_FAILURES) {
      failures.append(h("p", { "data-key": `more ${failed.length}` }, h("button", { type: "button", class: "plain link", onclick: () => whenFiltered("failed") }, `All ${writeCount(failed.length, "failed cell")} in the table`)));
    }
  }

  function makeFailure(cell, axes) {
    const words = h("span", null, h("span", { class: "mark failed", "aria-hidden": "true" }, FAMILIES.failed.mark), `${nameCell(cell, axes)} failed `);
    return h("div", { class: "cell-failure" }, h("div", { class: "bar" }, words, h("button", { type: "button", onclick: () => whenSelected(cell.key) }, "Show its log")), h("pre", null, cell.row.error ?? "no reason is known"));
  }

  return { node, draw };
}

const workflowOf = (sweep) => sweep.workflow_yaml_path?.match(/([^/]+)\.ya?ml$/)?.[1] ?? sweep.name;

function makeParallelField(getSweep) {
  const input = h("input", { type: "number", min: 1, max: 100000, step: 1, class: "narrow", "aria-label": "Cells that run at once", disabled: !may("write") });
  const set = makeAction({
    label: "Set",
    call: () => ({ method: "PATCH", path: `api/sweep_runs/${getSweep().id}`, body: { max_parallel: input.valueAsNumber } }),
    done: (sweep) => `${writeCount(sweep.max_parallel, "cell")} of sweep ${sweep.name} may run at once.`,
  });
  input.addEventListener("keydown", (event) => event.key === "Enter" && set.querySelector("button").click());
  const node = h("span", { class: "bar" }, h("span", { class: "hint" }, "Cells at once"), input, set);
  let shown = null;
  return {
    node,
    draw: (sweep) => {
      node.hidden = sweep.completed_at !== null;
      if (sweep.max_parallel !== shown && document.activeElement !== input) input.value = sweep.max_parallel;
      shown = sweep.max_parallel;
    },
  };
}
