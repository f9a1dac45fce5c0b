// All workflows: of the store and of mounts, with what is wrong with their files, and how they ran last.

import { h, setText, show } from "../core/dom.js";
import { get, getWhole } from "../core/api.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { loadList, makeLiveList } from "../core/live.js";
import { changeQuery, goTo, makeLink } from "../core/router.js";
import { showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { may } from "../core/signin.js";
import { makeColumnChooser, makeTable } from "../core/table.js";
import { fillState } from "../core/marks.js";
import { toMs, writeCount, writeShortTime } from "../core/format.js";
import { openRunDialog } from "../workflows/run_dialog.js";
import { START_TEXTS } from "../workflows/start_texts.js";

const LAST_RUNS = 500;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/;
const FILE = /(?:^|\/)([^/]+)\.(?:ya?ml|json)$/i;

const COLUMNS = [
  { key: "name", title: "Name", width: "minmax(9rem, 1fr)", value: (row) => row.name, render: fillName },
  { key: "last", title: "Last run", width: "12rem", value: (row) => toMs(row.last?.started_at), render: fillLast },
  { key: "problem", title: "Problem", width: "minmax(12rem, 2fr)", value: (row) => pickProblem(row)?.reason, render: fillProblem },
  { key: "description", title: "What it does", width: "minmax(10rem, 2fr)", value: (row) => row.workflow?.description },
  { key: "jobs", title: "Jobs", width: "4rem", numeric: true, value: (row) => row.workflow?.jobs.length },
  { key: "args", title: "Values", width: "minmax(8rem, 1fr)", value: (row) => Object.keys(row.workflow?.args ?? {}).join(", ") },
  { key: "sweep", title: "Sweep over", width: "8rem", value: (row) => Object.keys(row.workflow?.sweep?.matrix ?? {}).join(", ") },
  { key: "mount", title: "Mount", width: "7rem", value: (row) => row.mount },
  { key: "run", title: "Start", width: "5rem", value: () => null, render: fillRun },
];

const makeRowKey = (name, mount) => `${mount ?? ""}/${name}`;
const makeRowLink = (row) => makeLink(["workflows", row.name], row.mount ? { mount: row.mount } : {});

function fillName(cell, row) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  link.setAttribute("href", makeRowLink(row));
  setText(link, row.name);
}

function fillLast(cell, row) {
  if (!row.last) return show(cell);
  const link = cell.firstElementChild ?? cell.appendChild(h("a", null, h("span"), " ", h("span", { class: "hint" })));
  link.setAttribute("href", makeLink(["runs", row.last.id]));
  fillState(link.firstElementChild, row.last.status);
  setText(link.lastElementChild, writeShortTime(row.last.started_at));
  return cell;
}

// The one that says most: what was meant, where that is known.
const pickProblem = (row) => row.problems.find((problem) => problem.reason.includes("did you mean")) ?? row.problems[0];

function fillProblem(cell, row) {
  const problem = pickProblem(row);
  const text = problem ? `${problem.line ? `Line ${problem.line}: ` : ""}${problem.reason}${row.problems.length > 1 ? ` (and ${row.problems.length - 1} more)` : ""}` : "";
  if (cell.textContent.slice(2) === text) return;
  const isError = problem?.severity === "error";
  show(cell, problem && h("span", { class: `mark ${isError ? "failed" : "waiting"}`, "aria-hidden": "true" }, isError ? "✗" : "!"), problem && ` ${text}`);
  cell.title = text;
}

function fillRun(cell, row) {
  const isThere = cell.firstElementChild !== null;
  if (isThere || !row.workflow) return;
  const button = h("button", { type: "button", class: "plain", disabled: !may("write"), title: may("write") ? null : "This needs the scope write", "aria-label": `Run ${row.name}` }, "Run…");
  button.addEventListener("click", async () => openRunDialog({ workflow: { ...(await get(`api/workflows/${encodeURIComponent(row.name)}`, { mount: row.mount })), name: row.name }, mount: row.mount }));
  cell.append(button);
}

async function loadFolders({ signal }) {
  const own = await getWhole("api/workflows", {}, { signal });
  const mounts = await get("api/files/mounts", {}, { signal }).catch(() => []);
  const others = await Promise.all(mounts.map(async ({ name }) => [name, await get("api/workflows", { mount: name }, { signal }).catch(() => [])]));
  const rows = [[null, own.data], ...others].flatMap(([mount, workflows]) => workflows.map((workflow) => [makeRowKey(workflow.name, mount), workflow]));
  return { rows, change: own.change };
}

