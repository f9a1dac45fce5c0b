// Tables of rows that change: sorted, with columns to choose, selection, and smooth with 10,000 rows.
//
// Up to 1,000 rows all stand in the document, so that the browser finds, selects and prints them; of more, only those
// in sight do. Rows have one height. A row that is looked at stays where it is, whatever comes or goes above it.

import { whenZoneChanges } from "./format.js";
import { h, keepInStep, oncePerFrame, setAttribute, setText, show } from "./dom.js";
import { completeColumn, keepColumns, listUsual, makeGrip, readColumns } from "./columns.js";
import { makeOrder, writeCsv } from "./order.js";
import { keepPlace } from "./router.js";

const ROW_PX = 28;
const REAL_ROWS = 1000;
const AHEAD_ROWS = 12;
const TICK_MS = 1000;
const ANCHORS = 200; // so many rows after the first in sight may stand in for it when it goes

// Make a table.
//
//   id         the name under which chosen columns and the place are kept
//   columns    { key, title, value(row), write(row), render(cell, row), kind, link(row), width, numeric, shown, ticks }
//              value is what is sorted by and exported (null comes last), by default the row's field `key`; write its
//              text, render what fills a cell; kind "state", "time" or "short time" gives them, link the parts of an
//              address to link to
//   sort       { key, descending }; whenSorted({ key, descending }) hears of another
//   getLink    the address of a row's view, for a double click
//   getParent  the key of the row that a row stands below, or null; a row that has others below it says isGroup
//   isShown    whether a row is to be seen: (row, key); after it judges otherwise, call hideSome()
//   isWhole    whether all rows are there: the row that the reader was at may come with the rest
//   selects    whether rows have boxes; whenSelected(keys) hears of them
//   whenChosen hears of other columns
//   label      what the table is, for those who hear the page
//
// Returns { node, setRows(map, changed), hideSome, selected, sort, chosen, columns, listColumns, count, toCsv, choose, draw, close }.
export function makeTable({ id, label, sort, chosen, getLink, getParent, isShown = () => true, isWhole = () => true, selects, ...given }) {
  const { whenSorted, whenSelected, whenChosen } = given;
  const columns = given.columns.map(completeColumn);
  const kept = readColumns(id, columns);
  const table = {
    sort,
    selected: new Set(),
    last: null, // the row whose box was set last, for a range
    own: chosen?.length ? chosen : kept.keys, // the columns that the reader chose, or null
    get chosen() {
      return table.own ?? listUsual(columns);
    },
    widths: kept.widths,
  };
  const head = h("div", { class: "tr head", role: "row", "aria-rowindex": 1 });
  const body = h("div", { class: "tbody", role: "rowgroup" });
  const above = h("button", { class: "above", hidden: true, onclick: goToTop });
  const node = h(
    "div",
    { class: "table", role: "table", "aria-label": label, tabindex: 0 },
    h("div", { class: "thead", role: "rowgroup" }, head),
    body,
  );
  const frame = h("div", { class: "table-frame" }, node, above);
  const findColumn = (key) => columns.find((column) => column.key === key) ?? columns[0];
  const listColumns = () => table.chosen.map((key) => columns.find((column) => column.key === key)).filter(Boolean);
  const order = makeOrder({ getValue: (row) => findColumn(table.sort.key).value(row), getParent, isShown: (entry) => isShown(entry.row, entry.key) });
  order.isDescending = table.sort.descending;

  // Put other rows into the table. `changed` are the keys that differ; all of them when it is null.
  function setRows(rows, changed = null) {
    const anchors = listAnchors();
    const first = order.entries[0]?.key;
    order.setRows(rows, changed);
    showAgain(anchors, first);
  }

  // Ask anew which rows are to be seen.
  function hideSome() {
    const anchors = listAnchors();
    order.hideSome();
    showAgain(anchors);
  }

  function showAgain(anchors, first) {
    draw();
    keepAnchor(anchors, first);
    for (const key of table.selected) if (!isVisible(key)) table.selected.delete(key);
    tellSelected();
  }

  const isVisible = (key) => {
    const entry = order.byKey.get(key);
    return entry !== undefined && isShown(entry.row, key);
  };

  // --- place ---------------------------------------------------------------------------------------------------------

  // At the top what is new is to be seen, unless somebody is about to touch what stands there.
  function listAnchors() {
    if (node.scrollTop < ROW_PX && !node.matches(":hover, :focus-within")) return [];
    const at = Math.floor(node.scrollTop / ROW_PX);
    return order.entries.slice(at, at + ANCHORS).map(({ key }, step) => [key, node.scrollTop - (at + step) * ROW_PX]);
  }

  function keepAnchor(anchors, first) {
    const found = anchors.find(([key]) => isVisible(key));
    if (!found) return;
    const top = Math.max(0, order.findPlace(order.byKey.get(found[0])) * ROW_PX + found[1]);
    if (Math.abs(node.scrollTop - top) < 1) return;
    if (first !== undefined && node.scrollTop < ROW_PX && order.entries[0]?.key !== first) above.hidden = false;
    node.scrollTop = top;
    draw();
  }

  function goToTop() {
    node.scrollTop = 0;
    above.hidden = true;
    draw();
  }

  let place = keepPlace(`table:${id}`, () => {
    const [anchor] = listAnchors();
    return anchor && { key: anchor[0], offset: anchor[1], top: node.scrollTop };
  });

  // Go back to where the reader was, as soon as the rows for it are there.
  function restorePlace() {
    if (!place || order.entries.length === 0 || !node.isConnected) return;
    const { key, offset, top } = place;
    if (!isVisible(key) && !isWhole()) return;
    place = null;
    node.scrollTop = isVisible(key) ? order.findPlace(order.byKey.get(key)) * ROW_PX + offset : top;
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  function listVisible() {
    const count = order.entries.length;
    if (count <= REAL_ROWS) return order.entries.map(({ key, row }, at) => ({ key, row, at }));
    const first = Math.max(0, Math.floor(node.scrollTop / ROW_PX) - AHEAD_ROWS);
    const last = Math.min(count, Math.ceil((node.scrollTop + node.clientHeight) / ROW_PX) + AHEAD_ROWS);
    const visible = order.entries.slice(first, last).map(({ key, row }, at) => ({ key, row, at: first + at }));
    // A row that has the focus or a part of the selection stays, wherever it is.
    for (const held of findHeldKeys(body)) {
      const entry = isVisible(held) ? order.byKey.get(held) : null;
      const at = entry ? order.findPlace(entry) : -1;
      if (entry && (at < first || at >= last)) visible.push({ key: held, row: entry.row, at });
    }
    return visible;
  }

  let titled = ""; // the columns that the head has
  let drawn = {}; // what rows were drawn for: another one means that all cells are filled anew

  function draw() {
    const shown = listColumns();
    if (String(table.chosen) !== titled) drawHead();
    body.style.setProperty("height", `${order.entries.length * ROW_PX}px`);
    setAttribute(node, "aria-rowcount", order.entries.length + 1);
    restorePlace();
    keepInStep(body, listVisible(), (entry) => entry.key, (entry) => makeRow(entry, shown), (row, entry) => updateRow(row, entry, shown));
  }

  // Fill all cells anew, since what they show depends on more than their rows.
  function redraw() {
    drawn = {};
    draw();
  }

  function makeRow(entry, shown) {
    const row = h("div", { class: "tr", role: "row" });
    if (selects) row.append(h("span", { role: "cell" }, makeBox(entry.key)));
    row.append(...shown.map((column) => h("span", { role: "cell", class: column.numeric ? "numeric" : null })));
    updateRow(row, entry, shown);
    return row;
  }

  function updateRow(row, entry, shown) {
    if (row.at !== entry.at) {
      row.at = entry.at;
      row.style.setProperty("top", `${entry.at * ROW_PX}px`);
      setAttribute(row, "aria-rowindex", entry.at + 2);
    }
    if (selects) {
      const box = row.firstElementChild.firstElementChild;
      box.checked = table.selected.has(entry.key);
      row.classList.toggle("chosen", box.checked);
    }
    if (row.shown === entry.row && row.drawn === drawn) return;
    Object.assign(row, { shown: entry.row, drawn });
    row.classList.toggle("below", (getParent?.(entry.row) ?? null) !== null);
    shown.forEach((column, at) => fillCell(row.children[at + (selects ? 1 : 0)], column, entry.row));
  }

  function fillCell(cell, column, row) {
    if (column.render) column.render(cell, row);
    else setText(cell, column.write ? column.write(row) : column.value(row));
    if (!column.render) setAttribute(cell, "title", cell.textContent || null);
  }

  const drawSoon = oncePerFrame(draw);
  node.addEventListener("scroll", () => {
    if (node.scrollTop < ROW_PX) above.hidden = true;
    if (order.entries.length > REAL_ROWS) drawSoon();
  }, { passive: true });
  const resized = new ResizeObserver(drawSoon);
  resized.observe(node);
  const endZone = whenZoneChanges(() => redraw());
  const ticking = setInterval(() => {
    if (document.hidden || !node.isConnected) return;
    const shown = listColumns();
    for (const row of body.children) {
      if (!isNear(row)) continue;
      shown.forEach((column, at) => column.ticks?.(row.shown) && fillCell(row.children[at + (selects ? 1 : 0)], column, row.shown));
    }
  }, TICK_MS);

  const isNear = (row) => row.shown && row.at * ROW_PX > node.scrollTop - node.clientHeight && row.at * ROW_PX < node.scrollTop + 2 * node.clientHeight;

  // --- head ----------------------------------------------------------------------------------------------------------

  function setWidths() {
    const widths = listColumns().map(({ key, width }) => (table.widths[key] ? `${Math.round(table.widths[key])}px` : (width ?? "minmax(6rem, 1fr)")));
    const all = [...(selects ? ["1.25rem"] : []), ...widths];
    node.style.setProperty("--columns", all.join(" "));
    const least = all.map((width) => /^minmax\((\S+),/.exec(width)?.[1] ?? width);
    node.style.setProperty("--least", `calc(${least.join(" + ")} + ${all.length + 1} * var(--gap))`);
  }

  function drawHead() {
    if (String(table.chosen) !== titled) show(body);
    titled = String(table.chosen);
    setWidths();
    const all = h("input", { type: "checkbox", "aria-label": "Select all rows", onclick: (event) => selectAll(event.target.checked) });
    show(head, selects && h("span", { role: "columnheader" }, all), listColumns().map(makeTitle));
  }

  function makeTitle(column) {
    const isSorted = column.key === table.sort.key;
    const mark = isSorted ? (table.sort.descending ? " ↓" : " ↑") : "";
    const direction = isSorted ? (table.sort.descending ? "descending" : "ascending") : "none";
    const button = h("button", { class: "plain", onclick: () => sortBy(column.key) }, column.title, mark);
    const cell = h("span", { role: "columnheader", "aria-sort": direction, "data-column": column.key, class: column.numeric ? "numeric" : null }, button);
    cell.append(makeGrip(cell, (width, isLast) => setWidth(column.key, width, isLast)));
    return cell;
  }

  function setWidth(key, width, isLast = true) {
    if (width === null) delete table.widths[key];
    else table.widths[key] = width;
    setWidths();
    if (isLast) keepColumns(id, { keys: table.own, widths: table.widths });
  }

  function widen(key, step) {
    const cell = head.querySelector(`[data-column="${CSS.escape(key)}"]`);
    if (cell) setWidth(key, Math.max(step, cell.getBoundingClientRect().width + step));
  }

  function sortBy(key) {
    table.sort = { key, descending: table.sort.key === key ? !table.sort.descending : false };
    order.isDescending = table.sort.descending;
    order.sortAll();
    drawHead();
    node.scrollTop = 0;
    draw();
    whenSorted?.(table.sort);
    head.querySelector("[aria-sort$=scending] button")?.focus();
  }

  // --- selection -----------------------------------------------------------------------------------------------------

  function makeBox(key) {
    return h("input", { type: "checkbox", "aria-label": `Select ${key}`, onclick: (event) => selectRow(key, event.target.checked, event.shiftKey) });
  }

  function selectRow(key, isOn, isRange) {
    const keys = [key];
    if (isRange && table.last !== null && isVisible(table.last)) {
      const [from, to] = [table.last, key].map((each) => order.findPlace(order.byKey.get(each))).sort((one, other) => one - other);
      keys.push(...order.entries.slice(from, to + 1).map((entry) => entry.key));
    }
    for (const each of keys) isOn ? table.selected.add(each) : table.selected.delete(each);
    table.last = key;
    draw();
    tellSelected();
  }

  function selectAll(isOn) {
    table.selected = new Set(isOn ? order.entries.map((entry) => entry.key) : []);
    draw();
    tellSelected();
  }

  let told = "";
  function tellSelected() {
    const all = head.querySelector("input");
    if (all) {
      all.checked = table.selected.size > 0 && table.selected.size === order.entries.length;
      all.indeterminate = table.selected.size > 0 && !all.checked;
    }
    const text = [...table.selected].join(" ");
    if (text === told) return;
    told = text;
    whenSelected?.([...table.selected]);
  }

  if (getLink) {
    body.addEventListener("dblclick", (event) => {
      const key = event.target.closest(".tr")?.dataset.key;
      if (key && !event.target.closest("a, button, input")) location.hash = getLink(order.byKey.get(key).row);
    });
  }

  // Show these columns; the usual ones where there are none.
  function choose(keys) {
    table.own = keys;
    keepColumns(id, { keys, widths: table.widths });
    draw();
    whenChosen?.(keys ?? []);
  }

  function forgetColumns() {
    table.widths = {};
    setWidths();
    choose(null);
  }

  drawHead();
  return Object.assign(table, {
    node: frame,
    scroller: node,
    columns,
    order,
    setRows,
    hideSome,
    choose,
    widen,
    forgetColumns,
    draw,
    redraw,
    sortBy,
    selectAll,
    count: () => order.entries.length,
    listColumns,
    toCsv: () => writeCsv(order.entries.map(({ row }) => row), listColumns()),
    close: () => {
      clearInterval(ticking);
      endZone();
      resized.disconnect();
    },
  });
}

function findHeldKeys(body) {
  const selection = getSelection();
  const nodes = [document.activeElement, ...(selection.isCollapsed ? [] : [selection.anchorNode, selection.focusNode])];
  const held = nodes.filter((each) => each && body.contains(each)).map((each) => (each.closest ? each : each.parentElement).closest(".tr"));
  return new Set(held.filter(Boolean).map((row) => row.dataset.key));
}
