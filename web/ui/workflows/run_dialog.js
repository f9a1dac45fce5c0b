// Starting a run or a sweep of a workflow: its values, a part of its jobs, axes, and first the scripts if one wants.

import { h, show } from "../core/dom.js";
import { makeKey, request, send } from "../core/api.js";
import { makeCurlButton, makeField, openDialog, showRefusal, clearRefusal } from "../core/dialog.js";
import { goTo, makeLink } from "../core/router.js";
import { notify } from "../core/notice.js";
import { writeCount } from "../core/format.js";
import { countCells, isSame, readAxis, readValue, tidyBody, writeAxis, writeValue } from "./run_body.js";

const MANY_CELLS = 100;
const PARTS = [["from_job", "Begin with"], ["to_job", "End with"], ["single_job", "Run only"]];

// Open the dialog of a workflow as answers show it. `body` fills it; `note` is said above all.
export function openRunDialog({ workflow, mount = null, body = {}, note = null, whenClosed }) {
  const run = { body: structuredClone(body), key: makeKey(), sent: null, isBusy: false, wrong: new Map() };
  const path = `api/workflows/${encodeURIComponent(workflow.name)}/run`;
  const query = mount ? { mount } : {};
  const fields = h("div", { class: "run-fields" });
  const preview = h("div", { class: "preview" });
  const cells = h("p", { class: "hint", role: "status" });
  const raw = h("textarea", { name: "raw", rows: 6, spellcheck: "false", oninput: readRaw });
  const rawField = makeField("The same as JSON", raw, { name: "raw", hint: "Form and JSON say the same; what is here is sent" });
  const start = h("button", { type: "submit", class: "main" }, "Start");
  const look = h("button", { type: "button", onclick: () => act(true) }, "Show the scripts");
  const form = h("form", { novalidate: true, class: "run-form" },
    note && h("p", { class: "hint" }, note),
    h("div", { class: "refusal" }),
    fields, cells, h("details", null, h("summary", null, "As JSON"), rawField),
    h("div", { class: "actions" }, start, look, makeCurlButton(() => ({ method: "POST", path, query, body: run.body }))),
    preview);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(false);
  });
  const dialog = openDialog(`Run ${workflow.name}`, form, { mayClose: () => !run.isBusy, whenClosed });
  draw();

  // --- form ----------------------------------------------------------------------------------------------------------

  function draw() {
    const focused = document.activeElement?.name;
    run.wrong.clear();
    show(fields, drawArgs(), drawParts(), drawSweep());
    if (focused) form.elements[focused]?.focus?.();
    writeRaw();
  }

  function change(changes) {
    run.body = tidyBody({ ...run.body, ...changes });
    writeRaw();
  }

  function writeRaw() {
    raw.value = JSON.stringify(run.body, null, 2);
    say();
  }

  function readRaw() {
    try {
      const read = JSON.parse(raw.value);
      if (read === null || typeof read !== "object" || Array.isArray(read)) throw new SyntaxError("it is no mapping");
      run.body = read;
      run.wrong.clear();
      show(fields, drawArgs(), drawParts(), drawSweep());
      mark(rawField, null);
    } catch (problem) {
      run.wrong.set("raw", problem.message);
      mark(rawField, `This is no JSON: ${problem.message}`);
    }
    say();
  }

  function say() {
    start.disabled = look.disabled = run.isBusy || run.wrong.size > 0;
    const sweep = run.body.sweep ?? workflow.sweep;
    const { count, isMost } = countCells(sweep);
    const many = count > MANY_CELLS ? " That is a lot: each cell is a run of its own." : "";
    cells.classList.toggle("refusal", count > MANY_CELLS);
    cells.textContent = sweep ? `${isMost ? "At most " : ""}${writeCount(count, "cell")}, ${sweep.max_parallel ?? 4} at once.${many}` : "";
    start.textContent = sweep ? "Start the sweep" : "Start";
  }

  function mark(field, wrong, hint = "") {
    field.classList.toggle("wrong", Boolean(wrong));
    field.querySelector("small").textContent = wrong ?? hint;
  }

  function drawArgs() {
    const given = run.body.args_override ?? {};
    const names = [...new Set([...Object.keys(workflow.args ?? {}), ...Object.keys(given)])];
    return names.length > 0 && h("fieldset", { class: "pair" }, h("legend", null, "Values"), names.map((name) => drawArg(name, workflow.args?.[name], given)));
  }

  function drawArg(name, own, given) {
    const value = name in given ? given[name] : own;
    const choices = workflow.sweep?.matrix?.[name];
    const field = makeField(name, makeControl(name, own, value, take), { name, hint: describeChange() });
    if (Array.isArray(choices)) {
      const list = h("datalist", { id: `${field.querySelector("input")?.id}-choices` }, choices.map((choice) => h("option", { value: writeValue(choice) })));
      field.querySelector("input")?.setAttribute("list", list.id);
      field.append(list);
    }
    field.classList.toggle("changed", name in given);
    return field;

    function describeChange() {
      return name in (run.body.args_override ?? {}) && own !== undefined ? `Changed; the workflow says ${writeValue(own)}` : "";
    }

    function take(text) {
      const read = readValue(text, own === undefined ? value : own);
      if (read.wrong) run.wrong.set(name, read.wrong);
      else run.wrong.delete(name);
      const { [name]: _old, ...others } = run.body.args_override ?? {};
      if (!read.wrong) change({ args_override: isSame(read.value, own) ? others : { ...others, [name]: read.value } });
      mark(field, read.wrong, describeChange());
      field.classList.toggle("changed", !read.wrong && !isSame(read.value, own));
      say();
    }
  }

  function makeControl(name, like, value, take) {
    const text = writeValue(value ?? "");
    if (typeof like === "boolean") return h("select", { name, onchange: (event) => take(event.target.value) }, ["true", "false"].map((word) => h("option", { value: word, selected: word === text }, word)));
    const oninput = (event) => take(event.target.value);
    if (like !== undefined && typeof like === "object") return h("textarea", { name, rows: 2, spellcheck: "false", value: writeValue(value), oninput });
    if (text.includes("\n")) return h("textarea", { name, rows: 3, spellcheck: "false", value: text, oninput });
    return h("input", { name, value: text, inputmode: typeof like === "number" ? "decimal" : null, autocomplete: "off", spellcheck: "false", oninput });
  }

  function drawParts() {
    if (workflow.jobs.length < 2 && PARTS.every(([key]) => !run.body[key])) return null;
    return h("fieldset", { class: "pair" }, h("legend", null, "Jobs"), PARTS.map(([key, title]) => {
      const names = workflow.jobs.map((job) => job.name);
      if (run.body[key] && !names.includes(run.body[key])) names.push(run.body[key]);
      const options = [h("option", { value: "" }, key === "single_job" ? "–" : key === "from_job" ? "the first" : "the last"), ...names.map((name) => h("option", { value: name, selected: run.body[key] === name }, name))];
      return makeField(title, h("select", { name: key, onchange: (event) => change({ [key]: event.target.value }) }, options), { name: key });
    }));
  }

  // --- sweep ---------------------------------------------------------------------------------------------------------

  function drawSweep() {
    const sweep = run.body.sweep;
    const add = (matrix) => {
      run.body.sweep = { ...(run.body.sweep ?? {}), matrix };
      draw();
    };
    const free = Object.keys(workflow.args ?? {}).filter((name) => !(name in (sweep?.matrix ?? {})));
    const more = h("select", { "aria-label": "Add an axis", onchange: (event) => {
      if (event.target.value) add({ ...(sweep?.matrix ?? {}), [event.target.value]: [workflow.args[event.target.value]] });
    } }, h("option", { value: "" }, sweep ? "Add an axis…" : "Vary a value…"), free.map((name) => h("option", { value: name }, name)));
    const own = !sweep && workflow.sweep && h("button", { type: "button", onclick: () => {
      run.body.sweep = structuredClone(workflow.sweep);
      draw();
    } }, "Change the workflow's own sweep");
    return h("fieldset", null, h("legend", null, "Sweep"),
      !sweep && h("p", { class: "hint" }, workflow.sweep ? `The workflow has a sweep of its own, over ${Object.keys(workflow.sweep.matrix).join(", ")}.` : "One run; with axes, one run for each combination of their values."),
      sweep && Object.entries(sweep.matrix ?? {}).map(([axis, values]) => drawAxis(axis, values)),
      sweep && drawSettings(sweep),
      h("div", { class: "bar" }, free.length > 0 && more, own, sweep && h("button", { type: "button", onclick: () => {
        delete run.body.sweep;
        draw();
      } }, "No sweep")));
  }

  function drawAxis(axis, values) {
    const input = h("input", { name: `axis ${axis}`, value: writeAxis(values), autocomplete: "off", spellcheck: "false", oninput: () => {
      const read = readAxis(input.value);
      if (read.wrong) run.wrong.set(`axis ${axis}`, read.wrong);
      else {
        run.wrong.delete(`axis ${axis}`);
        run.body.sweep.matrix[axis] = read.value;
        writeRaw();
      }
      mark(field, read.wrong, describe());
      say();
    } });
    const describe = () => writeCount(countCells({ matrix: { axis: run.body.sweep.matrix[axis] } }).count, "value");
    const remove = h("button", { type: "button", "aria-label": `Remove the axis ${axis}`, onclick: () => {
      const { [axis]: _gone, ...others } = run.body.sweep.matrix;
      if (Object.keys(others).length > 0) run.body.sweep.matrix = others;
      else delete run.body.sweep;
      draw();
    } }, "Remove");
    const field = makeField(`${axis} takes`, input, { name: axis, hint: describe() });
    return h("div", { class: "axis" }, field, remove);
  }

  function drawSettings(sweep) {
    const set = (changes) => {
      Object.assign(run.body.sweep, changes);
      writeRaw();
    };
    const many = h("input", { name: "max_parallel", type: "number", min: 1, value: sweep.max_parallel ?? 4, oninput: (event) => set({ max_parallel: Number(event.target.value) }) });
    const fast = h("input", { name: "fail_fast", type: "checkbox", checked: Boolean(sweep.fail_fast), onchange: (event) => set({ fail_fast: event.target.checked }) });
    return h("div", { class: "pair" }, makeField("Cells at once", many, { name: "max_parallel" }), h("label", { class: "check" }, fast, " Cancel what is left once a cell has failed"));
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
        const { data } = await request("POST", path, { body: run.body, query, key: run.key });
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
    const first = data.cells ? `The scripts of the first of ${writeCount(data.cell_count, "cell")}` : `${writeCount(data.jobs.length, "script")} would be submitted`;
    show(preview, h("h3", { tabindex: -1 }, first),
      (data.warnings ?? []).map((warning) => h("p", { class: "hint" }, `! ${warning}`)),
      data.jobs.map((job) => h("details", { open: data.jobs.length < 4 },
        h("summary", null, job.name, job.depends_on.length > 0 && h("small", { class: "hint" }, ` after ${job.depends_on.join(", ")}`)),
        h("pre", { class: "window", tabindex: 0 }, job.script))));
    preview.firstElementChild.focus();
  }
}
