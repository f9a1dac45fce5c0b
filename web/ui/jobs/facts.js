// What is known of a job: facts that keep a selection while they change, and what it used of what it was given.

import { h, keepInStep, setText, show } from "../core/dom.js";
import { makeLink } from "../core/router.js";
import { readDuration, toMs, writeAge, writeDuration, writeTime } from "../core/format.js";
import { findFamily } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { makeCopyButton } from "../core/notice.js";
import { findElapsed } from "./columns.js";

const LONG = 28; // a fact with more characters gets two columns

// Put facts into a list: [name, text, link or node maker]; what has no value is left out, what is the same stays.
function drawFacts(list, facts) {
  const given = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  keepInStep(list, given, ([name]) => name, ([name]) => h("div", null, h("dt", null, name), h("dd")), (node, fact) => node);
  given.forEach(([, value, make], at) => {
    const place = list.children[at].lastElementChild;
    list.children[at].classList.toggle("long", String(value).length > LONG);
    if (!make) setText(place, value);
    else if (place.dataset.value !== String(value)) {
      place.dataset.value = value;
      show(place, make(value));
    }
  });
}

const linkTo = (...parts) => (text) => h("a", { href: makeLink([...parts, text]) }, text);
const withCopy = (text) => [h("span", { class: "mono" }, text), " ", makeCopyButton(() => text)];

// Draw all facts of a job. `more` is what is known of it elsewhere: { run, workflow, sweep, report }.
export function drawJobFacts(list, job, more) {
  drawFacts(list, [
    ["User", job.user],
    ["Account", job.account],
    ["Partition", job.partition, linkTo("partitions")],
    ["QOS", job.qos],
    ["Priority", findFamily(job.state) === "waiting" ? job.priority : null],
    ["Submitted", job.submit_time, writeMoment],
    ["Began", job.start_time, writeMoment],
    ["Ended", job.end_time, writeMoment],
    ["Restarts", job.restarts || null],
    ["Run", more.run, (id) => h("a", { href: makeLink(["runs", id]) }, more.workflow ?? id)],
    ["Sweep", more.sweep, linkTo("sweeps")],
    ["Report", more.report, linkTo("reports")],
    ["Array", job.array_task_id !== null || job.job_id.includes("_[") ? job.array_job_id : null, linkTo("jobs")],
    ["Heterogeneous job", job.het_job_id !== job.job_id ? job.het_job_id : null, linkTo("jobs")],
    ["Nodes", job.nodes.join(" ") || (job.node_count && `${job.node_count}, not chosen yet`), () => (job.nodes.length > 0 ? job.nodes.flatMap((name) => [linkTo("nodes")(name), " "]) : `${job.node_count}, not chosen yet`)],
    ["Exit code", findFamily(job.state) === "done" ? null : job.exit_code],
    ["Comment", job.comment],
    ["Work folder", job.working_directory, withCopy],
    ["Output", job.standard_output, withCopy],
    ["Error output", job.standard_error === job.standard_output ? null : job.standard_error, withCopy],
    ["Script file", job.command, withCopy],
    ["Submitted with", job.submit_line, withCopy],
    ["TRES", Object.entries(job.tres).map(([name, value]) => `${name}=${value}`).join(" ")],
  ]);
}

function writeMoment(moment) {
  return h("time", { datetime: moment, title: writeAge(moment), tabindex: 0 }, writeTime(moment));
}

// Draw what a job was given and what it used of it.
export function drawResources(place, job) {
  const used = job.resources;
  const elapsed = findElapsed(job);
  const limit = readDuration(job.time_limit);
  const rows = [
    ["Time", job.time_limit === "UNLIMITED" ? "no limit" : job.time_limit, job.start_time ? writeDuration(elapsed) : null, limit && job.start_time ? elapsed / limit : null],
    ["CPUs", job.cpu_count, used.max_cpu_time && `${used.max_cpu_time} of CPU time`, used.cpu_efficiency],
    ["Memory", job.memory, used.max_memory_used && `${used.max_memory_used} at most`, used.memory_efficiency],
    ["GPUs", job.gpus || null, null, used.gpu_utilization],
  ].filter(([, asked, use]) => asked !== null || use);
  if (!place.firstElementChild) {
    const titles = ["", "Given", "Used", "Share"].map((title) => h("th", { scope: "col" }, title || h("span", { class: "unseen" }, "Resource")));
    show(place, h("table", null, h("thead", null, h("tr", null, titles)), h("tbody")), h("p", { class: "hint" }));
  }
  keepInStep(place.querySelector("tbody"), rows, ([name]) => name, makeResource, (node, row) => node);
  rows.forEach((row, at) => fillResource(place.querySelector("tbody").children[at], row));
  setText(place.lastElementChild, job.resources.unknown_because ? `What is missing: ${job.resources.unknown_because}.` : "");
}

function makeResource([name]) {
  return h("tr", null, h("th", { scope: "row" }, name), h("td"), h("td"), h("td"));
}

function fillResource(line, [name, asked, used, share]) {
  const [, given, use, part] = line.children;
  setText(given, asked ?? "");
  setText(use, used ?? "");
  if (share === null || share === undefined) return show(part);
  const meter = part.querySelector("meter") ?? part.appendChild(h("meter", { min: 0, max: 1, "aria-label": `${name}: share used` }));
  const text = part.querySelector("span") ?? part.appendChild(h("span"));
  meter.value = Math.min(1, share);
  setText(text, ` ${Math.round(share * 100)} %`);
}

// Draw what a job waits for: other jobs, with their states.
export function drawDependencies(place, dependencies) {
  const key = JSON.stringify(dependencies);
  if (place.dataset.value === key) return;
  place.dataset.value = key;
  const WORDS = { after: "has begun", afterany: "has ended", afterok: "has completed", afternotok: "has failed", aftercorr: "has completed this task", afterburstbuffer: "has written its files" };
  const line = ({ type, job_id, state, job_state }) =>
    job_id === null
      ? h("li", null, "until no other job of this name and user runs (singleton)")
      : h("li", null, "until ", h("a", { href: makeLink(["jobs", job_id]) }, job_id), ` ${WORDS[type] ?? type} `, job_state && makeState(job_state), state === "failed" && h("strong", null, " – this can not be fulfilled any more"));
  show(place, dependencies.length > 0 && [h("h2", null, "Waits for other jobs"), h("ul", null, dependencies.map(line))]);
}

// Return why a job waits, since when, and when SLURM thinks that it begins.
export function describeWaiting(job, now_ms = Date.now()) {
  const since = toMs(job.submit_time);
  const why = job.reason_text ? `It ${job.reason_text}` : job.reason ? `SLURM says ${job.reason}` : "SLURM has not said why yet";
  const start = job.estimated_start_time ? `SLURM expects it to begin at ${writeTime(job.estimated_start_time)}.` : "SLURM has no estimate of when it begins.";
  return [`${why.replace(/\.$/, "")}.`, since !== null && `It waits since ${writeTime(since)}, for ${writeDuration((now_ms - since) / 1000)}.`, start].filter(Boolean);
}
