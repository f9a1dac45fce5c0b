// The page: begins here. It uses only operations that /docs describes.

import { placeNotices } from "./core/notice.js";
import { buildShell } from "./core/shell.js";
import { catchClicks, setRoutes } from "./core/router.js";
import { findCaller } from "./core/signin.js";
import { joinFeed } from "./core/live.js";
import { listenToKeys } from "./core/keys.js";

const ROUTES = [
  ["", () => import("./views/jobs.js")],
  ["jobs", () => import("./views/jobs.js")],
];

async function start() {
  const outlet = buildShell(document.body);
  placeNotices(document.body);
  catchClicks(document.body);
  listenToKeys();
  await findCaller();
  joinFeed();
  await setRoutes(ROUTES, outlet);
}

start();
