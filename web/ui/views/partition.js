// One partition: its limits, its nodes, how it is used and what waits for it.

import { h, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLink } from "../core/router.js";
import { writeCount, writeTime } from "../core/format.js";
import { makeState } from "../core/marks.js";
import { makeFacts, makePane } from "../core/pane.js";
import { showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { findPartitionFamily, makeNodesPart } from "./nodes.js";

const MOST_WAITING = 20;

// Open the view.
export function open(outlet, { params, query }) {
  setTitle(params.name);
  const parts = [makePartitionPane(params.name), makeWaitingPane(params.name), makeNodesPart({ query, id: "partition-nodes", only: (node) => node.partitions.includes(params.name) })];
  show(outlet, h("h1", null, h("a", { href: makeLink(["nodes"]) }, "Partitions"), " / ", params.name), parts.map(({ node }) => node));
  return () => parts.forEach(({ close }) => close());
}

function makePartitionPane(name) {
  return makePane({
    title: "Limits and use",
    kinds: ["resource"],
    calm_ms: 2000,
    load: ({ signal }) => get(`api/v1/partitions/${encodeURIComponent(name)}`, {}, { signal }),
    draw: (place, partition) => show(place, makeFacts(listFacts(partition))),
  });
}

const SHOWN_APART = new Set(["name", "state", "nodes_total", "nodes_idle", "nodes_allocated", "nodes_mixed", "cpus_total", "cpus_allocated", "default_time", "max_time", "max_nodes", "priority", "qos", "features", "nodes", "gpus_total", "gpus_allocated", "jobs_running", "jobs_pending"]);

function listFacts(partition) {
  const more = Object.entries(partition).filter(([key, value]) => !SHOWN_APART.has(key) && (typeof value !== "object" || Array.isArray(value)));
  return [
    ["State", makeState(partition.state, findPartitionFamily(partition.state))],
    ["Nodes", `${partition.nodes_total}: ${partition.nodes_allocated} full, ${partition.nodes_mixed} in part, ${partition.nodes_idle} idle`],
    ["CPUs allocated", `${partition.cpus_allocated} of ${partition.cpus_total}`],
    ["GPUs allocated", partition.gpus_total ? `${partition.gpus_allocated} of ${partition.gpus_total}` : null],
    ["Jobs", `${partition.jobs_running} running, ${partition.jobs_pending} waiting`],
    ["Usual time", partition.default_time],
    ["Longest time", partition.max_time],
    ["Most nodes of a job", partition.max_nodes ?? "no limit"],
    ["Priority", partition.priority],
    ["QOS", partition.qos],
    ["Features", partition.features.join(" ")],
    ...more.map(([key, value]) => [writeKey(key), writeValue(value)]),
  ];
}

const writeKey = (key) => `${key[0].toUpperCase()}${key.slice(1)}`.replaceAll("_", " ");

function writeValue(value) {
  if (Array.isArray(value)) return value.filter((each) => typeof each !== "object").join(" ");
  return typeof value === "boolean" ? (value ? "yes" : "no") : value;
}

function makeWaitingPane(name) {
  return makePane({
    title: "Waiting",
    kinds: ["job"],
    calm_ms: 2000,
    load: ({ signal }) => get("api/v1/jobs", { partition: name, state: "PENDING", sort: "priority", order: "desc", limit: MOST_WAITING }, { signal }),
    draw(place, { jobs, total }) {
      if (jobs.length === 0) return showEmpty(place, `Nothing waits for ${name}.`);
      const rows = jobs.map((job) => h("tr", null, h("th", { scope: "row" }, h("a", { href: makeLink(["jobs", job.job_id]) }, job.job_id), " ", job.job_name), h("td", null, job.user), h("td", { class: "numeric" }, job.priority), h("td", null, writeTime(job.submit_time)), h("td", null, job.reason_text ?? job.reason)));
      const head = [["Job"], ["User"], ["Priority", "numeric"], ["Submitted"], ["Why it waits"]].map(([title, kind]) => h("th", { scope: "col", class: kind }, title));
      show(
        place,
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Jobs that wait for ${name}` }, h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows))),
        total > jobs.length && h("p", { class: "hint" }, `The first ${jobs.length} of ${writeCount(total, "job")}.`),
      );
    },
  });
}
