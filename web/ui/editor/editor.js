// An editor of text: a field with transparent letters over the coloured lines that are in sight. The field is the
// browser's own, so that undo, paste, find and input methods are as everywhere.

import { debounce, h, makeId, oncePerFrame, show } from "../core/dom.js";
import { makeMark } from "../core/marks.js";
import { colourYaml } from "./colours.js";
import { listEdits } from "./diff.js";
import { typeInto } from "../parts/offer.js";
import { makeEditorOffer } from "./offer.js";

const LINE_PX = 18;
const AHEAD_LINES = 5;
const CHECK_MS = 250;
const MOST_PROBLEMS = 100;
const MOST_TYPED = 50_000; // typing more takes the browser seconds; then undo does not reach back
const MOST_EDITS = 50;

// Make an editor.
//
//   label        what the text is
//   check        async (text, signal) → [{ line, column, reason, severity }], asked while one types; null: none
//   colour       (lines, first, last) → the parts of these lines, see colours.js
//   complete     (text, caret) → what may stand there, see completion.js; null: nothing
//   whenChanged  (text) hears of every change; whenSaved() of Ctrl-S
//   isReadOnly   whether the text is only to look at
//
// Returns { node, list, getText, setText, replaceText, showProblems, goTo, focus, close }.
export function makeEditor({ label, check = null, colour = colourYaml, complete = null, whenChanged = () => {}, whenSaved = () => {}, isReadOnly = false }) {
  const editor = { lines: [""], problems: [], abort: null, mayLeave: false };
  const listId = makeId("problems");
  const field = h("textarea", {
    class: "editor-field", wrap: "off", spellcheck: "false", autocapitalize: "off", autocomplete: "off", readonly: isReadOnly,
    "aria-label": `${label}. Tab indents, Ctrl and slash comments out; Escape and then Tab leaves the field`, "aria-describedby": listId,
  });
  const numbers = h("pre");
  const paint = h("pre");
  // Inert, so that the browser's search finds each word once, in the field.
  const gutter = h("div", { class: "editor-numbers", inert: true }, numbers);
  const list = h("ul", { class: "editor-problems", id: listId, "aria-label": "Problems" });
  const sheet = h("div", { class: "editor-sheet" }, h("div", { class: "editor-paint", inert: true }, paint), field);
  const node = h("div", { class: "editor" }, gutter, sheet);
  const offer = complete && makeEditorOffer({ field, sheet, complete, lineHeight: LINE_PX });
  const drawSoon = oncePerFrame(draw);
  const checkSoon = debounce(runCheck, CHECK_MS);
  const observer = new ResizeObserver(drawSoon);
  observer.observe(field);

  // --- drawing -------------------------------------------------------------------------------------------------------

  function draw() {
    const first = Math.max(0, Math.floor(field.scrollTop / LINE_PX) - AHEAD_LINES);
    const last = Math.min(editor.lines.length, Math.ceil((field.scrollTop + field.clientHeight) / LINE_PX) + AHEAD_LINES);
    const marks = new Map(editor.problems.map((problem) => [problem.line, problem]));
    const lines = colour(editor.lines, first, last).map((parts, at) => [parts, first + at + 1, marks.get(first + at + 1)]);
    show(paint, lines.map(([parts, , problem]) => h("div", { class: `line ${problem?.severity ?? ""}` }, paintLine(parts, problem))));
    show(numbers, lines.map(([, number, problem]) => h("div", { class: problem?.severity }, problem && (problem.severity === "error" ? "✗ " : "! "), number)));
    const top = first * LINE_PX - field.scrollTop;
    paint.style.transform = `translate(${-field.scrollLeft}px, ${top}px)`;
    numbers.style.transform = `translateY(${top}px)`;
    gutter.style.width = `${String(editor.lines.length).length + 4}ch`;
    offer?.place();
  }

  function paintLine(parts, problem) {
    const length = parts.reduce((sum, [, text]) => sum + text.length, 0);
    let left = problem ? Math.min(problem.column ?? 1, length) : 0; // characters until the part where the problem is
    return parts.map(([kind, text]) => {
      const isHere = left > 0 && left <= text.length;
      left -= text.length;
      return kind || isHere ? h("span", { class: [kind && `y-${kind}`, isHere && "wrong"].filter(Boolean).join(" ") }, text) : text;
    });
  }

  // --- text ----------------------------------------------------------------------------------------------------------

  function take() {
    editor.lines = field.value.split("\n");
    drawSoon();
  }

  function whenTyped() {
    take();
    whenChanged(field.value);
    checkSoon();
  }

  // As if it were typed, so that it can be undone.
  const insert = (from, to, text) => typeInto(field, text, from, to);

  function setAll(text) {
    field.value = text;
    take();
    node.style.setProperty("--lines", editor.lines.length);
    runCheck();
  }

  // Put another text in place so that it can be undone; caret and lines in sight stay by what stands there.
  function replaceText(text) {
    const old = field.value;
    const edits = listEdits(old, text);
    if (edits.length === 0) return;
    const [focused, wasReadOnly, caret, left] = [document.activeElement, field.readOnly, field.selectionStart, field.scrollLeft];
    const line = Math.floor(field.scrollTop / LINE_PX) + 1;
    const first = findOffset(line, 1);
    const top = field.scrollTop + LINE_PX * sumBefore(first, edits, (edit) => edit.text.split("\n").length - old.slice(edit.from, edit.to).split("\n").length);
    field.readOnly = false;
    for (const { from, to, text: typed } of joinEdits(old, text, edits)) insert(from, to, typed);
    field.readOnly = wasReadOnly;
    if (field.value !== text) setAll(text); // where it is too much to type
    const at = caret + sumBefore(caret, edits, (edit) => edit.text.length - (edit.to - edit.from));
    field.setSelectionRange(at, at);
    if (focused !== field) focused?.focus?.({ preventScroll: true });
    [field.scrollLeft, field.scrollTop] = [left, top];
    drawSoon();
  }

  function findOffset(line, column) {
    const lines = field.value.split("\n");
    const at = Math.min(Math.max(line, 1), lines.length);
    return lines.slice(0, at - 1).reduce((sum, text) => sum + text.length + 1, 0) + Math.min(Math.max((column ?? 1) - 1, 0), lines[at - 1].length);
  }

  function goTo(line, column) {
    const at = findOffset(line ?? 1, column);
    field.setSelectionRange(at, at);
    field.scrollLeft = 0;
    field.blur(); // a field that gets the focus scrolls to its caret, also sideways
    field.focus();
    field.scrollTop = Math.max(0, ((line ?? 1) - 1) * LINE_PX - field.clientHeight / 2);
    drawSoon();
  }

  // --- problems ------------------------------------------------------------------------------------------------------

  async function runCheck() {
    if (!check) return;
    editor.abort?.abort();
    const abort = (editor.abort = new AbortController());
    try {
      const problems = await check(field.value, abort.signal);
      if (!abort.signal.aborted) showProblems(problems);
    } catch {
      // A later one says it, or the server is away, which the page says.
    }
  }

  function showProblems(problems) {
    editor.problems = problems.map((problem) => ({ ...problem, line: problem.line ?? 1 }));
    show(list, problems.slice(0, MOST_PROBLEMS).map((problem) => {
      const { line, column, severity } = problem;
      const words = line ? `Line ${line}, column ${column ?? 1}` : "The text";
      const button = h("button", { class: "plain", onclick: () => goTo(line, column) }, words);
      return h("li", null, makeProblemMark(severity), button, " ", h("span", null, writeReason(problem)));
    }));
    field.setAttribute("aria-invalid", problems.some((problem) => problem.severity === "error"));
    drawSoon();
  }

  // --- keys ----------------------------------------------------------------------------------------------------------

  function press(event) {
    if (event.isComposing) return;
    const mayLeave = editor.mayLeave;
    if (event.key !== "Shift") editor.mayLeave = false;
    if (offer?.press(event)) return;
    const isCommand = event.ctrlKey || event.metaKey;
    if (event.key === "Escape") editor.mayLeave = true;
    else if (event.key === "s" && isCommand) {
      event.preventDefault();
      whenSaved();
    } else if (event.key === "/" && isCommand && !field.readOnly) {
      event.preventDefault();
      changeLines(toggleComments);
    } else if (field.readOnly || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "Tab" && !mayLeave) {
      event.preventDefault();
      indent(event.shiftKey);
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      breakLine();
    }
  }

  function indent(isBack) {
    const { value, selectionStart: start, selectionEnd: end } = field;
    if (start < end || isBack) return changeLines((text) => (isBack ? text.replace(/^ {1,2}/gm, "") : text.replace(/^(?=.)/gm, "  ")));
    return insert(start, end, " ".repeat(2 - ((start - value.lastIndexOf("\n", start - 1) - 1) % 2)));
  }

  // Change the lines that are selected, as if they were typed.
  function changeLines(change) {
    const { value, selectionStart: start, selectionEnd: end } = field;
    const first = value.lastIndexOf("\n", start - 1) + 1;
    const last = end > start ? end - 1 : end;
    const text = value.slice(first, last) + /^.*/.exec(value.slice(last))[0];
    const changed = change(text);
    if (changed === text) return;
    insert(first, first + text.length, changed);
    const at = Math.max(first, start + changed.length - text.length);
    if (start === end) field.setSelectionRange(at, at);
    else field.setSelectionRange(first, first + changed.length);
  }

  // A new line begins where this one does; below a key without a value two further in.
  function breakLine() {
    const { value, selectionStart: start, selectionEnd: end } = field;
    const line = value.slice(value.lastIndexOf("\n", start - 1) + 1, start);
    const blanks = /^\s*/.exec(line)[0];
    const dash = /^\s*(- +)?/.exec(line)[1] ?? "";
    const opens = /(:|[|>][+-]?)$/.test(line.trimEnd()) && line.trim() !== "";
    insert(start, end, `\n${blanks}${" ".repeat(dash.length)}${opens ? "  " : ""}`);
  }

  field.addEventListener("input", whenTyped);
  field.addEventListener("input", (event) => offer?.whenTyped(event));
  field.addEventListener("keydown", press);
  field.addEventListener("scroll", drawSoon, { passive: true });
  return {
    node,
    list,
    getText: () => field.value,
    setText: setAll,
    replaceText,
    showProblems,
    goTo,
    check: runCheck,
    setReadOnly: (on) => (field.readOnly = on),
    focus: () => field.focus(),
    close: () => {
      editor.abort?.abort();
      observer.disconnect();
    },
  };
}

