// Settings: what is configured and where from, profiles, who may call, notifications, and how this browser shows the page.

import { h, show } from "../core/dom.js";
import { goTo, makeLink, readAddress } from "../core/router.js";
import { makeTabs } from "../core/pane.js";
import { setTitle } from "../core/shell.js";

const PARTS = [
  { key: "config", title: "Configuration", load: () => import("../settings/config.js") },
  { key: "profiles", title: "Profiles", load: () => import("../settings/profiles.js") },
  { key: "access", title: "Access", load: () => import("../settings/access.js") },
  { key: "notifications", title: "Notifications", load: () => import("../settings/notifications.js") },
  { key: "page", title: "This browser", load: () => import("../settings/page.js") },
  { key: "about", title: "About", load: () => import("../settings/about.js") },
];

// Open the view; each part is an address of its own.
export function open(outlet, { params }) {
  setTitle("Settings");
  const tabs = makeTabs({
    label: "Settings",
    tabs: PARTS.map(({ key, title, load }) => ({ key, title, open: (place) => openPart(place, load) })),
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
  let close = null;
  let isClosed = false;
  load().then(
    (part) => isClosed || (close = part.open(place)),
    () => show(place, h("p", { role: "alert" }, "This part could not be loaded. Load the page again.")),
  );
  return () => {
    isClosed = true;
    close?.();
  };
}
