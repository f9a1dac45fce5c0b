// One partition: its limits, its nodes, how it is used and what waits for it.

import { h, renew } from "../core/dom.js";
import { makeLink } from "../core/router.js";
import { makeState } from "../core/marks.js";
import { makeFacts, makePane, showPanes } from "../core/pane.js";
import { setTitle } from "../core/shell.js";
import { makeJobsPane } from "../cluster/jobs_pane.js";
import { findPartitionFamily, makeNodesPart, writeLimit } from "./nodes.js";

// Open the view.
export function open(outlet, { params: { name }, query }) {
  setTitle(name);
  const waiting = makeJobsPane({
    title: `Jobs that wait for ${name}`,
    none: `Nothing waits for ${name}.`,
    query: { partition: name, state: "PENDING", sort: "priority", order: "desc" },
    columns: ["user", "priority", "submitted", "why"],
  });
  const nodes = makeNodesPart({ query, id: "partition-nodes", only: (node) => node.partitions.includes(name) });
  const head = h("h1", null, h("a", { href: makeLink(["nodes"]) }, "Partitions"), " / ", name);
  return showPanes(outlet, head, [makePartitionPane(name), waiting, nodes]);
}

function makePartitionPane(name) {
  return makePane({
    title: "Limits and use",
    kinds: ["resource"],
    calm_ms: 2000,
    load: `api/v1/partitions/${encodeURIComponent(name)}`,
    draw: (place, partition) => renew(place, makeFacts(listFacts(partition))),
  });
}

// What SLURM tells of a partition beyond what has a sentence of its own is shown as it is named.
function listFacts({ name, state, nodes, default_time, max_time, max_nodes, jobs_running, jobs_pending, ...counts }) {
  const { nodes_total, nodes_idle, nodes_allocated, nodes_mixed, cpus_total, cpus_allocated, gpus_total, gpus_allocated, ...more } = counts;
  return [
    ["State", makeState(state, findPartitionFamily(state))],
    ["Nodes", `${nodes_total}: ${nodes_allocated} full, ${nodes_mixed} in part, ${nodes_idle} idle`],
    ["CPUs allocated", `${cpus_allocated} of ${cpus_total}`],
    ["GPUs allocated", gpus_total > 0 && `${gpus_allocated} of ${gpus_total}`],
    ["Jobs", `${jobs_running} running, ${jobs_pending} waiting`],
    ["Usual time", default_time && writeLimit(default_time)],
    ["Longest time", writeLimit(max_time)],
    ["Most nodes of a job", writeLimit(max_nodes)],
    ...Object.entries(more).map(([key, value]) => [writeKey(key), writeValue(value)]),
  ];
}

const writeKey = (key) => `${key[0].toUpperCase()}${key.slice(1)}`.replaceAll("_", " ");

function writeValue(value) {
  if (Array.isArray(value)) return value.filter((each) => typeof each !== "object").join(" ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? null : value;
}
