// The table of a sweep's results: at first only the columns that differ, the best cell and the baseline marked.

import { h, setAttribute, setText, show } from "../core/dom.js";
import { fillState } from "../core/marks.js";
import { makeColumnChooser, makeTable } from "../core/table.js";
import { toMs, writeDuration, writeShortTime } from "../core/format.js";
import { DURATION, getNumber, listColumns, writeDifference } from "./cells.js";
import { readNumber, writeValue } from "./scales.js";

// Make the table. `whenSelected(key)`, `whenHovered(key or null)` and `whenSorted(text)` hear of rows.
//
// Returns { node, tools, draw(model), mark(marks), toCsv, close }.
export function makeResults({ whenSelected, whenHovered, whenSorted }) {
  const place = h("div");
  const tools = h("span");
  const results = { node: place, tools, draw, mark, toCsv: () => state.table?.toCsv() ?? "", close: () => state.table?.close() };
  const state = { table: null, columns: "", model: null, marks: {}, sort: null };
  place.addEventListener("pointerover", (event) => whenHovered(findKey(event)));
  place.addEventListener("pointerleave", () => whenHovered(null));
  place.addEventListener("click", (event) => {
    const key = findKey(event);
    if (key && getSelection().isCollapsed && !event.target.closest("a")) whenSelected(key);
  });

  const findKey = (event) => event.target.closest(".tbody > .tr")?.dataset.key ?? null;

  function draw(model) {
    state.model = model;
    const found = listColumns(model.cells, model.axes);
    const names = JSON.stringify([found.map(({ name, kind }) => [name, kind]), model.sortText]);
    if (names !== state.columns) rebuild(found, names);
    state.table.setRows(new Map(model.cells.filter(model.isShown).map((cell) => [cell.key, cell])), null);
    markRows();
  }

  // New names of results mean other columns.
  function rebuild(found, names) {
    state.columns = names;
    state.table?.close();
    const columns = listTableColumns(found, state);
    const sort = readSort(state.model, columns);
    state.table = makeTable({
      id: `sweep:${state.model.sweep.name}`,
      label: "Results",
      columns,
      sort,
      whenSorted: (next) => whenSorted(`${next.descending ? "-" : ""}${next.key}`),
    });
    show(place, state.table.node);
    show(tools, makeColumnChooser(state.table));
    (state.table.scroller ?? state.table.node).addEventListener("scroll", () => requestAnimationFrame(markRows), { passive: true });
  }

  function mark(marks) {
    const isOther = marks.base !== state.marks.base || marks.best !== state.marks.best;
    state.marks = marks;
    if (state.table && isOther) (state.table.redraw ?? state.table.draw)();
    markRows();
  }

  function markRows() {
    const { selected, hovered, best, base } = state.marks;
    for (const row of place.querySelectorAll(".tbody > .tr")) {
      const { key } = row.dataset;
      row.classList.toggle("chosen", key === selected);
      row.classList.toggle("hovered", key === hovered);
      row.classList.toggle("best", key === best);
      row.classList.toggle("base", key === base);
      setAttribute(row, "aria-current", key === selected ? "true" : null);
    }
  }

  // Show the row of a cell, where it is out of sight.
  results.reveal = (key) => place.querySelector(`.tr[data-key="${CSS.escape(key)}"]`)?.scrollIntoView({ block: "nearest" });
  return results;
}

function readSort({ sortText, metric, goal }, columns) {
  const [key, descending] = sortText?.startsWith("-") ? [sortText.slice(1), true] : [sortText, false];
  if (columns.some((column) => column.key === key)) return { key, descending };
  const usual = metric === DURATION ? DURATION : `result:${metric}`;
  return { key: usual, descending: goal === "max" };
}

function listTableColumns(found, state) {
  return [
    { key: "number", title: "Cell", width: "7rem", value: (cell) => cell.number, render: (place, cell) => fillNumber(place, cell, state.marks) },
    { key: "status", title: "State", width: "8rem", value: (cell) => cell.row.status, render: (place, cell) => fillState(place, cell.row.status) },
    ...found.map((column) => makeValueColumn(column, state)),
    { key: DURATION, title: "Duration", width: "7rem", numeric: true, value: (cell) => cell.row.duration_seconds, write: (cell) => writeDuration(cell.row.duration_seconds) },
    { key: "started_at", title: "Started", width: "8rem", shown: false, value: (cell) => cell.row.started_at, write: (cell) => writeShortTime(toMs(cell.row.started_at)) },
    { key: "completed_at", title: "Ended", width: "8rem", shown: false, value: (cell) => cell.row.completed_at, write: (cell) => writeShortTime(toMs(cell.row.completed_at)) },
    { key: "error", title: "Error", width: "minmax(10rem, 2fr)", shown: false, value: (cell) => cell.row.error },
    { key: "id", title: "Id", width: "20rem", shown: false, value: (cell) => cell.key },
  ];
}

function makeValueColumn({ name, kind, differs }, state) {
  const pick = kind === "arg" ? (cell) => cell.row.args[name] : (cell) => cell.row.result[name];
  const isNumeric = state.model.cells.some((cell) => typeof readNumber(pick(cell)) === "number");
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

// A value as it is sorted and exported: numbers with all digits, lists and objects as JSON.
function exportValue(value) {
  if (value === null || value === undefined) return null;
  return readNumber(value) ?? (typeof value === "string" ? value : JSON.stringify(value));
}

function findDifference(cell, name, { marks, model }) {
  const base = marks.base && marks.base !== cell.key ? model.byKey.get(marks.base) : null;
  return base ? writeDifference(getNumber(cell, name), getNumber(base, name)) : "";
}

function fillValue(place, value, difference) {
  const [text, more] = place.children.length > 0 ? place.children : [place.appendChild(h("span")), place.appendChild(h("span", { class: "to-base" }))];
  setText(text, value === undefined ? "" : writeValue(value));
  setText(more, difference);
  setAttribute(place, "title", value === undefined || value === null ? null : String(exportValue(value)));
}

function fillNumber(place, cell, { best, base }) {
  const [button, word] = place.children.length > 0 ? place.children : [place.appendChild(h("button", { type: "button", class: "plain link", "aria-label": `Select cell ${cell.number}` })), place.appendChild(h("span"))];
  setText(button, cell.number);
  setText(word, [cell.key === best && " ★ best", cell.key === base && " ⚑ baseline"].filter(Boolean).join(""));
}
