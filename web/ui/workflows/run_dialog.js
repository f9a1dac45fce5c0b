// Starting a run or a sweep of a workflow: its values, a part of its jobs, axes, and first the scripts if one wants.

import { h, makeChoice, show } from "../core/dom.js";
import { get, makeKey, request, send } from "../core/api.js";
import { clearRefusal, makeCurlButton, makeField, openDialog, showRefusal } from "../core/dialog.js";
import { goTo, keepView, makeLink } from "../core/router.js";
import { notify, notifyRefusal } from "../core/notice.js";
import { writeCount, writeShortTime } from "../core/format.js";
import { keepDraft, readDraft } from "../editor/drafts.js";
import { countCells, isSame, readAxis, readValue, tidyBody, writeAxis, writeValue } from "./run_body.js";

const MANY_CELLS = 100;
const PARTS = [["from_job", "Begin with", "the first"], ["to_job", "End with", "the last"], ["single_job", "Run only", "–"]];
const PRESETS = [["terminal", "at its end"], ["running_and_terminal", "at its beginning and end"], ["all", "at each change"]];

let asked = 0;

// Open the dialog of the workflow of this name as it is saved now; `describe(workflow)` says with what.
export async function openRunOf(name, mount, describe = () => ({})) {
  const isHere = keepView(), turn = ++asked;
  try {
    const workflow = { ...(await get(`api/workflows/${encodeURIComponent(name)}`, { mount })), name };
    // Who has left wants it no more, and of several clicks the last counts.
    if (turn !== asked || !isHere() || document.querySelector("dialog[open]")) return;
    openRunDialog({ workflow, mount, ...describe(workflow) });
  } catch (problem) {
    notifyRefusal(`${name} cannot be run`, problem);
  }
}

