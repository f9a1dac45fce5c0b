// What is told of a run and its jobs: pure, in words.

import { FAMILIES, findFamily, isOpen } from "../core/states.js";
import { getNow, toMs, writeCount } from "../core/format.js";
import { describeEnd as describeJobEnd } from "../jobs/exit_words.js";

// Return whether the run is a simulation's: its workflow is no file, and it is submitted anew by its own API.
export const isSimulation = (run) => run.triggered_by === "yaptide" && Boolean(run.args?.simulation);

// Return whether the run, or a job of it, can be run again once it has ended.
export const canRunAgain = (run) => !run.archived && !isSimulation(run);

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

// Write how a job ended, in a sentence; null for one that ended well or has not ended.
export function describeEnd(job) {
  if (findFamily(job.slurm_state) !== "failed") return null;
  const isRefused = job.slurm_state === "FAILED" && job.exit_code === null;
  return (isRefused && job.error) || describeJobEnd({ ...job, state: job.slurm_state });
}

// Write why a run failed: where one job did, how it ended, whose name stands there already.
export const writeFailure = (error) => error?.replace(/^Jobs failed: ([^,\n]+)\n(?=\1, )/, "") ?? null;

// Return the jobs that failed, in the order of the run.
export const listFailed = (run) => run.jobs.filter((job) => findFamily(findState(job, run)) === "failed");

// Return the jobs that did not complete.
export const listUnfinished = (run) => run.jobs.filter((job) => findFamily(findState(job, run)) !== "done");

// Write args in one line: lr=0.1 seed=3.
export const writeArgs = (args) =>
  Object.entries(args ?? {}).map(([name, value]) => `${name}=${writeValue(value)}`).join("  ");

// Write one value as it is typed.
export const writeValue = (value) => (typeof value === "string" ? value : JSON.stringify(value));
