// Parts of a view that stand by themselves: each loads, draws, fails and tries again without the others.

import { h, keepInStep, makeId, setText, show } from "./dom.js";
import { whenZoneChanges, writeShortTime } from "./format.js";
import { get } from "./api.js";
import { makeLiveDocument } from "./live.js";
import { showProblem } from "./notice.js";

// Make a part with a heading that reads something and draws it, and again when a change of it is told.
//
//   title    its heading; what it is in the sentence of a failure
//   load     reads it: async ({ signal }) => value; or the path of the operation that does, with its query
//   draw     (place, value); called for each value, so that it changes no more than differs
//   kinds    the kinds of changes after which it is read anew; isOwn(change) says which of them
//   actions  what stands beside the heading
//   calm_ms  it is read anew no more often, and only while the page is looked at
//   every_ms, isBusy as makeLiveDocument has them
//
// Returns { node, document, close }.
export function makePane({ title, load, query, draw, kinds = [], isOwn, actions = [], calm_ms, every_ms, isBusy }) {
  const id = makeId("pane");
  const late = h("span", { class: "late", role: "status" });
  const place = h("div", { class: "pane-body" }, h("p", { class: "hint" }, "Loading…"));
  const node = h("section", { class: "pane", "aria-labelledby": id }, h("div", { class: "bar" }, h("h2", { id }, title), late, actions), place);
  const read = typeof load === "string" ? ({ signal }) => get(load, query, { signal }) : load;
  const document = makeLiveDocument({ kinds, isOwn, load: read, calm_ms, every_ms, isBusy });
  let isDrawn = false;
  let read_ms = 0;
  const drawAgain = () => {
    if (document.problem === null) read_ms = Date.now();
    // What could not be read anew stays, and says of when it is.
    setText(late, document.state === "ready" && document.problem ? `as of ${writeShortTime(read_ms)}: ${document.problem.message}` : "");
    if (document.state === "failed") {
      isDrawn = false;
      showProblem(place, title, document.problem, document.reload);
      return;
    }
    if (!isDrawn) show(place);
    isDrawn = true;
    draw(place, document.value);
  };
  document.listen(drawAgain);
  const endZone = whenZoneChanges(() => isDrawn && draw(place, document.value));
  const close = () => {
    endZone();
    document.close();
  };
  return { node, document, close };
}

// Show a view of panes below its head. Returns what closes them.
export function showPanes(outlet, head, panes) {
  show(outlet, head, panes.map(({ node }) => node));
  return () => panes.forEach(({ close }) => close());
}

// Make tabs: [{ key, title, open(place) }], where open returns what closes it. `whenChosen(key)` hears of another.
export function makeTabs({ label, tabs, chosen, whenChosen }) {
  const place = h("div", { role: "tabpanel", id: makeId("panel"), class: "tabpanel" });
  const buttons = tabs.map(({ key, title }) =>
    h("button", { role: "tab", "data-key": key, id: makeId("tab"), "aria-controls": place.id, onclick: () => choose(key) }, title),
  );
  const list = h("div", { role: "tablist", "aria-label": label, class: "tabs", onkeydown: moveFocus }, buttons);
  let close = null;
  let current = null;

  function choose(key, isFirst = false) {
    if (key === current) return;
    const tab = tabs.find((each) => each.key === key) ?? tabs[0];
    current = tab.key;
    for (const button of buttons) {
      const isChosen = button.dataset.key === current;
      button.setAttribute("aria-selected", isChosen);
      button.tabIndex = isChosen ? 0 : -1;
      if (isChosen) place.setAttribute("aria-labelledby", button.id);
    }
    close?.();
    show(place);
    close = tab.open(place) ?? null;
    if (!isFirst) whenChosen?.(current);
  }

  function moveFocus(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = buttons.findIndex((button) => button.dataset.key === current);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    choose(next.dataset.key);
    next.focus();
  }

  choose(chosen ?? tabs[0].key, true);
  return { node: h("div", null, list, place), choose, close: () => close?.() };
}

// Make a list of facts: [["Name", text or node], …]; those without a value are left out.
export function makeFacts(facts) {
  const given = facts.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return h("dl", { class: "facts" }, given.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

// Make a table of few rows, in what scrolls by itself; nothing in it is sorted or chosen.
//
//   columns  their titles; [title, class] for cells that are "numeric" or "nowrap"
//   rows     the cells of each, texts or nodes; the first is its name
//   foot     a last row, of sums
export function makePlainTable(label, columns, rows, foot) {
  const given = columns.map((column) => [column].flat());
  const makeRow = (cells) => h("tr", null, cells.map((cell, at) => h(at ? "td" : "th", { scope: at ? null : "row", class: given[at][1] }, cell)));
  const head = h("tr", null, given.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)));
  const table = h("table", null, h("thead", null, head), h("tbody", null, rows.map(makeRow)), foot && h("tfoot", null, makeRow(foot)));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}

// Show rows as a list; what stays, with its key, keeps the focus and what is selected in it.
export function showItems(place, rows, getKey, make, update) {
  const list = place.querySelector(":scope > .items") ?? show(place, h("ul", { class: "items" })).firstElementChild;
  keepInStep(list, rows, getKey, make, update);
}
