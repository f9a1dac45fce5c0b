// What may be typed at the caret, as a list below it: arrow keys choose, Enter and Tab take, Escape closes.

import { h, makeId, setAttribute, show } from "../core/dom.js";

const MOST_ITEMS = 50;

// Make the list of a field. `complete(text, caret)` says what may stand there, `insert(from, to, text)` types it.
export function makeOffer({ field, sheet, complete, insert, lineHeight }) {
  const state = { found: null, chosen: 0 };
  const list = h("div", { class: "editor-offer menu", role: "listbox", id: makeId("offer"), "aria-label": "What may stand here", hidden: true });
  sheet.append(list);
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", list.id);
  const context = document.createElement("canvas").getContext("2d");

  function open() {
    const isCaret = field.selectionStart === field.selectionEnd && !field.readOnly;
    state.found = isCaret ? complete(field.value, field.selectionStart) : null;
    state.chosen = 0;
    if (!state.found) return hide();
    draw();
  }

  function draw() {
    list.hidden = false;
    show(list, state.found.items.slice(0, MOST_ITEMS).map((item, at) =>
      h("div", { role: "option", id: `${list.id}-${at}`, "aria-selected": at === state.chosen, onmousedown: (event) => take(event, at) },
        h("span", null, item.label), item.detail && h("small", null, item.detail)),
    ));
    field.setAttribute("aria-activedescendant", `${list.id}-${state.chosen}`);
    list.children[state.chosen]?.scrollIntoView({ block: "nearest" });
    place();
  }

  function place() {
    if (list.hidden) return;
    const before = field.value.slice(0, state.found.from);
    const line = before.split("\n");
    const style = getComputedStyle(field);
    context.font = style.font;
    const left = context.measureText(line.at(-1).replaceAll("\t", "  ")).width + Number.parseFloat(style.paddingLeft) - field.scrollLeft;
    const top = line.length * lineHeight - field.scrollTop;
    const isAbove = top + list.offsetHeight > field.clientHeight && top > list.offsetHeight + lineHeight;
    list.style.left = `${Math.max(0, Math.min(left, field.clientWidth - list.offsetWidth))}px`;
    list.style.top = `${isAbove ? top - lineHeight - list.offsetHeight : top}px`;
  }

  function hide() {
    state.found = null;
    list.hidden = true;
    setAttribute(field, "aria-activedescendant", null);
  }

  function take(event, at = state.chosen) {
    event.preventDefault();
    const { from, to, items } = state.found;
    hide();
    insert(from, to, items[at].insert);
  }

  return {
    place,
    hide,
    // Look again after something was typed: letters open the list, blanks behind a colon or a dash too.
    whenTyped(event) {
      const before = field.value.slice(Math.max(0, field.selectionStart - 2), field.selectionStart);
      const isLetter = event.inputType === "insertText" && event.data?.length === 1 && /[\w-]$|[:\-[,{] $|\[$/.test(before);
      if (isLetter || (state.found && event.inputType === "deleteContentBackward")) open();
      else hide();
    },
    // Return whether the key was meant for the list.
    press(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === " " && event.ctrlKey) open();
      else if (state.found && step) {
        const count = Math.min(state.found.items.length, MOST_ITEMS);
        state.chosen = (state.chosen + step + count) % count;
        draw();
      } else if (state.found && (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey))) take(event);
      else if (state.found && event.key === "Escape") hide();
      else {
        if (/^(Arrow|Home|End|Page)/.test(event.key)) hide();
        return false;
      }
      event.preventDefault();
      event.stopPropagation();
      return true;
    },
  };
}
