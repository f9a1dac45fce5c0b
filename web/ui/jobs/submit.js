// The dialog that submits a job: from a script, a template or an older job. What it shows is what is sent, once.

import { debounce, h, makeId, setText, show } from "../core/dom.js";
import { makeKey, request } from "../core/api.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { notify, showProblem } from "../core/notice.js";
import { changeQuery, makeLink } from "../core/router.js";
import { writeShortTime } from "../core/format.js";
import { may, showDenied } from "../core/signin.js";
import { FIELDS, findDirective, makeBody, readDirectives, writeValues } from "./submit_fields.js";
import { listTemplates, readChoices, readOldJob, renderTemplate } from "./submit_sources.js";

const PATH = "api/v1/jobs";
const FIRST_SCRIPT = "#!/bin/bash\n#SBATCH --time=1:00:00\n\n";
const KEEP_MS = 150;

// Open the dialog from an address: `script=…&nodes=2`, `from=42`, or `template=torch`.
export function openSubmitFromAddress(text) {
  const { from, template, ...values } = Object.fromEntries(new URLSearchParams(text));
  return openSubmit({ from, template, values });
}

// Open the dialog, filled from an older job (`from`), with a template chosen, or with values of fields.
export function openSubmit({ from = null, template = null, values = {} } = {}) {
  const title = from ? `Run job ${from} again` : "Submit a job";
  const place = h("div", { class: "submit" });
  const dialog = openDialog(title, place, { whenClosed: () => changeQuery({ submit: "" }) });
  dialog.node.classList.add("wide");
  if (!may("write")) showDenied(place, "write");
  else if (from) fillFromJob(dialog, place, from);
  else drawForm(dialog, place, { draftName: "submit", values: { script: FIRST_SCRIPT, ...writeValues(values) }, isGiven: Object.keys(values).length > 0, template });
  return dialog;
}

async function fillFromJob(dialog, place, from) {
  show(place, h("p", { class: "hint" }, `Reading job ${from}…`));
  try {
    const { values, remarks } = await readOldJob(from);
    drawForm(dialog, place, { draftName: `submit:${from}`, values, old: values, remarks });
  } catch (problem) {
    showProblem(place, `Job ${from}`, problem, () => fillFromJob(dialog, place, from));
  }
}

function readDraft(name) {
  return JSON.parse(sessionStorage.getItem(`draft:${name}`) ?? "null");
}

function drawForm(dialog, place, { draftName, values, old = null, remarks = [], isGiven = false, template = null }) {
  const draft = isGiven ? null : readDraft(draftName);
  const begun = { ...values, ...draft?.values };
  let key = draft?.key ?? makeKey(); // made with the dialog: one dialog is one job, however often it is sent
  const script = h("textarea", { name: "script", rows: 12, wrap: "off", spellcheck: "false", autocapitalize: "off", value: begun.script ?? "", autofocus: true });
  const fields = FIELDS.map((field) => ({ ...field, control: makeControl(field, begun[field.name] ?? "") }));
  const controls = [script, ...fields.map(({ control }) => control)];
  const readValues = () => Object.fromEntries(controls.map((control) => [control.name, control.value]));
  const sent = h("pre");
  const nodes = fields.map((field) => ({ ...field, node: makeField(field.label, field.control, { hint: field.unit, name: field.name }) }));

  const keep = debounce(() => dialog.node.isConnected && sessionStorage.setItem(`draft:${draftName}`, JSON.stringify({ values: readValues(), key, at: Date.now() })), KEEP_MS);

  function drawMarks() {
    const now = readValues();
    const directives = readDirectives(now.script);
    setText(sent, JSON.stringify(makeBody(now), null, 2));
    for (const { name, node, control, unit, ...field } of nodes) {
      const said = findDirective(field, directives);
      control.placeholder = said === null ? "" : `${said} (script)`;
      markChange(node, old && (old[name] ?? "") !== now[name] ? `was ${shorten(old[name]) || "empty"}` : null, unit);
    }
    markChange(scriptField, old && old.script !== now.script ? "The script was changed" : null, SCRIPT_HINT);
  }

  async function act() {
    try {
      const { data } = await request("POST", PATH, { body: makeBody(readValues()), key });
      sessionStorage.removeItem(`draft:${draftName}`);
      dialog.close();
      notify(h("span", null, "Job ", h("a", { href: makeLink(["jobs", data.job_id]) }, data.job_id), " is submitted."));
    } catch (problem) {
      const isSpent = problem.problems.some(({ loc }) => loc.includes("Idempotency-Key"));
      // A refusal is an answer: nothing was submitted, and what is sent next is another request.
      if (problem.status >= 400 && problem.status < 500) key = makeKey();
      keep();
      if (isSpent) throw Object.assign(problem, { problems: [], message: "An earlier try of this dialog has become a job already: look at the list of jobs. Submit once more to make another one." });
      throw problem;
    }
  }

  const scriptField = makeField("Script", script, { hint: SCRIPT_HINT, name: "script" });
  const usual = nodes.filter(({ isRare }) => !isRare);
  const rare = nodes.filter(({ isRare }) => isRare);
  const isRareUsed = rare.some(({ control }) => control.value !== "");
  const form = makeForm(
    [
      draft && makeDraftNote(draft, () => {
        sessionStorage.removeItem(`draft:${draftName}`);
        drawForm(dialog, place, { draftName, values, old, remarks, isGiven, template });
      }),
      remarks.map((remark) => h("p", { class: "hint" }, remark)),
      !old && makeSources(script, template),
      scriptField,
      h("div", { class: "fields" }, usual.map(({ node }) => node)),
      h("details", { open: isRareUsed }, h("summary", null, "Account, files, dependencies, variables"), h("div", { class: "fields" }, rare.map(({ node }) => node))),
      h("details", null, h("summary", null, "What is sent"), sent),
    ],
    { label: "Submit", act, describe: () => ({ method: "POST", path: PATH, body: makeBody(readValues()) }) },
  );
  form.addEventListener("input", () => {
    drawMarks();
    keep();
  });
  takeFiles(script);
  show(place, form);
  drawMarks();
  script.focus();
  if (old === null) script.setSelectionRange(script.value.length, script.value.length);
  readChoices().then((choices) => offerChoices(form, fields, choices));
}

