// Actions: a button that makes one call once, asks first where that cannot be undone, and says what came of it.

import { h } from "./dom.js";
import { makeKey, request } from "./api.js";
import { askFirst, makeCurlButton } from "./dialog.js";
import { notify } from "./notice.js";
import { may, me } from "./signin.js";

// Make the button of an action, with "copy as curl" behind it.
//
//   label     what it does: "Cancel"
//   scope     what the caller needs for it; without it the button is there, says so and does nothing
//   question  () => the sentence that names the objects and their number; null where nothing is lost
//   call      () => { method, path, body, query }
//   done      (answer) => what came of it, in a sentence, or null
export function makeAction({ label, scope = "write", question = null, call, done = () => null, curl = true }) {
  const denied = !may(scope);
  const button = h("button", { type: "button", class: question ? "danger" : null, disabled: denied, title: denied ? `This needs the scope ${scope}; ${me.user} has ${[...me.scopes].join(", ") || "none"}` : null }, label);
  button.addEventListener("click", async () => {
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
  });
  return h("span", { class: "action" }, button, curl && makeCurlButton(call));
}