async function loadProblems({ signal }) {
  const { data, change } = await getWhole("api/store/problems", {}, { signal });
  return { rows: [...Map.groupBy(data, (row) => row.path)], change };
}

// Open the view.
export function open(outlet, { query }) {
  const place = h("div");
  const count = h("span", { class: "count", role: "status" });
  const filter = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter workflows", value: query.get("filter") ?? "", oninput: () => {
    changeQuery({ filter: filter.value });
    draw();
  } });
  const create = h("button", { type: "button", class: "main", disabled: !may("write"), title: may("write") ? null : "This needs the scope write", onclick: openNew }, "New workflow…");
  const table = makeTable({ id: "workflows", label: "Workflows", columns: COLUMNS, sort: { key: query.get("sort")?.replace(/^-/, "") ?? "name", descending: query.get("sort")?.startsWith("-") ?? false }, whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }), getLink: makeRowLink });
  show(outlet, h("div", { class: "bar" }, h("h1", null, "Workflows"), count, filter, makeColumnChooser(table), create), place);
  setTitle("Workflows");
  const workflows = makeLiveList({ kinds: ["workflow"], load: loadFolders, getKey: (change) => makeRowKey(change.id, change.parent) });
  const problems = makeLiveList({ kinds: ["problem"], load: loadProblems, getRow: (change) => (change.row?.length ? change.row : null) });
  const runs = makeLiveList({ kinds: ["run"], load: loadList("api/workflows/runs", { limit: LAST_RUNS }, (run) => run.id) });
  const lists = [workflows, problems, runs];
  for (const list of lists) list.listen(draw);

  function listRows() {
    const rows = new Map();
    const take = (name, mount) => {
      const key = makeRowKey(name, mount);
      if (!rows.has(key)) rows.set(key, { name, mount, workflow: null, problems: [], last: null });
      return rows.get(key);
    };
    for (const [key, workflow] of workflows.rows) take(workflow.name, key.slice(0, key.indexOf("/")) || null).workflow = workflow;
    for (const [path, found] of problems.rows) {
      const name = FILE.exec(path)?.[1];
      const isWorkflow = found[0]?.mount || path.startsWith("workflows/");
      if (name && isWorkflow) take(name, found[0].mount ?? null).problems = found;
    }
    for (const run of runs.rows.values()) {
      const row = rows.get(makeRowKey(run.workflow_name, run.mount));
      if (row && !(toMs(row.last?.started_at) > toMs(run.started_at))) row.last = run;
    }
    return rows;
  }

  function draw() {
    if (workflows.state === "failed") return showProblem(place, "The workflows", workflows.problem, workflows.reload);
    if (workflows.state === "loading") return show(place, h("p", { class: "hint" }, "Loading…"));
    const all = listRows();
    const word = filter.value.trim().toLowerCase();
    const rows = word ? new Map([...all].filter(([, row]) => `${row.name} ${row.workflow?.description ?? ""} ${row.mount ?? ""}`.toLowerCase().includes(word))) : all;
    const wrong = [...rows.values()].filter((row) => row.problems.some((problem) => problem.severity === "error")).length;
    setText(count, `${writeCount(rows.size, "workflow")}${wrong ? `, ${writeCount(wrong, "file")} with errors` : ""}`);
    if (all.size === 0) return showEmpty(place, "There are no workflows yet. A workflow is a YAML file with jobs and what they wait for.", may("write") && h("button", { type: "button", onclick: openNew }, "New workflow…"));
    if (rows.size === 0) return showEmpty(place, `No workflow matches “${filter.value}”.`, h("button", { type: "button", onclick: () => {
      filter.value = "";
      filter.dispatchEvent(new Event("input"));
    } }, "Clear the filter"));
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(rows);
    return undefined;
  }

  return () => {
    for (const list of lists) list.close();
    table.close();
  };
}

function openNew() {
  const name = h("input", { name: "filename", required: true, autocomplete: "off", spellcheck: "false" });
  const kind = h("select", { name: "start" }, Object.entries(START_TEXTS).map(([key, { title }]) => h("option", { value: key }, title)));
  const form = makeForm([makeField("Name", name, { hint: "Letters, digits, hyphens and underscores" }), makeField("Begins as", kind)], {
    label: "Write it",
    act: async () => {
      if (!NAME.test(name.value)) throw Object.assign(new Error(""), { problems: [{ loc: ["filename"], msg: "A name has only letters, digits, hyphens and underscores, 1 to 100 of them" }] });
      dialog.close();
      goTo(makeLink(["workflows", name.value], { new: kind.value }));
    },
  });
  const dialog = openDialog("New workflow", form);
  name.focus();
}
