// All workflows: of the store and of mounts, with what is wrong with their files, and how they ran last. Templates below.

import { debounce, h, makeChoice, setAttribute, setText, show } from "../core/dom.js";
import { get, getWhole } from "../core/api.js";
import { makeButton } from "../core/action.js";
import { fillLink } from "../core/columns.js";
import { makeField } from "../core/dialog.js";
import { makeListView } from "../core/list_view.js";
import { hearChanges } from "../core/live.js";
import { makePane, makePlainTable } from "../core/pane.js";
import { changeQuery, makeLink } from "../core/router.js";
import { showEmpty } from "../core/notice.js";
import { fillState } from "../core/marks.js";
import { toMs, writeCount, writeShortTime } from "../core/format.js";
import { listDrafts } from "../editor/drafts.js";
import { makeProblemMark, writeReason } from "../editor/editor.js";
import { askName } from "../workflows/files.js";
import { openRunOf } from "../workflows/run_dialog.js";
import { START_TEXTS } from "../workflows/start_texts.js";

const LAST_RUNS = 500;
const AGAIN_MS = 50;
const FILE = /(?:^|\/)([^/]+)\.(?:ya?ml|json)$/i;
const write = { scope: "write" };

const COLUMNS = [
  { key: "name", title: "Name", width: "minmax(9rem, 2fr)", render: (cell, row) => fillLink(cell, makeRowLink(row), row.name) },
  { key: "description", title: "What it does, or what is wrong", width: "minmax(14rem, 6fr)", value: describe, render: fillWords },
  { key: "status", title: "Last run", width: "7.5rem", value: (row) => row.last?.status, render: fillLast },
  { key: "started", title: "Began", width: "7rem", value: (row) => toMs(row.last?.started_at), write: (row) => writeShortTime(row.last?.started_at) },
  { key: "jobs", title: "Jobs", width: "4rem", numeric: true, value: (row) => row.workflow?.jobs.length },
  { key: "args", title: "Values", width: "minmax(7rem, 1fr)", value: (row) => listKeys(row.workflow?.args) },
  { key: "sweep", title: "Sweep over", width: "6.5rem", value: (row) => listKeys(row.workflow?.sweep?.matrix) },
  { key: "mount", title: "Mount", width: "5rem" },
  { key: "run", title: "Start", width: "4.5rem", value: () => null, render: fillRun },
];

const listKeys = (mapping) => Object.keys(mapping ?? {}).join(", ");
const makeRowKey = (name, mount) => `${mount ?? ""}/${name}`;
const makeRowLink = (row) => makeLink(["workflows", row.name], { mount: row.mount });

function fillLast(cell, row) {
  if (!row.last) return show(cell);
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  link.setAttribute("href", makeLink(["runs", row.last.id]));
  return fillState(link, row.last.status);
}

// The problem that says most: what was meant, where that is known.
function describeProblem({ problems }) {
  const problem = problems.find(({ reason }) => reason.includes("did you mean")) ?? problems[0];
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return problem && `${problem.line ? `Line ${problem.line}: ` : ""}${writeReason(problem)}${more}`;
}

function describe(row) {
  return describeProblem(row) ?? row.workflow?.description ?? (row.isDraft ? "Not saved yet; it is kept in this browser" : "");
}

function fillWords(cell, row) {
  const text = describe(row);
  setAttribute(cell, "title", text);
  if (row.problems.length === 0) return setText(cell, text);
  return show(cell, makeProblemMark(isWrong(row) ? "error" : "warning"), ` ${text}`);
}

const isWrong = (row) => row.problems.some(({ severity }) => severity === "error");

function fillRun(cell, row) {
  if (!row.workflow) return show(cell);
  if (cell.firstElementChild) return cell;
  const start = () => openRunOf(row.name, row.mount);
  return show(cell, makeButton("Run…", start, { ...write, class: "plain", "aria-label": `Run ${row.name}` }));
}

