// Lists to look at: live, filtered, sorted, with columns to choose, as CSV, all of it in the address; and a sentence
// where there is nothing. Each view says only what its rows are:
//
//   const view = makeListView({
//     query, id: "runs", title: "Runs", noun: "run", columns: COLUMNS, sort: "-started_at",
//     fields: [
//       { name: "q", label: "Find runs", placeholder: "workflow, error", getText: (run) => `${run.name} ${run.error}` },
//       { name: "status", label: "State", choices: [["", "every state"], "failed"], asks: true, fits: (run, status) => run.status === status },
//       { name: "open", box: "hide finished", fits: (run) => isOpen(run.status) },
//     ],
//     kinds: ["run"],
//     load: async ({ signal, values }) => ({ rows, change }),
//     none: () => ["There are no runs yet.", link],
//   });
//   show(outlet, view.nodes);
//   return view.close;

import { makeColumnChooser } from "./columns.js";
import { debounce, h, makeChoice, saveFile, setText, show } from "./dom.js";
import { bindKey } from "./keys.js";
import { makeLiveList } from "./live.js";
import { showEmpty, showProblem } from "./notice.js";
import { writeCsv } from "./order.js";
import { changeQuery } from "./router.js";
import { setTitle } from "./shell.js";
import { makeTable } from "./table.js";
import { writeCount } from "./format.js";

const TYPING_MS = 200; // after a key, before the server is asked
const AROUND_MS = 150; // numbers and title follow changes so fast

