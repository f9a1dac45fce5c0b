// Columns of tables: which are shown, in which order, how wide. What was chosen outlives the page.

import { h, keepText, makeId, readKeptJson, setAttribute, setText, show } from "./dom.js";
import { writeShortTime, writeTime } from "./format.js";
import { fillState } from "./marks.js";
import { makeLink } from "./router.js";

const LEAST_PX = 48;
const STEP_PX = 16;

// Complete a column that is given as data. Its value is the row's field of that name; `kind` says how that looks (state,
// time, short time), `link(row)` names the parts of the address that it links to.
export function completeColumn(column) {
  const { key, kind, link, family } = column;
  const complete = { value: (row) => row[key], ...column };
  const { value, write = value } = complete;
  if (link) complete.render ??= (cell, row) => fillLink(cell, makeLink(link(row)), write(row));
  if (kind === "state") complete.render ??= (cell, row) => fillState(cell, value(row), family?.(row));
  if (kind === "time" || kind === "short time") {
    complete.render ??= (cell, row) => {
      setText(cell, (kind === "time" ? writeTime : writeShortTime)(value(row)));
      setAttribute(cell, "title", writeTime(value(row)) || null);
    };
  }
  return complete;
}

// Fill a cell with a link, changing no more than differs.
export function fillLink(cell, href, text) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  setAttribute(link, "href", href);
  setAttribute(cell, "title", text);
  setText(link, text);
}

// Read what was chosen for a table: { keys, widths }; the keys are null where nothing was.
export function readColumns(id, columns) {
  const kept = readKeptJson(`columns:${id}`);
  const [keys, widths] = Array.isArray(kept) ? [kept, {}] : [kept?.keys, kept?.widths ?? {}];
  const known = keys?.filter((key) => columns.some((column) => column.key === key));
  return { keys: known?.length ? known : null, widths };
}

// Keep what is chosen for a table.
export function keepColumns(id, { keys, widths }) {
  keepText(`columns:${id}`, JSON.stringify({ keys, widths }));
}

// List the columns that are shown when nothing else is chosen; `shown` may be a function.
export function listUsual(columns) {
  const isUsual = ({ shown = true }) => (typeof shown === "function" ? shown() : shown);
  return columns.filter(isUsual).map((column) => column.key);
}

// Make the edge by which a column is drawn wider; a double click gives back its own width.
export function makeGrip(cell, setWidth) {
  const grip = h("span", { class: "grip", "aria-hidden": "true" });
  grip.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    grip.setPointerCapture(event.pointerId);
    const [from, width] = [event.clientX, cell.getBoundingClientRect().width];
    const ending = new AbortController();
    const { signal } = ending;
    grip.addEventListener("pointermove", (moved) => setWidth(Math.max(LEAST_PX, width + moved.clientX - from), false), { signal });
    grip.addEventListener("pointerup", (moved) => {
      ending.abort();
      if (moved.clientX !== from) setWidth(Math.max(LEAST_PX, width + moved.clientX - from), true);
    }, { signal });
  });
  grip.addEventListener("dblclick", () => setWidth(null, true));
  return grip;
}

// Make the control by which columns are chosen, moved, and drawn wider without a mouse.
export function makeColumnChooser(table) {
  const list = h("div", { class: "menu columns", popover: "auto", id: makeId("columns") });

  const order = () => [...table.chosen, ...table.columns.map(({ key }) => key).filter((key) => !table.chosen.includes(key))];

  function choose(keys, focused) {
    table.choose(keys);
    draw();
    list.querySelector(`[data-do="${CSS.escape(focused)}"]`)?.focus();
  }

  function move(key, step) {
    const keys = [...table.chosen];
    const at = keys.indexOf(key);
    const to = at + step;
    if (to < 0 || to >= keys.length) return;
    [keys[at], keys[to]] = [keys[to], keys[at]];
    choose(keys, `${key} ${step}`);
  }

  function makeLine(key) {
    const column = table.columns.find((each) => each.key === key);
    const isShown = table.chosen.includes(key);
    const box = h("input", { type: "checkbox", checked: isShown, "data-do": `${key} shown` });
    box.addEventListener("change", () => {
      const wanted = box.checked ? [...table.chosen, key] : table.chosen.filter((each) => each !== key);
      if (wanted.length > 0) choose(wanted, `${key} shown`);
      else box.checked = true;
    });
    const button = (sign, words, does, act) => {
      const names = { title: words, "aria-label": `${words}: ${column.title}`, "data-do": `${key} ${does}` };
      return h("button", { class: "plain", ...names, onclick: act }, sign);
    };
    return h(
      "div",
      { class: "line" },
      h("label", null, box, column.title),
      isShown && [
        button("↑", "Move to the left", -1, () => move(key, -1)),
        button("↓", "Move to the right", 1, () => move(key, 1)),
        button("−", "Narrower", "narrower", () => table.widen(key, -STEP_PX)),
        button("+", "Wider", "wider", () => table.widen(key, STEP_PX)),
      ],
    );
  }

  const draw = () => show(list, order().map(makeLine), h("button", { onclick: () => (table.forgetColumns(), draw()) }, "As at first"));
  list.addEventListener("beforetoggle", draw);
  return h("span", null, h("button", { popovertarget: list.id }, "Columns"), list);
}
