// The dialog that submits a job: from a script, a template or an older job. What it shows is what is sent, once.

import { makeButton } from "../core/action.js";
import { debounce, h, keepText, makeChoice, makeId, readKeptJson, setAttribute, setText, show } from "../core/dom.js";
import { makeKey, request } from "../core/api.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { notify, showProblem } from "../core/notice.js";
import { changeQuery, makeLink } from "../core/router.js";
import { writeShortTime } from "../core/format.js";
import { may, showDenied } from "../core/signin.js";
import { typeInto } from "../parts/offer.js";
import { FIELDS, findDirective, makeBody, readDirectives, writeValues } from "./submit_fields.js";
import { listTemplates, readChoices, readOldJob, renderTemplate } from "./submit_sources.js";

const PATH = "api/v1/jobs";
const FIRST_SCRIPT = "#!/bin/bash\n#SBATCH --time=1:00:00\n\n";
const SCRIPT_HINT = "Begins with #!. What is given below wins over its #SBATCH lines. A file can be dropped here.";
const SPENT = "An earlier try of this dialog has become a job already: look at the list of jobs. Submit once more to make another one.";
const KEEP_MS = 150;

// Open the dialog from an address: `script=…&nodes=2`, `from=42`, or `template=torch`.
export function openSubmitFromAddress(text) {
  const { from, template, ...values } = Object.fromEntries(new URLSearchParams(text));
  return openSubmit({ from, template, values });
}

