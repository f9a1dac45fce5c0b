// One workflow: its text under the editor, its graph beside it, its runs below.

import { h, setText, show } from "../core/dom.js";
import { get, getWhole, request, send } from "../core/api.js";
import { makeButton } from "../core/action.js";
import { hearChanges } from "../core/live.js";
import { makeListView } from "../core/list_view.js";
import { changeQuery, goTo, makeLink, readAddress } from "../core/router.js";
import { showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { explainLack } from "../core/signin.js";
import { writeDuration } from "../core/format.js";
import { makeTextDocument } from "../editor/document.js";
import { complete } from "../editor/completion.js";
import { makeGraph } from "../parts/graph.js";
import { measureRun, writeArgs } from "../run/facts.js";
import { makeFileActs } from "../workflows/files.js";
import { openRunOf } from "../workflows/run_dialog.js";
import { readQuery } from "../workflows/run_body.js";
import { START_TEXTS } from "../workflows/start_texts.js";

const MOST_RUNS = 100;
const RUN_COLUMNS = [
  { key: "id", title: "Run", width: "minmax(8rem, 1fr)", link: (run) => ["runs", run.id], write: nameRun },
  { key: "status", title: "State", width: "8rem", kind: "state" },
  { key: "started_at", title: "Started", width: "11rem", kind: "time" },
  {
    key: "took", title: "Took", width: "6rem", numeric: true, value: (run) => measureRun(run),
    write: (run) => writeDuration(measureRun(run)), ticks: (run) => run.completed_at === null,
  },
  { key: "args", title: "Values", width: "minmax(10rem, 2fr)", value: (run) => writeArgs(run.args) },
  { key: "error", title: "What failed", width: "minmax(10rem, 2fr)", value: (run) => run.error?.split("\n")[0] },
];

// Open the view.
export function open(outlet, { params: { name }, query }) {
  const mount = query.get("mount");
  const where = mount ? { mount } : {};
  const path = `api/workflows/${encodeURIComponent(name)}`;
  const lack = explainLack("write");
  const view = { workflow: null, version: null, isUnsaved: false, isNew: query.has("new"), schema: null };
  const graph = makeGraph({ label: `Jobs of ${name}`, whenSelected: (job) => job !== null && showJob(job) });
  const since = h("p", { class: "hint", role: "status" });
  const text = makeTextDocument({
    key: `workflows/${mount ?? ""}/${name}`,
    title: `The workflow ${name}`,
    label: `Text of the workflow ${name}`,
    lack,
    initial: view.isNew ? (START_TEXTS[query.get("new")]?.text.replaceAll("NAME", name) ?? "") : null,
    load,
    save,
    describe: write,
    check: lack ? null : check,
    complete: (source, caret) => view.schema && complete(source, caret, { schema: view.schema, getValues }),
    whenMissing: () => {
      const writeIt = makeButton("Write it", () => goTo(makeLink(["workflows", name], { ...where, new: "one" })), { scope: "write" });
      const all = h("a", { href: makeLink(["workflows"]) }, "All workflows");
      showEmpty(outlet, `There is no workflow ${name}. It may have been renamed or deleted.`, writeIt, " ", all);
    },
    whenChanged: ({ isUnsaved }) => {
      view.isUnsaved = isUnsaved;
      setTitle(`${isUnsaved ? "● " : ""}${name}`);
    },
  });
  const acts = makeFileActs({
    kind: "workflows",
    name,
    where,
    text,
    copy: (other) => write(text.editor.getText(), null, other),
    remove: () => ({ method: "DELETE", path, query: where, version: view.version ?? undefined }),
    note: " Its runs stay.",
  });
  const runs = makeRuns(name, mount, query);
  show(outlet,
    h("div", { class: "bar" },
      h("h1", null, name), h("span", { class: "count" }, mount && `in the mount ${mount}`),
      makeButton("Run…", () => run(false), { scope: "write", class: "main" }), acts),
    h("div", { class: "workflow" }, text.node, h("section", { class: "pane", "aria-label": "Graph" }, since, graph.node)),
    h("section", { class: "pane", "aria-label": "Runs" }, runs.nodes));
  graph.node.hidden = true;
  if (!lack) get("api/schemas/workflow").then((schema) => (view.schema = schema)).catch(() => {});
  const isOwn = (change) => change.kind === "problem" ? change.id.includes(`/${name}.`) : change.id === name && (change.parent ?? null) === mount;
  const stop = hearChanges(["workflow", "problem"], (changes) => {
    const last = changes.findLast(isOwn);
    if (last) text.reload(last.kind === "workflow" && last.action === "deleted");
  }, () => text.reload());
  if (query.get("run")) run(true);
  return () => {
    stop();
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
    if (!data.valid) tellOld(data.workflow);
    return { text: data.text, version: view.version, problems: data.problems };
  }

  function write(yaml, version, other = name) {
    const body = { yaml, filename: `${other}.yaml`, overwrite: version !== null, ...where };
    return { method: "POST", path: "api/workflows/upload", body, version: version ?? undefined };
  }

  async function save(yaml, version) {
    const { method, path: to, ...options } = write(yaml, version);
    const { etag, data } = await request(method, to, options);
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
    else tellOld(view.workflow);
    return found.problems;
  }

  function tellOld(workflow) {
    setText(since, workflow ? "The graph is as of the last valid text." : "There is no graph until the text is valid.");
  }

  function draw(workflow) {
    view.workflow = { ...workflow, name };
    setText(since, "");
    graph.node.hidden = false;
    graph.setJobs(workflow.jobs.map(({ name: job, depends_on, resources }) => ({
      name: job,
      depends_on: depends_on.map((each) => each.split(":").at(-1)),
      status: null,
      note: describeResources(resources),
    })));
  }

  function getValues(place) {
    const { args, jobs = [] } = view.workflow ?? {};
    const listExports = (job) => Object.keys(job.exports ?? {}).map((key) => `deps.${job.name}.${key}`);
    if (place[0] === "{{") return [...Object.keys(args ?? {}), ...jobs.flatMap(listExports)];
    return place.join(".") === "jobs.[].depends_on.[]" ? jobs.map((job) => job.name) : [];
  }

  function showJob(job) {
    const isIts = new RegExp(`\\bname:\\s*["']?${job.replace(/\W/g, "\\$&")}["']?\\s*(#|$|[,}])`);
    const line = text.editor.getText().split("\n").findIndex((each) => isIts.test(each));
    if (line >= 0) text.editor.goTo(line + 1, 1);
  }

  // --- acts ----------------------------------------------------------------------------------------------------------

  // What is run is what is saved, whatever stands in the editor.
  function run(isAsked) {
    return openRunOf(name, mount, ({ args }) => ({
      body: isAsked ? readQuery(query, args) : {},
      note: view.isUnsaved ? "What you typed is not saved: the saved workflow is run." : null,
      whenClosed: () => readAddress().parts[1] === name && changeQuery({ run: "" }),
    }));
  }
}

function describeResources({ nodes, gpus_per_node: gpus, time_limit: limit } = {}) {
  return [nodes > 1 && `${nodes} nodes`, gpus && `${gpus} GPUs`, limit].filter(Boolean).join(", ");
}

// All cells of a sweep have ids that begin alike, and end with the cell's number.
function nameRun({ id, sweep_run_id: sweep }) {
  return sweep ? `sweep ${sweep}, cell ${parseInt(id.slice(-8), 16)}` : id.slice(0, 8);
}

// The runs of the workflow, live.
function makeRuns(name, mount, query) {
  const isOwn = (run) => run.workflow_name === name && (run.mount ?? null) === mount;
  return makeListView({
    query,
    id: "workflow-runs",
    title: "Runs",
    heading: null,
    noun: "run",
    columns: RUN_COLUMNS,
    sort: "-started_at",
    kinds: ["run"],
    load: async ({ signal }) => {
      const { data, change } = await getWhole("api/workflows/runs", { workflow: name, limit: MOST_RUNS }, { signal });
      return { rows: data.filter(isOwn).map((run) => [run.id, run]), change };
    },
    getRow: ({ row }) => (row && isOwn(row) ? row : null),
    getLink: (run) => makeLink(["runs", run.id]),
    none: () => ["This workflow has not run yet."],
  });
}
