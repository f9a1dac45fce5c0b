// Columns of jobs: what stands in a table of them.

import { h, setText } from "../core/dom.js";
import { makeLink } from "../core/router.js";
import { readDuration, toMs, writeDuration, writeShortTime, writeTime } from "../core/format.js";
import { FAMILIES, findFamily, writeState } from "../core/states.js";
import { fillState } from "../core/marks.js";
import { describeExit } from "./exit_words.js";

// Make the columns of jobs. `toggle(key)` opens or closes an array, where arrays are bundled; `count(row)` counts its
// tasks by state as a Map.
export function makeJobColumns({ toggle, count } = {}) {
  return [
    { key: "job_id", title: "Id", width: "6.5rem", value: (job) => job.job_id, render: (cell, job) => fillId(cell, job, toggle) },
    { key: "job_name", title: "Name", width: "minmax(9rem, 2fr)", value: (job) => job.job_name },
    { key: "state", title: "State", width: "8.5rem", value: (job) => job.state, render: (cell, job) => (job.isGroup ? fillCounts(cell, count(job)) : fillState(cell, job.state)) },
    { key: "reason", title: "Reason", width: "minmax(8rem, 2fr)", value: (job) => job.reason_text ?? job.reason, render: fillReason },
    { key: "elapsed", title: "Elapsed", width: "5.5rem", numeric: true, value: findElapsed, write: (job) => writeDuration(findElapsed(job)), ticks: isTicking },
    { key: "time_limit", title: "Limit", width: "5.5rem", numeric: true, value: (job) => readDuration(job.time_limit), write: (job) => (job.time_limit === "UNLIMITED" ? "none" : job.time_limit) },
    { key: "user", title: "User", width: "5rem", value: (job) => job.user },
    { key: "partition", title: "Partition", width: "5rem", value: (job) => job.partition },
    { key: "node_count", title: "Nodes", width: "3.5rem", numeric: true, value: (job) => job.node_count },
    { key: "cpu_count", title: "CPUs", width: "3.25rem", numeric: true, value: (job) => job.cpu_count },
    { key: "gpus", title: "GPUs", width: "3.25rem", numeric: true, value: (job) => job.gpus },
    { key: "memory", title: "Memory", width: "4.5rem", numeric: true, value: (job) => job.memory },
    makeTimeColumn("submit_time", "Submitted", true),
    makeTimeColumn("start_time", "Began"),
    makeTimeColumn("end_time", "Ended"),
    { key: "exit_code", title: "Exit", width: "4rem", numeric: true, shown: false, value: (job) => job.exit_code },
    { key: "account", title: "Account", width: "6.5rem", shown: false, value: (job) => job.account },
    { key: "qos", title: "QOS", width: "6rem", shown: false, value: (job) => job.qos },
    { key: "priority", title: "Priority", width: "6rem", numeric: true, shown: false, value: (job) => job.priority },
    { key: "nodes", title: "Node list", width: "9rem", shown: false, value: (job) => job.nodes.join(" ") },
    { key: "working_directory", title: "Work folder", shown: false, value: (job) => job.working_directory },
  ];
}

// Sorted by the moment, exported as the API writes it, shown in the zone that is chosen.
function makeTimeColumn(key, title, shown = false) {
  return {
    key, title, shown, width: "7rem",
    value: (job) => job[key],
    render: (cell, job) => {
      setText(cell, writeShortTime(job[key]));
      if (job[key]) cell.title = writeTime(job[key]);
    },
  };
}

// Return for how long a job has run, in seconds.
export function findElapsed(job) {
  if (isTicking(job) && job.start_time) return Math.max(0, (Date.now() - toMs(job.start_time)) / 1000);
  return findFamily(job.state) === "waiting" ? null : readDuration(job.elapsed_time);
}

const isTicking = (job) => !job.isGroup && findFamily(job.state) === "running";

function fillId(cell, job, toggle) {
  const isGroup = job.isGroup === true;
  if (isGroup && cell.firstElementChild?.tagName !== "BUTTON") {
    cell.replaceChildren(h("button", { type: "button", class: "plain fold", onclick: () => toggle(cell.dataset.group) }), h("a"));
  } else if (!isGroup && cell.firstElementChild?.tagName !== "A") {
    cell.replaceChildren(h("a"));
  }
  const link = cell.querySelector("a");
  const id = isGroup ? job.array_id : job.job_id;
  link.setAttribute("href", makeLink(["jobs", id]));
  setText(link, id);
  if (!isGroup) return;
  const fold = cell.firstElementChild;
  cell.dataset.group = job.array_id;
  setText(fold, job.isOpen ? "▾" : "▸");
  fold.setAttribute("aria-expanded", job.isOpen);
  fold.setAttribute("aria-label", `Tasks of ${job.array_id}`);
}

// An array shows the state of its tasks together, each with its number.
function fillCounts(cell, counts) {
  const text = JSON.stringify([...counts]);
  if (cell.dataset.state === text) return;
  cell.dataset.state = text;
  cell.replaceChildren(
    ...[...counts].map(([state, number]) => {
      const family = findFamily(state);
      return h("span", { class: "count-of", title: `${number} ${writeState(state)}` }, h("span", { class: `mark ${family}`, "aria-hidden": "true" }, FAMILIES[family].mark), `${number}`, h("span", { class: "unseen" }, ` ${writeState(state)} `));
    }),
  );
}

// Why it waits, or how it ended: what SLURM's NonZeroExitCode does not tell.
function writeReason(job) {
  const isBare = job.reason === null || job.reason === "NonZeroExitCode";
  if (isBare && job.exit_code && findFamily(job.state) === "failed") return `exit code ${describeExit(job)}`;
  return job.reason_text ?? job.reason ?? "";
}

function fillReason(cell, job) {
  const text = writeReason(job);
  setText(cell, text);
  if (text) cell.title = job.reason && job.reason_text ? `${text} (${job.reason})` : text;
  else cell.removeAttribute("title");
}
