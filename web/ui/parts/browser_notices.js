// Notifications of the browser: asked for by a click only; each event is told once over all tabs.

import { h, setText, show } from "../core/dom.js";
import { hearChanges } from "../core/live.js";
import { FAMILIES, findFamily, writeState } from "../core/states.js";

const KEPT = "notices";
const OVER = new Set(["done", "failed", "cancelled"]);

const isPossible = () => isSecureContext && typeof Notification === "function" && Notification.permission !== "denied";
const isOn = () => localStorage.getItem(KEPT) === "on" && typeof Notification === "function" && Notification.permission === "granted";

// Begin to tell of runs and sweeps that end, where the reader has asked for it.
export function startNotices() {
  return hearChanges(["run", "sweep"], (changes) => isOn() && changes.filter(isEnd).forEach(tell));
}

function isEnd({ action, row }) {
  return action === "updated" && row && row.sweep_run_id === undefined && OVER.has(findFamily(row.status));
}

// Tabs that tell the same replace each other's, since the tag is the same.
function tell({ kind, id, row }) {
  const name = row.workflow_name ?? row.name ?? id;
  new Notification(`${FAMILIES[findFamily(row.status)].mark} ${name} ${writeState(row.status)}`, { tag: `${kind} ${id}`, body: row.error?.split("\n")[0] ?? "" });
}

// Make the control.
export function makeNoticeControl() {
  const words = h("p", { class: "hint" });
  const button = h("button", { type: "button" });
  const node = h("section", { class: "pane", "aria-label": "In this browser" }, h("h2", null, "In this browser"), words, h("div", null, button));
  const draw = () => {
    button.hidden = !isPossible();
    setText(button, isOn() ? "Do not tell me any more" : "Tell me when a run or sweep ends");
    if (isPossible()) return setText(words, isOn() ? "This browser tells you when a run or sweep ends, while a tab of this page is open." : "The browser asks you once whether this page may.");
    const why = isSecureContext ? "This browser was told not to show notifications of this page; its own settings change that." : "Over plain http under a host name browsers show no notifications.";
    show(words, `${why} An endpoint below tells the same, to Slack or any webhook.`);
  };
  button.addEventListener("click", async () => {
    if (isOn()) localStorage.setItem(KEPT, "off");
    else if ((await Notification.requestPermission()) === "granted") localStorage.setItem(KEPT, "on");
    draw();
  });
  draw();
  return { node };
}
