// What the page says by itself: short notices, and one polite voice for screen readers.

import { h, show } from "./dom.js";

const VOICE_MS = 10_000; // at most one sentence in this time
const voice = { node: null, last_ms: 0, timer: 0, waiting: [] };
const board = { node: null };

// Put the places for notices into the page, empty at first.
export function placeNotices(root) {
  voice.node = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
  board.node = h("div", { class: "notices" });
  root.append(voice.node, board.node);
}

// Say a sentence to those who hear the page; several that come together become one.
export function say(sentence) {
  voice.waiting.push(sentence);
  if (voice.timer) return;
  voice.timer = setTimeout(() => {
    const sentences = voice.waiting.splice(0);
    voice.node.textContent = sentences.length > 2 ? `${sentences[0]} and ${sentences.length - 1} more` : sentences.join(". ");
    voice.last_ms = Date.now();
    voice.timer = 0;
  }, Math.max(0, voice.last_ms + VOICE_MS - Date.now()));
}

// Show a notice until it is closed; one that only confirms goes by itself.
export function notify(text, { kind = "done", detail = null, lasts_ms = kind === "done" ? 6000 : 0 } = {}) {
  const close = () => note.remove();
  const note = h(
    "div",
    { class: `notice ${kind}`, role: kind === "failed" ? "alert" : "status" },
    h("div", null, h("p", null, text), detail && h("pre", null, detail)),
    h("button", { class: "plain", "aria-label": "Close the notice", onclick: close }, "×"),
  );
  board.node.append(note);
  if (lasts_ms) setTimeout(close, lasts_ms);
  return close;
}

// Show what was refused, with all that the server said.
export function notifyRefusal(what, problem) {
  notify(`${what}: ${problem.message}`, { kind: "failed" });
}

// Show in a place why there is nothing: text, and what to do about it.
export function showEmpty(place, text, ...actions) {
  return show(place, h("div", { class: "empty" }, h("p", null, text), actions));
}

// Show in a place that something could not be loaded, with the way to try again.
export function showProblem(place, what, problem, again) {
  const denied = problem.status === 403;
  const text = denied ? `You may not see ${what[0].toLowerCase()}${what.slice(1)}.` : `${what} could not be loaded.`;
  const button = h("button", { onclick: again }, "Try again");
  const why = writeSentence(problem.message);
  return show(place, h("div", { class: "empty failed", role: "alert" }, h("p", null, `${text} ${why}`), !denied && button));
}

// What the server says, as a sentence; a word before a colon is the name of a program or a field.
function writeSentence(text) {
  const begun = text.replace(/^[a-z]+(?=[\s,]|$)/, (word) => word[0].toUpperCase() + word.slice(1));
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

// Copy a text, over plain http too. Returns whether that went.
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed: the old way may be.
    }
  }
  const field = h("textarea", { class: "unseen", value: text });
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const went = document.execCommand("copy");
  field.remove();
  focused?.focus?.();
  return went;
}

// Make a button that copies a text, and says so.
export function makeCopyButton(getText, label = "Copy") {
  const button = h("button", { class: "plain copy" }, label);
  button.addEventListener("click", async () => {
    const went = await copyText(await getText());
    button.textContent = went ? "Copied" : "Could not copy";
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}
