// Settings: what is configured and where from, profiles, who may call, notifications, and how this browser shows the page.

import { h, show } from "../core/dom.js";
import { goTo, makeLink, readAddress } from "../core/router.js";
import { makeTabs } from "../core/pane.js";
import { setTitle } from "../core/shell.js";

const PARTS = [
  ["config", "Configuration", () => import("../settings/config.js")],
  ["profiles", "Profiles", () => import("../settings/profiles.js")],
  ["access", "Access", () => import("../settings/access.js")],
  ["notifications", "Notifications", () => import("../settings/notifications.js")],
  ["page", "This browser", () => import("../settings/page.js")],
  ["about", "About", () => import("../settings/about.js")],
];

// Open the view; each part is an address of its own.
export function open(outlet, { params }) {
  setTitle("Settings");
  const tabs = makeTabs({
    label: "Settings",
    tabs: PARTS.map(([key, title, load]) => ({ key, title, open: (place) => openPart(place, load) })),
    chosen: params.part ?? "config",
    whenChosen: (key) => readAddress().parts[1] !== key && goToPart(key),
  });
  show(outlet, h("h1", null, "Settings"), tabs.node);
  return tabs.close;
}

// Go to another part, and leave the focus on its tab.
async function goToPart(key) {
  await goTo(makeLink(["settings", key]));
  document.querySelector(`[role="tab"][data-key="${key}"]`)?.focus();
}

// Open a part as soon as its module is there; return what closes it.
function openPart(place, load) {
  const opening = load().then(
    (part) => place.isConnected && part.open(place),
    () => void show(place, h("p", { role: "alert" }, "This part could not be loaded. Load the page again.")),
  );
  return () => opening.then((close) => close && close());
}
