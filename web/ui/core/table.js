// Tables of rows that change: sorted, with columns to choose, selection, and smooth with 10,000 rows.
//
// Up to 1,000 rows all stand in the document, so that the browser finds, selects and prints them; of more, only those
// in sight do. Rows have one height. A row that is looked at stays where it is, whatever comes or goes above it.

import { whenZoneChanges } from "./format.js";
import { h, keepInStep, oncePerFrame, setAttribute, setText, show } from "./dom.js";

export const ROW_PX = 28;
const REAL_ROWS = 1000;
const AHEAD_ROWS = 12;
const TICK_MS = 1000;

// Make a table.
//
//   id        the name under which chosen columns are kept
//   columns   { key, title, value(row), write(row), render(cell, row), width, numeric, shown, ticks }
//             value is what is sorted by and exported (null comes last), write its text, render what fills a cell
//   sort      { key, descending }; whenSorted({ key, descending }) hears of another
//   getLink   the address of a row's view, for a double click and Enter
//   selects   whether rows have boxes; whenSelected(keys) hears of them
//   label     what the table is, for those who hear the page
//
// Returns { node, setRows(map, changed), selected, sort, sortBy, chosen, columns, toCsv, choose, draw, close }.
export function makeTable({ id, columns, sort, whenSorted, getLink, selects = false, whenSelected, label }) {
  const table = {
    sort,
    entries: [], // in order: { key, row, value }
    byKey: new Map(),
    selected: new Set(),
    last: null, // the row whose box was set last, for a range
    chosen: readChosen(id, columns),
  };
  const head = h("div", { class: "tr head", role: "row", "aria-rowindex": 1 });
  const body = h("div", { class: "tbody", role: "rowgroup" });
  const node = h(
    "div",
    { class: "table", role: "table", "aria-label": label, tabindex: 0 },
    h("div", { class: "thead", role: "rowgroup" }, head),
    body,
  );
  const shownColumns = () => table.chosen.map((key) => columns.find((column) => column.key === key)).filter(Boolean);

  // --- order ---------------------------------------------------------------------------------------------------------

  const findColumn = (key) => columns.find((column) => column.key === key) ?? columns[0];
  const getValue = (row) => findColumn(table.sort.key).value(row) ?? null;

  function compare(one, other) {
    const order = compareValues(one.value, other.value);
    if (order.isNull || order.order === 0) return order.order || compareValues(other.key, one.key).order;
    return table.sort.descending ? -order.order : order.order;
  }

  function findPlace(entry) {
    let [low, high] = [0, table.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(table.entries[middle], entry) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function sortAll() {
    for (const entry of table.entries) entry.value = getValue(entry.row);
    table.entries.sort(compare);
  }

  function setRow(key, row) {
    const known = table.byKey.get(key);
    const value = row === undefined ? undefined : getValue(row);
    if (known && row !== undefined && compareValues(known.value, value).order === 0) {
      known.row = row;
      return;
    }
    if (known) {
      table.entries.splice(findPlace(known), 1);
      table.byKey.delete(key);
    }
    if (row === undefined) {
      table.selected.delete(key);
      return;
    }
    const entry = { key, row, value };
    table.byKey.set(key, entry);
    table.entries.splice(findPlace(entry), 0, entry);
  }

  // Put other rows into the table. `changed` are the keys that differ; all of them when it is null.
  function setRows(rows, changed = null) {
    const anchor = findAnchor();
    if (changed === null || changed.size > 200) {
      table.entries = [...rows].map(([key, row]) => ({ key, row, value: getValue(row) })).sort(compare);
      table.byKey = new Map(table.entries.map((entry) => [entry.key, entry]));
      for (const key of table.selected) if (!rows.has(key)) table.selected.delete(key);
    } else {
      for (const key of changed) setRow(key, rows.get(key));
    }
    draw();
    keepAnchor(anchor);
    tellSelected();
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  function findAnchor() {
    if (node.scrollTop < ROW_PX) return null; // at the top, what is new is to be seen
    const at = Math.floor(node.scrollTop / ROW_PX);
    const entry = table.entries[at];
    return entry ? { key: entry.key, offset: node.scrollTop - at * ROW_PX } : null;
  }

  function keepAnchor(anchor) {
    if (anchor === null) return;
    const entry = table.byKey.get(anchor.key);
    if (!entry) return;
    const top = findPlace(entry) * ROW_PX + anchor.offset;
    if (Math.abs(node.scrollTop - top) >= 1) {
      node.scrollTop = top;
      draw();
    }
  }

  function listVisible() {
    const count = table.entries.length;
    if (count <= REAL_ROWS) return table.entries.map((entry, at) => ({ ...entry, at }));
    const first = Math.max(0, Math.floor(node.scrollTop / ROW_PX) - AHEAD_ROWS);
    const last = Math.min(count, Math.ceil((node.scrollTop + node.clientHeight) / ROW_PX) + AHEAD_ROWS);
    const visible = table.entries.slice(first, last).map((entry, at) => ({ ...entry, at: first + at }));
    // A row that has the focus or a part of the selection stays, wherever it is.
    for (const held of findHeldKeys(body)) {
      const entry = table.byKey.get(held);
      const at = entry ? findPlace(entry) : -1;
      if (entry && (at < first || at >= last)) visible.push({ ...entry, at });
    }
    return visible;
  }

  function draw() {
    const shown = shownColumns();
    body.style.setProperty("height", `${table.entries.length * ROW_PX}px`);
    setAttribute(node, "aria-rowcount", table.entries.length + 1);
    keepInStep(body, listVisible(), (entry) => entry.key, (entry) => makeRow(entry, shown), (row, entry) => updateRow(row, entry, shown));
  }

  function makeRow(entry, shown) {
    const row = h("div", { class: "tr", role: "row" });
    if (selects) row.append(h("span", { role: "cell" }, makeBox(entry.key)));
    row.append(...shown.map((column) => h("span", { role: "cell", class: column.numeric ? "numeric" : null })));
    updateRow(row, entry, shown);
    return row;
  }

  function updateRow(row, entry, shown) {
    row.style.setProperty("top", `${entry.at * ROW_PX}px`);
    setAttribute(row, "aria-rowindex", entry.at + 2);
    const cells = row.children;
    if (selects) {
      const box = cells[0].firstElementChild;
      box.checked = table.selected.has(entry.key);
      row.classList.toggle("chosen", box.checked);
    }
    shown.forEach((column, at) => fillCell(cells[at + (selects ? 1 : 0)], column, entry.row));
  }

  function fillCell(cell, column, row) {
    if (column.render) column.render(cell, row);
    else setText(cell, column.write ? column.write(row) : column.value(row));
    if (!column.render) setAttribute(cell, "title", cell.textContent || null);
  }

  const drawSoon = oncePerFrame(draw);
  node.addEventListener("scroll", () => table.entries.length > REAL_ROWS && drawSoon(), { passive: true });
  const resized = new ResizeObserver(drawSoon);
  resized.observe(node);
  const endZone = whenZoneChanges(drawSoon);
  const ticking = setInterval(() => {
    if (document.hidden || !node.isConnected) return;
    const shown = shownColumns();
    for (const row of body.children) {
      const entry = table.byKey.get(row.dataset.key);
      if (!entry) continue;
      shown.forEach((column, at) => column.ticks?.(entry.row) && fillCell(row.children[at + (selects ? 1 : 0)], column, entry.row));
    }
  }, TICK_MS);

  // --- head ----------------------------------------------------------------------------------------------------------

  function drawHead() {
    const shown = shownColumns();
    const widths = shown.map((column) => column.width ?? "minmax(6rem, 1fr)");
    node.style.setProperty("--columns", [...(selects ? ["2rem"] : []), ...widths].join(" "));
    const all = h("input", { type: "checkbox", "aria-label": "Select all rows", onclick: (event) => selectAll(event.target.checked) });
    show(head, selects && h("span", { role: "columnheader" }, all), shown.map(makeTitle));
  }

  function makeTitle(column) {
    const isSorted = column.key === table.sort.key;
    const mark = isSorted ? (table.sort.descending ? " ↓" : " ↑") : "";
    const direction = isSorted ? (table.sort.descending ? "descending" : "ascending") : "none";
    const button = h("button", { type: "button", class: "plain", onclick: () => sortBy(column.key) }, column.title, mark);
    return h("span", { role: "columnheader", "aria-sort": direction, class: column.numeric ? "numeric" : null }, button);
  }

  function sortBy(key) {
    table.sort = { key, descending: table.sort.key === key ? !table.sort.descending : false };
    sortAll();
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
    if (isRange && table.last !== null && table.byKey.has(table.last)) {
      const [from, to] = [table.last, key].map((each) => findPlace(table.byKey.get(each))).sort((one, other) => one - other);
      keys.push(...table.entries.slice(from, to + 1).map((entry) => entry.key));
    }
    for (const each of keys) isOn ? table.selected.add(each) : table.selected.delete(each);
    table.last = key;
    draw();
    tellSelected();
  }

  function selectAll(isOn) {
    table.selected = new Set(isOn ? table.entries.map((entry) => entry.key) : []);
    draw();
    tellSelected();
  }

  let told = "";
  function tellSelected() {
    const text = [...table.selected].join(" ");
    const all = head.querySelector("input");
    if (all) all.checked = table.selected.size > 0 && table.selected.size === table.entries.length;
    if (text === told) return;
    told = text;
    whenSelected?.([...table.selected]);
  }

  if (getLink) {
    body.addEventListener("dblclick", (event) => {
      const key = event.target.closest(".tr")?.dataset.key;
      if (key && !event.target.closest("a, button, input")) location.hash = getLink(table.byKey.get(key).row);
    });
  }

  function choose(keys) {
    table.chosen = keys;
    localStorage.setItem(`columns:${id}`, JSON.stringify(keys));
    show(body);
    drawHead();
    draw();
  }

  drawHead();
  return Object.assign(table, {
    node,
    columns,
    setRows,
    choose,
    draw,
    sortBy,
    toCsv: () => writeCsv(table.entries, shownColumns()),
    close: () => {
      clearInterval(ticking);
      endZone();
      resized.disconnect();
    },
  });
}

function readChosen(id, columns) {
  const kept = JSON.parse(localStorage.getItem(`columns:${id}`) ?? "null");
  const known = kept?.filter((key) => columns.some((column) => column.key === key));
  return known?.length ? known : columns.filter((column) => column.shown !== false).map((column) => column.key);
}

// Compare two values: numbers by size, texts by their words; what is missing comes last.
export function compareValues(one, other) {
  const [isMissing, isOtherMissing] = [isNothing(one), isNothing(other)];
  if (isMissing || isOtherMissing) return { isNull: true, order: isMissing === isOtherMissing ? 0 : isMissing ? 1 : -1 };
  if (typeof one === "number" && typeof other === "number") return { order: one - other };
  return { order: collator.compare(String(one), String(other)) };
}

const collator = new Intl.Collator("en", { numeric: true });
const isNothing = (value) => value === null || value === undefined || value === "" || Number.isNaN(value);

function findHeldKeys(body) {
  const selection = getSelection();
  const nodes = [document.activeElement, selection.isCollapsed ? null : selection.anchorNode, selection.isCollapsed ? null : selection.focusNode];
  const rows = nodes.map((held) => (held && body.contains(held) ? (held.closest ?? held.parentElement.closest).call(held.closest ? held : held.parentElement, ".tr") : null));
  return new Set(rows.filter(Boolean).map((row) => row.dataset.key));
}

function writeCsv(entries, columns) {
  const lines = [columns.map((column) => column.title), ...entries.map(({ row }) => columns.map((column) => column.value(row) ?? ""))];
  return lines.map((cells) => cells.map(quoteCell).join(",")).join("\r\n") + "\r\n";
}

// A cell that a spreadsheet would take for a formula is quoted as text.
function quoteCell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Make the control by which columns are chosen.
export function makeColumnChooser(table) {
  const list = h("div", { class: "menu", popover: "auto", id: `columns-of-${table.node.getAttribute("aria-label")}`.replaceAll(" ", "-") });
  const draw = () =>
    show(
      list,
      table.columns.map((column) => {
        const box = h("input", { type: "checkbox", checked: table.chosen.includes(column.key) });
        box.addEventListener("change", () => {
          const wanted = table.columns.map(({ key }) => key).filter((key) => (key === column.key ? box.checked : table.chosen.includes(key)));
          if (wanted.length > 0) table.choose(wanted);
          else box.checked = true;
        });
        return h("label", null, box, column.title);
      }),
    );
  list.addEventListener("beforetoggle", draw);
  return h("span", null, h("button", { type: "button", popovertarget: list.id }, "Columns"), list);
}
