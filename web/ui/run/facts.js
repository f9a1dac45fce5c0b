// What is told of a run and its jobs: pure, in words.

import { FAMILIES, findFamily, isOpen } from "../core/states.js";
import { getNow, toMs, writeCount } from "../core/format.js";

// Return the state of a job of a run: one that was never tried waits, or was left out when the run ended.
export function findState(job, run) {
  if (job.slurm_state) return job.slurm_state;
  if (job.status && job.status !== "UNKNOWN") return job.status;
  return isOpen(run.status) ? "PENDING" : "CANCELLED";
}

// Count the jobs of a run by family: { done: 3, failed: 1, … }, and all of them.
export function countJobs(run) {
  const counts = Object.fromEntries(Object.keys(FAMILIES).map((family) => [family, 0]));
  for (const job of run.jobs ?? []) counts[findFamily(findState(job, run))] += 1;
  return { counts, total: run.jobs?.length ?? 0 };
}

// Write the progress of a run: "3/12", and in words "3 of 12 done, 1 failed, 2 running".
export function writeProgress(run) {
  const { counts, total } = countJobs(run);
  const others = ["failed", "running", "waiting", "cancelled", "unknown"].filter((family) => counts[family] > 0);
  const words = [`${counts.done} of ${writeCount(total, "job")} done`, ...others.map((family) => `${counts[family]} ${FAMILIES[family].word}`)];
  return { short: `${counts.done}/${total}`, words: words.join(", ") };
}

// Return how long a run has taken, in seconds; null before its start.
export function measureRun(run, now_ms = getNow()) {
  const start = toMs(run.started_at);
  if (start === null) return null;
  return Math.max(0, ((toMs(run.completed_at) ?? now_ms) - start) / 1000);
}

// Return how long a job waited and ran, in seconds; null for what has not been.
export function measureJob(job, now_ms = getNow()) {
  const [submitted, started, ended] = [toMs(job.submitted_at), toMs(job.started_at), toMs(job.ended_at)];
  const until = (from, to) => (from === null ? null : Math.max(0, (to - from) / 1000));
  const isOver = ended !== null;
  return { waited_s: until(submitted, started ?? ended ?? now_ms), ran_s: until(started, isOver ? ended : now_ms) };
}

// By their numbers, from 1 on.
const SIGNALS =
  "- HUP INT QUIT ILL - ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM - - - - - - - - XCPU XFSZ".split(" ");
const ENDS = {
  TIMEOUT: "It reached its time limit and was ended.",
  OUT_OF_MEMORY: "It needed more memory than it had asked for.",
  NODE_FAIL: "Its node failed.",
  BOOT_FAIL: "Its node did not start.",
  DEADLINE: "It could not end before its deadline.",
  PREEMPTED: "It was ended for a job of higher priority.",
};
const CODES = {
  1: "a general error",
  2: "wrong use of a command, or a general error",
  126: "a file that could not be executed",
  127: "a command that was not found",
};

// Write how a job ended, in a sentence; null for one that ended well or has not ended.
export function describeEnd(job) {
  const words = ENDS[job.slurm_state];
  const code = job.exit_code;
  if (findFamily(job.slurm_state) !== "failed") return null;
  if (words && !code) return words;
  if (code === null || code === undefined) return words ?? job.error ?? "It failed.";
  const signal = SIGNALS[code > 128 ? code - 128 : 0] ?? "-";
  const meaning = signal !== "-" ? `, ended by the signal SIG${signal}` : CODES[code] ? `: ${CODES[code]}` : "";
  return `${words ? `${words} ` : ""}Exit code ${code}${meaning}.`;
}

// Return the jobs that failed, in the order of the run.
export const listFailed = (run) => run.jobs.filter((job) => findFamily(findState(job, run)) === "failed");

// Return the jobs that did not complete.
export const listUnfinished = (run) => run.jobs.filter((job) => findFamily(findState(job, run)) !== "done");

// Write args in one line: lr=0.1 seed=3.
export const writeArgs = (args) =>
  Object.entries(args ?? {}).map(([name, value]) => `${name}=${writeValue(value)}`).join("  ");

// Write one value as it is typed.
export const writeValue = (value) => (typeof value === "string" ? value : JSON.stringify(value));
