// Jobs: mine of now and the last day first; all that is asked for one click away.

import { makeButton } from "../core/action.js";
import { debounce, h, show } from "../core/dom.js";
import { makeListView } from "../core/list_view.js";
import { makeLink, readAddress } from "../core/router.js";
import { findFamily, isOpen } from "../core/states.js";
import { bindKey } from "../core/keys.js";
import { say } from "../core/notice.js";
import { may, me } from "../core/signin.js";
import { makeJobColumns } from "../jobs/columns.js";
import { countStates, countTasks, makeBundles } from "../jobs/bundles.js";
import { findRange, getOwnKey, isKept, loadJobs, makeScope, RANGES } from "../jobs/list.js";
import { makeJobFilter } from "../jobs/filter.js";
import { makeJobActions } from "../jobs/actions.js";
import { openSubmitFromAddress, openSubmit } from "../jobs/submit.js";

const JUDGE_MS = 100; // changes are collected for so long before the server is asked which of them the filter takes

// Open the view.
export function open(outlet, { query }) {
  const bundles = makeBundles();
  const families = new Map(); // of the jobs, to tell what ended
  const getScope = () => makeScope(view.values);
  let ids = null; // of the jobs that the filter takes

  const filter = makeJobFilter({
    text: query.get("filter") ?? "",
    getScope,
    whenFound: (found) => {
      ids = found;
      view.filterAgain();
    },
  });
  const actions = makeJobActions({ clear: () => view.table.selectAll(false) });
  const makeSubmit = () => makeButton("Submit a job", () => openSubmit(), { scope: "write", class: "main", title: "c" });
  const mine = `The jobs of ${me.session?.job_user ?? me.user}`;
  const isAsked = ({ state }, only) => (only === "failed" ? findFamily(state) === only : isOpen(state));

  const view = makeListView({
    query,
    id: "jobs",
    title: "Jobs",
    noun: "job",
    sort: "-submit_time",
    columns: makeJobColumns({ toggle, count: (row) => countStates(view.listFitting(row)), isOfMany: () => readAddress().query.has("who") }),
    fields: [
      { name: "who", label: "Whose", isPressed: true, isScope: true, asks: true, choices: [["", "My jobs", mine], ["all", "All users"]], fits: () => true },
      { name: "show", label: "State", isPressed: true, choices: [["failed", "Failed"], ["open", "Hide finished"]], fits: isAsked },
      { name: "since", label: "Time", isScope: true, asks: true, choices: RANGES.map(({ key, title }) => [key, title]), fits: () => true },
    ],
    kinds: ["job"],
    load: loadFiltered,
    getKey: (change) => getOwnKey(change, getScope().user),
    keeps: (job) => isKept(job, view.values.since),
    fits: (job) => ids === null || ids.has(job.origin ?? job.job_id),
    arrange: (rows, changed) => {
      const differs = bundles.update(rows, changed);
      return [bundles.rows, differs];
    },
    listMembers: (row) => bundles.listMembers(row.array_id),
    getParent: (job) => (job.array_id && !job.isGroup ? `${job.array_id}_*` : null),
    getLink: (job) => makeLink(["jobs", job.isGroup ? job.array_id : job.job_id]),
    weigh: countTasks,
    summarize,
    selects: true,
    whenHeard,
    drawMarked: (rows) => actions.draw(listMarked(rows)),
    none: listNone,
    clear: () => {
      filter.clear();
      view.clear();
    },
    buttons: makeSubmit(),
    tools: [h("a", { href: makeLink(["history"]) }, "Older"), filter.node],
    above: actions.report,
  });

  async function loadFiltered({ signal, showSome }) {
    let isJudged = false;
    const judging = filter.ask().then(() => (isJudged = true));
    const found = await loadJobs(getScope(), signal, (rows) => isJudged && showSome(rows));
    await judging;
    return found;
  }

  function toggle(array) {
    bundles.toggle(array);
    view.table.setRows(bundles.rows, null);
  }

  // A task that is chosen as part of its row is not named a second time.
  function listMarked(rows) {
    const jobs = new Map(rows.flatMap((row) => (row.isGroup ? view.listFitting(row) : [row])).map((job) => [job.job_id, job]));
    return [...jobs.values()].filter((job) => !job.origin || job.origin === job.job_id || !jobs.has(job.origin));
  }

  function summarize(jobs) {
    const numbers = new Map();
    for (const job of jobs) numbers.set(findFamily(job.state), (numbers.get(findFamily(job.state)) ?? 0) + countTasks(job));
    const shown = ["running", "waiting", "failed"].filter((family) => numbers.has(family));
    const words = shown.map((family) => `${numbers.get(family).toLocaleString("en")} ${family}`);
    return { words, mark: { family: shown.find((family) => family !== "failed"), progress: words.join(", ") || null } };
  }

  const toJudge = new Set();
  const judgeSoon = debounce(() => {
    filter.judge([...toJudge]);
    toJudge.clear();
  }, JUDGE_MS);

  function whenHeard(changed) {
    for (const key of changed) {
      const job = view.list.rows.get(key);
      const [before, now] = [families.get(key), job && findFamily(job.state)];
      if (job) families.set(key, now);
      const isOver = now === "done" || now === "failed" || now === "cancelled";
      if (isOver && (before === "running" || before === "waiting")) say(`Job ${key} ${job.job_name} is ${now}`);
    }
    if (ids === null || view.list.state !== "ready") return;
    for (const key of changed) toJudge.add(key);
    judgeSoon();
  }

  function listNone() {
    const { who, since } = view.values;
    const stands = "A job that is submitted, here or with sbatch, stands here at once.";
    if (who === "all") return [`There are no jobs yet. ${stands}`, makeSubmit()];
    const others = h("button", { onclick: () => view.set({ who: "all" }) }, "Show the jobs of all users");
    return [`You have no jobs ${findRange(since).words}. ${stands}`, h("span", { class: "actions" }, makeSubmit(), others)];
  }

  show(outlet, view.nodes);
  const unbind = [bindKey("f", "Filter the jobs", () => filter.field.focus()), bindKey("c", "Submit a job", () => may("write") && openSubmit())];
  if (query.has("submit")) openSubmitFromAddress(query.get("submit"));
  return () => {
    for (const end of unbind) end();
    view.close();
  };
}
