// Nodes: what each has, what is allocated of it and how it is really used; the partitions above them.

import { h, renew } from "../core/dom.js";
import { get, getWhole } from "../core/api.js";
import { makeListView } from "../core/list_view.js";
import { makeLink } from "../core/router.js";
import { writeBytes } from "../core/format.js";
import { findNodeFamily } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { showEmpty } from "../core/notice.js";
import { makePane, makePlainTable, showPanes } from "../core/pane.js";
import { setTitle } from "../core/shell.js";

const READ_AGAIN_MS = 10_000; // events of nodes tell no load and no jobs
const UNKNOWN = { cpu_load: null, gpus_allocated: 0, jobs: [] };
const HIGH_LOAD = 1.1; // of all CPUs
const LOW_LOAD = 0.5; // of the allocated CPUs

const writeGpus = ({ gpus_allocated, gpus_total }) => (gpus_total ? `${gpus_allocated} of ${gpus_total}` : "");

// Write how much memory of a node is allocated.
export const writeAllocated = (node) => `${writeMemory(node.memory_allocated)} of ${writeMemory(node.memory_total)}`;
const number = (key, title, width, more) => ({ key, title, width, numeric: true, ...more });
const memory = (key, title, width, more) => number(key, title, width, { value: (node) => readMemory(node[key]), ...more });
const words = (key, title, more) => ({ key, title, width: "9rem", value: (node) => node[key].join(" "), ...more });
const time = (key, title) => ({ key, title, width: "8rem", shown: false, kind: "short time" });

const COLUMNS = [
  { key: "node_name", title: "Node", width: "minmax(8rem, 1fr)", link: (node) => ["nodes", node.node_name] },
  { key: "state", title: "State", width: "9rem", kind: "state", family: (node) => findNodeFamily(node.state_raw) },
  { key: "reason", title: "Reason", width: "minmax(10rem, 2fr)" },
  number("cpu_allocated", "CPUs used", "6rem", { write: (node) => `${node.cpu_allocated} of ${node.cpu_total}` }),
  number("cpu_load", "Load", "6.5rem", { write: writeLoad }),
  number("gpus_allocated", "GPUs used", "6rem", { write: writeGpus }),
  memory("memory_allocated", "Memory allocated", "11rem", { write: writeAllocated }),
  memory("memory_free", "Memory free", "7rem", { write: (node) => writeMemory(node.memory_free) }),
  number("jobs", "Jobs", "4rem", { value: (node) => node.jobs.length }),
  words("partitions", "Partitions"),
  words("features", "Features", { shown: false }),
  time("last_busy", "Last busy"),
  time("boot_time", "Booted"),
];

// Return an amount of memory of the API ("16000MB") in bytes; null where there is none.
export function readMemory(text) {
  const match = /^([\d.]+)([KMGT]?)B?$/.exec(text ?? "");
  return match ? Number(match[1]) * 1024 ** " KMGT".indexOf(match[2] || " ") : null;
}

// Write an amount of memory of the API.
export const writeMemory = (text) => writeBytes(readMemory(text));

// Write the real load, with a word where it does not fit what is allocated.
export function writeLoad({ cpu_load, cpu_total, cpu_allocated }) {
  if (cpu_load === null) return "";
  const isLow = cpu_allocated > 1 && cpu_load < cpu_allocated * LOW_LOAD;
  return `${cpu_load.toFixed(1)}${cpu_load > cpu_total * HIGH_LOAD ? " high" : isLow ? " low" : ""}`;
}

// Open the view.
export function open(outlet, { query }) {
  setTitle("Nodes");
  return showPanes(outlet, h("h1", null, "Nodes and partitions"), [makeNodesPart({ query, id: "nodes" }), makePartitionsPane()]);
}

// Make the live table of nodes, with its filter; `only(node)` takes a part of them.
export function makeNodesPart({ query, id, only = () => true }) {
  const view = makeListView({
    query,
    id,
    title: "Nodes",
    heading: null,
    noun: "node",
    columns: COLUMNS,
    sort: "node_name",
    fields: [{ name: "q", label: "Filter nodes", placeholder: "name, state, feature", getText: listWords }],
    kinds: ["node"],
    load: async ({ signal }) => {
      const { data, change } = await getWhole("api/v1/nodes", {}, { signal });
      return { rows: data.nodes.filter(only).map((node) => [node.node_name, node]), change };
    },
    getRow: ({ id: name, row }, rows) => {
      const node = row && { ...UNKNOWN, ...rows.get(name), ...row };
      return node && only(node) ? node : null;
    },
    getLink: (node) => makeLink(["nodes", node.node_name]),
    none: () => ["There are no nodes: SLURM has told none yet."],
  });
  const reading = setInterval(() => document.hidden || view.list.reload(), READ_AGAIN_MS);
  const close = () => {
    clearInterval(reading);
    view.close();
  };
  return { node: h("section", { class: "pane", "aria-label": "Nodes" }, view.nodes), close };
}

const listWords = ({ node_name, state, state_raw, reason, partitions, features }) =>
  [node_name, state, state_raw, reason, ...partitions, ...features].join(" ");

function makePartitionsPane() {
  return makePane({
    title: "Partitions",
    kinds: ["resource"],
    calm_ms: 2000,
    load: async ({ signal }) => {
      const [found, queue] = await Promise.all(["api/v1/partitions", "api/overview"].map((path) => get(path, {}, { signal })));
      return { ...found, ...queue };
    },
    draw(place, { partitions, queue }) {
      if (partitions.length === 0) return showEmpty(place, "There are no partitions: SLURM has told none yet.");
      const numbers = ["Nodes used", "CPUs used", "Waiting", "Longest time", "Most nodes"].map((title) => [title, "numeric"]);
      const rows = partitions.map((partition) => listCells(partition, queue));
      renew(place, makePlainTable("Partitions", ["Partition", "State", ...numbers], rows));
    },
  });
}

function listCells(partition, queue) {
  const { name, state, nodes_allocated, nodes_mixed, nodes_total, cpus_allocated, cpus_total, max_time, max_nodes } = partition;
  const waiting = queue.filter((row) => row.state === "PENDING" && row.partition.split(",").includes(name));
  return [
    h("a", { href: makeLink(["partitions", name]) }, name),
    makeState(state, findPartitionFamily(state)),
    `${nodes_allocated + nodes_mixed} of ${nodes_total}`,
    `${cpus_allocated} of ${cpus_total}`,
    waiting.reduce((sum, row) => sum + row.jobs, 0),
    writeLimit(max_time),
    writeLimit(max_nodes),
  ];
}

// Write a limit of a partition.
export const writeLimit = (limit) => (limit === null || limit === "UNLIMITED" ? "no limit" : limit);

// Return the family of a partition's state.
export const findPartitionFamily = (state) => ({ UP: "done", DOWN: "failed", DRAIN: "cancelled", INACTIVE: "cancelled" })[state] ?? "unknown";
