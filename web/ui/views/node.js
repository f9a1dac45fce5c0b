// One node: its state and why, what is allocated against what is really used, and the jobs on it.

import { h, renew, show } from "../core/dom.js";
import { makeLink } from "../core/router.js";
import { writeTime } from "../core/format.js";
import { JOB_STATES, findNodeFamily, isOpen, writeState } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { makeFacts, makePane, showPanes } from "../core/pane.js";
import { setTitle } from "../core/shell.js";
import { makeJobsPane } from "../cluster/jobs_pane.js";
import { makeNodeActions } from "../cluster/node_actions.js";
import { readMemory, writeAllocated, writeLoad, writeMemory } from "./nodes.js";

const READ_AGAIN_MS = 10_000; // events of nodes tell no load and no jobs
const POWER = /POWER|REBOOT/;

// Open the view.
export function open(outlet, { params: { name } }) {
  setTitle(name);
  const actions = h("span");
  const head = h("div", { class: "bar" }, h("h1", null, h("a", { href: makeLink(["nodes"]) }, "Nodes"), " / ", name), actions);
  const makeJobs = (title, none, query) => makeJobsPane({
    title,
    none,
    isOwn: ({ row }) => !row?.nodes || row.nodes.includes(name),
    query: { filter: `nodes=${name}`, order: "desc", ...query },
    columns: ["state", "user", "cpus", "gpus", "began", "elapsed"],
  });
  const listStates = (isWanted) => JOB_STATES.filter(isWanted).join(",");
  const now = makeJobs("Jobs here now", "No job runs here now.", { state: listStates(isOpen), sort: "start_time" });
  const ended = { state: listStates((state) => !isOpen(state)), start_time: "now-1d", sort: "end_time" };
  const before = makeJobs("Jobs that ended here in the last day", "No job has ended here in the last day.", ended);
  return showPanes(outlet, head, [makeNodePane(name, actions), now, before]);
}

function makeNodePane(name, actions) {
  let shown = "";
  return makePane({
    title: "State",
    kinds: ["node"],
    isOwn: (change) => change.id === name,
    calm_ms: 1000,
    every_ms: READ_AGAIN_MS,
    load: `api/v1/nodes/${encodeURIComponent(name)}`,
    draw(place, node) {
      setTitle(name, { family: findNodeFamily(node.state_raw) });
      renew(place, makeFacts(listFacts(node)));
      // A question that is being answered is not taken away.
      const state = `${node.state_raw} ${node.reason} ${node.jobs.length}`;
      if (state === shown || actions.querySelector(".question")) return;
      shown = state;
      show(actions, makeNodeActions(node));
    },
  });
}

function listFacts(node) {
  const memory = readMemory(node.memory_total);
  return [
    ["State", makeState(node.state, findNodeFamily(node.state_raw))],
    ["SLURM’s words", node.state_raw.toUpperCase() !== node.state.toUpperCase() && node.state_raw],
    ["Reason", node.reason && `${node.reason} (${[node.reason_set_by, writeTime(node.reason_set_at)].filter(Boolean).join(", ")})`],
    ["Given back", writeTime(node.resume_at)],
    ["Power", node.state_flags.filter((flag) => POWER.test(flag)).map(writeState).join(", ")],
    ["Partitions", node.partitions.map((partition, at) => [at > 0 && " ", h("a", { href: makeLink(["partitions", partition]) }, partition)])],
    ["CPUs allocated", makeUse(node.cpu_allocated, node.cpu_total)],
    ["CPU load", node.cpu_load !== null && makeUse(node.cpu_load, node.cpu_total, writeLoad(node))],
    ["GPUs allocated", node.gpus_total ? makeUse(node.gpus_allocated, node.gpus_total) : "has none"],
    ["Memory allocated", memory && makeUse(readMemory(node.memory_allocated), memory, writeAllocated(node))],
    ["Memory free", writeMemory(node.memory_free)],
    ["Disk for jobs", readMemory(node.tmp_disk) > 0 && writeMemory(node.tmp_disk)],
    ["Sockets, cores, threads", node.sockets && `${node.sockets} × ${node.cores_per_socket} × ${node.threads_per_core}`],
    ["Features", node.features.join(" ")],
    ["System", [node.architecture, node.os].filter(Boolean).join(", ")],
    ["Address", node.address],
    ["SLURM", node.slurm_version],
    ["Booted", writeTime(node.boot_time)],
    ["slurmd since", writeTime(node.slurmd_start_time)],
    ["Last busy", writeTime(node.last_busy)],
    ["Comment", node.comment],
  ];
}

function makeUse(used, total, words = `${used} of ${total}`) {
  return h("span", { class: "use" }, h("span", null, words), h("meter", { max: Math.max(total, 1), value: Math.min(used, total), "aria-label": words }));
}