async function loadRows({ signal }) {
  const read = (path, query) => get(path, query, { signal }).catch(() => []);
  const [own, mounts, problems, runs] = await Promise.all([
    getWhole("api/workflows", {}, { signal }),
    read("api/files/mounts"),
    read("api/store/problems"),
    read("api/workflows/runs", { limit: LAST_RUNS }),
  ]);
  const others = await Promise.all(mounts.map(async ({ name }) => [name, await read("api/workflows", { mount: name })]));
  const rows = new Map();
  const take = (name, mount) => {
    const key = makeRowKey(name, mount);
    if (!rows.has(key)) rows.set(key, { name, mount, workflow: null, problems: [], last: null });
    return rows.get(key);
  };
  for (const [mount, workflows] of [[null, own.data], ...others]) {
    for (const workflow of workflows) take(workflow.name, mount).workflow = workflow;
  }
  for (const problem of problems) {
    const name = FILE.exec(problem.path)?.[1];
    if (name && (problem.mount || problem.path.startsWith("workflows/"))) take(name, problem.mount ?? null).problems.push(problem);
  }
  for (const [key] of listDrafts()) {
    const [, mount, name] = /^workflows\/([^/]*)\/(.+)$/.exec(key) ?? [];
    if (name) take(name, mount || null).isDraft = true;
  }
  for (const run of runs.toReversed()) {
    const row = rows.get(makeRowKey(run.workflow_name, run.mount));
    if (row) row.last = takeLater(row.last, run);
  }
  return { rows: [...rows], change: own.change };
}

const takeLater = (last, run) => (toMs(last?.started_at) > toMs(run.started_at) ? last : run);

// Open the view.
export function open(outlet, { query }) {
  const create = () => makeButton("New workflow…", openNew, { ...write, class: "main" });
  const view = makeListView({
    query,
    id: "workflows",
    title: "Workflows",
    noun: "workflow",
    columns: COLUMNS,
    sort: "name",
    fields: [{ name: "filter", label: "Filter workflows", placeholder: "name, words, mount", getText: writeWords }],
    kinds: ["run"],
    load: loadRows,
    getKey: ({ row }) => row && makeRowKey(row.workflow_name, row.mount),
    getRow: ({ row }, rows) => {
      const known = rows.get(makeRowKey(row.workflow_name, row.mount));
      return known && { ...known, last: takeLater(known.last, row) };
    },
    keeps: () => true,
    getLink: makeRowLink,
    buttons: create(),
    summarize: (rows) => {
      const wrong = rows.filter(isWrong).length;
      return { words: wrong ? [`${writeCount(wrong, "file")} with errors`] : [] };
    },
    none: () => ["There are no workflows yet. A workflow is a YAML file with jobs and what they wait for.", create()],
  });
  const templates = makeTemplates();
  show(outlet, view.nodes, templates.node);
  const again = debounce(() => view.list.reload(), AGAIN_MS);
  const stop = hearChanges(["workflow", "problem", "profile"], again);
  if (query.get("new")) openNew();
  return () => {
    stop();
    templates.close();
    view.close();
  };
}

const writeWords = (row) => [row.name, row.workflow?.description, row.mount, row.problems.length > 0 && "error"].filter(Boolean).join(" ");

function makeTemplates() {
  const act = (name) => makeLink(["templates", name], { new: "yes" });
  const create = () => askName({ title: "New template", label: "Write it", act });
  return makePane({
    title: "Templates of scripts",
    kinds: ["template"],
    load: ({ signal }) => get("api/templates", {}, { signal }),
    actions: [makeButton("New template…", create, write)],
    draw: (place, templates) => {
      if (templates.length === 0) return showEmpty(place, "There are no templates yet.");
      const makeRow = ({ name, description, use_case }) => [h("a", { href: makeLink(["templates", name]) }, name), description, use_case];
      return show(place, makePlainTable("Templates", ["Name", "What it is", "Good for"], templates.map(makeRow)));
    },
  });
}

function openNew() {
  const kind = makeChoice(null, Object.entries(START_TEXTS).map(([key, { title }]) => [key, title]), "one", () => {});
  askName({
    title: "New workflow",
    label: "Write it",
    more: makeField("Begins as", kind),
    act: (name) => makeLink(["workflows", name], { new: kind.value }),
    whenClosed: () => changeQuery({ new: "" }),
  });
}
