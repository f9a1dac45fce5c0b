// Dialogs: forms whose text is never lost, and questions before what cannot be undone.

import { h, makeId, show } from "./dom.js";
import { formatCurl, makeKey, send } from "./api.js";
import { makeCopyButton } from "./notice.js";

const DOUBLE_CLICK_MS = 500;

// Open a dialog with this content, with the focus on its first field. Returns { node, close }; Esc and going back close it
// only if `mayClose()` says so.
export function openDialog(title, content, { mayClose = () => true, whenClosed } = {}) {
  const id = makeId("dialog");
  const closeMaybe = () => mayClose() && (close(), true);
  const cross = h("button", { class: "plain", "aria-label": "Close", onclick: closeMaybe }, "×");
  const node = h("dialog", { "aria-labelledby": id }, h("header", null, h("h2", { id }, title), cross), content);
  const before = document.activeElement;
  const ending = new AbortController();
  const close = () => {
    ending.abort();
    ignoreSecondClick();
    node.close();
    node.remove();
    before?.isConnected && before.focus();
    whenClosed?.();
  };
  node.addEventListener("cancel", (event) => {
    event.preventDefault();
    closeMaybe();
  });
  // At the second Esc in a row browsers close it without asking.
  node.addEventListener("close", () => closeMaybe() || node.showModal(), { signal: ending.signal });
  addEventListener("popstate", closeMaybe, { signal: ending.signal });
  document.body.append(node);
  node.showModal();
  node.querySelector("[autofocus], input:not([type=radio], .unseen), select, textarea")?.focus();
  return { node, close };
}

// The second click of a double click is meant for what was there at the first.
function ignoreSecondClick() {
  const ending = new AbortController();
  const stop = (event) => event.detail > 1 && (event.preventDefault(), event.stopPropagation());
  addEventListener("click", stop, { capture: true, signal: ending.signal });
  setTimeout(() => ending.abort(), DOUBLE_CLICK_MS);
}

// Ask before something that cannot be undone, in the place of its button. `names` are the objects, in words.
//
// The answer "keep" has the focus; doing it needs a second act. The promise is kept with whether to do it.
export function askFirst(button, question, act) {
  return new Promise((resolve) => {
    const answer = (does) => {
      place.replaceWith(button);
      button.focus();
      resolve(does);
    };
    const keep = h("button", { onclick: () => answer(false) }, "Keep");
    const place = h(
      "span",
      { class: "question", role: "group", "aria-label": question },
      h("span", null, question),
      keep,
      h("button", { class: "danger", onclick: () => answer(true) }, act),
    );
    place.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      answer(false);
    });
    button.replaceWith(place);
    keep.focus();
  });
}

// Make a labelled field. `control` gets an id; a refusal that names the field stands under it.
export function makeField(label, control, { hint, name } = {}) {
  const id = (control.id ||= makeId("field"));
  const hintId = `${id}-hint`;
  control.setAttribute("aria-describedby", hintId);
  return h(
    "div",
    { class: "field", "data-name": name ?? control.name },
    h("label", { for: id }, label),
    control,
    h("small", { id: hintId }, hint ?? ""),
  );
}

// Show what the server refused at the fields it names, and the rest above them. Returns whether a field was named.
export function showRefusal(form, problem) {
  clearRefusal(form);
  const rest = [];
  for (const wrong of problem.problems?.length ? problem.problems : [{ loc: [], msg: problem.message }]) {
    const field = [...form.querySelectorAll(".field")].find((each) => wrong.loc?.includes(each.dataset.name));
    if (!field) rest.push(wrong);
    else {
      field.classList.add("wrong");
      const words = field.querySelector("small");
      words.dataset.hint ??= words.textContent;
      words.textContent = wrong.msg;
      field.querySelector("input, select, textarea")?.setAttribute("aria-invalid", "true");
    }
  }
  const words = rest.map((wrong) => [wrong.loc?.filter((part) => part !== "body").join("."), wrong.msg].filter(Boolean).join(": "));
  const place = form.querySelector(".refusal");
  if (place) show(place, words.length > 0 && h("p", { role: "alert" }, words.join("; ")));
  form.querySelector(".wrong input, .wrong select, .wrong textarea")?.focus();
  return rest.length === 0;
}

// Take away what showRefusal has shown.
export function clearRefusal(form) {
  for (const field of form.querySelectorAll(".field.wrong")) {
    field.classList.remove("wrong");
    field.querySelector("small").textContent = field.querySelector("small").dataset.hint;
    field.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
  }
  const place = form.querySelector(".refusal");
  if (place) show(place);
}

// Make a form that does something once, however often it is sent: its button is locked until the answer is there.
//
// `act` is async; what it refuses is shown at the fields. `describe` returns { method, path, body } for "copy as curl".
export function makeForm(children, { label, act, describe, extra }) {
  const button = h("button", { type: "submit", class: "main" }, label);
  const form = h(
    "form",
    { novalidate: true },
    h("div", { class: "refusal" }),
    children,
    h("div", { class: "actions" }, button, extra, describe && makeCurlButton(describe)),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    clearRefusal(form);
    try {
      await act();
    } catch (problem) {
      showRefusal(form, problem);
    } finally {
      button.disabled = false;
    }
  });
  return form;
}

// Make the button that copies a call, or several, as lines for the terminal.
export function makeCurlButton(describe) {
  const write = ({ method, path, body, query }) => formatCurl(method, path, body, query);
  return makeCopyButton(() => [describe()].flat().map(write).join("\n"), "Copy as curl");
}

// Make a labelled line of text, or with `choices` ([value, text] or the value alone) a choice.
export function makeInput(name, label, hint, { choices, ...props } = {}) {
  const options = choices?.map((choice) => h("option", { value: [choice].flat()[0] }, [choice].flat().at(-1)));
  const line = { name, autocomplete: "off", spellcheck: "false", ...props };
  return makeField(label, choices ? h("select", { name, ...props }, options) : h("input", line), { hint });
}

// Read what stands in the fields of a form, by name; what is empty is undefined.
function readValues(form) {
  return Object.fromEntries([...form.elements].filter(({ name }) => name).map(({ name, value }) => [name, value.trim() || undefined]));
}

// Open a dialog with a form of one call: what makeInput takes as rows, or nodes. `call(values)` returns
// { method, path, body }, `done` hears its answer. Sent again after an answer that was lost, it makes one thing.
export function openForm(title, fields, { label, call, done, extra, version }) {
  const key = makeKey();
  const makeCall = () => call(readValues(form));
  const form = makeForm(fields.map((field) => (Array.isArray(field) ? makeInput(...field) : field)), {
    label,
    extra,
    describe: makeCall,
    act: async () => {
      const { method, path, body } = makeCall();
      const answer = await send(method, path, body, { version, key: method === "POST" ? key : undefined });
      dialog.close();
      done(answer);
    },
  });
  const dialog = openDialog(title, form);
  form.querySelector(":is(input, select, textarea):enabled").focus();
  return dialog;
}
