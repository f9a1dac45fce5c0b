// Sweeps: the latest ones, live, with how far they are and their best cell.

import { h, setText, show } from "../core/dom.js";
import { get, makeKey, request } from "../core/api.js";
import { loadList, makeLiveList } from "../core/live.js";
import { askFirst } from "../core/dialog.js";
import { makeColumnChooser, makeTable } from "../core/table.js";
import { changeQuery, makeLink } from "../core/router.js";
import { fillState } from "../core/marks.js";
import { findFamily, isOpen } from "../core/states.js";
import { notify, showEmpty, showProblem } from "../core/notice.js";
import { toMs, writeCount, writeDuration, writeShortTime } from "../core/format.js";
import { setTitle } from "../core/shell.js";
import { may } from "../core/signin.js";
import { chooseMetric, findBest, getNumber, guessGoal, listAxes, listMetrics, makeCell, nameCell } from "../sweeps/cells.js";
import { ACTIONS, countEnded, describeProgress, fillBar } from "../sweeps/header.js";
import { writeNumber } from "../sweeps/scales.js";

const BEST_SWEEPS = 20; // of so many sweeps the best cell is looked for
const BEST_CELLS = 2000;

// Open the view.
export function open(outlet, { query }) {
  const count = h("span", { class: "count", role: "status" });
  const actions = h("span", { class: "actions" });
  const place = h("div");
  const filter = h("select", { "aria-label": "Show", onchange: () => refilter(filter.value) }, [["", "all"], ["open", "not ended"], ["failed", "failed"]].map(([value, words]) => h("option", { value }, words)));
  filter.value = query.get("state") ?? "";
  const bests = new Map(); // sweep → { completed, text }
  const sortText = query.get("sort") ?? "-id";
  const table = makeTable({
    id: "sweeps",
    label: "Sweeps",
    columns: listColumns(bests),
    sort: { key: sortText.replace(/^-/, ""), descending: sortText.startsWith("-") },
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
    getLink: (sweep) => makeLink(["sweeps", sweep.id]),
    selects: may("write"),
    whenSelected: drawActions,
  });
  const tools = h("span", null, filter, " ", makeColumnChooser(table));
  show(outlet, h("div", { class: "bar" }, h("h1", null, "Sweeps"), count, actions, tools), place);
  setTitle("Sweeps");
  const list = makeLiveList({ kinds: ["sweep"], load: loadList("api/sweep_runs", {}, (sweep) => String(sweep.id)) });
  list.listen(draw);
  const isShown = (sweep) => filter.value === "" || (filter.value === "open" ? isOpen(sweep.status) : findFamily(sweep.status) === "failed");

  function draw() {
    if (list.state === "failed") return showProblem(place, "The sweeps", list.problem, list.reload);
    if (list.state === "loading") return;
    const failed = [...list.rows.values()].filter(({ status }) => findFamily(status) === "failed").length;
    setText(count, `${writeCount(list.rows.size, "sweep")}${failed > 0 ? `, ${failed} failed` : ""}`);
    const rows = new Map([...list.rows].filter(([, sweep]) => isShown(sweep)));
    if (list.rows.size === 0) {
      return showEmpty(place, "There are no sweeps yet. A sweep runs a workflow once for each combination of some values.", h("a", { class: "button", href: makeLink(["workflows"]) }, "Choose a workflow"));
    }
    if (rows.size === 0) return showEmpty(place, `None of ${writeCount(list.rows.size, "sweep")} is ${filter.value === "open" ? "waiting or running" : "failed"}.`, h("button", { type: "button", onclick: () => refilter("") }, "Show all"));
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(rows, null);
    findBests(rows);
  }

  function refilter(value) {
    filter.value = value;
    changeQuery({ state: value || null });
    draw();
  }

  // --- the best cells ------------------------------------------------------------------------------------------------

  let isFinding = false;
  let isClosed = false;

  async function findBests(rows) {
    if (isFinding) return;
    isFinding = true;
    const wanted = [...rows.values()].toSorted((one, other) => other.id - one.id).slice(0, BEST_SWEEPS);
    for (const sweep of wanted) {
      if (isClosed) return;
      if (sweep.cells_completed === 0 || sweep.cell_count > BEST_CELLS || bests.get(sweep.id)?.completed === sweep.cells_completed) continue;
      try {
        const cells = (await get(`api/sweep_runs/${sweep.id}/cells`)).toSorted((one, other) => (one.id < other.id ? -1 : 1)).map(makeCell);
        bests.set(sweep.id, { completed: sweep.cells_completed, text: describeBest(cells, sweep) });
      } catch {
        break; // the list stands without it, and tries again with the next change
      }
      (table.redraw ?? table.draw)();
    }
    isFinding = false;
  }

  // --- what can be done with several ---------------------------------------------------------------------------------

  function drawActions(keys) {
    const chosen = keys.map((key) => list.rows.get(key)).filter(Boolean);
    show(actions, ACTIONS.slice(0, 2).map((action) => makeBulkAction(action, chosen.filter(action.isOffered))));
  }

  function makeBulkAction(action, sweeps) {
    if (sweeps.length === 0) return null;
    const words = sweeps.length === 1 ? `sweep ${sweeps[0].name}` : `${sweeps.length} sweeps`;
    const button = h("button", { type: "button", class: action.question ? "danger" : null }, `${action.label} (${sweeps.length})`);
    button.addEventListener("click", async () => {
      const cells = sweeps.reduce((sum, sweep) => sum + sweep.cells_running + sweep.cells_pending, 0);
      const question = sweeps.length === 1 ? action.question?.(sweeps[0]) : `Cancel ${writeCount(cells, "cell")} of ${words}?`;
      if (action.question && !(await askFirst(button, question, action.label))) return;
      button.disabled = true;
      for (const sweep of sweeps) {
        const { method, path, body } = action.call(sweep);
        await request(method, path, { body, key: makeKey() }).then(
          ({ data }) => notify(action.done(data)),
          (problem) => notify(`${action.label}: sweep ${sweep.id}: ${problem.message}`, { kind: "failed" }),
        );
      }
      table.selectAll?.(false);
    });
    return button;
  }

  return () => {
    isClosed = true;
    list.close();
    table.close();
  };
}

