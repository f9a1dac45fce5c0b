// Overview: how the cluster is, what waits and runs, what failed and why, and what is wrong with the store.

import { h, keepInStep, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLink } from "../core/router.js";
import { toMs, writeAge, writeBytes, writeCount, writeDuration, writeTime } from "../core/format.js";
import { findFamily, writeState } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { makeFacts, makePane } from "../core/pane.js";
import { makeAction } from "../core/action.js";
import { setTitle } from "../core/shell.js";
import { me } from "../core/signin.js";
import { makeFailedPane } from "../cluster/failed_jobs.js";
import { makeHistoryLine } from "../cluster/history_line.js";

const CALM_MS = 2000;
const HISTORY_MS = 60_000;
const AGE_MS = 1000;
const LITTLE_SPACE = 0.05;
const WAYS = { embedded: "embedded in this server", local: "by SLURM’s programs on the server’s machine", ssh: "over SSH" };
const MOST_MINE = 50;

// Open the view.
export function open(outlet) {
  setTitle("Overview");
  const panes = [makeMinePane(), makeFailedPane(), makeQueuePane(), makeLoadPane(), makeClusterPane(), makeAlertsPane(), makeProblemsPane()];
  show(outlet, h("h1", { class: "unseen" }, "Overview"), h("div", { class: "panes" }, panes.map(({ node }) => node)));
  return () => panes.forEach(({ close }) => close());
}

// --- the cluster -------------------------------------------------------------------------------------------------------

function makeClusterPane() {
  let timer = 0;
  const pane = makePane({
    title: "Cluster",
    kinds: ["resource", "profile", "alert", "problem"],
    calm_ms: CALM_MS,
    load: async ({ signal }) => {
      const [overview, status] = await Promise.all([get("api/overview", {}, { signal }), get("api/v1/status", {}, { signal })]);
      return { overview, status, read_ms: Date.now() };
    },
    draw: drawCluster,
  });
  timer = setInterval(() => document.hidden || tickAge(pane.node, pane.document.value), AGE_MS);
  return { ...pane, close: () => (clearInterval(timer), pane.close()) };
}

function drawCluster(place, value) {
  const { overview, status } = value;
  const trouble = overview.error && h("p", { class: "trouble", role: "alert" }, h("span", { class: "mark failed", "aria-hidden": "true" }, "✗"), ` SLURM does not answer: ${overview.error}`);
  show(
    place,
    trouble,
    makeFacts([
      ["Name", overview.cluster],
      ["Reached", `${WAYS[overview.way]}${overview.profile ? `, profile ${overview.profile}` : ""}`],
      ["SLURM", status.slurm.version],
      ["As of", h("span", { "data-age": true })],
      ["Up since", writeTime(Date.parse(status.timestamp) - status.uptime_seconds * 1000)],
      ...overview.disks.map((disk) => ["Disk", describeDisk(disk)]),
    ]),
  );
  tickAge(place, value);
}

function tickAge(node, value) {
  const age = node.querySelector("[data-age]");
  const first_s = value?.overview.age_seconds;
  if (!age || first_s === undefined) return;
  age.textContent = first_s === null ? "nothing is known yet" : `${writeDuration(first_s + (Date.now() - value.read_ms) / 1000)} ago`;
}

function describeDisk({ path: folder, total_bytes, free_bytes }) {
  if (free_bytes === null) return `${folder} does not answer`;
  const isLittle = free_bytes < total_bytes * LITTLE_SPACE;
  return h("span", { title: folder }, isLittle && h("span", { class: "mark failed", "aria-hidden": "true" }, "✗"), `${writeBytes(free_bytes)} of ${writeBytes(total_bytes)} free${isLittle ? ": little is left" : ""}`);
}

// --- load --------------------------------------------------------------------------------------------------------------

function makeLoadPane() {
  const pane = makePane({
    title: "Load",
    kinds: ["resource"],
    calm_ms: 10_000,
    load: async ({ signal }) => {
      const [now, past] = await Promise.all([get("api/v1/metrics/cluster", {}, { signal }), get("api/v1/metrics/performance", { interval: "5m" }, { signal })]);
      return { now, past: past.metrics };
    },
    draw: drawLoad,
  });
  const timer = setInterval(() => document.hidden || pane.document.reload(), HISTORY_MS);
  return { ...pane, close: () => (clearInterval(timer), pane.close()) };
}