// Make the mark of an error or a warning.
export function makeProblemMark(severity) {
  return severity === "error" ? makeMark("failed") : h("span", { class: "mark waiting", "aria-hidden": "true" }, "!");
}

// Write why something is wrong; where its line is known, without the path of keys.
export const writeReason = ({ line, reason }) => (line ? reason.replace(/^[\w.-]+: /, "") : reason);

function toggleComments(text) {
  const isOut = text.split("\n").every((line) => /^\s*(#|$)/.test(line));
  return isOut ? text.replace(/^( *)# ?/gm, "$1") : text.replace(/^ *(?=\S)/gm, "$&# ");
}

function sumBefore(place, edits, measure) {
  return edits.filter(({ from, to }) => to <= place && from < place).reduce((sum, edit) => sum + measure(edit), 0);
}

// What is typed, the last first: all at once, so that undoing takes it back at once; one by one where that is too much.
function joinEdits(old, text, edits) {
  const [{ from }, { to }] = [edits[0], edits.at(-1)];
  const whole = { from, to, text: text.slice(from, text.length - old.length + to) };
  if (whole.text.length < MOST_TYPED) return [whole];
  const size = edits.reduce((sum, edit) => sum + edit.text.length, 0);
  return size < MOST_TYPED && edits.length < MOST_EDITS ? edits.toReversed() : [];
}
