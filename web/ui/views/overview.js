// Overview: how the cluster is, what waits and runs, what failed and why, and what is wrong with the store.

import { h, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLink } from "../core/router.js";
import { getNow, writeBytes, writeCount, writeTime } from "../core/format.js";
import { findFamily, writeState } from "../core/states.js";
import { makeAge, makeMark, makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { makeFacts, makePane, makePlainTable, showItems } from "../core/pane.js";
import { makeAction } from "../core/action.js";
import { setTitle } from "../core/shell.js";
import { me } from "../core/signin.js";
import { makeFailedPane } from "../cluster/failed_jobs.js";
import { makeHistoryLine } from "../cluster/history_line.js";

const CALM_MS = 3000;
const HISTORY_MS = 60_000;
const LITTLE_SPACE = 0.05;
const WAYS = { embedded: "embedded in this server", local: "by SLURM’s programs on the server’s machine", ssh: "over SSH" };
const MOST_MINE = 10;

// Open the view. It has columns: a pane that grows moves none beside it.
export function open(outlet) {
  setTitle("Overview");
  const columns = [[makeMinePane()], [makeFailedPane(), makeAlertsPane(), makeProblemsPane()], [makeQueuePane(), makeLoadPane(), makeClusterPane()]];
  const places = columns.map((panes) => h("div", null, panes.map(({ node }) => node)));
  show(outlet, h("h1", { class: "unseen" }, "Overview"), h("div", { class: "panes" }, places));
  return () => columns.flat().forEach(({ close }) => close());
}

// --- mine --------------------------------------------------------------------------------------------------------------

function makeMinePane() {
  const user = me.session.job_user;
  const all = h("a", { href: makeLink(["jobs"]) }, "All jobs");
  return makePane({
    title: "My jobs now",
    kinds: ["job"],
    isOwn: ({ row }) => !row || row.user === user,
    calm_ms: CALM_MS,
    actions: [all],
    load: "api/v1/jobs",
    query: { user, state: "RUNNING,PENDING,COMPLETING,SUSPENDED,CONFIGURING", limit: 5 * MOST_MINE },
    draw(place, { jobs, total }) {
      setText(all, total > MOST_MINE ? `All ${writeCount(total, "job")}` : "All jobs");
      if (jobs.length === 0) return showEmpty(place, `No job of ${user} runs or waits.`);
      const ordered = jobs.toSorted((one, other) => rank(one.state) - rank(other.state)).slice(0, MOST_MINE);
      showItems(place, ordered, (job) => `${job.job_id} ${job.state} ${job.reason}`, makeMine);
    },
  });
}

const rank = (state) => ["running", "waiting"].indexOf(findFamily(state)) + 1 || 9;

function makeMine({ job_id, job_name, state, start_time, nodes, reason, reason_text }) {
  const runs = findFamily(state) === "running";
  const words = runs ? [makeAge(start_time, "elapsed"), ` on ${nodes.join(", ")}`] : (reason_text ?? reason);
  const link = h("a", { href: makeLink(["jobs", job_id]), title: job_name }, job_name ?? job_id);
  return h("li", null, h("div", { class: "item" }, makeState(state), link, h("span", { class: "hint" }, words)));
}

// --- what is wrong -----------------------------------------------------------------------------------------------------

function makeAlertsPane() {
  return makePane({
    title: "Alerts",
    kinds: ["alert"],
    load: "api/v1/alerts",
    query: { resolved: false },
    draw(place, { alerts }) {
      if (alerts.length === 0) return showGood(place, "Nothing is wrong with the cluster or this server.");
      showItems(place, alerts, (alert) => `${alert.alert_id} ${alert.acknowledged} ${alert.message}`, makeAlert);
    },
  });
}

const ALERT_FAMILIES = { critical: "failed", warning: "waiting" };

function makeAlert({ alert_id, severity, title, message, created_at, acknowledged, acknowledged_by }) {
  const acknowledge = acknowledged
    ? h("span", { class: "hint" }, `seen by ${acknowledged_by ?? "somebody"}`)
    : makeAction({
        label: "Acknowledge",
        call: () => ({ method: "PUT", path: `api/v1/alerts/${encodeURIComponent(alert_id)}/acknowledge` }),
        done: () => `“${title}” is acknowledged`,
      });
  const state = makeState(severity, ALERT_FAMILIES[severity] ?? "unknown");
  const head = h("div", { class: "item" }, state, h("strong", null, title), makeAge(created_at));
  return h("li", null, head, h("p", null, message), acknowledge);
}

const showGood = (place, text) => show(place, h("p", { class: "hint" }, makeMark("done"), text));

function makeProblemsPane() {
  return makePane({
    title: "Store problems",
    kinds: ["problem", "workflow", "config", "profile"],
    load: "api/store/problems",
    draw(place, problems) {
      if (problems.length === 0) return showGood(place, "Every file of the store is as it should be.");
      showItems(place, problems, JSON.stringify, makeProblem);
    },
  });
}

function makeProblem({ path, line, column, severity, mount, since, reason }) {
  const where = [path, line, column].filter((part) => part !== null && part !== undefined).join(":");
  const state = severity === "warning" ? makeState("warning", "waiting") : makeState("error", "failed");
  const workflow = /^workflows\/(.+)\.ya?ml$/.exec(path)?.[1];
  const name = workflow && !mount ? h("a", { href: makeLink(["workflows", workflow]) }, where) : h("code", null, where);
  const head = h("div", { class: "item" }, state, name, mount && h("span", { class: "hint" }, `mount ${mount}`), makeAge(since));
  return h("li", null, head, h("p", null, reason));
}

// --- the queue ---------------------------------------------------------------------------------------------------------

function makeQueuePane() {
  return makePane({
    title: "Queue",
    kinds: ["resource", "job"],
    calm_ms: CALM_MS,
    load: async ({ signal }) => {
      const [{ queue }, { partitions }] = await readAll(["api/overview", "api/v1/partitions"], signal);
      return { queue, known: partitions.map(({ name }) => name) };
    },
    draw: drawQueue,
  });
}

const readAll = (paths, signal) => Promise.all(paths.map((path) => get(path, {}, { signal })));

function drawQueue(place, { queue, known }) {
  const names = [...new Set([...known, ...queue.map(({ partition }) => partition)])];
  if (names.length === 0) return showEmpty(place, "Nothing is known of the queue: SLURM has told no partitions.");
  const states = [...new Set(["RUNNING", "PENDING", ...queue.map(({ state }) => state)])];
  states.sort((one, other) => rank(one) - rank(other));
  const count = (rows) => states.map((state) => sumJobs(rows.filter((row) => row.state === state)) || "–");
  const rows = names.map((name) => {
    const title = known.includes(name) ? h("a", { href: makeLink(["partitions", name]) }, name) : name;
    return [title, ...count(queue.filter(({ partition }) => partition === name))];
  });
  const heads = states.map((state) => [makeState(state), "numeric"]);
  const sums = names.length > 1 && ["All", ...count(queue)];
  show(place, makePlainTable("Queue by partition and state", ["Partition", ...heads], rows, sums));
}

const sumJobs = (rows) => rows.reduce((sum, { jobs }) => sum + jobs, 0);

// --- load --------------------------------------------------------------------------------------------------------------

function makeLoadPane() {
  return makePane({
    title: "Load",
    kinds: ["resource"],
    calm_ms: 10_000,
    every_ms: HISTORY_MS,
    load: async ({ signal }) => {
      const past = get("api/v1/metrics/performance", { interval: "5m" }, { signal });
      const [now, { metrics }] = await Promise.all([get("api/v1/metrics/cluster", {}, { signal }), past]);
      return { now, past: metrics };
    },
    draw: drawLoad,
  });
}

const USES = { cpu: "CPUs", gpu: "GPUs", memory: "Memory" };

function drawLoad(place, { now, past }) {
  const times = past.map((sample) => sample.timestamp);
  const counts = Object.entries(now.node_counts ?? {}).filter(([, count]) => count > 0);
  const nodes = counts.map(([state, count]) => `${count} ${writeState(state)}`);
  const uses = Object.entries(USES).map(([key, word]) => ({
    title: `${word} allocated`,
    times,
    now: now.cluster_utilization[`${key}_percent`],
    values: past.map((sample) => sample[`${key}_utilization`]),
  }));
  const lines = uses.filter((line) => line.now !== null || line.values.some(Boolean));
  show(
    place,
    lines.map(makeHistoryLine),
    h("p", { class: "hint ends" }, h("span", null, "24 hours ago"), h("span", null, "now")),
    makeFacts([
      ["Nodes", h("a", { href: makeLink(["nodes"]) }, nodes.join(", ") || "none")],
      ["Waited on average", writeWait(now.queue_stats.avg_wait_time)],
      ["Waited longest", writeWait(now.queue_stats.max_wait_time)],
      ["Ended in the last hour", now.queue_stats.throughput],
    ]),
  );
}

// Write "12m 34s" of the API as times are written here.
const writeWait = (text) => text?.replace(/(?<=\d)[dhs]/g, " $&").replace("m", " min");

// --- the cluster -------------------------------------------------------------------------------------------------------

function makeClusterPane() {
  return makePane({
    title: "Cluster",
    kinds: ["resource", "profile", "alert", "problem"],
    calm_ms: CALM_MS,
    load: async ({ signal }) => {
      const [overview, status] = await readAll(["api/overview", "api/v1/status"], signal);
      return { overview, status, read_ms: getNow() };
    },
    draw: drawCluster,
  });
}

function drawCluster(place, { overview: { cluster, way, profile, error, age_seconds, disks }, status, read_ms }) {
  show(
    place,
    error && h("p", { class: "trouble", role: "alert" }, makeMark("failed"), ` SLURM does not answer: ${error}`),
    makeFacts([
      ["Name", cluster],
      ["Reached", `${WAYS[way]}${profile ? `, profile ${profile}` : ""}`],
      ["SLURM", status.slurm.version],
      ["As of", age_seconds === null ? "nothing is known yet" : makeAge(new Date(read_ms - age_seconds * 1000).toISOString())],
      ["Up since", writeTime(Date.parse(status.timestamp) - status.uptime_seconds * 1000)],
      ...disks.map((disk) => ["Disk", describeDisk(disk)]),
    ]),
  );
}

function describeDisk({ path: folder, total_bytes, free_bytes }) {
  if (free_bytes === null) return `${folder} does not answer`;
  const isLittle = free_bytes < total_bytes * LITTLE_SPACE;
  const words = `${writeBytes(free_bytes)} of ${writeBytes(total_bytes)} free${isLittle ? ": little is left" : ""}`;
  return h("span", { title: folder }, isLittle && makeMark("failed"), words);
}
