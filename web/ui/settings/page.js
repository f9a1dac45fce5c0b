// How this browser shows the page: the zone of times, single keys, what it remembers.

import { h, keepText, listKept, setText, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { chooseZone, getNow, getZone, nameZone, whenZoneChanges, writeTime, ZONES } from "../core/format.js";
import { areKeysOn, makeKeyTable, switchKeys } from "../core/keys.js";
import { notify } from "../core/notice.js";
import { makeNoticeControl } from "./browser_notices.js";

// Open the part.
export function open(place) {
  const example = h("p", { class: "hint" });
  const radios = Object.keys(ZONES).map((value) => h("input", { type: "radio", name: "zone", value, onchange: () => chooseZone(value) }));
  const zones = radios.map((radio) => h("label", { class: "choice" }, radio, ` ${ZONES[radio.value]}`));
  const drawZone = () => {
    setText(example, `All times are in ${nameZone()}; now it is ${writeTime(getNow())}.`);
    for (const radio of radios) radio.checked = radio.value === getZone();
  };
  const keys = h("input", { type: "checkbox", checked: areKeysOn(), onchange: () => switchKeys(keys.checked) });
  const makeSection = (title, ...content) => h("section", { class: "pane", "aria-label": title }, h("h2", null, title), content);
  show(
    place,
    makeSection("Times", h("fieldset", { class: "field" }, h("legend", { class: "unseen" }, "Zone"), zones), example),
    makeSection("Keys", h("label", { class: "choice" }, keys, " Single keys act outside of fields. All that they do can be undone."), makeKeyTable()),
    makeNoticeControl(),
    makeSection(
      "Remembered in this browser",
      h("p", { class: "hint" }, "Chosen columns, the zone, drafts of what you typed. Nothing of it leaves this browser."),
      h("div", null, makeButton("Show the usual columns again", forgetColumns)),
    ),
  );
  drawZone();
  return whenZoneChanges(drawZone);
}

function forgetColumns() {
  for (const key of listKept("columns:")) keepText(key, null);
  notify("All tables show their usual columns when they are opened next");
}
