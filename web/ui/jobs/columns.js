// Columns of jobs: what stands in a table of them.

import { h, setAttribute, setText, show } from "../core/dom.js";
import { makeLink } from "../core/router.js";
import { getNow, readDuration, toMs, writeDuration } from "../core/format.js";
import { findFamily, writeState } from "../core/states.js";
import { fillState, makeMark } from "../core/marks.js";
import { describeExit } from "./exit_words.js";

// Make the columns of jobs. `toggle(key)` opens or closes an array, where arrays are bundled; `count(row)` counts its
// tasks by state as a Map. `isOfMany()` tells whether the jobs are those of many users.
export function makeJobColumns({ toggle, count, isOfMany } = {}) {
  const [numeric, shown] = [true, false];
  const writeLimit = ({ time_limit }) => (time_limit === "UNLIMITED" ? "none" : time_limit);
  const drawState = (cell, job) => (job.isGroup ? fillCounts(cell, count(job)) : fillState(cell, job.state));
  return [
    { key: "job_id", title: "Id", width: "min(5.5rem,20vw)", render: (cell, job) => fillId(cell, job, toggle) },
    { key: "job_name", title: "Name", width: "minmax(min(8rem,24vw), 2fr)" },
    { key: "state", title: "State", width: "7.5rem", render: drawState },
    { key: "reason", title: "Reason", width: "minmax(10rem, 4fr)", value: (job) => job.reason_text ?? job.reason, render: fillReason },
    { key: "elapsed", title: "Elapsed", width: "4.5rem", numeric, value: findElapsed, write: (job) => writeDuration(findElapsed(job)), ticks: isTicking },
    { key: "time_limit", title: "Limit", width: "5rem", numeric, value: (job) => readDuration(job.time_limit), write: writeLimit },
    { key: "user", title: "User", width: "4.5rem", shown: isOfMany },
    { key: "partition", title: "Partition", width: "4.75rem" },
    { key: "node_count", title: "Nodes", width: "3.5rem", numeric },
    { key: "cpu_count", title: "CPUs", width: "3.25rem", numeric },
    { key: "gpus", title: "GPUs", width: "3.25rem", numeric, write: (job) => job.gpus || "" },
    { key: "memory", title: "Memory", width: "4.5rem", numeric },
    { key: "submit_time", title: "Submitted", width: "6.25rem", kind: "short time" },
    { key: "start_time", title: "Began", width: "7rem", kind: "short time", shown },
    { key: "end_time", title: "Ended", width: "7rem", kind: "short time", shown },
    { key: "exit_code", title: "Exit", width: "4rem", numeric, shown },
    { key: "account", title: "Account", width: "6.5rem", shown },
    { key: "qos", title: "QOS", width: "6rem", shown },
    { key: "priority", title: "Priority", width: "6rem", numeric, shown },
    { key: "nodes", title: "Node list", width: "9rem", value: (job) => job.nodes.join(" "), shown },
    { key: "working_directory", title: "Work folder", shown },
  ];
}

// Return for how long a job has run, in seconds.
export function findElapsed(job) {
  if (isTicking(job) && job.start_time) return Math.max(0, (getNow() - toMs(job.start_time)) / 1000);
  return findFamily(job.state) === "waiting" ? null : readDuration(job.elapsed_time);
}

const isTicking = (job) => !job.isGroup && findFamily(job.state) === "running";

function fillId(cell, job, toggle) {
  const isGroup = job.isGroup === true;
  if (!cell.firstElementChild || (cell.firstElementChild.tagName === "BUTTON") !== isGroup) {
    show(cell, isGroup && h("button", { class: "plain fold", onclick: () => toggle(cell.dataset.group) }), h("a"));
  }
  const id = isGroup ? job.array_id : job.job_id;
  const link = cell.lastElementChild;
  setAttribute(link, "href", makeLink(["jobs", id]));
  setText(link, id);
  if (!isGroup) return;
  const fold = cell.firstElementChild;
  cell.dataset.group = id;
  setText(fold, job.isOpen ? "▾" : "▸");
  setAttribute(fold, "aria-expanded", job.isOpen);
  setAttribute(fold, "aria-label", `Tasks of ${id}`);
}

// An array shows the state of its tasks together, each with its number.
function fillCounts(cell, counts) {
  const text = JSON.stringify([...counts]);
  if (cell.dataset.state === text) return;
  cell.dataset.state = text;
  const makePart = ([state, number]) => {
    const word = writeState(state);
    return h("span", { class: "count-of", title: `${number} ${word}` }, makeMark(findFamily(state)), number, h("span", { class: "unseen" }, ` ${word} `));
  };
  show(cell, [...counts].map(makePart));
}

// Why it waits, or how it ended: what SLURM's NonZeroExitCode does not tell; in short as far as a column has room.
function writeReason(job, isShort = false) {
  const isBare = job.reason === null || job.reason === "NonZeroExitCode";
  if (isBare && job.exit_code && findFamily(job.state) === "failed") return `exit code ${describeExit(job, isShort)}`;
  return job.reason_text ?? job.reason ?? "";
}

function fillReason(cell, job) {
  const text = writeReason(job);
  setText(cell, writeReason(job, true));
  setAttribute(cell, "title", job.reason && job.reason_text ? `${text} (${job.reason})` : text || null);
}
