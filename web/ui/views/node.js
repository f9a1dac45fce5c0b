// One node: its state and why, what is allocated against what is really used, and the jobs on it.

import { h, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLink } from "../core/router.js";
import { toMs, writeAge, writeBytes, writeCount, writeDuration, writeTime } from "../core/format.js";
import { findFamily, findNodeFamily } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { makeFacts, makePane } from "../core/pane.js";
import { showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { makeNodeActions } from "../cluster/node_actions.js";
import { readMemory, writeLoad } from "./nodes.js";

const LATELY = "now-1d";
const MOST = 50;
const READ_AGAIN_MS = 10_000; // events of nodes tell no load and no jobs
const POWER = /POWER|REBOOT/;

// Open the view.
export function open(outlet, { params }) {
  setTitle(params.name);
  const actions = h("span");
  const panes = [makeNodePane(params.name, actions), makeJobsPane(params.name)];
  show(outlet, h("div", { class: "bar" }, h("h1", null, h("a", { href: makeLink(["nodes"]) }, "Nodes"), " / ", params.name), actions), panes.map(({ node }) => node));
  return () => panes.forEach(({ close }) => close());
}

function makeNodePane(name, actions) {
  let shown = "";
  const pane = makePane({
    title: "State",
    kinds: ["node"],
    isOwn: (change) => change.id === name,
    calm_ms: 1000,
    load: ({ signal }) => get(`api/v1/nodes/${encodeURIComponent(name)}`, {}, { signal }),
    draw(place, node) {
      setTitle(name, { family: findNodeFamily(node.state_raw) });
      show(place, makeFacts(listFacts(node)));
      // A question that is being answered, or a button with the focus, is not taken away.
      const state = `${node.state_raw} ${node.reason} ${node.jobs.length}`;
      if (state === shown || actions.querySelector(".question")) return;
      shown = state;
      show(actions, makeNodeActions(node));
    },
  });
  const reading = setInterval(() => document.hidden || pane.document.reload(), READ_AGAIN_MS);
  return { ...pane, close: () => (clearInterval(reading), pane.close()) };
}

function listFacts(node) {
  const power = node.state_flags.filter((flag) => POWER.test(flag)).join(", ").toLowerCase().replaceAll("_", " ");
  return [
    ["State", makeState(node.state, findNodeFamily(node.state_raw))],
    ["SLURM’s words", node.state_raw],
    ["Reason", node.reason && `${node.reason} (${[node.reason_set_by, node.reason_set_at && writeTime(node.reason_set_at)].filter(Boolean).join(", ")})`],
    ["Given back", node.resume_at && writeTime(node.resume_at)],
    ["Power", power || "on"],
    ["Partitions", node.partitions.map((partition, at) => [at > 0 && " ", h("a", { href: makeLink(["partitions", partition]) }, partition)])],
    ["CPUs allocated", makeUse(node.cpu_allocated, node.cpu_total)],
    ["CPU load", node.cpu_load === null ? null : makeUse(node.cpu_load, node.cpu_total, writeLoad(node))],
    ["GPUs allocated", node.gpus_total ? makeUse(node.gpus_allocated, node.gpus_total) : "has none"],
    ["Memory allocated", makeMemoryUse(node.memory_allocated, node.memory_total)],
    ["Memory free", writeBytes(readMemory(node.memory_free))],
    ["Disk for jobs", readMemory(node.tmp_disk) ? writeBytes(readMemory(node.tmp_disk)) : null],
    ["Sockets, cores, threads", node.sockets && `${node.sockets} × ${node.cores_per_socket} × ${node.threads_per_core}`],
    ["Features", node.features.join(" ")],
    ["System", [node.architecture, node.os].filter(Boolean).join(", ")],
    ["Address", node.address],
    ["SLURM", node.slurm_version],
    ["Booted", node.boot_time && `${writeTime(node.boot_time)} (${writeAge(node.boot_time)})`],
    ["slurmd since", writeTime(node.slurmd_start_time)],
    ["Last busy", writeTime(node.last_busy)],
    ["Comment", node.comment],
  ];
}

function makeUse(used, total, words = `${used} of ${total}`) {
  return h("span", { class: "use" }, h("span", null, words), h("meter", { min: 0, max: Math.max(total, 1), value: Math.min(used, total), "aria-label": words }));
}

function makeMemoryUse(used, total) {
  const [used_bytes, total_bytes] = [readMemory(used), readMemory(total)];
  if (total_bytes === null) return null;
  return `${writeBytes(used_bytes)} of ${writeBytes(total_bytes)}`;
}

function makeJobsPane(name) {
  return makePane({
    title: "Jobs here, now and in the last day",
    kinds: ["job"],
    isOwn: (change) => !change.row?.nodes || change.row.nodes.includes(name),
    calm_ms: 2000,
    load: ({ signal }) => get("api/v1/jobs", { filter: `nodes=${name}`, start_time: LATELY, sort: "start_time", order: "desc", limit: MOST }, { signal }),
    draw(place, { jobs, total }) {
      if (jobs.length === 0) return showEmpty(place, "No job has run here in the last day.");
      const head = ["Job", "State", "User", "CPUs", "GPUs", "Began", "Elapsed"].map((title) => h("th", { scope: "col" }, title));
      show(
        place,
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Jobs on this node" }, h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, jobs.map(makeJobRow)))),
        total > jobs.length && h("p", { class: "hint" }, `The last ${jobs.length} of ${writeCount(total, "job")}.`),
      );
    },
  });
}

function makeJobRow(job) {
  const elapsed = findFamily(job.state) === "running" && job.start_time ? writeDuration((Date.now() - toMs(job.start_time)) / 1000) : job.elapsed_time;
  const texts = [job.user, job.cpu_count, job.gpus, writeTime(job.start_time), elapsed];
  return h("tr", null, h("th", { scope: "row" }, h("a", { href: makeLink(["jobs", job.job_id]) }, job.job_id), " ", job.job_name), h("td", null, makeState(job.state)), texts.map((text) => h("td", null, text)));
}
