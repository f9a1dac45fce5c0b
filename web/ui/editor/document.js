// A text of the server under the editor: drafts, saving, and what others do to the file meanwhile.

import { debounce, h, setText, show } from "../core/dom.js";
import { notify, showProblem } from "../core/notice.js";
import { writeCount, writeTime } from "../core/format.js";
import { listDifferences, mergeTexts } from "./diff.js";
import { keepDraft, readDraft } from "./drafts.js";
import { makeEditor } from "./editor.js";

const DRAFT_MS = 200;
const toLines = (text) => text.replaceAll("\r\n", "\n");

// Make the editor of a text.
//
//   key          under which its draft is kept
//   title        what it is, in sentences: "workflows/demo.yaml"
//   load         async (isThere) → { text, version, problems, isReadOnly }; throws Refused 404 where it is not there
//   save         async (text, version) → the new version; version null: it must be new
//   initial      the text of a new one
//   check, complete, label   see makeEditor
//   whenChanged  ({ isUnsaved, text }) hears of every change
//
// Returns { node, editor, reload, save, isUnsaved, discard, close }; `reload` asks whether it was changed outside.
export function makeTextDocument({ key, title, label, load, save, initial = "", check, complete, whenChanged = () => {}, isReadOnly = false }) {
  const own = { base: null, theirs: null, saving: null, ending: "\n", isAsked: false };
  const editor = makeEditor({ label, check, complete, isReadOnly, whenChanged: noteChange, whenSaved: () => saveText() });
  const button = h("button", { type: "button", class: "main", onclick: () => saveText() }, "Save");
  const undo = h("button", { type: "button", onclick: () => discard() }, "Discard changes");
  const state = h("span", { class: "hint", role: "status" });
  const banner = h("div", { class: "editor-banner", role: "region", "aria-label": "Changed outside", hidden: true });
  const bar = h("div", { class: "bar" }, !isReadOnly && [button, undo], state);
  const node = h("div", { class: "document" }, bar, banner, editor.node, editor.list);
  const keepSoon = debounce(keep, DRAFT_MS);
  const ending = new AbortController();
  addEventListener("pagehide", keep, { signal: ending.signal });
  document.addEventListener("visibilitychange", () => document.hidden && keep(), { signal: ending.signal });
  start();

  const isUnsaved = () => own.base !== null && editor.getText() !== own.base.text;

  // --- reading -------------------------------------------------------------------------------------------------------

  async function read(isThere = false) {
    try {
      const found = await load(isThere);
      own.ending = /\r\n/.test(found.text) ? "\r\n" : "\n";
      return { ...found, text: toLines(found.text) };
    } catch (problem) {
      if (problem.status === 404) return { text: "", version: null, problems: [] };
      throw problem;
    }
  }

  async function start() {
    const draft = isReadOnly ? null : readDraft(key);
    try {
      const found = await read();
      own.base = found.version === null ? { text: "", version: null } : found;
      editor.setReadOnly(Boolean(found.isReadOnly));
      editor.setText(draft?.text ?? (found.version === null ? initial : found.text));
      editor.showProblems(found.problems);
      if (draft && draft.version !== found.version && draft.text !== found.text) ask(found, { text: draft.base ?? "", version: draft.version });
      tell(draft && draft.text !== found.text ? `Restored what was typed until ${writeTime(draft.at_ms)}.` : "");
    } catch (problem) {
      if (!draft) {
        showProblem(node, title, problem, () => {
          show(node, bar, banner, editor.node, editor.list);
          start();
        });
        return;
      }
      own.base = { text: draft.base ?? "", version: draft.version };
      editor.setText(draft.text);
      tell(`${problem.message}. What you typed is here.`);
    }
    editor.check();
  }

  // Look whether the file was changed by others, or is gone.
  async function reload(isGone = false) {
    if (own.base === null) return;
    await own.saving?.catch(() => {});
    const found = isGone ? { text: "", version: null, problems: [] } : await read().catch(() => null);
    if (found === null || own.saving !== null || found.version === own.base.version) return;
    if (found.text === editor.getText() || !isUnsaved()) {
      const wasThere = own.base.version !== null;
      if (found.version === null && wasThere) return ask(found);
      take(found);
      tell("Changed outside; this is the new text.");
    } else ask(found);
  }

  function take(found) {
    own.base = { text: found.text, version: found.version };
    hideBanner();
    editor.replaceText(found.text);
    editor.check();
    keep();
    tell("");
  }

  // --- the question --------------------------------------------------------------------------------------------------

  function ask(found, base = own.base) {
    own.theirs = found;
    const mine = editor.getText();
    const isGone = found.version === null;
    const merged = mergeTexts(base.text, mine, found.text);
    const act = (text, hint, work) => h("button", { type: "button", title: hint, onclick: () => {
      work();
      editor.focus();
    } }, text);
    const words = isGone ? `${title} was deleted outside while you were changing it.` : `${title} was changed outside while you were changing it.`;
    const mergeWords = merged.conflicts ? `Merge; ${writeCount(merged.conflicts, "place")} to decide` : "Merge both";
    show(banner,
      h("p", { role: "alert" }, words),
      !isGone && makeDifference(found.text, mine),
      h("div", { class: "actions" },
        act("Keep mine", "Your text stays; saving it replaces what is there now", () => settle(found, mine, "Your text stays; it is not saved yet.")),
        act(isGone ? "Let it go" : "Take theirs", "The text that is there now; yours can be had back by undo", () => settle(found, found.text, "This is the text that is there now.")),
        !isGone && act(mergeWords, "The changes of both; where both changed the same lines, both stand there", () => settle(found, merged.text, "Both are merged; look at it and save.")),
      ),
    );
    banner.hidden = false;
    tell("");
  }

  function settle(found, text, words) {
    own.base = { text: found.text, version: found.version };
    hideBanner();
    editor.replaceText(text);
    editor.check();
    keep();
    tell(words);
  }

  function hideBanner() {
    own.theirs = null;
    banner.hidden = true;
    show(banner);
  }

  // --- saving --------------------------------------------------------------------------------------------------------

  async function saveText() {
    if (isReadOnly || own.base === null || own.saving) return;
    if (own.theirs) {
      banner.querySelector("button").focus();
      return;
    }
    const text = editor.getText();
    keep();
    own.saving = save(own.ending === "\n" ? text : text.replaceAll("\n", own.ending), own.base.version);
    tell("Saving…");
    try {
      const version = await own.saving;
      own.base = { text, version };
      tell("Saved.");
    } catch (problem) {
      if (problem.status === 412 || (problem.status === 409 && own.base.version === null)) await askAnew();
      else if (problem.problems?.some((each) => each.line)) {
        editor.showProblems(problem.problems.map((each) => ({ line: each.line ?? null, column: each.column ?? null, reason: each.msg, severity: "error" })));
        tell("Not saved: the text is wrong; see the list below it.");
      } else tell(`Not saved: ${problem.message}. What you typed is kept.`, true);
    } finally {
      own.saving = null;
      keep();
      tellChange();
    }
  }

  async function askAnew() {
    own.saving = null;
    const found = await read(true);
    if (found.text === editor.getText()) take(found);
    else ask(found);
  }

  function discard() {
    editor.replaceText(own.base.text);
    keep();
    tell("");
    editor.focus();
  }

  // --- drafts and words ----------------------------------------------------------------------------------------------

  function keep() {
    if (own.base === null || isReadOnly) return;
    const isKept = keepDraft(key, isUnsaved() ? { text: editor.getText(), version: own.base.version, base: own.base.text } : null);
    if (!isKept) notify("This browser has no room for what you typed: save it soon", { kind: "failed" });
  }

  function noteChange() {
    keepSoon();
    tell("");
  }

  function tell(words, isWrong = false) {
    state.classList.toggle("refusal", isWrong);
    setText(state, words || (isUnsaved() ? "Not saved yet; kept in this browser." : ""));
    tellChange();
  }

  function tellChange() {
    const isOther = isUnsaved();
    button.disabled = !isOther || own.saving !== null;
    undo.disabled = !isOther;
    whenChanged({ isUnsaved: isOther, text: editor.getText() });
  }

  return {
    node,
    editor,
    reload,
    save: saveText,
    isUnsaved,
    forget: () => keepDraft(key, null),
    close: () => {
      keep();
      ending.abort();
      editor.close();
    },
  };
}

function makeDifference(theirs, mine) {
  const rows = listDifferences(theirs, mine);
  const words = { "-": "theirs", "+": "mine", " ": "" };
  return h("div", { class: "outside", tabindex: 0, role: "region", "aria-label": "Difference: lines of theirs, and of mine" },
    rows.slice(0, 400).map((row) => row === null
      ? h("div", { class: "gap" }, "…")
      : h("div", { class: { "-": "theirs", "+": "mine" }[row.sign] }, h("span", { class: "who" }, words[row.sign]), `${row.sign} ${row.text}`)));
}
