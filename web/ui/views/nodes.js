// Nodes: what each has, what is allocated of it and how it is really used; the partitions above them.

import { debounce, h, renew, setAttribute, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { loadList, makeLiveList } from "../core/live.js";
import { changeQuery, makeLink } from "../core/router.js";
import { writeBytes, writeCount, writeShortTime, toMs } from "../core/format.js";
import { findNodeFamily } from "../core/states.js";
import { fillState, makeState } from "../core/marks.js";
import { makeColumnChooser, makeTable } from "../core/table.js";
import { showEmpty, showProblem } from "../core/notice.js";
import { makePane, makePlainTable, showPanes } from "../core/pane.js";
import { setTitle } from "../core/shell.js";

const FILTER_MS = 30;
const READ_AGAIN_MS = 10_000; // events of nodes tell no load and no jobs
const UNKNOWN = { cpu_load: null, gpus_allocated: 0, jobs: [] };
const HIGH_LOAD = 1.1; // of all CPUs
const LOW_LOAD = 0.5; // of the allocated CPUs

const COLUMNS = [
  { key: "node_name", title: "Node", width: "minmax(8rem, 1fr)", value: (node) => node.node_name, render: fillName },
  { key: "state", title: "State", width: "9rem", value: (node) => node.state, render: (cell, node) => fillState(cell, node.state, findNodeFamily(node.state_raw)) },
  { key: "reason", title: "Reason", width: "minmax(10rem, 2fr)", value: (node) => node.reason },
  { key: "cpus", title: "CPUs used", width: "6rem", numeric: true, value: (node) => node.cpu_allocated, write: (node) => `${node.cpu_allocated} of ${node.cpu_total}` },
  { key: "load", title: "Load", width: "6.5rem", numeric: true, value: (node) => node.cpu_load, write: writeLoad },
  { key: "gpus", title: "GPUs used", width: "6rem", numeric: true, value: (node) => node.gpus_allocated, write: (node) => (node.gpus_total ? `${node.gpus_allocated} of ${node.gpus_total}` : "") },
  { key: "memory", title: "Memory allocated", width: "11rem", numeric: true, value: (node) => readMemory(node.memory_allocated), write: (node) => `${writeBytes(readMemory(node.memory_allocated))} of ${writeBytes(readMemory(node.memory_total))}` },
  { key: "free", title: "Memory free", width: "7rem", numeric: true, value: (node) => readMemory(node.memory_free), write: (node) => writeBytes(readMemory(node.memory_free)) },
  { key: "jobs", title: "Jobs", width: "4rem", numeric: true, value: (node) => node.jobs.length },
  { key: "partitions", title: "Partitions", width: "9rem", value: (node) => node.partitions.join(" ") },
  { key: "features", title: "Features", width: "9rem", shown: false, value: (node) => node.features.join(" ") },
  { key: "last_busy", title: "Last busy", width: "8rem", shown: false, value: (node) => toMs(node.last_busy), write: (node) => writeShortTime(node.last_busy) },
  { key: "boot_time", title: "Booted", width: "8rem", shown: false, value: (node) => toMs(node.boot_time), write: (node) => writeShortTime(node.boot_time) },
];

// Return an amount of memory of the API ("16000MB") in bytes; null where there is none.
export function readMemory(text) {
  const match = /^([\d.]+)([KMGT]?)B?$/.exec(text ?? "");
  return match ? Number(match[1]) * 1024 ** " KMGT".indexOf(match[2] || " ") : null;
}

// Write the real load, with a word where it does not fit what is allocated.
export function writeLoad(node) {
  if (node.cpu_load === null) return "";
  const isHigh = node.cpu_load > node.cpu_total * HIGH_LOAD;
  const isLow = node.cpu_allocated > 1 && node.cpu_load < node.cpu_allocated * LOW_LOAD;
  return `${node.cpu_load.toFixed(1)}${isHigh ? " high" : isLow ? " low" : ""}`;
}

function fillName(cell, node) {
  const link = cell.firstElementChild ?? cell.appendChild(h("a"));
  setAttribute(link, "href", makeLink(["nodes", node.node_name]));
  setText(link, node.node_name);
}

// Return whether all words stand somewhere in a node's name, state, reason, partitions or features.
function fits(node, words) {
  const text = [node.node_name, node.state, node.state_raw, node.reason, ...node.partitions, ...node.features].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

const readWords = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

// Open the view.
export function open(outlet, { query }) {
  setTitle("Nodes");
  return showPanes(outlet, h("h1", { class: "unseen" }, "Nodes and partitions"), [makeNodesPart({ query, id: "nodes" }), makePartitionsPane()]);
}

// Make the live table of nodes, with its filter; `only(node)` takes a part of them.
export function makeNodesPart({ query, id, only = () => true }) {
  const filter = h("input", { type: "search", name: "q", value: query.get("q") ?? "", placeholder: "Name, state, partition, feature", "aria-label": "Filter nodes", autocomplete: "off", spellcheck: "false" });
  const count = h("span", { class: "count", role: "status" });
  const place = h("div");
  const sortText = query.get("sort") ?? "node_name";
  const table = makeTable({
    id,
    label: "Nodes",
    columns: COLUMNS,
    sort: { key: sortText.replace(/^-/, ""), descending: sortText.startsWith("-") },
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
    getLink: (node) => makeLink(["nodes", node.node_name]),
  });
  const list = makeLiveList({ kinds: ["node"], load: loadList("api/v1/nodes", {}, (node) => node.node_name, (data) => data.nodes), getRow: (change) => change.row && { ...UNKNOWN, ...list.rows.get(change.id), ...change.row } });
  const reading = setInterval(() => document.hidden || list.reload(), READ_AGAIN_MS);

  const draw = (changed) => {
    if (list.state === "loading") return;
    if (list.state === "failed") return showProblem(place, "The nodes", list.problem, list.reload);
    const words = readWords(filter.value);
    const all = [...list.rows].filter(([, node]) => only(node));
    const rows = new Map(words.length === 0 ? all : all.filter(([, node]) => fits(node, words)));
    setText(count, rows.size === all.length ? writeCount(all.length, "node") : `${rows.size} of ${writeCount(all.length, "node")}`);
    if (all.length === 0) return showEmpty(place, "There are no nodes: SLURM has told none yet.");
    if (rows.size === 0) return showEmpty(place, `None of ${writeCount(all.length, "node")} fits “${filter.value}”.`, h("button", { type: "button", onclick: clear }, "Clear the filter"));
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(rows, changed);
  };
  const clear = () => {
    filter.value = "";
    changeQuery({ q: "" });
    draw(null);
    filter.focus();
  };
  filter.addEventListener("input", debounce(() => {
    changeQuery({ q: filter.value });
    draw(null);
  }, FILTER_MS));
  list.listen(draw);
  return {
    node: h("section", { class: "pane", "aria-label": "Nodes" }, h("div", { class: "bar" }, h("h2", null, "Nodes"), count, filter, makeColumnChooser(table)), place),
    close: () => {
      clearInterval(reading);
      list.close();
      table.close();
    },
  };
}

function makePartitionsPane() {
  return makePane({
    title: "Partitions",
    kinds: ["resource"],
    calm_ms: 2000,
    load: async ({ signal }) => {
      const [{ partitions }, { queue }] = await Promise.all([get("api/v1/partitions", {}, { signal }), get("api/overview", {}, { signal })]);
      return { partitions, queue };
    },
    draw(place, { partitions, queue }) {
      if (partitions.length === 0) return showEmpty(place, "There are no partitions: SLURM has told none yet.");
      const columns = ["Partition", "State", ...["Nodes used", "CPUs used", "Waiting", "Longest time", "Most nodes"].map((title) => [title, "numeric"])];
      renew(place, makePlainTable("Partitions", columns, partitions.map((partition) => listCells(partition, queue))));
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
    max_time,
    max_nodes ?? "no limit",
  ];
}

// Return the family of a partition's state.
export const findPartitionFamily = (state) => ({ UP: "done", DOWN: "failed", DRAIN: "cancelled", INACTIVE: "cancelled" })[state] ?? "unknown";
