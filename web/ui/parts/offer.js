// What may be typed at the caret, as a list: arrow keys choose, Enter and Tab take, Escape closes.

import { h, makeId, setAttribute, setAttributes, show } from "../core/dom.js";

const MOST_ITEMS = 50;

// Type a text into a field in place of what stands there, as its reader would, so that it can be undone.
export function typeInto(field, text, from = 0, to = field.value.length) {
  field.focus();
  field.setSelectionRange(from, to);
  document.execCommand(text === "" ? "delete" : "insertText", false, text);
}

// Let a field offer what may stand at its caret; its list is to be put near it.
//
//   complete  (text, caret) → { from, to (the caret), items: [{ label, detail, insert }] }, or null
//   first     the item that is chosen at first; -1 for none, so that Enter means what else it does
//   place     (list, from) puts the list in its place
//
// Returns { list, open, hide, isOpen, place, press(event), which says whether the key was meant for the list }.
export function makeOffer({ field, complete, first = 0, place = () => {} }) {
  const list = h("ul", { class: "offer", role: "listbox", id: makeId("offer"), "aria-label": "What may stand here", hidden: true });
  const isOpen = () => !list.hidden;
  let [found, chosen] = [null, first];

  function open() {
    const isCaret = field.selectionStart === field.selectionEnd && !field.readOnly;
    found = isCaret ? complete(field.value, field.selectionStart) : null;
    chosen = first;
    if (!found?.items.length) return hide();
    const makeItem = ({ label, detail }, at) => {
      const take_ = (event) => take(event, at);
      return h("li", { role: "option", id: `${list.id}-${at}`, onpointerdown: take_ }, h("span", null, label), detail && h("small", null, detail));
    };
    show(list, found.items.slice(0, MOST_ITEMS).map(makeItem));
    list.hidden = false;
    mark();
    place(list, found.from);
  }

  function mark() {
    for (const [at, item] of [...list.children].entries()) setAttribute(item, "aria-selected", at === chosen);
    const item = list.children[chosen];
    item?.scrollIntoView({ block: "nearest" });
    tell(item?.id ?? null);
  }

  function tell(id) {
    const isCombobox = field.getAttribute("role") === "combobox";
    setAttributes(field, { "aria-activedescendant": id, "aria-expanded": isCombobox ? isOpen() : null });
  }

  function hide() {
    list.hidden = true;
    tell(null);
  }

  function take(event, at) {
    event.preventDefault();
    hide();
    typeInto(field, found.items[at].insert, found.from, found.to ?? field.selectionStart);
  }

  function press(event) {
    const { key } = event;
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (key === " " && event.ctrlKey) open();
    else if (!isOpen()) return false;
    else if (step) {
      const count = list.children.length;
      chosen = (Math.max(chosen, step < 0 ? 0 : -1) + step + count) % count;
      mark();
    } else if (chosen >= 0 && (key === "Enter" || (key === "Tab" && !event.shiftKey))) take(event, chosen);
    else if (key === "Escape") hide();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  setAttributes(field, { "aria-autocomplete": "list", "aria-controls": list.id, autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
  field.addEventListener("blur", hide);
  tell(null);
  return { list, open, hide, isOpen, place: () => isOpen() && place(list, found.from), press };
}
