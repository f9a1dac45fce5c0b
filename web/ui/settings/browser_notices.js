// Whether this browser may tell of runs that end: asked for by a click only.

import { h, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { findObstacle } from "../core/notify.js";

// Make the control.
export function makeNoticeControl() {
  const place = h("div", { class: "pane-body", role: "status" });
  const draw = () => {
    const obstacle = findObstacle();
    const isGranted = !obstacle && Notification.permission === "granted";
    const ask = makeButton("Let this browser tell me", () => Notification.requestPermission().then(draw));
    if (obstacle) show(place, `${obstacle} An endpoint, which is a webhook, tells the same everywhere.`);
    else if (isGranted) show(place, "“Tell me when it ends”, at each run, works while a tab of this page is open.");
    else show(place, h("p", null, "The browser asks you once. Then “Tell me when it ends”, at each run, works."), ask);
  };
  draw();
  return h("section", { class: "pane", "aria-label": "In this browser" }, h("h2", null, "In this browser"), place);
}
