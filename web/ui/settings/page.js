// How this browser shows the page: the zone of times, single keys, what it remembers.

import { h, show } from "../core/dom.js";
import { chooseZone, getZone, nameZone, whenZoneChanges, writeTime } from "../core/format.js";
import { areKeysOn, listKeys, switchKeys } from "../core/keys.js";
import { notify } from "../core/notice.js";
import { makeNoticeControl } from "./browser_notices.js";

const ZONES = [["viewer", "your time"], ["UTC", "UTC"], ["cluster", "the cluster’s time"]];

// Open the part.
export function open(place) {
  const example = h("span", { class: "hint" });
  const zones = ZONES.map(([value, title]) => h("label", { class: "choice" }, h("input", { type: "radio", name: "zone", value, checked: getZone() === value, onchange: () => chooseZone(value) }), ` ${title}`));
  const drawZone = () => {
    example.textContent = `All times are in ${nameZone()}; now it is ${writeTime(Date.now())}.`;
    for (const label of zones) label.firstElementChild.checked = label.firstElementChild.value === getZone();
  };
  const endZone = whenZoneChanges(drawZone);
  drawZone();
  const keys = h("input", { type: "checkbox", checked: areKeysOn(), onchange: (event) => switchKeys(event.target.checked) });
  show(
    place,
    h("section", { class: "pane", "aria-label": "Times" }, h("h2", null, "Times"), h("fieldset", { class: "field" }, h("legend", { class: "unseen" }, "Zone"), zones), example),
    h("section", { class: "pane", "aria-label": "Keys" }, h("h2", null, "Keys"), h("label", { class: "choice" }, keys, " Single keys act, outside of fields. None does anything that cannot be undone."), h("table", { class: "plain narrow" }, h("tbody", null, listKeys().map(([key, words]) => h("tr", null, h("th", { scope: "row" }, h("kbd", null, key)), h("td", null, words)))))),
    makeNoticeControl().node,
    h("section", { class: "pane", "aria-label": "Remembered" }, h("h2", null, "Remembered in this browser"), h("p", { class: "hint" }, "Chosen columns, the zone, drafts of what you typed. Nothing of it leaves this browser."), h("div", null, h("button", { type: "button", onclick: forgetColumns }, "Show the usual columns again"))),
  );
  return endZone;
}

function forgetColumns() {
  for (const key of Object.keys(localStorage)) if (key.startsWith("columns:")) localStorage.removeItem(key);
  notify("All tables show their usual columns when they are opened next");
}