function drawLoad(place, { now, past }) {
  const times = past.map((sample) => sample.timestamp);
  const use = now.cluster_utilization;
  const lines = [["CPUs allocated", "cpu_utilization", use.cpu_percent], ["GPUs allocated", "gpu_utilization", use.gpu_percent], ["Memory allocated", "memory_utilization", use.memory_percent]];
  const shown = lines.filter(([, key, current]) => current !== null || past.some((sample) => sample[key]));
  const nodes = Object.entries(now.node_counts).filter(([, count]) => count > 0).map(([state, count]) => `${count} ${writeState(state)}`);
  show(
    place,
    shown.map(([title, key, current]) => makeHistoryLine({ title, times, now: current, values: past.map((sample) => sample[key]) })),
    h("p", { class: "hint ends" }, h("span", null, "24 hours ago"), h("span", null, "now")),
    makeFacts([
      ["Nodes", h("a", { href: makeLink(["nodes"]) }, nodes.join(", ") || "none")],
      ["Waited on average", now.queue_stats.avg_wait_time],
      ["Waited longest", now.queue_stats.max_wait_time],
      ["Ended in the last hour", now.queue_stats.throughput],
    ]),
  );
}

// --- the queue ---------------------------------------------------------------------------------------------------------

function makeQueuePane() {
  return makePane({
    title: "Queue",
    kinds: ["resource", "job"],
    calm_ms: CALM_MS,
    load: async ({ signal }) => {
      const [overview, partitions] = await Promise.all([get("api/overview", {}, { signal }), get("api/v1/partitions", {}, { signal })]);
      return { queue: overview.queue, partitions: partitions.partitions };
    },
    draw: drawQueue,
  });
}

function drawQueue(place, { queue, partitions }) {
  if (queue.length === 0 && partitions.length === 0) return showEmpty(place, "Nothing is known of the queue: SLURM has told no partitions.");
  const states = [...new Set(queue.map((row) => row.state))].sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
  if (states.length === 0) states.push("RUNNING", "PENDING");
  const names = [...new Set([...partitions.map((partition) => partition.name), ...queue.map((row) => row.partition)])];
  const count = (name, state) => queue.filter((row) => row.partition === name && row.state === state).reduce((sum, row) => sum + row.jobs, 0);
  const known = new Set(partitions.map((partition) => partition.name));
  const total = (state) => queue.filter((row) => row.state === state).reduce((sum, row) => sum + row.jobs, 0);
  show(
    place,
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Queue by partition and state" },
      h(
        "table",
        { class: "plain" },
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "Partition"), states.map((state) => h("th", { scope: "col", class: "numeric" }, makeState(state))))),
        h("tbody", null, names.map((name) => h("tr", null, h("th", { scope: "row" }, known.has(name) ? h("a", { href: makeLink(["partitions", name]) }, name) : name), states.map((state) => h("td", { class: "numeric" }, count(name, state) || "–"))))),
        names.length > 1 && h("tfoot", null, h("tr", null, h("th", { scope: "row" }, "All"), states.map((state) => h("td", { class: "numeric" }, total(state))))),
      ),
    ),
  );
}

const rank = (state) => ["running", "waiting"].indexOf(findFamily(state)) + 1 || 9;

// --- mine --------------------------------------------------------------------------------------------------------------

