// The head of a sweep: its state, how far it is, what failed first, and what can be done.

import { h, keepInStep, setAttribute, setText } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { fillState, makeMark } from "../core/marks.js";
import { notifyRefusal } from "../core/notice.js";
import { FAMILIES, isOpen } from "../core/states.js";
import { makeLink } from "../core/router.js";
import { getNow, toMs, writeCount, writeDuration, writeTime } from "../core/format.js";
import { may } from "../core/signin.js";
import { writeFailure } from "../run/facts.js";
import { nameCell } from "./cells.js";
import { writeValue } from "./scales.js";

const COUNTERS = Object.entries({
  done: "cells_completed",
  failed: "cells_failed",
  cancelled: "cells_cancelled",
  running: "cells_running",
  waiting: "cells_pending",
});
const SHOWN_FAILURES = 3;

// Return how many cells of a sweep have ended.
export const countEnded = (sweep) => sweep.cells_completed + sweep.cells_failed + sweep.cells_cancelled;

// Return how long a sweep has taken, in seconds.
export const getTook = (sweep) => ((toMs(sweep.completed_at) ?? getNow()) - toMs(sweep.started_at)) / 1000;

// Say how far a sweep is: "7 of 9 ended, 1 failed".
export function describeProgress(sweep) {
  const { cell_count, cells_failed, cells_running } = sweep;
  const more = [[cells_failed, "failed"], [cells_running, "running"]].filter(([count]) => count > 0);
  const counts = more.map(([count, word]) => `, ${count.toLocaleString("en")} ${word}`);
  return `${countEnded(sweep).toLocaleString("en")} of ${cell_count.toLocaleString("en")} ended${counts.join("")}`;
}

// Fill a bar with the parts of a sweep by state; the words stand beside it.
export function fillBar(bar, sweep) {
  keepInStep(bar, COUNTERS, ([family]) => family, ([family]) => h("span", { class: `bar-part ${family}` }));
  COUNTERS.forEach(([family, key], at) => {
    const part = bar.children[at];
    part.hidden = sweep[key] === 0;
    part.style.flexGrow = sweep[key];
    part.title = `${sweep[key]} ${FAMILIES[family].word}`;
  });
}

const canRerun = ({ status, archived }) => status !== "draining" && !archived;
const makeRerun = (cells) => (sweep) => ({ method: "POST", path: `api/sweep_runs/${sweep.id}/rerun`, body: { cells } });

// The calls that can be made of a sweep; the first two of several as well.
export const ACTIONS = [
  {
    label: "Cancel",
    isOffered: (sweep) => isOpen(sweep.status) && !sweep.cancel_requested_at,
    question: (sweep) => `Cancel ${sweep.cells_running} running and ${sweep.cells_pending} waiting cells of sweep ${sweep.name}?`,
    call: (sweep) => ({ method: "POST", path: `api/sweep_runs/${sweep.id}/cancel` }),
    done: (sweep) => `Sweep ${sweep.name} is being cancelled.`,
  },
  {
    label: "Re-run failed",
    isOffered: (sweep) => sweep.cells_failed > 0 && canRerun(sweep),
    call: makeRerun("failed"),
    done: (sweep) => `The failed cells of sweep ${sweep.name} run again.`,
  },
  {
    label: "Re-run failed and cancelled",
    isOffered: (sweep) => sweep.cells_cancelled > 0 && canRerun(sweep),
    call: makeRerun("unfinished"),
    done: (sweep) => `All cells of sweep ${sweep.name} that have not completed run again.`,
  },
];

const nameWorkflow = (sweep) => sweep.workflow_yaml_path?.match(/([^/]+)\.ya?ml$/)?.[1] ?? sweep.name;

