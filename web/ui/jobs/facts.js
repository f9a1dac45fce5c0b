// What is known of a job: facts, what it used of what it was given, what it waits for. What stays the same is left alone.

import { h, renew } from "../core/dom.js";
import { makeFacts, makePlainTable } from "../core/pane.js";
import { makeLink } from "../core/router.js";
import { getNow, readDuration, toMs, writeDuration, writeTime } from "../core/format.js";
import { findFamily } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { makeCopyButton } from "../core/notice.js";
import { findElapsed } from "./columns.js";

const linkTo = (view, name, text = name) => name && h("a", { href: makeLink([view, name]) }, text);
const withCopy = (text) => text && [h("span", { class: "mono" }, text), " ", makeCopyButton(() => text)];

// Draw all facts of a job. `more` is what is known of it elsewhere: { run, workflow, sweep, report }.
export function drawJobFacts(place, job, more) {
  const family = findFamily(job.state);
  const isTask = job.array_task_id !== null || job.job_id.includes("_[");
  const nodes = job.nodes.flatMap((name) => [linkTo("nodes", name), " "]);
  renew(place, makeFacts([
    ["Run", linkTo("runs", more.run, more.workflow ?? more.run)],
    ["Sweep", linkTo("sweeps", more.sweep)],
    ["Report", linkTo("reports", more.report)],
    ["Array", isTask && linkTo("jobs", job.array_job_id)],
    ["Heterogeneous", job.het_job_id !== job.job_id && linkTo("jobs", job.het_job_id)],
    ["Nodes", nodes.length > 0 ? nodes : job.node_count && `${job.node_count}, not chosen yet`],
    ["Submitted", writeTime(job.submit_time)],
    ["Began", writeTime(job.start_time)],
    ["Ended", writeTime(job.end_time)],
    ["Exit code", family !== "done" && job.exit_code],
    ["Restarts", job.restarts || null],
    ["User", job.user],
    ["Account", job.account],
    ["Partition", linkTo("partitions", job.partition)],
    ["QOS", job.qos],
    ["Priority", family === "waiting" && job.priority],
    ["Comment", job.comment],
    ["Work folder", withCopy(job.working_directory)],
    ["Output", withCopy(job.standard_output)],
    ["Error output", job.standard_error !== job.standard_output && withCopy(job.standard_error)],
    ["Script file", withCopy(job.command)],
    ["Sent with", withCopy(job.submit_line)],
    ["TRES", Object.entries(job.tres).map(([name, value]) => `${name}=${value}`).join(" ")],
  ]));
}

// Draw what a job was given and what it used of it.
export function drawResources(place, job) {
  const used = job.resources;
  const elapsed = findElapsed(job);
  const limit = readDuration(job.time_limit);
  const hasBegun = job.start_time !== null;
  const rows = [
    ["Time", job.time_limit === "UNLIMITED" ? "no limit" : job.time_limit, hasBegun && writeDuration(elapsed), hasBegun && limit && elapsed / limit],
    ["CPUs", job.cpu_count, used.max_cpu_time && `${writeDuration(parseFloat(used.max_cpu_time) * 3600)} busy`, used.cpu_efficiency],
    ["Memory", job.memory, used.max_memory_used, used.memory_efficiency],
    ["GPUs", job.gpus || null, null, used.gpu_utilization],
  ].filter(([, given, use]) => given !== null || use);
  const cells = rows.map(([name, given, use, share]) => [name, given, use, typeof share === "number" && makeShare(name, share)]);
  renew(
    place,
    makePlainTable("Given and used", [h("span", { class: "unseen" }, "Resource"), ["Given", "nowrap"], "Used", "Share"], cells),
    used.unknown_because && h("p", { class: "hint" }, `What is missing: ${used.unknown_because}.`),
  );
}

function makeShare(name, share) {
  return h("span", { class: "nowrap" }, h("meter", { value: Math.min(1, share), "aria-label": `${name}: share used` }), ` ${Math.round(share * 100)} %`);
}

const WORDS = {
  after: "has begun", afterany: "has ended", afterok: "has completed", afternotok: "has failed",
  aftercorr: "has completed the same task", afterburstbuffer: "has written its files",
};

// Draw which jobs a job waits for, with their states.
export function drawDependencies(place, { dependencies, state }) {
  const makeLine = ({ type, job_id, state: outcome, job_state }) => {
    if (job_id === null) return h("li", null, "all others of its name and user have ended");
    const now = job_state && [" (now ", makeState(job_state), ")"];
    const never = outcome === "failed" && h("strong", null, ", which can not happen any more");
    return h("li", null, "job ", linkTo("jobs", job_id), ` ${WORDS[type] ?? type}`, now, never);
  };
  const title = findFamily(state) === "waiting" ? "It begins after" : "It was to begin after";
  renew(place, dependencies.length > 0 && [h("h2", null, title), h("ul", null, dependencies.map(makeLine))]);
}

// Return why a job waits, and since when with when SLURM thinks that it begins: two texts.
export function describeWaiting(job, now_ms = getNow()) {
  const since = toMs(job.submit_time);
  const why = job.reason_text ? `It ${job.reason_text}` : job.reason ? `SLURM says ${job.reason}` : "SLURM has not said why yet";
  const held = job.hold_reason ? ` It is held: ${job.hold_reason}.` : "";
  const waits = since === null ? "" : `It waits since ${writeTime(since)}, for ${writeDuration((now_ms - since) / 1000)}. `;
  const start = job.estimated_start_time;
  return [`${why.replace(/\.$/, "")}.${held}`, `${waits}SLURM ${start ? `expects it to begin at ${writeTime(start)}` : "has no estimate of when it begins"}.`];
}
