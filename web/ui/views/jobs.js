// Jobs: mine of now and the last day first; all that is asked for one click away.

import { debounce, h, setText, show } from "../core/dom.js";
import { makeTable, makeColumnChooser } from "../core/table.js";
import { writeCsv } from "../core/order.js";
import { changeQuery, goTo, makeLink } from "../core/router.js";
import { findFamily, isOpen } from "../core/states.js";
import { writeCount } from "../core/format.js";
import { bindKey } from "../core/keys.js";
import { say, showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { may, me, whenCallerChanges } from "../core/signin.js";
import { makeJobColumns } from "../jobs/columns.js";
import { countStates, countTasks, findArray, makeBundles } from "../jobs/bundles.js";
import { findRange, makeJobList, RANGES } from "../jobs/list.js";
import { makeJobFilter } from "../jobs/filter.js";
import { makeJobActions } from "../jobs/actions.js";
import { openSubmitFromAddress, openSubmit } from "../jobs/submit.js";
import { saveFile } from "../jobs/save_file.js";

const JUDGE_MS = 100; // changes are collected for so long before the server is asked which of them the filter takes
const AROUND_MS = 150; // numbers and title follow changes so fast
const SHOWN_ONLY = { failed: (job) => findFamily(job.state) === "failed", open: (job) => isOpen(job.state) };

// Open the view.
export function open(outlet, { query }) {
  const state = { who: query.get("who") ?? "mine", range: findRange(query.get("since")).key, only: query.get("show") ?? "", ids: null, families: new Map() };
  const bundles = makeBundles();
  const place = h("div");
  const count = h("span", { class: "count" });
  const warning = h("p", { class: "hint", role: "status" });
  const closing = [];
  let list = null;

  const mine = () => me.session?.job_user ?? null;
  const fits = (job) => (state.ids === null || state.ids.has(job.origin ?? job.job_id)) && (!state.only || SHOWN_ONLY[state.only](job));
  const listFitting = (array) => bundles.listMembers(array).filter(fits);
  const isShown = (row) => (row.isGroup ? bundles.listMembers(row.array_id).some(fits) : fits(row));

  const table = makeTable({
    id: "jobs",
    label: "Jobs",
    columns: makeJobColumns({ toggle, count: (row) => countStates(listFitting(row.array_id)) }),
    chosen: query.get("columns")?.split(","),
    sort: readSort(query.get("sort") ?? "-submit_time"),
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
    whenChosen: (keys) => changeQuery({ columns: keys.join(",") }),
    getLink: (job) => makeLink(["jobs", job.array_id && job.isGroup ? job.array_id : job.job_id]),
    getParent: (job) => (job.array_id && !job.isGroup ? `${job.array_id}_*` : null),
    isShown,
    selects: true,
    whenSelected: () => actions.show(listChosen()),
  });
  const actions = makeJobActions({ clear: () => table.selectAll(false) });
  const filter = makeJobFilter({
    text: query.get("filter") ?? "",
    getScope: () => list.scope,
    whenFound: (ids, text) => {
      state.ids = ids;
      changeQuery({ filter: text });
      drawAgain();
    },
  });

  // --- what is chosen ------------------------------------------------------------------------------------------------

  function listChosen() {
    const jobs = new Map();
    for (const { key, row } of table.order.entries) {
      if (!table.selected.has(key)) continue;
      for (const job of row.isGroup ? listFitting(row.array_id) : [row]) jobs.set(job.job_id, job);
    }
    // A task that is chosen as part of its row is not named a second time.
    return [...jobs.values()].filter((job) => !job.origin || job.origin === job.job_id || !jobs.has(job.origin));
  }

  // The jobs that the filter takes, in the order of the table, tasks that wait together as one.
  function listFiltered() {
    return table.order.entries.flatMap(({ row }) => (row.isGroup ? listFitting(row.array_id) : row.origin ? [] : [row]));
  }

  function toggle(array) {
    table.setRows((bundles.toggle(array), bundles.rows), null);
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  function drawAgain() {
    table.hideSome();
    table.redraw();
    drawAround();
  }

  function drawAround() {
    const jobs = [...list.rows.values()].filter(fits);
    const total = jobs.reduce((sum, job) => sum + countTasks(job), 0);
    const families = new Map();
    for (const job of jobs) families.set(findFamily(job.state), (families.get(findFamily(job.state)) ?? 0) + countTasks(job));
    const words = ["running", "waiting", "failed"].filter((family) => families.has(family)).map((family) => `${families.get(family).toLocaleString("en")} ${family}`);
    const more = list.state === "partial" ? ", reading more…" : "";
    setText(count, `${writeCount(total, "job")}${words.length > 0 ? `: ${words.join(", ")}` : ""}${more}`);
    setTitle("Jobs", { family: families.has("running") ? "running" : families.has("waiting") ? "waiting" : null, progress: words.join(", ") || null });
    if (table.selected.size > 0) actions.show(listChosen());
    drawEmpty();
  }

  function drawEmpty() {
    if (list.rows.size === 0) showNone();
    else if (table.count() === 0) showNoMatch();
    else if (!table.node.isConnected) {
      show(place, table.node);
      table.draw();
    }
  }

  function showNone() {
    const submit = h("button", { type: "button", class: "main", disabled: !may("write"), onclick: () => openSubmit() }, "Submit a job");
    if (state.who === "all") return showEmpty(place, "There are no jobs yet. A job that is submitted, here or with sbatch, stands here at once.", h("span", { class: "actions" }, submit));
    const others = h("button", { type: "button", onclick: () => choose({ who: "all" }) }, "Show the jobs of all users");
    const when = state.range === "now" ? "now" : findRange(state.range).title.toLowerCase().replace("now and", "now, or in");
    showEmpty(place, `You have no jobs ${when}. A job that is submitted, here or with sbatch, stands here at once.`, h("span", { class: "actions" }, submit, others));
  }

  function showNoMatch() {
    const clear = h("button", { type: "button", onclick: () => (filter.clear(), choose({ only: "" })) }, "Show all");
    const what = [filter.accepted && `the filter ${filter.accepted}`, state.only === "failed" && "“failed”", state.only === "open" && "“hide finished”"].filter(Boolean).join(" and ");
    showEmpty(place, `None of the ${list.rows.size.toLocaleString("en")} jobs fits ${what}.`, clear);
  }

  // --- live ----------------------------------------------------------------------------------------------------------

  const toJudge = new Set();
  const judgeSoon = debounce(() => {
    filter.judge([...toJudge]);
    toJudge.clear();
  }, JUDGE_MS);

  function hear(changed) {
    if (list.state === "failed") return showProblem(place, "The jobs", list.problem, list.reload);
    tellEnds(changed);
    table.setRows(bundles.rows, bundles.update(list.rows, changed));
    if (state.ids !== null && list.state === "ready") {
      for (const key of changed) toJudge.add(key);
      judgeSoon();
    }
    drawSoon();
  }

  let due = 0;
  function drawSoon() {
    if (!table.node.isConnected) return drawAround();
    due ||= setTimeout(() => {
      due = 0;
      drawAround();
    }, AROUND_MS);
  }

  function tellEnds(changed) {
    for (const key of changed) {
      const job = list.rows.get(key);
      const [before, now] = [state.families.get(key), job && findFamily(job.state)];
      if (job) state.families.set(key, now);
      const isOver = now === "done" || now === "failed" || now === "cancelled";
      if (isOver && (before === "running" || before === "waiting")) say(`Job ${key} ${job.job_name} is ${now}`);
    }
  }

  function begin() {
    list?.close();
    state.families.clear();
    bundles.update(new Map(), null);
    table.setRows(bundles.rows, null);
    show(place, h("p", { class: "hint" }, "Loading the jobs…"));
    list = makeJobList({
      user: state.who === "all" ? null : state.who === "mine" ? mine() : state.who,
      range: state.range,
      whenWarned: (sentences) => setText(warning, sentences.join(". ")),
    });
    list.listen(hear);
    if (filter.field.value.trim() !== "") {
      state.ids = new Set();
      filter.ask();
    }
  }

  // --- choices -------------------------------------------------------------------------------------------------------

  function choose(changes) {
    const before = { ...state };
    Object.assign(state, changes);
    changeQuery({ who: state.who === "mine" ? "" : state.who, since: state.range === "day" ? "" : state.range, show: state.only });
    drawChoices();
    if (before.who !== state.who || before.range !== state.range) begin();
    else drawAgain();
  }

  const press = (text, act, title) => h("button", { type: "button", "aria-pressed": "false", onclick: act, title }, text);
  const [my, all] = [press("My jobs", () => choose({ who: "mine" })), press("All users", () => choose({ who: "all" }))];
  const failed = press("Failed", () => choose({ only: state.only === "failed" ? "" : "failed" }));
  const unfinished = press("Hide finished", () => choose({ only: state.only === "open" ? "" : "open" }));
  const range = h("select", { "aria-label": "Time", onchange: () => (range.value === "older" ? goTo(makeLink(["history"])) : choose({ range: range.value })) });
  show(range, RANGES.map(({ key, title }) => h("option", { value: key }, title)), h("option", { value: "older" }, "Older: history…"));

  function drawChoices() {
    my.setAttribute("aria-pressed", state.who === "mine");
    all.setAttribute("aria-pressed", state.who === "all");
    failed.setAttribute("aria-pressed", state.only === "failed");
    unfinished.setAttribute("aria-pressed", state.only === "open");
    range.value = state.range;
    if (me.user) my.title = `The jobs of ${mine() ?? me.user}`;
  }

  const submit = h("button", { type: "button", class: "main", disabled: !may("write"), title: may("write") ? "c" : "This needs the scope write", onclick: () => openSubmit() }, "Submit a job");
  const csv = h("button", { type: "button", onclick: () => saveFile("jobs.csv", writeCsv(listFiltered(), table.chosen.map((key) => table.columns.find((column) => column.key === key))), "text/csv") }, "CSV");
  csv.title = "Save these rows and columns as CSV";
  show(
    outlet,
    h("div", { class: "bar" }, h("h1", null, "Jobs"), count, submit),
    h(
      "div",
      { class: "bar tools" },
      h("span", { class: "presses" }, my, all),
      range,
      h("span", { class: "presses" }, failed, unfinished),
      filter.node,
      h("span", { class: "actions" }, makeColumnChooser(table), csv),
    ),
    warning,
    actions.node,
    place,
  );
  drawChoices();
  setTitle("Jobs");
  begin();
  closing.push(whenCallerChanges(drawChoices), bindKey("f", "Filter the jobs", () => filter.field.focus()), bindKey("c", "Submit a job", () => may("write") && openSubmit()));
  if (query.has("submit")) openSubmitFromAddress(query.get("submit"));
  return () => {
    clearTimeout(due);
    for (const close of closing) close();
    list.close();
    table.close();
  };
}

function readSort(text) {
  return text.startsWith("-") ? { key: text.slice(1), descending: true } : { key: text, descending: false };
}