// Make the head. `whenFiltered(state or null)` and `whenSelected(key)` hear of clicks.
//
// Returns { node, draw(sweep, model or null) }.
export function makeHeader({ whenFiltered, whenSelected }) {
  const shown = { sweep: null, model: null };
  const title = h("h1");
  const state = h("span", { class: "state" });
  const progress = h("span", { class: "count" });
  const bar = h("div", { class: "sweep-bar", "aria-hidden": "true" });
  const chips = h("div", { class: "bar", role: "group", "aria-label": "Show only cells that are" });
  const actions = ACTIONS.map(({ label, isOffered, question, call, done }) => ({
    isOffered,
    node: makeAction({ label, question: question && (() => question(shown.sweep)), call: () => call(shown.sweep), done }),
  }));
  const openAgain = () => runAgain(shown.sweep, shown.model);
  const tellRefusal = (problem) => notifyRefusal("The sweep cannot be run again", problem);
  const again = makeButton("Run with other values…", () => openAgain().catch(tellRefusal), { scope: "write" });
  const parallel = makeParallelField(() => shown.sweep);
  const failures = h("div", { class: "failures" });
  const more = h("button", { class: "plain link", onclick: () => whenFiltered("failed") });
  const wrong = h("section", { "aria-label": "What failed" }, failures, more);
  const best = h("button", { class: "plain link", onclick: () => whenSelected(shown.model.best.key) });
  const workflow = h("a");
  const facts = [
    ["Best cell", best, (sweep, model) => model?.best && `${nameCell(model.best, model.axes)} (${model.metric} ${writeValue(model.bestValue)})`],
    ["Workflow", workflow, nameWorkflow],
    ["Started", h("span"), (sweep) => writeTime(sweep.started_at)],
    ["Took", h("span"), (sweep) => `${writeDuration(getTook(sweep))}${sweep.completed_at ? "" : " so far"}`],
    ["Args of all cells", h("span"), ({ args }) => Object.entries(args ?? {}).map(([name, value]) => `${name} = ${writeValue(value)}`).join(", ")],
    ["When a cell fails", h("span"), (sweep) => sweep.fail_fast && "no further cell is started"],
    ["Error", h("span"), (sweep) => sweep.error],
    ["Archived", h("span"), (sweep) => sweep.archived && "its cells cannot be run again any more"],
  ].map(([name, node, write]) => ({ row: h("div", null, h("dt", null, name), h("dd", null, node)), node, write }));
  const node = h("header", { class: "sweep-head" },
    h("div", { class: "bar" }, title, state, progress, h("span", { class: "actions" }, actions.map((action) => action.node), again)),
    bar, wrong, h("div", { class: "bar" }, chips, parallel.node), h("dl", { class: "facts" }, facts.map(({ row }) => row)));

  function draw(sweep, model) {
    Object.assign(shown, { sweep, model });
    setText(title, `Sweep ${sweep.id}: ${sweep.name}`);
    fillState(state, sweep.status);
    setText(progress, describeProgress(sweep));
    fillBar(bar, sweep);
    for (const action of actions) action.node.hidden = !action.isOffered(sweep);
    parallel.draw(sweep);
    setAttribute(workflow, "href", makeLink(["workflows", nameWorkflow(sweep)]));
    for (const { row, node: value, write } of facts) {
      const text = write(sweep, model) || "";
      row.hidden = text === "";
      setText(value, text);
    }
    drawChips(sweep, model?.options.state ?? null);
    drawFailures(model?.cells.filter(({ family }) => family === "failed") ?? []);
  }

  function drawChips(sweep, filter) {
    const [running, waiting] = [sweep.cells_running, sweep.cells_pending];
    const makeItem = (key, count, word) => ({ key, text: `${count.toLocaleString("en")} ${word}` });
    const shown = COUNTERS.filter(([family, key]) => sweep[key] > 0 || filter === family);
    const items = shown.map(([family, key]) => makeItem(family, sweep[key], FAMILIES[family].word));
    if ((running && waiting) || filter === "open") items.push(makeItem("open", running + waiting, "not ended"));
    keepInStep(chips, items, ({ key }) => key, ({ key }) => {
      const chip = h("button", { class: "chip", onclick: () => whenFiltered(chip.ariaPressed === "true" ? null : key) });
      chip.append(...(FAMILIES[key] ? [makeMark(key)] : []), h("span"));
      return chip;
    });
    items.forEach(({ key, text }, at) => {
      chips.children[at].ariaPressed = String(key === filter);
      setText(chips.children[at].lastChild, text);
    });
  }

  function drawFailures(failed) {
    wrong.hidden = failed.length === 0;
    keepInStep(failures, failed.slice(0, SHOWN_FAILURES), ({ key }) => key, makeFailure);
    failed.slice(0, SHOWN_FAILURES).forEach(({ row }, at) => setText(failures.children[at].lastChild, writeFailure(row.error) ?? "no reason is known"));
    more.hidden = failed.length <= SHOWN_FAILURES;
    setText(more, `All ${writeCount(failed.length, "failed cell")} in the table`);
  }

  function makeFailure(cell) {
    const words = h("span", null, makeMark("failed"), `${nameCell(cell, shown.model.axes)} failed `);
    const open = makeButton("Show its log", () => whenSelected(cell.key));
    return h("div", { class: "cell-failure" }, h("div", { class: "bar" }, words, open), h("pre"));
  }

  return { node, draw };
}

// Open the dialog for a sweep of the same workflow, filled with the values of this one.
async function runAgain({ args, matrix, max_parallel, fail_fast, ...sweep }, model) {
  const name = nameWorkflow(sweep);
  const { mount } = model ? await get(`api/workflows/runs/${model.cells[0].key}`) : { mount: null };
  const { openRunOf } = await import("../workflows/run_dialog.js"); // needed by few
  await openRunOf(name, mount, () => ({
    body: { ...(args ? { args_override: args } : {}), sweep: { matrix, max_parallel, fail_fast } },
    note: `Filled with the values of sweep ${sweep.id}; the workflow is taken as it is now.`,
  }));
}

function makeParallelField(getSweep) {
  const limits = { type: "number", min: 1, max: 100_000, step: 1 };
  const input = h("input", { ...limits, class: "narrow", "aria-label": "Cells that run at once", disabled: !may("write") });
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