function describeBest(cells, { matrix }) {
  const metric = chooseMetric(cells, listMetrics(cells));
  const best = findBest(cells, metric, guessGoal(metric));
  return best ? `${metric} ${writeNumber(getNumber(best, metric))} (${nameCell(best, listAxes(matrix))})` : "";
}

function listColumns(bests) {
  return [
    { key: "id", title: "Id", width: "5rem", value: (sweep) => sweep.id, render: (cell, sweep) => fillLink(cell, sweep, sweep.id) },
    { key: "name", title: "Name", width: "minmax(8rem, 1fr)", value: (sweep) => sweep.name, render: (cell, sweep) => fillLink(cell, sweep, sweep.name) },
    { key: "status", title: "State", width: "9rem", value: (sweep) => sweep.status, render: (cell, sweep) => fillState(cell, sweep.status) },
    { key: "progress", title: "Progress", width: "minmax(16rem, 1.5fr)", value: (sweep) => countEnded(sweep) / sweep.cell_count, render: fillProgress },
    { key: "axes", title: "Axes", width: "minmax(8rem, 1fr)", value: (sweep) => listAxes(sweep.matrix).map(({ name, values }) => `${name} (${values.length})`).join(" × ") },
    { key: "best", title: "Best cell", width: "minmax(12rem, 1.5fr)", value: (sweep) => bests.get(sweep.id)?.text ?? null },
    { key: "started_at", title: "Started", width: "8rem", value: (sweep) => toMs(sweep.started_at), write: (sweep) => writeShortTime(sweep.started_at) },
    { key: "lasting", title: "Took", width: "6.5rem", numeric: true, value: measure, write: (sweep) => writeDuration(measure(sweep)), ticks: (sweep) => !sweep.completed_at },
    { key: "max_parallel", title: "At once", width: "5rem", numeric: true, shown: false, value: (sweep) => sweep.max_parallel },
    { key: "submission_source", title: "Started by", width: "7rem", shown: false, value: (sweep) => sweep.submission_source },
  ];
}

const measure = (sweep) => ((toMs(sweep.completed_at) ?? Date.now()) - toMs(sweep.started_at)) / 1000;

function fillLink(cell, sweep, text) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  link.setAttribute("href", makeLink(["sweeps", sweep.id]));
  link.title = text;
  setText(link, text);
}

function fillProgress(cell, sweep) {
  const box = cell.firstElementChild ?? cell.appendChild(h("span", { class: "progress-line" }, h("span", { class: "sweep-bar", "aria-hidden": "true" }), h("span")));
  fillBar(box.firstElementChild, sweep);
  setText(box.lastElementChild, describeProgress(sweep));
}
