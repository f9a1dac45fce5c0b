// What may stand at the caret of the editor, as a list below it.

import { makeOffer } from "../parts/offer.js";

// Make the offer of an editor, in its sheet; `complete(text, caret)` says what may stand there. As makeOffer, and
// whenTyped(event) looks again after something was typed: letters open the list, blanks behind a colon or a dash too.
export function makeEditorOffer({ field, sheet, complete, lineHeight }) {
  const context = document.createElement("canvas").getContext("2d");
  const offer = makeOffer({ field, complete, place });
  sheet.append(offer.list);

  function place(list, from) {
    const line = field.value.slice(0, from).split("\n");
    const style = getComputedStyle(field);
    context.font = style.font;
    const left = context.measureText(line.at(-1).replaceAll("\t", "  ")).width + Number.parseFloat(style.paddingLeft) - field.scrollLeft;
    const top = line.length * lineHeight - field.scrollTop;
    const isAbove = top + list.offsetHeight > field.clientHeight && top > list.offsetHeight + lineHeight;
    list.style.left = `${Math.max(0, Math.min(left, field.clientWidth - list.offsetWidth))}px`;
    list.style.top = `${isAbove ? top - lineHeight - list.offsetHeight : top}px`;
  }

  function whenTyped({ inputType, data }) {
    const before = field.value.slice(Math.max(0, field.selectionStart - 2), field.selectionStart);
    const isLetter = inputType === "insertText" && data?.length === 1 && /[\w-]$|[:\-[,{] $|\[$/.test(before);
    if (isLetter || (offer.isOpen() && inputType === "deleteContentBackward")) offer.open();
    else offer.hide();
  }

  function press(event) {
    const isMeant = offer.press(event);
    if (!isMeant && /^(Arrow|Home|End|Page)/.test(event.key)) offer.hide();
    return isMeant;
  }

  return { ...offer, whenTyped, press };
}