const SCRIPT_HINT = "Begins with #!. What is given below wins over its #SBATCH lines. A file can be dropped here.";

const shorten = (text = "") => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

function makeControl(field, value) {
  if (field.isLong) return h("textarea", { name: field.name, rows: 3, spellcheck: "false", value });
  return h("input", { name: field.name, value, autocomplete: "off", spellcheck: "false", inputmode: field.isNumber ? "numeric" : null });
}

function markChange(node, words, hint) {
  if (node.classList.contains("wrong")) return; // what the server said stands until it is sent again
  node.classList.toggle("changed", words !== null);
  setText(node.querySelector("small"), words ?? hint ?? "");
}

function makeDraftNote({ at }, forget) {
  return h("p", { class: "hint" }, `This is your draft of ${writeShortTime(at)}. `, h("button", { type: "button", class: "plain", onclick: forget }, "Begin anew"));
}

// A file that is chosen or dropped becomes the script; typed text can be had back by undoing.
function takeFiles(script) {
  script.addEventListener("dragover", (event) => event.preventDefault());
  script.addEventListener("drop", async (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    putText(script, await file.text());
  });
}

function putText(script, text) {
  script.focus();
  script.select();
  document.execCommand("insertText", false, text);
}

function makeSources(script, template) {
  const file = h("input", { type: "file", class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: async () => file.files[0] && putText(script, await file.files[0].text()) });
  const older = h("input", { name: "", placeholder: "Id", "aria-label": "Id of an older job", size: 8, oninput: (event) => event.stopPropagation() });
  const fromJob = () => older.value.trim() && (older.closest("dialog").querySelector("header button").click(), openSubmit({ from: older.value.trim() }));
  older.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    fromJob();
  });
  const parts = h("span", { class: "actions" });
  const node = h("div", { class: "actions" }, h("button", { type: "button", onclick: () => file.click() }, "Open a file…"), file, h("span", { class: "actions" }, older, h("button", { type: "button", onclick: fromJob }, "As an older job")), parts);
  listTemplates().then((templates) => drawTemplates(parts, templates, script, template), () => {});
  return node;
}

function drawTemplates(place, templates, script, chosen) {
  const id = makeId("template");
  const select = h("select", { id, name: "", "aria-label": "Template" }, h("option", { value: "" }, "Template…"), templates.map(({ name, description }) => h("option", { value: name, title: description }, name)));
  const command = h("input", { name: "", placeholder: "Command, such as python train.py", "aria-label": "Command for the template", hidden: true, oninput: (event) => event.stopPropagation() });
  const wrong = h("span", { class: "refusal", role: "status" });
  const fill = h("button", { type: "button", hidden: true }, "Fill in");
  const choose = () => (command.hidden = fill.hidden = select.value === "");
  const render = async () => {
    try {
      setText(wrong, "");
      putText(script, await renderTemplate(select.value, splitWords(command.value)));
    } catch (problem) {
      setText(wrong, problem.message);
    }
  };
  select.addEventListener("change", choose);
  fill.addEventListener("click", render);
  command.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    render();
  });
  show(place, select, command, fill, wrong);
  if (chosen) select.value = chosen;
  choose();
}

// Split a command as a shell would, but for what a shell puts in place of variables.
function splitWords(text) {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare);
}

function offerChoices(form, fields, choices) {
  for (const { list, control } of fields) {
    const offered = choices[list] ?? [];
    if (offered.length === 0) continue;
    const id = makeId("offer");
    form.append(h("datalist", { id }, offered.map(({ value, hint }) => h("option", { value }, hint ?? ""))));
    control.setAttribute("list", id);
  }
}
