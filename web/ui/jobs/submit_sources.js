// What a submission may begin with: an older job, a template, what the cluster offers.

import { get, send } from "../core/api.js";
import { readDuration } from "../core/format.js";
import { FIELDS, findDirective, hasRival, readDirectives, writeValues } from "./submit_fields.js";

const MASKED = /^\*+$/;

// Read an older job as the values of a submission: { values, remarks }. Throws Refused where its script is not to be had.
export async function readOldJob(job_id) {
  const path = `api/v1/jobs/${encodeURIComponent(job_id.replace(/_\[.*$/, ""))}`;
  const [job, { script }] = await Promise.all([get(path), get(`${path}/script`)]);
  const remarks = [];
  const hidden = Object.keys(job.environment).filter((name) => MASKED.test(job.environment[name]));
  const [are, them] = hidden.length === 1 ? ["is", "it"] : ["are", "them"];
  if (hidden.length > 0) remarks.push(`${hidden.join(", ")} ${are} secret and left out: type ${them} again under Variables.`);
  if (job.array_job_id) remarks.push("The job is part of an array; the script makes what its #SBATCH --array says.");
  const environment = Object.fromEntries(Object.entries(job.environment).filter(([name]) => !hidden.includes(name)));
  const found = writeValues({ ...findAsked(job), environment, script });
  return { values: leaveToScript(found, script), remarks, name: job.job_name };
}

// What a job was given, in the fields of a submission.
function findAsked(job) {
  const nodes = job.node_count || 1;
  const memory = /^(\d+)(\w+)$/.exec(job.memory ?? "");
  return {
    job_name: job.job_name,
    partition: job.partition,
    account: job.account,
    qos: job.qos,
    nodes: job.node_count,
    cpus_per_node: job.cpu_count && job.cpu_count % nodes === 0 ? job.cpu_count / nodes : null,
    memory: memory && Number(memory[1]) > 0 && memory[1] % nodes === 0 ? `${memory[1] / nodes}${memory[2]}` : null,
    gpus: job.gpus || null,
    time_limit: job.time_limit === "UNLIMITED" ? null : job.time_limit,
    working_directory: job.working_directory,
  };
}

// What the script says itself stays with the script, so that a field that is filled is one that differs from it.
function leaveToScript(values, script) {
  const directives = readDirectives(script);
  const left = { ...values };
  for (const field of FIELDS) {
    const said = findDirective(field, directives);
    const value = values[field.name];
    const isAlike = { time_limit: isSameTime, memory: isSameSize }[field.name] ?? (() => false);
    const isSame = said !== null && (said === value || isAlike(said, value));
    if (isSame || hasRival(field, directives)) delete left[field.name];
  }
  return left;
}

function isSameTime(one, other) {
  const toSeconds = (text) => (/^\d+$/.test(text) ? Number(text) * 60 : readDuration(text));
  return other !== undefined && toSeconds(one) === toSeconds(other);
}

function isSameSize(one, other) {
  const toMb = (text) => {
    const match = /^([\d.]+)\s*([KMGT]?)/i.exec(text ?? "");
    return match && Number(match[1]) * { K: 1 / 1024, "": 1, M: 1, G: 1024, T: 1024 ** 2 }[match[2].toUpperCase()];
  };
  return toMb(one) === toMb(other);
}

// Render a template with a command: the script as it would be submitted.
export async function renderTemplate(name, command) {
  const { script } = await send("POST", `api/templates/${encodeURIComponent(name)}/apply`, { command, preview_only: true });
  return script;
}

export const listTemplates = () => get("api/templates");

// Read what there is to choose from; what cannot be read is not offered, and can be typed all the same.
export async function readChoices() {
  const read = (path, pick) => get(path).then(pick, () => []);
  const [partitions, qos, fields] = await Promise.all([
    read("api/v1/partitions", (data) => data.partitions.map(makePartition)),
    read("api/v1/qos", (data) => data.qos.map(({ name, description }) => ({ value: name, hint: description }))),
    read("api/v1/jobs/filter-fields", (data) => data.fields),
  ]);
  const accounts = (fields.find(({ name }) => name === "account")?.values ?? []).map((value) => ({ value }));
  return { partitions, qos, accounts };
}

function makePartition({ name, nodes_idle, nodes_total, max_time }) {
  return { value: name, hint: `${nodes_idle} of ${nodes_total} nodes idle, at most ${max_time}` };
}
