// Completion in a field of one line: a list below it, chosen by arrows and Enter or Tab, put away by Esc.

import { h, makeId, show } from "../core/dom.js";

const MOST = 12;

// Let a field complete what is typed.
//
// `find(text before the caret)` returns { from, choices: [{ text, hint }] }: what stands from `from` to the caret becomes
// the text of the choice. Returns { node (field and list), close }.
export function makeCompletion(field, find) {
  const list = h("ul", { role: "listbox", id: makeId("choices"), class: "choices", hidden: true, "aria-label": "Completions" });
  const node = h("div", null, field, list);
  let found = { from: 0, choices: [] };
  let at = -1;
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id, autocomplete: "off", spellcheck: "false", autocapitalize: "off" })) {
    field.setAttribute(name, value);
  }

  function draw() {
    if (document.activeElement !== field) return close();
    found = find(field.value.slice(0, field.selectionStart));
    const choices = (found.choices = found.choices.slice(0, MOST));
    at = -1;
    show(list, choices.map((choice, number) => h("li", { role: "option", id: `${list.id}-${number}`, "aria-selected": "false", onpointerdown: (event) => take(event, number) }, h("span", null, choice.label ?? choice.text), choice.hint && h("small", null, choice.hint))));
    list.hidden = choices.length === 0;
    field.setAttribute("aria-expanded", !list.hidden);
    field.removeAttribute("aria-activedescendant");
  }

  function close() {
    list.hidden = true;
    at = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  function mark(number) {
    const lines = [...list.children];
    at = (number + lines.length) % lines.length;
    lines.forEach((line, each) => line.setAttribute("aria-selected", each === at));
    lines[at].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", lines[at].id);
  }

  function take(event, number) {
    event.preventDefault();
    const choice = found.choices[number];
    field.setSelectionRange(found.from, field.selectionStart);
    // As if it were typed, so that it can be taken back.
    document.execCommand("insertText", false, choice.text);
    draw();
  }

  field.addEventListener("input", draw);
  field.addEventListener("click", draw);
  field.addEventListener("focus", draw);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (list.hidden) {
      if (event.key === "ArrowDown") draw();
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      mark(at + (event.key === "ArrowDown" ? 1 : at < 0 ? 0 : -1));
    } else if ((event.key === "Enter" || event.key === "Tab") && at >= 0) take(event, at);
    else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  return { node, close };
}