// Make a list with its filter.
//
//   query      of the address; id, columns, getLink, getParent, selects as makeTable has them
//   title      the heading and the name of the tab; heading is its level ("h1"), null for a part of another view,
//              which does not change the name of the tab; head is a node in place of it
//   noun       what a row is called; nouns where an s does not make several
//   sort       the first order: "-started_at" begins with the last
//   fields     the filter, each with a name in the address and one of
//                getText(row)  words that are looked for in it; with placeholder and label
//                choices       [value, words] or a word; "" is none; with label; isPressed makes them buttons in a row;
//                              more() is a promise of others
//                box           words of a box to tick; its value is "yes"
//              and
//                fits(row, value)  whether a row fits; without it only the server knows
//                asks              the server chooses, so that the list is loaded anew
//                isScope           it is not cleared with the filter: whose rows, of which time
//   kinds, getKey, getRow(change, rows), keeps   as makeLiveList has them
//   load       async ({ signal, showSome, values }) => { rows: [[key, row]], change, total, warnings }; total where
//              there are more than were read, warnings are sentences
//   none       () => [text, …nodes] where there is nothing yet
//   fits       (row) what else decides whether a row is to be seen; call filterAgain() when it changes
//   arrange    (rows, changed) => [rows, changed]: other rows in the table than in the list; listMembers(row) lists
//              those of the list for one that isGroup, and rows with a parent are not counted
//   weigh      (row) how many it counts for
//   summarize  (rows to be seen) => { words: ["3 failed"], mark: { family, progress } } for the count and the tab
//   whenHeard  (changed keys) after each change
//   drawMarked (rows whose boxes are set) => nodes: what can be done with them; they keep focus and questions
//   buttons    nodes beside the heading; tools: beside the filter; above: between filter and table
//
// Returns { nodes, table, list, values, set({ name: value }), listRows (those to be seen), listFitting (members of a
// group), filterAgain, reload, clear, close }.
export function makeListView(given) {
  const { query, id, title, heading = "h1", noun, nouns, sort, fields = [], fits = () => true, none, buttons, tools, above } = given;
  const { arrange = (...rows) => rows, listMembers, getParent = () => null, weigh = () => 1, summarize = () => ({}), whenHeard, drawMarked } = given;
  const values = Object.fromEntries(fields.map(({ name }) => [name, query.get(name) ?? ""]));
  const count = h("span", { class: "count", role: "status" });
  const warning = h("p", { class: "hint", role: "status" });
  const place = h("div", null, h("p", { class: "hint" }, "Loading…"));
  let warnings = [];
  let left = 0; // older rows that were not read
  const marked = h("div", { class: "bar chosen-bar", hidden: true });
  const chooseNone = h("button", { class: "plain", onclick: () => table.selectAll(false) }, "Choose none");
  let drawnMarks = [];

  // --- the filter ----------------------------------------------------------------------------------------------------

  const used = () => fields.filter(({ name }) => values[name] !== "");
  const fitsField = (field, row) => (field.getText ? hasWords(field.getText(row), values[field.name]) : (field.fits?.(row, values[field.name]) ?? true));
  const isFitting = (row) => fits(row) && used().every((field) => field.asks || fitsField(field, row));
  const listFitting = (row) => listMembers(row).filter(isFitting);
  const isShown = (row) => (row.isGroup ? listMembers(row).some(isFitting) : isFitting(row));
  const controls = fields.map((field) => makeControl(field, values[field.name], (value, isTyped) => set({ [field.name]: value }, isTyped)));

  function set(changes, isTyped = false) {
    const isAsked = fields.some(({ name, asks }) => asks && name in changes && changes[name] !== values[name]);
    Object.assign(values, changes);
    changeQuery(values);
    controls.forEach((control, at) => control.show(values[fields[at].name]));
    if (!isAsked) filterAgain();
    else if (isTyped) askSoon();
    else ask();
  }

  // What was there for other values stays until the answer, and goes when there is none.
  function ask() {
    list.state = "loading";
    setText(count, "Loading…");
    list.reload();
  }
  const askSoon = debounce(ask, TYPING_MS);

  function filterAgain() {
    if (list.state === "loading" || list.state === "failed") return;
    table.hideSome();
    drawnMarks = [];
    showMarked();
    drawAround();
  }

  function clear() {
    set(Object.fromEntries(fields.filter((field) => !field.isScope).map(({ name }) => [name, ""])));
    controls.find(({ field }) => field.type === "search")?.field.focus();
  }

  // --- rows ----------------------------------------------------------------------------------------------------------

  const table = makeTable({
    ...given,
    label: title,
    chosen: query.get("columns")?.split(","),
    sort: readSort(query.get("sort") ?? sort),
    whenSorted: ({ key, descending }) => changeQuery({ sort: `${descending ? "-" : ""}${key}` }),
    whenChosen: (keys) => changeQuery({ columns: keys.join(",") }),
    isShown,
    isWhole: () => list.state === "ready",
    whenSelected: showMarked,
  });
  const list = makeLiveList({
    ...given,
    load: async ({ signal, showSome }) => {
      await null; // so that whoever made this view has it
      const found = await given.load({ signal, showSome, values });
      left = Math.max(0, (found.total ?? 0) - found.rows.length);
      warnings = found.warnings ?? [];
      return found;
    },
    getRow: (change) => {
      const row = given.getRow ? given.getRow(change, list.rows) : change.row;
      return row && used().every((field) => !field.asks || isAmong(field, row, change.id)) ? row : null;
    },
  });
  const listRows = () => table.order.entries.flatMap(({ row }) => (row.isGroup ? listFitting(row) : getParent(row) === null ? [row] : []));
  const sum = (rows) => rows.reduce((all, row) => all + weigh(row), 0);

  // Whether a row that changed belongs to what the server chose; of a new one it may have to be asked.
  function isAmong(field, row, key) {
    if (field.fits) return field.fits(row, values[field.name]);
    if (list.rows.has(key)) return true;
    reloadSoon();
    return false;
  }
  const reloadSoon = debounce(() => list.reload(), TYPING_MS);

  // --- drawing -------------------------------------------------------------------------------------------------------

  list.listen((changed) => {
    if (list.state === "loading") return null;
    if (list.state === "failed") {
      setText(count, "");
      return showProblem(place, `The ${lower(title)}`, list.problem, list.reload);
    }
    // What could not be read anew stays, and says so.
    setText(warning, list.problem ? `Rows may be missing or old: ${list.problem.message}` : warnings.join(". "));
    table.setRows(...arrange(list.rows, changed));
    whenHeard?.(changed);
    if (table.selected.size > 0) showMarked();
    return drawSoon();
  });
  const drawSoon = pace(drawAround, AROUND_MS);

  function drawAround() {
    const rows = listRows();
    const [shown, all] = [sum(rows), sum([...list.rows.values()])];
    const { words = [], mark = {} } = summarize(rows);
    const most = writeCount(all, noun, nouns);
    const numbers = shown === all ? most : `${shown.toLocaleString("en")} of ${most}`;
    const older = left > 0 ? ` (the newest of ${(list.rows.size + left).toLocaleString("en")}; filter to see older ones)` : "";
    setText(count, `${[numbers, words.join(", ")].filter(Boolean).join(": ")}${older}${list.state === "partial" ? ", reading more…" : ""}`);
    if (heading) setTitle(title, mark);
    if (table.count() > 0) {
      if (table.node.isConnected) return null;
      show(place, table.node);
      return table.draw();
    }
    const isFiltered = list.rows.size > 0 || used().some((field) => !field.isScope);
    if (!isFiltered) return showEmpty(place, ...none());
    const text = list.rows.size > 0 ? `None of ${most} fits the filter.` : `No ${noun} fits the filter.`;
    return showEmpty(place, text, h("button", { onclick: given.clear ?? clear }, "Clear the filter"));
  }

  function showMarked() {
    if (!drawMarked || marked.querySelector(".question")) return; // a question stands until it is answered
    const rows = table.order.entries.filter(({ key }) => table.selected.has(key)).map(({ row }) => row);
    if (rows.length === drawnMarks.length && rows.every((row, at) => row === drawnMarks[at])) return;
    drawnMarks = rows;
    marked.hidden = rows.length === 0;
    const focused = [...marked.querySelectorAll("button")].indexOf(document.activeElement);
    show(marked, drawMarked(rows), chooseNone);
    marked.querySelectorAll("button")[focused]?.focus();
  }

  const saveCsv = () => saveFile(`${id}.csv`, writeCsv(listRows(), table.listColumns()), "text/csv");
  const csv = h("button", { title: "Save these rows and columns as CSV", onclick: saveCsv }, "CSV");
  const search = controls.find(({ field }) => field.type === "search");
  const unbind = search && heading ? bindKey("f", `Filter the ${lower(title)}`, () => search.field.focus()) : () => {};
  if (heading) setTitle(title);
  const actions = h("span", { class: "actions" }, makeColumnChooser(table), csv);
  const hasTools = controls.length > 0 || tools;
  return {
    nodes: [
      h("div", { class: "bar" }, given.head ?? h(heading ?? "h2", null, title), count, buttons, !hasTools && actions),
      hasTools && h("div", { class: "bar tools" }, controls.map(({ node }) => node), tools, actions),
      warning,
      drawMarked && marked,
      above,
      place,
    ],
    table,
    list,
    values,
    set,
    listRows,
    listFitting,
    filterAgain,
    reload: ask,
    clear,
    close: () => {
      drawSoon.stop();
      unbind();
      list.close();
      table.close();
    },
  };
}

