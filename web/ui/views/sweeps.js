// Sweeps: the latest ones, live, with how far they are and their best cell.

import { h, setAttribute, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeBulkAction } from "../core/action.js";
import { makeListView } from "../core/list_view.js";
import { loadList } from "../core/live.js";
import { makeLink } from "../core/router.js";
import { findFamily, isOpen } from "../core/states.js";
import { writeCount, writeDuration } from "../core/format.js";
import { chooseMetric, findBest, getNumber, guessGoal, listAxes, listMetrics, makeCell, nameCell } from "../sweeps/cells.js";
import { ACTIONS, countEnded, describeProgress, fillBar, getTook } from "../sweeps/header.js";
import { writeNumber } from "../sweeps/scales.js";

const FIRST_CELLS = 100; // among which the metric is chosen
const BEST_MS = 10_000; // so long the best cell of a sweep that goes on may be an older one

const isFailed = (sweep) => findFamily(sweep.status) === "failed";
const hasState = (sweep, value) => (value === "open" ? isOpen(sweep.status) : isFailed(sweep));
const measureProgress = (sweep) => countEnded(sweep) / sweep.cell_count;
const listWords = (sweep) => [sweep.id, sweep.name, ...Object.keys(sweep.matrix)].join(" ");
const writeAxes = ({ matrix }) => listAxes(matrix).map(({ name, values }) => `${name} (${values.length})`).join(" × ");

// Open the view.
export function open(outlet, { query }) {
  const bests = makeBests(() => view.table.redraw());
  const clear = () => view.table.selectAll(false);
  const view = makeListView({
    query,
    id: "sweeps",
    title: "Sweeps",
    noun: "sweep",
    columns: [
      { key: "id", title: "Id", width: "5rem", link: ({ id }) => ["sweeps", id] },
      { key: "name", title: "Name", width: "minmax(8rem, 1fr)", link: ({ id }) => ["sweeps", id] },
      { key: "status", title: "State", width: "9rem", kind: "state" },
      { key: "progress", title: "Progress", width: "minmax(16rem, 1.5fr)", value: measureProgress, render: fillProgress },
      { key: "axes", title: "Axes", width: "minmax(8rem, 1fr)", value: writeAxes },
      { key: "best", title: "Best cell", width: "minmax(12rem, 1.5fr)", value: bests.getText, render: bests.fill },
      { key: "started_at", title: "Started", width: "8rem", kind: "short time" },
      {
        key: "lasting",
        title: "Took",
        width: "6.5rem",
        numeric: true,
        value: getTook,
        write: (sweep) => writeDuration(getTook(sweep)),
        ticks: (sweep) => !sweep.completed_at,
      },
      { key: "max_parallel", title: "At once", width: "5rem", numeric: true, shown: false },
      { key: "submission_source", title: "Started by", width: "7rem", shown: false },
    ],
    sort: "-id",
    fields: [
      { name: "q", label: "Find sweeps", placeholder: "name, axis", getText: listWords },
      { name: "state", label: "Show", choices: [["", "all"], ["open", "not ended"], "failed"], fits: hasState },
    ],
    kinds: ["sweep"],
    load: loadList("api/sweep_runs", {}, (sweep) => String(sweep.id)),
    getLink: ({ id }) => makeLink(["sweeps", id]),
    selects: true,
    drawMarked: (sweeps) => ACTIONS.slice(0, 2).map((action) => makeAction(action, sweeps.filter(action.isOffered), clear)),
    summarize: (sweeps) => ({ words: sweeps.some(isFailed) ? [`${sweeps.filter(isFailed).length} failed`] : [] }),
    none: () => [
      "There are no sweeps yet. A sweep runs a workflow once for each combination of some values.",
      h("a", { class: "button", href: makeLink(["workflows"]) }, "Choose a workflow"),
    ],
  });
  show(outlet, view.nodes);
  return () => {
    bests.close();
    view.close();
  };
}

function makeAction({ label, question, call }, sweeps, whenDone) {
  if (sweeps.length === 0) return null;
  const cells = sweeps.reduce((sum, sweep) => sum + sweep.cells_running + sweep.cells_pending, 0);
  return makeBulkAction({
    label,
    calls: sweeps.map((sweep) => ({ name: `sweep ${sweep.id}`, ...call(sweep) })),
    question: question && (sweeps.length === 1 ? question(sweeps[0]) : `Cancel ${writeCount(cells, "cell")} of ${sweeps.length} sweeps?`),
    whenDone,
  });
}

// Find the best cells of the sweeps that are in sight, one after the other.
function makeBests(whenFound) {
  const bests = new Map(); // id → { completed, read_ms, text }
  const seen = new WeakSet(); // places in sight
  const sweeps = new WeakMap();
  let last = Promise.resolve();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) seen.delete(target);
      else ask(seen.add(target) && sweeps.get(target));
    }
  });

  function fill(place, sweep) {
    sweeps.set(place, sweep);
    setText(place, getText(sweep));
    setAttribute(place, "title", getText(sweep));
    if (seen.has(place)) ask(sweep);
    else observer.observe(place);
  }

  function ask(sweep) {
    const known = bests.get(sweep.id);
    const isNew = known?.completed !== sweep.cells_completed && (sweep.completed_at || !(Date.now() - known?.read_ms < BEST_MS));
    if (!isNew || sweep.cells_completed === 0) return;
    bests.set(sweep.id, { text: known?.text, completed: sweep.cells_completed, read_ms: Date.now() });
    last = last.then(async () => {
      bests.get(sweep.id).text = await describeBest(sweep).catch(() => null); // the list stands without it
      whenFound();
    });
  }

  const getText = ({ id }) => bests.get(id)?.text ?? null;
  return { fill, getText, close: () => observer.disconnect() };
}

async function describeBest({ id, matrix }) {
  const read = async (query) => (await get(`api/sweep_runs/${id}/results`, query)).map((row, at) => makeCell({ ...row, id: row.cell_id }, at));
  const first = await read({ limit: FIRST_CELLS });
  const metric = chooseMetric(first, listMetrics(first));
  const goal = guessGoal(metric);
  const best = findBest(await read({ order_by: `${goal === "max" ? "-" : ""}${metric}`, limit: 1 }), metric, goal);
  return best && `${metric} ${writeNumber(getNumber(best, metric))} (${nameCell(best, listAxes(matrix))})`;
}

function fillProgress(cell, sweep) {
  const makeBox = () => h("span", { class: "progress-line" }, h("span", { class: "sweep-bar", "aria-hidden": "true" }), h("span"));
  const [bar, words] = (cell.firstElementChild ?? cell.appendChild(makeBox())).children;
  fillBar(bar, sweep);
  setText(words, describeProgress(sweep));
}