function makeMinePane() {
  return makePane({
    title: "My jobs now",
    kinds: ["job"],
    isOwn: (change) => change.row === null || change.row === undefined || change.row.user === me.user,
    calm_ms: 1000,
    load: ({ signal }) => get("api/v1/jobs", { user: me.user, state: "RUNNING,PENDING,COMPLETING,SUSPENDED,CONFIGURING", limit: MOST_MINE }, { signal }),
    draw(place, { jobs, total }) {
      if (jobs.length === 0) return showEmpty(place, `No job of ${me.user} runs or waits.`, h("a", { href: makeLink(["jobs"]) }, "All jobs"));
      const list = place.querySelector("ul") ?? show(place, h("ul", { class: "items" }), h("p", { class: "hint", "data-more": true })).firstElementChild;
      const ordered = jobs.toSorted((one, other) => rank(one.state) - rank(other.state));
      keepInStep(list, ordered.slice(0, 12), (job) => job.job_id, makeMine, updateMine);
      show(place.querySelector("[data-more]"), total > 12 && h("a", { href: makeLink(["jobs"]) }, `All ${writeCount(total, "job")}`));
    },
  });
}

function makeMine(job) {
  const item = h("li", null, h("div", { class: "item" }, h("span", { class: "state" }), h("a", { href: makeLink(["jobs", job.job_id]) }, job.job_name ?? job.job_id), h("span", { class: "hint" })));
  updateMine(item, job);
  return item;
}

function updateMine(item, job) {
  const [state, , words] = item.firstElementChild.children;
  if (state.dataset.state !== job.state) {
    state.dataset.state = job.state;
    show(state, makeState(job.state));
  }
  const runs = findFamily(job.state) === "running";
  const elapsed_s = (Date.now() - (toMs(job.start_time) ?? Date.now())) / 1000;
  words.textContent = runs ? `for ${writeDuration(elapsed_s)} on ${job.nodes.join(", ")}` : (job.reason_text ?? job.reason ?? "");
}

// --- what is wrong -----------------------------------------------------------------------------------------------------

function makeAlertsPane() {
  return makePane({
    title: "Alerts",
    kinds: ["alert"],
    load: ({ signal }) => get("api/v1/alerts", { resolved: false }, { signal }),
    draw(place, { alerts }) {
      if (alerts.length === 0) return show(place, makeGood("Nothing is wrong with the cluster or this server."));
      show(place, h("ul", { class: "items" }, alerts.map(makeAlert)));
    },
  });
}

function makeAlert(alert) {
  const family = alert.severity === "info" ? "unknown" : alert.severity === "critical" ? "failed" : "waiting";
  const acknowledge = makeAction({ label: "Acknowledge", call: () => ({ method: "PUT", path: `api/v1/alerts/${encodeURIComponent(alert.alert_id)}/acknowledge` }), done: () => `“${alert.title}” is acknowledged` });
  const seen = alert.acknowledged && h("span", { class: "hint" }, `seen by ${alert.acknowledged_by ?? "somebody"}`);
  return h("li", null, h("div", { class: "item" }, makeState(alert.severity, family), h("strong", null, alert.title), h("span", { class: "hint", title: writeTime(alert.created_at) }, writeAge(alert.created_at)), seen), h("p", null, alert.message), !alert.acknowledged && acknowledge);
}

const makeGood = (text) => h("p", { class: "hint" }, h("span", { class: "mark done", "aria-hidden": "true" }, "✓"), text);

function makeProblemsPane() {
  return makePane({
    title: "Store problems",
    kinds: ["problem", "workflow", "config", "profile"],
    load: ({ signal }) => get("api/store/problems", {}, { signal }),
    draw(place, problems) {
      if (problems.length === 0) return show(place, makeGood("Every file of the store is as it should be."));
      show(place, h("ul", { class: "items" }, problems.map(makeProblem)));
    },
  });
}

function makeProblem(problem) {
  const where = [problem.path, problem.line, problem.column].filter((part) => part !== null && part !== undefined).join(":");
  const isWarning = problem.severity === "warning";
  const workflow = /^workflows\/(.+)\.ya?ml$/.exec(problem.path)?.[1];
  const name = workflow && !problem.mount ? h("a", { href: makeLink(["workflows", workflow]) }, where) : h("code", null, where);
  return h("li", null, h("div", { class: "item" }, makeState(isWarning ? "warning" : "error", isWarning ? "waiting" : "failed"), name, problem.mount && h("span", { class: "hint" }, `mount ${problem.mount}`), h("span", { class: "hint", title: writeTime(problem.since) }, writeAge(problem.since))), h("p", null, problem.reason));
}
