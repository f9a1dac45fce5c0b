// One workflow: its text under the editor, its graph beside it, its runs below.

import { h, setText, show } from "../core/dom.js";
import { get, getWhole, request, send } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { hearChanges, loadList, makeLiveList } from "../core/live.js";
import { changeQuery, goTo, makeLink, readAddress } from "../core/router.js";
import { showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { may } from "../core/signin.js";
import { makeTable } from "../core/table.js";
import { fillState } from "../core/marks.js";
import { toMs, writeDuration, writeTime } from "../core/format.js";
import { makeTextDocument } from "../editor/document.js";
import { complete } from "../editor/completion.js";
import { makeGraph } from "../parts/graph.js";
import { openRunDialog } from "../workflows/run_dialog.js";
import { readQuery } from "../workflows/run_body.js";
import { START_TEXTS } from "../workflows/start_texts.js";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/;
const RUN_COLUMNS = [
  { key: "id", title: "Run", width: "minmax(8rem, 1fr)", value: (run) => run.id, render: fillRun },
  { key: "status", title: "State", width: "8rem", value: (run) => run.status, render: (cell, run) => fillState(cell, run.status) },
  { key: "started_at", title: "Started", width: "11rem", value: (run) => toMs(run.started_at), write: (run) => writeTime(run.started_at) },
  { key: "took", title: "Took", width: "6rem", numeric: true, value: getTook, write: (run) => writeDuration(getTook(run)), ticks: (run) => run.completed_at === null },
  { key: "args", title: "Values", width: "minmax(10rem, 2fr)", value: (run) => JSON.stringify(run.args ?? {}), write: (run) => Object.entries(run.args ?? {}).map(([name, value]) => `${name}=${value}`).join(" ") },
  { key: "error", title: "Error", width: "minmax(10rem, 2fr)", value: (run) => run.error },
];

function getTook(run) {
  const began_ms = toMs(run.started_at);
  return began_ms === null ? null : ((toMs(run.completed_at) ?? Date.now()) - began_ms) / 1000;
}

function fillRun(cell, run) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  link.setAttribute("href", makeLink(["runs", run.id]));
  setText(link, run.id.slice(0, 8));
}