// Whether all words stand somewhere in a text.
function hasWords(text, words) {
  const lowered = text.toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => lowered.includes(word));
}

const lower = (title) => title[0].toLowerCase() + title.slice(1);
const readSort = (text) => ({ key: text.replace(/^-/, ""), descending: text.startsWith("-") });

// Make the control of one field: { node, field, show(value) }.
function makeControl({ label, placeholder, choices, more, box, isPressed }, value, whenSet) {
  if (box) {
    const field = h("input", { type: "checkbox", checked: value === "yes", onchange: () => whenSet(field.checked ? "yes" : "") });
    return { node: h("label", null, field, ` ${box}`), field, show: (now) => (field.checked = now === "yes") };
  }
  if (isPressed) return makePresses(label, choices, value, whenSet);
  if (choices) {
    const field = makeChoice(label, choices, value, whenSet);
    more?.().then(field.addChoices, () => {}); // without them there is less to choose
    return { node: field, field, show: field.showValue };
  }
  const words = { "aria-label": label, placeholder: placeholder ?? label, value, autocomplete: "off", spellcheck: "false" };
  const field = h("input", { type: "search", ...words, oninput: () => whenSet(field.value.trim(), true) });
  return { node: field, field, show: (now) => field.value.trim() === now || (field.value = now) };
}

// Buttons in a row, one of them pressed; a press of it is a press of "", where that has no button.
function makePresses(label, choices, value, whenSet) {
  const goesOut = choices.every(([key]) => key !== "");
  const press = (key) => whenSet(goesOut && field.value === key ? "" : key);
  const makeButton = ([key, words, title]) => h("button", { value: key, title, onclick: () => press(key) }, words);
  const field = h("span", { class: "presses", role: "group", "aria-label": label }, choices.map(makeButton));
  const showValue = (now) => {
    field.value = now;
    if (now !== "" && ![...field.children].some(({ value }) => value === now)) field.append(makeButton([now, now]));
    for (const button of field.children) button.setAttribute("aria-pressed", button.value === now);
  };
  showValue(value);
  return { node: field, field, show: showValue };
}

// Let a function work at once, and then no more often than this.
function pace(work, wait_ms) {
  let [timer, last_ms] = [0, 0];
  const run = () => {
    [timer, last_ms] = [0, Date.now()];
    work();
  };
  const ask = () => {
    timer ||= setTimeout(run, Math.max(0, last_ms + wait_ms - Date.now()));
  };
  return Object.assign(ask, { stop: () => clearTimeout(timer) });
}
