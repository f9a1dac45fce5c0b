// Whether this browser may tell of runs that end: asked for by a click only.

import { h, setText } from "../core/dom.js";
import { findObstacle } from "../core/notify.js";

// Make the control.
export function makeNoticeControl() {
  const words = h("p", { class: "hint", role: "status" });
  const button = h("button", { type: "button" }, "Let this browser tell me");
  const node = h("section", { class: "pane", "aria-label": "In this browser" }, h("h2", null, "In this browser"), words, h("div", null, button));
  const draw = () => {
    const obstacle = findObstacle();
    const isGranted = obstacle === null && Notification.permission === "granted";
    button.hidden = obstacle !== null || isGranted;
    if (obstacle) setText(words, `${obstacle} An endpoint, which is a webhook, tells the same everywhere.`);
    else setText(words, isGranted ? "This browser may tell you: “Tell me when it ends” stands at each run. It does so while a tab of this page is open." : "The browser asks you once whether this page may. Then “Tell me when it ends” at a run does.");
  };
  button.addEventListener("click", async () => {
    await Notification.requestPermission();
    draw();
  });
  draw();
  return { node };
}