// Open the view.
export function open(outlet, { params: { name }, query }) {
  const mount = query.get("mount");
  const where = mount ? { mount } : {};
  const path = `api/workflows/${encodeURIComponent(name)}`;
  const view = { workflow: null, version: null, isUnsaved: false, isNew: query.has("new"), schema: null, closers: [], text: "" };
  const graph = makeGraph({ label: `Jobs of ${name}`, whenSelected: (job) => job !== null && showJob(job) });
  const since = h("p", { class: "hint", role: "status" });
  const place = h("section", { class: "pane", "aria-label": "Graph" }, since, graph.node);
  const mayWrite = may("write");
  const text = makeTextDocument({
    key: `workflows/${mount ?? ""}/${name}`,
    title: `The workflow ${name}`,
    label: `Text of the workflow ${name}`,
    isReadOnly: !mayWrite,
    initial: START_TEXTS[query.get("new")]?.text.replaceAll("NAME", name) ?? "",
    load,
    save,
    check: mayWrite ? check : null,
    complete: (source, caret) => view.schema && complete(source, caret, { schema: view.schema, getValues }),
    whenChanged: (change) => {
      Object.assign(view, change);
      setTitle(`${view.isUnsaved ? "● " : ""}${name}`);
    },
  });
  const runs = makeRuns(name, view);
  const runButton = h("button", { type: "button", class: "main", disabled: !mayWrite, title: mayWrite ? null : "This needs the scope write", onclick: () => run() }, "Run…");
  show(outlet,
    h("div", { class: "bar" }, h("h1", null, name), h("span", { class: "count" }, mount ? `in the mount ${mount}` : ""), runButton, mayWrite && makeMore()),
    h("div", { class: "workflow" }, text.node, place),
    runs.node);
  setTitle(name);
  graph.node.hidden = true;
  if (mayWrite) get("api/schemas/workflow").then((schema) => (view.schema = schema)).catch(() => {});
  const isOwn = (change) => change.kind === "problem" ? change.id.includes(`/${name}.`) : change.id === name && (change.parent ?? null) === mount;
  view.closers.push(hearChanges(["workflow", "problem"], (changes) => {
    const own = changes.filter(isOwn);
    if (own.length > 0) text.reload(own.at(-1).kind === "workflow" && own.at(-1).action === "deleted");
  }));
  if (query.get("run")) openAsked();
  return () => {
    for (const close of view.closers) close();
    runs.close();
    graph.close();
    text.close();
  };

  // --- text ----------------------------------------------------------------------------------------------------------

  async function load(isThere) {
    if (view.isNew && !isThere) return { text: "", version: null, problems: [] };
    const { data, etag } = await getWhole(`${path}/text`, where);
    view.version = etag.split(".")[0];
    if (data.workflow) draw(data.workflow);
    if (!data.valid) setText(since, data.workflow ? "The graph is as of the last valid text." : "There is no graph until the text is valid.");
    return { text: data.text, version: view.version, problems: data.problems, isReadOnly: data.masked };
  }

  async function save(yaml, version) {
    const body = { yaml, filename: `${name}.yaml`, overwrite: version !== null, ...where };
    const { etag, data } = await request("POST", "api/workflows/upload", { body, version });
    draw(data);
    if (view.isNew) changeQuery({ new: "" });
    view.isNew = false;
    view.version = etag.split(".")[0];
    return view.version;
  }

  async function check(yaml, signal) {
    const found = await send("POST", "api/workflows/validate", { yaml, details: true }, { signal });
    if (signal.aborted) return [];
    if (found.workflow) draw(found.workflow);
    else setText(since, view.workflow ? "The graph is as of the last valid text." : "There is no graph until the text is valid.");
    return found.problems;
  }

  function draw(workflow) {
    view.workflow = { ...workflow, name };
    setText(since, "");
    graph.node.hidden = false;
    graph.setJobs(workflow.jobs.map((job) => ({ name: job.name, depends_on: job.depends_on.map((each) => each.split(":").at(-1)), status: null, note: describeJob(job) })));
  }

  function getValues(place) {
    if (place[0] === "{{") return [...Object.keys(view.workflow?.args ?? {}), ...(view.workflow?.jobs ?? []).flatMap((job) => Object.keys(job.exports ?? {}).map((key) => `deps.${job.name}.${key}`))];
    return place.join(".") === "jobs.[].depends_on.[]" ? (view.workflow?.jobs ?? []).map((job) => job.name) : [];
  }

  function showJob(job) {
    const line = text.editor.getText().split("\n").findIndex((each) => new RegExp(`\\bname:\\s*["']?${job}["']?\\s*(#|$|[,}])`).test(each));
    if (line >= 0) text.editor.goTo(line + 1, 1);
  }

  // --- acts ----------------------------------------------------------------------------------------------------------

  function run(body = {}) {
    if (view.workflow === null) return showProblemNote();
    const note = view.isUnsaved ? "What you typed is not saved: the saved workflow is run." : null;
    openRunDialog({ workflow: view.workflow, mount, body, note, whenClosed: () => readAddress().parts[1] === name && changeQuery({ run: "" }) });
  }

  async function openAsked() {
    try {
      const found = await get(path, where);
      draw(found);
      run(readQuery(query, found.args));
    } catch {
      showProblemNote();
    }
  }

  function showProblemNote() {
    setText(since, "This workflow cannot be run until its text is valid and saved.");
  }

  function makeMore() {
    return [
      h("button", { type: "button", onclick: () => openNames("Duplicate", (other) => copyTo(other)) }, "Duplicate…"),
      h("button", { type: "button", onclick: () => openNames("Rename", rename) }, "Rename…"),
      makeAction({
        label: "Delete",
        question: () => `Delete the workflow ${name}? Its runs stay.`,
        call: () => ({ method: "DELETE", path, query: where, version: view.version ?? undefined }),
        done: () => {
          text.forget();
          goTo(makeLink(["workflows"]));
          return `The workflow ${name} is deleted`;
        },
      }),
    ];
  }

  function openNames(title, act) {
    const field = h("input", { name: "filename", value: `${name}-2`, required: true, autocomplete: "off", spellcheck: "false" });
    const form = makeForm([makeField("New name", field, { hint: "Letters, digits, hyphens and underscores" })], {
      label: title,
      act: async () => {
        if (!NAME.test(field.value)) throw Object.assign(new Error("A name has only letters, digits, hyphens and underscores, 1 to 100 of them"), { problems: [] });
        await act(field.value);
        dialog.close();
        goTo(makeLink(["workflows", field.value], where));
      },
    });
    const dialog = openDialog(`${title} ${name}`, form);
    field.select();
  }

  async function copyTo(other) {
    await send("POST", "api/workflows/upload", { yaml: text.editor.getText(), filename: `${other}.yaml`, overwrite: false, ...where });
  }

  async function rename(other) {
    await copyTo(other);
    await request("DELETE", path, { query: where, version: view.version ?? undefined });
    text.forget();
  }
}

function describeJob(job) {
  const parts = [job.resources?.nodes > 1 && `${job.resources.nodes} nodes`, job.resources?.gpus_per_node && `${job.resources.gpus_per_node} GPUs`, job.resources?.time_limit];
  return parts.filter(Boolean).join(", ");
}

// The runs of the workflow, live.
function makeRuns(name) {
  const place = h("div");
  const table = makeTable({ id: "workflow-runs", label: `Runs of ${name}`, columns: RUN_COLUMNS, sort: { key: "started_at", descending: true }, getLink: (run) => makeLink(["runs", run.id]) });
  const list = makeLiveList({
    kinds: ["run"],
    load: loadList("api/workflows/runs", { workflow: name, limit: 100 }, (run) => run.id),
    getKey: (change) => (change.row && change.row.workflow_name !== name ? null : change.id),
  });
  list.listen((changed) => {
    if (list.state === "failed") return showProblem(place, "The runs", list.problem, list.reload);
    if (list.rows.size === 0) return showEmpty(place, "This workflow has not run yet.");
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(list.rows, changed);
  });
  return {
    node: h("section", { class: "pane", "aria-label": "Runs" }, h("h2", null, "Runs"), place),
    close: () => {
      list.close();
      table.close();
    },
  };
}
