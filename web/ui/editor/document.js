// A text of the server under the editor: drafts, saving, and what others do to the file meanwhile.

import { debounce, h, setText, show } from "../core/dom.js";
import { makeCurlButton } from "../core/dialog.js";
import { notify, showProblem } from "../core/notice.js";
import { writeCount, writeTime } from "../core/format.js";
import { listDifferences, mergeTexts } from "./diff.js";
import { keepDraft, readDraft } from "./drafts.js";
import { makeEditor } from "./editor.js";

const DRAFT_MS = 200;
const MOST_SHOWN = 400;
const SIGNS = { "-": "theirs", "+": "mine", " ": "" };

// Make the editor of a text.
//
//   key          under which its draft is kept
//   title        what it is, in sentences: "The workflow demo"
//   load         async (isThere) → { text, version, problems, lack }; throws Refused 404 where it is not there
//   save         async (text, version) → the new version; version null: it must be new
//   describe     (text, version) → the call that saves it
//   initial      the text of a new one; null where it must be there: else whenMissing()
//   lack         why it cannot be changed, or null
//   check, colour, complete, label   see makeEditor
//   whenChanged  ({ isUnsaved }) hears of every change
//
// Returns { node, editor, reload, forget, close }; `reload` asks whether it was changed outside.
export function makeTextDocument({ key, title, load, save, describe, initial = null, lack = null, whenMissing, whenChanged = () => {}, ...given }) {
  const own = { base: null, theirs: null, saving: null, lineEnd: "\n" };
  const editor = makeEditor({ ...given, isReadOnly: Boolean(lack), whenChanged: noteChange, whenSaved: saveText });
  const button = h("button", { class: "main", onclick: saveText }, "Save");
  const undo = h("button", { onclick: discard }, "Discard changes");
  const curl = makeCurlButton(() => describe(getText(), own.base?.version ?? null));
  const state = h("span", { class: "hint", role: "status" });
  const banner = h("div", { class: "editor-banner", role: "region", "aria-label": "Changed outside", hidden: true });
  const parts = [h("div", { class: "bar" }, h("span", { class: "action" }, button, curl), undo, state), banner, editor.node, editor.list];
  const node = h("div", { class: "document" }, parts);
  const keepSoon = debounce(keep, DRAFT_MS);
  const ending = new AbortController();
  addEventListener("pagehide", keep, { signal: ending.signal });
  document.addEventListener("visibilitychange", () => document.hidden && keep(), { signal: ending.signal });
  setLack(lack);
  start();

  function isUnsaved() {
    return own.base !== null && editor.getText() !== own.base.text;
  }

  function setLack(why) {
    own.lack = why ?? null;
    button.hidden = curl.hidden = undo.hidden = own.lack !== null;
    editor.setReadOnly(own.lack !== null);
  }

  // --- reading -------------------------------------------------------------------------------------------------------

  async function read(isThere = false) {
    try {
      const found = await load(isThere);
      own.lineEnd = found.text.includes("\r\n") ? "\r\n" : "\n";
      return { ...found, text: found.text.replaceAll("\r\n", "\n") };
    } catch (problem) {
      if (problem.status === 404) return { text: "", version: null };
      throw problem;
    }
  }

  async function start() {
    const draft = lack ? null : readDraft(key);
    const base = draft && { text: draft.base ?? "", version: draft.version };
    const found = await read().catch((problem) => ({ problem, ...base }));
    if (found.problem && !draft) {
      showProblem(node, title, found.problem, () => {
        show(node, parts);
        start();
      });
      return;
    }
    if (found.version === null && !draft && initial === null) {
      whenMissing();
      return;
    }
    own.base = found;
    setLack(lack ?? found.lack);
    editor.setText(draft?.text ?? (found.version === null ? initial : found.text));
    editor.showProblems(found.problems ?? []);
    if (draft && draft.version !== found.version && draft.text !== found.text) ask(found, base);
    if (found.problem) tell(`${found.problem.message}. What you typed is here.`);
    else tell(draft && draft.text !== found.text ? `Restored what was typed until ${writeTime(draft.at_ms)}.` : "");
    editor.check();
  }

  // Look whether the file was changed by others, or is gone.
  async function reload(isGone = false) {
    if (own.base === null) return;
    await own.saving?.catch(() => {});
    const found = isGone ? { text: "", version: null } : await read().catch(() => null);
    if (found === null || own.saving !== null || found.version === own.base.version) return;
    if (found.version !== null && found.text === own.base.text) own.base.version = found.version; // what stands beside it changed
    else if (found.version !== null && (found.text === editor.getText() || !isUnsaved())) settle(found, found.text, "Changed outside; this is the new text.");
    else ask(found);
  }

  // --- the question --------------------------------------------------------------------------------------------------

  function ask(found, base = own.base) {
    own.theirs = found;
    const mine = editor.getText();
    const isGone = found.version === null;
    const { text: both, conflicts } = mergeTexts(base.text, mine, found.text);
    const mergeLabel = conflicts ? `Merge; ${writeCount(conflicts, "place")} to decide` : "Merge both";
    const makeAnswer = (label, hint, text, words) => {
      const answer = () => {
        settle(found, text, words);
        editor.focus();
      };
      return h("button", { title: hint, onclick: answer }, label);
    };
    show(banner,
      h("p", { role: "alert" }, `${title} was ${isGone ? "deleted" : "changed"} outside while you were changing it.`),
      !isGone && makeDifference(found.text, mine),
      h("div", { class: "actions" },
        makeAnswer("Keep mine", "Saving it replaces what is there now", mine, "Your text stays; it is not saved yet."),
        makeAnswer(isGone ? "Let it go" : "Take theirs", "Undo brings yours back", found.text, "This is the text that is there now."),
        !isGone && makeAnswer(mergeLabel, "Lines that both changed stand there twice", both, "Both are merged; look at it and save."),
      ),
    );
    banner.hidden = false;
    tell("");
  }

  function settle(found, text, words) {
    own.base = found;
    own.theirs = null;
    banner.hidden = true;
    show(banner);
    editor.replaceText(text);
    editor.check();
    keep();
    tell(words);
  }

  // --- saving --------------------------------------------------------------------------------------------------------

  // The text with the line ends that it came with.
  const getText = () => editor.getText().replaceAll("\n", own.lineEnd);

  async function saveText() {
    if (own.lack || own.base === null || own.saving) return;
    if (own.theirs) {
      banner.querySelector("button").focus();
      return;
    }
    const text = editor.getText();
    keep();
    own.saving = save(getText(), own.base.version);
    tell("Saving…");
    try {
      own.base = { text, version: await own.saving };
      tell("Saved.");
    } catch (problem) {
      if (problem.status === 412 || (problem.status === 409 && own.base.version === null)) await askAnew().catch(refuse);
      else if (problem.problems?.some((each) => each.line)) {
        editor.showProblems(problem.problems.map((each) => ({ ...each, reason: each.msg, severity: "error" })));
        tell("Not saved: the text is wrong; see the list below it.");
      } else refuse(problem);
    } finally {
      own.saving = null;
      keep();
      showUnsaved();
    }
  }

  const refuse = (problem) => tell(`Not saved: ${problem.message}. What you typed is kept.`, true);

  async function askAnew() {
    own.saving = null;
    const found = await read(true);
    if (found.text === editor.getText()) settle(found, found.text, "");
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
    if (own.base === null || own.lack) return;
    const isKept = keepDraft(key, isUnsaved() ? { text: editor.getText(), version: own.base.version, base: own.base.text } : null);
    if (!isKept) notify("This browser has no room for what you typed: save it soon", { kind: "failed" });
  }

  function noteChange() {
    keepSoon();
    tell("");
  }

  function tell(words, isWrong = false) {
    state.classList.toggle("refusal", isWrong);
    setText(state, words || (own.lack ? `Only to be read. ${own.lack}.` : isUnsaved() ? "Not saved yet; kept in this browser." : ""));
    showUnsaved();
  }

  function showUnsaved() {
    undo.disabled = !isUnsaved();
    button.disabled = undo.disabled || own.saving !== null;
    whenChanged({ isUnsaved: isUnsaved() });
  }

  return {
    node,
    editor,
    reload,
    forget: () => {
      own.base = null; // so that leaving does not keep it again
      keepDraft(key, null);
    },
    close: () => {
      keep();
      ending.abort();
      editor.close();
    },
  };
}

function makeDifference(theirs, mine) {
  return h("div", { class: "outside", tabindex: 0, role: "region", "aria-label": "Difference: lines of theirs, and of mine" },
    listDifferences(theirs, mine).slice(0, MOST_SHOWN).map((row) => row === null
      ? h("div", { class: "gap" }, "…")
      : h("div", { class: SIGNS[row.sign] }, h("span", { class: "who" }, SIGNS[row.sign]), `${row.sign} ${row.text}`)));
}