// Open the dialog, filled from an older job (`from`), with a template chosen, or with values of fields.
export function openSubmit({ from = null, template = null, values = {} } = {}) {
  const place = h("div", { class: "submit" });
  const dialog = openDialog(from ? `Run job ${from} again` : "Submit a job", place, { whenClosed: () => changeQuery({ submit: "" }) });
  dialog.node.classList.add("wide");
  if (!may("write")) showDenied(place, "write");
  else if (from) fillFromJob(dialog, place, from);
  else {
    const isGiven = Object.keys(values).length > 0;
    drawForm(dialog, place, { draftName: "submit", values: { script: FIRST_SCRIPT, ...writeValues(values) }, isGiven, template });
  }
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

function drawForm(dialog, place, given) {
  const { draftName, values, old = null, remarks = [], isGiven = false, template = null } = given;
  const draftKey = `draft:${draftName}`;
  const draft = isGiven ? null : readKeptJson(draftKey, "sessionStorage");
  const begun = { ...values, ...draft?.values };
  let key = draft?.key ?? makeKey(); // made with the dialog: one dialog is one job, however often it is sent
  const props = { name: "script", rows: 12, wrap: "off", spellcheck: "false", autocapitalize: "off", autofocus: true };
  const script = h("textarea", { ...props, value: begun.script ?? "" });
  const fields = FIELDS.map((field) => {
    const control = makeControl(field, begun[field.name] ?? "");
    return { ...field, control, node: makeField(field.label, control, { hint: field.unit, name: field.name }) };
  });
  const scriptField = makeField("Script", script, { hint: SCRIPT_HINT, name: "script" });
  const readValues = () => Object.fromEntries([script, ...fields.map(({ control }) => control)].map(({ name, value }) => [name, value]));
  const describe = () => ({ method: "POST", path: PATH, body: makeBody(readValues()) });
  const sent = h("pre");
  const forget = () => keepText(draftKey, null, "sessionStorage");
  const writeDraft = () => JSON.stringify({ values: readValues(), key, at: Date.now() });
  const keepNow = () => dialog.node.isConnected && keepText(draftKey, writeDraft(), "sessionStorage");
  const keep = debounce(keepNow, KEEP_MS);

  function drawMarks() {
    const now = readValues();
    const directives = readDirectives(now.script);
    setText(sent, JSON.stringify(describe().body, null, 2));
    for (const { name, node, control, unit, ...field } of fields) {
      const said = findDirective(field, directives);
      control.placeholder = said === null ? "" : `${said} (script)`;
      markChange(node, old && (old[name] ?? "") !== now[name] ? `was ${shorten(old[name]) || "empty"}` : null, unit);
    }
    markChange(scriptField, old && old.script !== now.script ? "The script was changed" : null, SCRIPT_HINT);
  }

  async function act() {
    try {
      const { data } = await request("POST", PATH, { body: describe().body, key });
      forget();
      dialog.close();
      notify(h("span", null, "Job ", h("a", { href: makeLink(["jobs", data.job_id]) }, data.job_id), " is submitted."));
    } catch (problem) {
      const isSpent = problem.problems.some(({ loc }) => loc.includes("Idempotency-Key"));
      // A refusal is an answer: nothing was submitted, and what is sent next is another request.
      if (problem.status >= 400 && problem.status < 500) key = makeKey();
      keep();
      throw isSpent ? Object.assign(problem, { problems: [], message: SPENT }) : problem;
    }
  }

  function beginAnew() {
    forget();
    drawForm(dialog, place, given);
  }

  const isRareUsed = fields.some(({ isRare, control }) => isRare && control.value !== "");
  const listFields = (isRare) => h("div", { class: "fields" }, fields.filter((field) => Boolean(field.isRare) === isRare).map(({ node }) => node));
  const form = makeForm(
    [
      draft && h("p", { class: "hint" }, `This is your draft of ${writeShortTime(draft.at)}. `, makeButton("Begin anew", beginAnew, { class: "plain" })),
      remarks.map((remark) => h("p", { class: "hint" }, remark)),
      !old && makeSources(script, template),
      scriptField,
      listFields(false),
      h("details", { open: isRareUsed }, h("summary", null, "Account, files, dependencies, variables"), listFields(true)),
      h("details", null, h("summary", null, "What is sent"), sent),
    ],
    { label: "Submit", act, describe },
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

const shorten = (text = "") => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

function makeControl({ name, isLong, isNumber }, value) {
  if (isLong) return h("textarea", { name, rows: 3, spellcheck: "false", value });
  return h("input", { name, value, autocomplete: "off", spellcheck: "false", inputmode: isNumber ? "numeric" : null });
}

function markChange(node, words, hint) {
  if (node.classList.contains("wrong")) return; // what the server said stands until it is sent again
  node.classList.toggle("changed", words !== null);
  setText(node.querySelector("small"), words ?? hint ?? "");
}

// A file that is chosen or dropped becomes the script; typed text can be had back by undoing.
function takeFiles(script) {
  script.addEventListener("dragover", (event) => event.preventDefault());
  script.addEventListener("drop", async (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    typeInto(script, await file.text());
  });
}

// What the script may come from: a file, an older job, a template.
function makeSources(script, template) {
  const takeFile = async () => file.files[0] && typeInto(script, await file.files[0].text());
  const file = h("input", { type: "file", class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: takeFile });
  const openOlder = () => {
    const from = older.value.trim();
    if (!from) return;
    older.closest("dialog").querySelector("header button").click();
    openSubmit({ from });
  };
  const older = makeAside("Id", "Id of an older job", openOlder, { size: 8 });
  const templates = h("span", { class: "actions" });
  listTemplates().then((found) => drawTemplates(templates, found, script, template), () => {});
  const olderJob = h("span", { class: "actions" }, older, makeButton("As an older job", openOlder));
  return h("div", { class: "actions" }, makeButton("Open a file…", () => file.click()), file, olderJob, templates);
}

// Make a line that is no part of what is sent; Enter in it acts.
function makeAside(placeholder, label, act, more) {
  const hear = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    act();
  };
  return h("input", { placeholder, "aria-label": label, ...more, oninput: (event) => event.stopPropagation(), onkeydown: hear });
}

function drawTemplates(place, templates, script, chosen) {
  const wrong = h("span", { class: "refusal", role: "status" });
  const fill = makeButton("Fill in", render);
  const command = makeAside("Command, such as python train.py", "Command for the template", render);
  const select = makeChoice("Template", [["", "Template…"], ...templates.map(({ name }) => name)], chosen ?? "", choose);
  show(place, select, command, fill, wrong);
  choose();

  function choose() {
    command.hidden = fill.hidden = select.value === "";
    setAttribute(select, "title", templates.find(({ name }) => name === select.value)?.description);
  }

  async function render() {
    try {
      setText(wrong, "");
      typeInto(script, await renderTemplate(select.value, splitWords(command.value)));
    } catch (problem) {
      setText(wrong, problem.message);
    }
  }
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
