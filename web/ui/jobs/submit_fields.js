// What a submission consists of: its fields, what the script itself says of them, and the body that is sent.

// `options` are those of sbatch that say the same in a script.
export const FIELDS = [
  { name: "job_name", label: "Name", options: ["job-name", "J"] },
  { name: "partition", label: "Partition", options: ["partition", "p"], list: "partitions" },
  { name: "nodes", label: "Nodes", options: ["nodes", "N"], isNumber: true },
  { name: "cpus_per_node", label: "CPUs of each node", options: ["cpus-per-task", "c"], isNumber: true, rivals: ["ntasks", "n", "ntasks-per-node"] },
  { name: "memory", label: "Memory of each node", options: ["mem"], unit: "such as 16GB; MB without a unit", rivals: ["mem-per-cpu", "mem-per-gpu"] },
  { name: "gpus", label: "GPUs of the whole job", options: ["gpus", "G"], isNumber: true, rivals: ["gres", "gpus-per-node", "gpus-per-task"] },
  { name: "time_limit", label: "Time limit", options: ["time", "t"], unit: "such as 4:00:00 or 1-12:00:00; a number is minutes" },
  { name: "account", label: "Account", options: ["account", "A"], list: "accounts", isRare: true },
  { name: "qos", label: "QOS", options: ["qos", "q"], list: "qos", isRare: true },
  { name: "working_directory", label: "Work folder", options: ["chdir", "D"], isWide: true },
  { name: "standard_output", label: "File of the output", options: ["output", "o"], unit: "with patterns such as %j", isRare: true },
  { name: "standard_error", label: "File of the error output", options: ["error", "e"], isRare: true },
  { name: "dependencies", label: "Begins after", unit: "such as afterok:42, afterany:43, singleton", isRare: true },
  { name: "environment", label: "Variables", unit: "NAME=value, one a line", isRare: true, isLong: true },
];

const OPTION = /--([\w-]+)(?:[=\s]+("[^"]*"|[^-\s]\S*))?|(?:^|\s)-(\w)[=\s]*("[^"]*"|[^-\s]\S*)?/g;

// Read the #SBATCH lines of a script: a Map from option to value.
export function readDirectives(script) {
  const found = new Map();
  for (const line of script.split("\n")) {
    const match = /^#SBATCH\s+(.*)$/.exec(line);
    if (!match && line.trim() !== "" && !line.startsWith("#")) break; // sbatch reads on to the first command
    for (const [, long, longValue, short, shortValue] of (match?.[1] ?? "").matchAll(OPTION)) {
      found.set(long ?? short, (longValue ?? shortValue ?? "").replace(/^"|"$/g, ""));
    }
  }
  return found;
}

// Return what a script says of a field, or null.
export function findDirective(field, directives) {
  const option = field.options?.find((each) => directives.has(each));
  return option === undefined ? null : directives.get(option);
}

// Return whether the script asks for the same thing in other words, which a field would contradict.
export const hasRival = (field, directives) => (field.rivals ?? []).some((option) => directives.has(option));

// Make the body that is sent of what stands in the fields. What is empty is left to the script.
export function makeBody(values) {
  const body = {};
  for (const { name, isNumber } of [{ name: "script" }, ...FIELDS]) {
    const text = values[name] ?? "";
    if (text.trim() === "") continue;
    if (name === "script") body.script = text;
    else if (name === "environment") body.environment = readVariables(text);
    else if (name === "dependencies") body.dependencies = readDependencies(text);
    else body[name] = isNumber && /^\d+$/.test(text.trim()) ? Number(text) : text.trim();
  }
  return body;
}

function readVariables(text) {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(lines.map((line) => /^\s*([^=]*?)\s*(?:=(.*))?$/s.exec(line).slice(1)).map(([name, value = ""]) => [name, value]));
}

function readDependencies(text) {
  return text.split(/[,\s]+/).filter(Boolean).flatMap((word) => {
    const [type, ...ids] = word.split(":");
    return ids.length === 0 ? [{ type }] : ids.map((job_id) => ({ type, job_id }));
  });
}

// Write what was a body as the texts of the fields.
export function writeValues(body) {
  const given = Object.entries(body).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, typeof value === "object" ? WRITERS[name](value) : String(value)]));
}

const WRITERS = {
  environment: (variables) => Object.entries(variables).map(([key, text]) => `${key}=${text}`).join("\n"),
  dependencies: (given) => given.map(({ type, job_id }) => [type, job_id].filter(Boolean).join(":")).join(", "),
};
