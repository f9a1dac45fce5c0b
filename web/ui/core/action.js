// Actions: a button that makes one call once, asks first where that cannot be undone, and says what came of it.

import { h } from "./dom.js";
import { formatCurl, makeKey, request } from "./api.js";
import { askFirst, makeCurlButton } from "./dialog.js";
import { makeCopyButton, notify } from "./notice.js";
import { explainLack } from "./signin.js";

// Make a button; without the scope that it needs it is there, says so and does nothing.
export function makeButton(label, act, { scope = null, ...props } = {}) {
  const lack = scope && explainLack(scope);
  return h("button", { ...props, ...(lack ? { disabled: true, title: lack } : {}), onclick: act }, label);
}

// Make the button of an action, with "copy as curl" behind it.
//
//   label     what it does: "Cancel"
//   scope     what the caller needs for it
//   question  () => the sentence that names the objects and their number; null where nothing is lost
//   call      () => { method, path, body, query }
//   done      (answer) => what came of it, in a sentence, or null
export function makeAction({ label, scope = "write", question = null, call, done = () => null, curl = true }) {
  const button = makeButton(label, act, { scope, class: question ? "danger" : null });
  return h("span", { class: "action" }, button, curl && makeCurlButton(call));

  async function act() {
    const { method, path, ...options } = call();
    const key = makeKey(); // made before the question, so that one intention is one call
    if (question && !(await askFirst(button, question(), label))) return;
    button.disabled = true;
    try {
      const { data } = await request(method, path, { ...options, key: method === "POST" ? key : undefined });
      const words = done(data);
      if (words) notify(words);
    } catch (problem) {
      notify(`${label}: ${problem.message}`, { kind: "failed" });
    }
    button.disabled = false;
  }
}

// Make the button of one action on several objects, with all of its calls behind "copy as curl"; what came of each is told.
//
//   calls     [{ name of the object, method, path, body }]
//   question  the sentence that names the objects and their number; null where nothing is lost
//   whenDone  hears that all calls were made
export function makeBulkAction({ label, calls, question = null, whenDone }) {
  const button = makeButton(`${label} (${calls.length})`, act, { scope: "write", class: question ? "danger" : null });
  const writeAll = () => calls.map(({ method, path, body }) => formatCurl(method, path, body)).join("\n");
  return h("span", { class: "action" }, button, makeCopyButton(writeAll, "Copy as curl"));

  async function act() {
    const keys = calls.map(makeKey);
    if (question && !(await askFirst(button, question, label))) return;
    button.disabled = true;
    const answers = await Promise.allSettled(calls.map(({ method, path, body }, at) => request(method, path, { body, key: keys[at] })));
    const refused = answers.map(({ reason }, at) => reason && `${calls[at].name}: ${reason.message}`).filter(Boolean);
    const done = `${label}: done for ${calls.length - refused.length} of ${calls.length}`;
    notify(done, { kind: refused.length > 0 ? "failed" : "done", detail: refused.join("\n") || null });
    button.disabled = false;
    whenDone();
  }
}
