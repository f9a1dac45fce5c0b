// The page: begins here. It uses only operations that /docs describes.

import { placeNotices, showProblem } from "./core/notice.js";
import { buildShell } from "./core/shell.js";
import { catchClicks, setRoutes } from "./core/router.js";
import { findCaller, findCallerAgain } from "./core/signin.js";
import { joinFeed } from "./core/live.js";
import { joinNotifications } from "./core/notify.js";
import { listenToKeys } from "./core/keys.js";

const AGAIN_MS = 3000; // after which a server that did not answer at the start is asked again

const ROUTES = [
  ["", () => import("./views/welcome.js")],
  ["overview", () => import("./views/overview.js")],
  ["jobs", () => import("./views/jobs.js")],
  ["jobs/:id", () => import("./views/job.js")],
  ["runs", () => import("./views/runs.js")],
  ["runs/:id", () => import("./views/run.js")],
  ["compare", () => import("./views/compare.js")],
  ["sweeps", () => import("./views/sweeps.js")],
  ["sweeps/:id", () => import("./views/sweep.js")],
  ["workflows", () => import("./views/workflows.js")],
  ["workflows/:name", () => import("./views/workflow.js")],
  ["templates/:name", () => import("./views/template.js")],
  ["nodes", () => import("./views/nodes.js")],
  ["nodes/:name", () => import("./views/node.js")],
  ["partitions/:name", () => import("./views/partition.js")],
  ["reports", () => import("./views/reports.js")],
  ["reports/:id", () => import("./views/report.js")],
  ["files", () => import("./views/files.js")],
  ["files/:mount", () => import("./views/files.js")],
  ["history", () => import("./views/history.js")],
  ["settings", () => import("./views/settings.js")],
  ["settings/:part", () => import("./views/settings.js")],
];

async function start() {
  const outlet = buildShell(document.body);
  placeNotices(document.body);
  catchClicks(document.body);
  listenToKeys();
  await findCaller().catch((problem) => waitForCaller(outlet, problem));
  joinFeed();
  joinNotifications();
  await setRoutes(ROUTES, outlet);
}

// Wait until the server says who calls; meanwhile the page says what is in the way.
async function waitForCaller(outlet, problem) {
  await new Promise((resolve) => {
    showProblem(outlet, "The page", problem, resolve);
    setTimeout(resolve, AGAIN_MS);
  });
  await findCallerAgain().catch((found) => waitForCaller(outlet, found));
}

start();
