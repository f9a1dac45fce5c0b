// Notifications of the browser: asked for by a click only, for one run, and shown once however many tabs are open.

import { h, keepText, readKeptJson, show } from "./dom.js";
import { hearChanges } from "./live.js";
import { isOpen, writeState } from "./states.js";
import { makeLink } from "./router.js";

const KEPT = "notify"; // ids of what is waited for, for all tabs
const HOLD_MS = 10_000; // so long other tabs may still read ids as they were

const readIds = () => [readKeptJson(KEPT) ?? []].flat();
const keep = (ids) => keepText(KEPT, JSON.stringify(ids.slice(-100)));

// Return why the browser shows no notifications here, in a sentence; null where it does.
export function findObstacle() {
  if (!globalThis.isSecureContext || !globalThis.Notification) return "Browsers notify only where the page comes over https.";
  if (Notification.permission === "denied") return "This browser was told not to show notifications of this page.";
  return null;
}

// Make the button by which somebody asks to be told when a run ends. Without notifications it names the webhook.
export function makeNotifyButton(id) {
  const place = h("span", { class: "action" });
  const draw = () => {
    const isKept = readIds().includes(id);
    show(place, h("button", { "aria-pressed": isKept, onclick: () => change(!isKept) }, isKept ? "Will tell you" : "Tell me when it ends"));
  };
  async function change(isOn) {
    const obstacle = findObstacle() ?? (isOn && (await Notification.requestPermission()) !== "granted" ? "The browser was not allowed to notify." : null);
    if (obstacle) {
      const link = h("a", { href: makeLink(["settings", "notifications"]) }, "notifications");
      show(place, h("span", { class: "hint" }, `${obstacle} A webhook works everywhere: `, link));
      return;
    }
    keep([...readIds().filter((each) => each !== id), ...(isOn ? [id] : [])]);
    draw();
  }
  draw();
  return place;
}

// Begin to tell of what was asked for. Of several tabs one does it: whoever has the lock takes the id out.
export function joinNotifications() {
  if (findObstacle()) return;
  hearChanges(["run", "cell"], (changes) => {
    const kept = new Set(readIds());
    for (const { id, row } of changes) if (row && kept.has(id) && !isOpen(row.status)) tell(id, row);
  });
}

function tell(id, run) {
  navigator.locks.request(`notify ${id}`, { ifAvailable: true }, (lock) => {
    const kept = readIds();
    if (!lock || !kept.includes(id)) return null;
    keep(kept.filter((each) => each !== id));
    const note = new Notification(`${run.workflow_name}: ${writeState(run.status)}`, { tag: id, body: run.error ?? "" });
    note.addEventListener("click", () => {
      focus();
      location.hash = makeLink(["runs", id]);
    });
    return new Promise((release) => setTimeout(release, HOLD_MS));
  });
}