// Open the dialog. `body` fills it; `note` is said above all; `before` are the values of an older run: they are sent
// too, and others are marked.
function openRunDialog({ workflow, mount, body = {}, before = null, note = null, whenClosed }) {
  const path = `api/workflows/${encodeURIComponent(workflow.name)}/run`;
  const query = mount ? { mount } : {};
  const draftKey = `run/${mount ?? ""}/${workflow.name}${before ? " again" : ""}`;
  const draft = isSame(body, {}) ? readDraft(draftKey) : null;
  const run = { key: makeKey(), sent: null, ...(draft ?? { body: structuredClone(body) }), isBusy: false, wrong: new Map(), endpoints: [] };
  const fields = h("div", { class: "run-fields" });
  const preview = h("div", { class: "preview" });
  const cells = h("p", { class: "hint", role: "status" });
  const raw = h("textarea", { name: "raw", rows: 6, spellcheck: "false", oninput: readRaw });
  const rawField = makeField("The same as JSON", raw, { hint: "Form and JSON say the same; what is here is sent" });
  const start = h("button", { type: "submit", class: "main" }, "Start");
  const look = button("Show the scripts", () => act(true));
  const begin = button("Begin anew", () => {
    begin.parentElement.remove();
    Object.assign(run, { body: {}, key: makeKey(), sent: null });
    draw();
  });
  const submit = (event) => {
    event.preventDefault();
    act(false);
  };
  const form = h("form", { novalidate: true, class: "run-form", onsubmit: submit },
    note && h("p", { class: "hint" }, note),
    draft && h("p", { class: "hint" }, `This is your draft of ${writeShortTime(draft.at_ms)}. `, begin),
    h("div", { class: "refusal" }),
    fields, cells, h("details", null, h("summary", null, "As JSON"), rawField),
    h("div", { class: "actions" }, start, look, makeCurlButton(() => ({ method: "POST", path, query, body: run.body }))),
    preview);
  draw();
  const dialog = openDialog(`Run ${workflow.name}`, form, { mayClose: () => !run.isBusy, whenClosed });
  get("api/endpoints").then((found) => {
    run.endpoints = found.filter((endpoint) => !endpoint.disabled_at);
    if (run.endpoints.length > 0) fields.append(drawNotice());
  }, () => {});

  // --- form ----------------------------------------------------------------------------------------------------------

  function drawFields() {
    run.wrong.clear();
    show(fields, drawArgs(), drawParts(), drawSweep(), run.endpoints.length > 0 && drawNotice());
  }

  function draw() {
    const focused = document.activeElement?.name;
    drawFields();
    if (focused) form.elements[focused]?.focus?.();
    writeRaw();
  }

  function change(changes) {
    run.body = tidyBody({ ...run.body, ...changes });
    writeRaw();
  }

  function writeRaw() {
    raw.value = JSON.stringify(run.body, null, 2);
    mark(rawField, null, "Form and JSON say the same; what is here is sent");
    keep();
  }

  function readRaw() {
    try {
      const read = JSON.parse(raw.value);
      if (!read || typeof read !== "object" || Array.isArray(read)) throw new SyntaxError("it is no mapping");
      run.body = read;
      drawFields();
      mark(rawField, null);
    } catch (problem) {
      run.wrong.set("raw", problem.message);
      mark(rawField, `This is no JSON: ${problem.message}`);
    }
    keep();
  }

  function keep() {
    const { body: typed, key, sent } = run;
    keepDraft(draftKey, isSame(typed, body) ? null : { body: typed, key, sent });
    say();
  }

  function say() {
    start.disabled = look.disabled = run.isBusy || run.wrong.size > 0;
    const sweep = run.body.sweep ?? workflow.sweep;
    const { count, isMost } = countCells(sweep);
    const many = count > MANY_CELLS ? " That is a lot: each cell is a run of its own." : "";
    cells.classList.toggle("refusal", many !== "");
    cells.textContent = sweep ? `${isMost ? "At most " : ""}${writeCount(count, "cell")}, ${sweep.max_parallel ?? 4} at once.${many}` : "";
    start.textContent = sweep ? "Start the sweep" : "Start";
  }

  function drawArgs() {
    const given = run.body.args_override ?? {};
    const varied = (run.body.sweep ?? workflow.sweep)?.matrix ?? {};
    const usual = { ...workflow.args, ...before };
    const names = Object.keys({ ...usual, ...given }).filter((name) => name in given || !(name in varied));
    return names.length > 0 && group("Values", names.map((name) => drawArg(name, usual[name], given)));
  }

  function drawArg(name, own, given) {
    const value = name in given ? given[name] : own;
    const isChanged = () => name in (run.body.args_override ?? {}) && !isSame(run.body.args_override[name], own);
    const describe = () => (isChanged() && own !== undefined ? `Changed; the ${before ? "old run had" : "workflow says"} ${writeValue(own)}` : "");
    const field = makeField(name, makeControl(name, own, value, take), { hint: describe() });
    field.classList.toggle("changed", isChanged());
    return field;

    function take(text) {
      const read = readValue(text, own === undefined ? value : own);
      const { [name]: _old, ...others } = run.body.args_override ?? {};
      noteWrong(name, read.wrong);
      if (!read.wrong) change({ args_override: isSame(read.value, own) && !before ? others : { ...others, [name]: read.value } });
      mark(field, read.wrong, describe());
      field.classList.toggle("changed", !read.wrong && !isSame(read.value, own));
    }
  }

  function noteWrong(name, wrong) {
    if (wrong) run.wrong.set(name, wrong);
    else run.wrong.delete(name);
    say();
  }

  function drawParts() {
    if (workflow.jobs.length < 2 && PARTS.every(([key]) => !run.body[key])) return null;
    const names = workflow.jobs.map((job) => job.name);
    return group("Jobs", PARTS.map(([key, title, none]) => {
      const chosen = run.body[key];
      const others = chosen && !names.includes(chosen) ? [chosen] : [];
      return makeField(title, makeSelect(key, [["", none], ...names, ...others], chosen, (name) => change({ [key]: name })));
    }));
  }

  function drawNotice() {
    const tell = (id) => {
      change(id ? { notify: true, endpoint_id: Number(id) } : { notify: null, endpoint_id: null, preset: null });
      draw();
    };
    const endpoints = run.endpoints.map(({ id, name }) => [String(id), name]);
    return group("Notification", [
      makeField("Tell", makeSelect("endpoint_id", [["", "nobody"], ...endpoints], String(run.body.endpoint_id ?? ""), tell)),
      run.body.notify && makeField("When", makeSelect("preset", PRESETS, run.body.preset ?? "terminal", (preset) => change({ preset }))),
    ]);
  }

  // --- sweep ---------------------------------------------------------------------------------------------------------

  function drawSweep() {
    const sweep = run.body.sweep;
    const put = (next) => {
      run.body = tidyBody({ ...run.body, sweep: next });
      draw();
    };
    const matrix = sweep?.matrix ?? {};
    const free = Object.keys(workflow.args ?? {}).filter((name) => !(name in matrix));
    const vary = (name) => name && put({ ...sweep, matrix: { ...matrix, [name]: [workflow.args[name]] } });
    const add = makeSelect("axis", [["", sweep ? "Add an axis…" : "Vary a value…"], ...free], "", vary);
    add.setAttribute("aria-label", "Add an axis");
    const own = workflow.sweep && `The workflow has a sweep of its own, over ${Object.keys(workflow.sweep.matrix).join(", ")}.`;
    return h("fieldset", null, h("legend", null, "Sweep"),
      !sweep && h("p", { class: "hint" }, own ?? "One run; with axes, one run for each combination of their values."),
      Object.keys(matrix).map((axis) => drawAxis(axis, sweep, put)),
      sweep && drawSettings(sweep),
      h("div", { class: "bar" }, free.length > 0 && add,
        !sweep && workflow.sweep && button("Change the workflow’s own sweep", () => put(structuredClone(workflow.sweep))),
        sweep && button("No sweep", () => put(null))));
  }

  function drawAxis(axis, sweep, put) {
    const describe = () => writeCount(countCells({ matrix: { axis: sweep.matrix[axis] } }).count, "value");
    const field = makeField(`${axis} takes`, makeInput(`axis ${axis}`, writeAxis(sweep.matrix[axis]), (text) => {
      const read = readAxis(text);
      noteWrong(`axis ${axis}`, read.wrong);
      if (!read.wrong) sweep.matrix[axis] = read.value;
      if (!read.wrong) writeRaw();
      mark(field, read.wrong, describe());
    }), { name: axis, hint: describe() });
    const remove = button("Remove", () => {
      const { [axis]: _gone, ...others } = sweep.matrix;
      put(isSame(others, {}) ? null : { ...sweep, matrix: others });
    });
    remove.setAttribute("aria-label", `Remove the axis ${axis}`);
    return h("div", { class: "axis" }, field, remove);
  }

  function drawSettings(sweep) {
    const set = (changes) => {
      Object.assign(sweep, changes);
      writeRaw();
    };
    const most = sweep.max_parallel ?? 4;
    const limit = (event) => set({ max_parallel: Number(event.target.value) });
    const many = h("input", { name: "max_parallel", type: "number", min: 1, value: most, oninput: limit });
    const stop = (event) => set({ fail_fast: event.target.checked });
    const fast = h("input", { name: "fail_fast", type: "checkbox", checked: Boolean(sweep.fail_fast), onchange: stop });
    const check = h("label", { class: "check" }, fast, " Cancel what is left once a cell has failed");
    return [h("div", { class: "fields" }, makeField("Cells at once", many)), check];
  }

  // --- calls ---------------------------------------------------------------------------------------------------------

  async function act(isDry) {
    if (run.isBusy || run.wrong.size > 0) return;
    const text = JSON.stringify(run.body);
    if (run.sent !== null && run.sent !== text) run.key = makeKey(); // another intention than the one that was sent
    run.isBusy = true;
    say();
    clearRefusal(form);
    try {
      if (isDry) drawPreview(await send("POST", path, { ...run.body, dry_run: true }, { query }));
      else {
        run.sent = text;
        keep();
        const { data } = await request("POST", path, { body: run.body, query, key: run.key });
        keepDraft(draftKey, null);
        run.isBusy = false;
        dialog.close();
        for (const warning of data.warnings ?? []) notify(warning, { lasts_ms: 0 });
        goTo(data.sweep_run_id ? makeLink(["sweeps", String(data.sweep_run_id)]) : makeLink(["runs", data.id]));
        return;
      }
    } catch (problem) {
      show(preview);
      showRefusal(form, problem);
    }
    run.isBusy = false;
    say();
  }

  function drawPreview(data) {
    const scripts = writeCount(data.jobs.length, "script");
    const first = `The ${scripts} of the first of ${writeCount(data.cell_count ?? 0, "cell")}`;
    const title = data.cells ? first : `${scripts} would be submitted`;
    show(preview, h("h3", { tabindex: -1 }, title),
      (data.warnings ?? []).map((warning) => h("p", { class: "hint" }, `! ${warning}`)),
      data.jobs.map((job) => h("details", { open: data.jobs.length < 4 },
        h("summary", null, job.name, h("small", { class: "hint" }, job.depends_on.length > 0 && ` after ${job.depends_on.join(", ")}`)),
        h("pre", { tabindex: 0 }, job.script))));
    preview.firstElementChild.focus();
  }
}

const group = (title, ...fields) => h("fieldset", null, h("legend", null, title), h("div", { class: "fields" }, fields));
const button = (label, onclick) => h("button", { onclick }, label);
const makeSelect = (name, choices, chosen, take) => Object.assign(makeChoice(null, choices, chosen ?? "", take), { name });
const makeInput = (name, value, take, rows) =>
  h(rows ? "textarea" : "input", { name, rows, value, autocomplete: "off", spellcheck: "false", oninput: (event) => take(event.target.value) });

function makeControl(name, like, value, take) {
  if (typeof like === "boolean") return makeSelect(name, ["true", "false"], String(value), take);
  const text = writeValue(value ?? "");
  const control = makeInput(name, text, take, typeof like === "object" ? 2 : text.includes("\n") && 3);
  if (typeof like === "number") control.inputMode = "decimal";
  return control;
}

function mark(field, wrong, hint = "") {
  field.classList.toggle("wrong", Boolean(wrong));
  field.querySelector("small").textContent = wrong ?? hint;
}
