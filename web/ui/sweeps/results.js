// The table of a sweep's results: at first only the columns that differ, the best cell and the baseline marked.

import { h, saveFile, setAttribute, setText, show } from "../core/dom.js";
import { fillState } from "../core/marks.js";
import { makeColumnChooser } from "../core/columns.js";
import { makeTable } from "../core/table.js";
import { writeDuration } from "../core/format.js";
import { DURATION, getNumber, listColumns, writeDifference } from "./cells.js";
import { readNumber, writeValue } from "./scales.js";

// Make the table. `whenSelected(key)`, `whenHovered(key or null)` and `whenSorted(text)` hear of rows.
//
// Returns { node, tools, draw(model), mark(marks), close }.
export function makeResults({ whenSelected, whenHovered, whenSorted }) {
  const node = h("div");
  const tools = h("span");
  const state = { table: null, found: new Map(), names: "", order: null, model: null, marks: {} };
  const findKey = (event) => event.target.closest(".tbody > .tr")?.dataset.key ?? null;
  node.addEventListener("pointerover", (event) => whenHovered(findKey(event)));
  node.addEventListener("pointerleave", () => whenHovered(null));
  node.addEventListener("click", (event) => {
    const key = findKey(event);
    if (key && getSelection().isCollapsed) whenSelected(key);
  });
  const save = () => saveFile(`sweep-${state.model.sweep.id}.csv`, state.table.toCsv(), "text/csv");
  const csv = h("button", { onclick: save }, "Download CSV");

  function draw(model) {
    state.model = model;
    for (const column of listColumns(model.cells, model.axes)) {
      const key = `${column.kind}:${column.name}`; // what was there stays, although its cells may run again
      state.found.set(key, { ...column, differs: column.differs || Boolean(state.found.get(key)?.differs) });
    }
    if (model.metric !== DURATION || !state.table) state.order = [model.metric, model.goal];
    const names = JSON.stringify([...state.found.values(), state.order]);
    if (names !== state.names) rebuild([...state.found.values()]);
    state.names = names;
    state.table.setRows(new Map(model.cells.filter(model.isShown).map((cell) => [cell.key, cell])), null);
    markRows();
  }

  // Other names of results, or some that differ now, mean other columns; another metric means another order.
  function rebuild(found) {
    state.table?.close();
    const columns = listTableColumns(found, state);
    state.table = makeTable({
      id: `sweep:${state.model.sweep.name}`,
      label: "Results",
      columns,
      sort: readSort(state.model, columns),
      whenSorted: ({ key, descending }) => whenSorted(`${descending ? "-" : ""}${key}`),
    });
    show(node, state.table.node);
    show(tools, makeColumnChooser(state.table), " ", csv);
    state.table.scroller.addEventListener("scroll", () => requestAnimationFrame(markRows), { passive: true });
  }

  function mark(marks) {
    const isOther = marks.base !== state.marks.base || marks.best !== state.marks.best;
    state.marks = marks;
    if (isOther) state.table?.redraw();
    markRows();
  }

  function markRows() {
    const { selected, ...marks } = state.marks;
    for (const row of node.querySelectorAll(".tbody > .tr")) {
      const { key } = row.dataset;
      for (const [kind, marked] of [["chosen", selected], ...Object.entries(marks)]) row.classList.toggle(kind, key === marked);
      setAttribute(row, "aria-current", key === selected ? "true" : null);
    }
  }

  return { node, tools, draw, mark, close: () => state.table?.close() };
}

function readSort({ getSort, metric, goal }, columns) {
  const [, sign, key] = /^(-?)(.*)$/s.exec(getSort() ?? "");
  if (columns.some((column) => column.key === key)) return { key, descending: sign === "-" };
  return { key: metric === DURATION ? DURATION : `result:${metric}`, descending: goal === "max" };
}

function listTableColumns(found, state) {
  const row = (key, title, width, more) => ({ key, title, width, value: (cell) => cell.row[key], ...more });
  return [
    { key: "number", title: "Cell", width: "7rem", render: (place, cell) => fillNumber(place, cell, state.marks) },
    row("status", "State", "8rem", { render: (place, cell) => fillState(place, cell.row.status) }),
    ...found.map((column) => makeValueColumn(column, state)),
    row(DURATION, "Duration", "7rem", { numeric: true, write: (cell) => writeDuration(cell.row.duration_seconds) }),
    row("started_at", "Started", "8rem", { shown: false, kind: "short time" }),
    row("completed_at", "Ended", "8rem", { shown: false, kind: "short time" }),
    row("error", "Error", "minmax(10rem, 2fr)", { shown: false }),
    row("id", "Id", "20rem", { shown: false }),
  ];
}

function makeValueColumn({ name, kind, differs }, state) {
  const pick = kind === "arg" ? (cell) => cell.row.args[name] : (cell) => cell.row.result[name];
  const isNumeric = state.model.cells.some((cell) => readNumber(pick(cell)) !== null);
  return {
    key: `${kind}:${name}`,
    title: name,
    width: kind === "result" && isNumeric ? "minmax(9rem, 1fr)" : "minmax(6rem, 1fr)",
    numeric: isNumeric,
    shown: differs,
    value: (cell) => exportValue(pick(cell)),
    render: (place, cell) => fillValue(place, pick(cell), kind === "result" ? findDifference(cell, name, state) : ""),
  };
}

// A value as it is sorted and exported: with all digits, lists and objects as JSON.
function exportValue(value) {
  if (value === undefined) return null;
  if (value !== null && typeof value === "object") return JSON.stringify(value);
  const number = readNumber(value);
  return number === null || Number.isFinite(number) ? value : number;
}

function findDifference(cell, name, { marks, model }) {
  const base = marks.base && marks.base !== cell.key ? model.byKey.get(marks.base) : null;
  return base ? writeDifference(getNumber(cell, name), getNumber(base, name)) : "";
}

function fillValue(place, value, difference) {
  if (place.children.length === 0) place.append(h("span"), h("span", { class: "to-base" }));
  const [text, more] = place.children;
  setText(text, value === undefined ? "" : writeValue(value));
  setText(more, difference);
  setAttribute(place, "title", value === undefined || value === null ? null : String(exportValue(value)));
}

function fillNumber(place, cell, { best, base }) {
  const props = { type: "button", class: "plain link", "aria-label": `Select cell ${cell.number}` };
  if (place.children.length === 0) place.append(h("button", props), h("span"));
  const [button, word] = place.children;
  setText(button, cell.number);
  setText(word, [cell.key === best && " ★ best", cell.key === base && " ⚑ baseline"].filter(Boolean).join(""));
}
