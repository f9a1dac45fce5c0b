// How a job ended, in words.

import { writeDuration, readDuration } from "../core/format.js";

const SIGNALS = {
  1: "SIGHUP: its terminal was closed",
  2: "SIGINT: it was interrupted",
  4: "SIGILL: an instruction that this processor does not have; it may be built for another one",
  6: "SIGABRT: it gave up by itself, such as by a failed assertion",
  7: "SIGBUS: it touched memory or a file that is not there",
  8: "SIGFPE: it divided by zero, or the like",
  9: "SIGKILL: it was killed at once, often since it used more memory than it had",
  10: "SIGUSR1: a warning that it did not catch",
  11: "SIGSEGV: it touched memory that is not its own",
  12: "SIGUSR2: a warning that it did not catch",
  13: "SIGPIPE: nobody read its output any more",
  15: "SIGTERM: it was asked to end",
  24: "SIGXCPU: it used more CPU time than it may",
  25: "SIGXFSZ: its file became too large",
};

const CODES = {
  1: "an error of the program itself",
  2: "an error of the program itself; shells say so of wrong usage",
  126: "a command of the script may not be executed",
  127: "a command of the script was not found",
  128: "a wrong exit status",
  255: "an error of the program itself, or of an ssh or srun in it",
};

const STATES = {
  TIMEOUT: (job) => `It reached its time limit${job.time_limit ? ` of ${job.time_limit}` : ""} and was ended.`,
  OUT_OF_MEMORY: (job) => `It used more memory than it asked for${job.memory ? ` (${job.memory})` : ""} and was killed.`,
  NODE_FAIL: () => "A node that it ran on has failed.",
  BOOT_FAIL: () => "Its nodes did not start.",
  DEADLINE: () => "It could not end before its deadline.",
  PREEMPTED: () => "A job with a higher priority took its place.",
  LAUNCH_FAILED: () => "It could not be started on its nodes.",
  LOST: () => "It was submitted here, but SLURM does not know it any more; how it ended is not known.",
};

// Return how a job ended in a sentence or two, or "" for one that goes on.
export function describeEnd(job) {
  const after = readDuration(job.elapsed_time) ? ` after ${writeDuration(readDuration(job.elapsed_time))}` : "";
  const own = STATES[job.state]?.(job);
  const code = describeExit(job);
  if (own) return [own, code && job.state !== "TIMEOUT" && `Exit code ${code}.`].filter(Boolean).join(" ");
  if (job.state === "COMPLETED") return `It completed${after}.`;
  if (job.state.startsWith("CANCELLED")) return `It was cancelled${after}.`;
  if (job.exit_code === null) return job.state === "FAILED" ? `It failed${after}.` : "";
  return `It failed${after} with exit code ${code}.`;
}

// Return what an exit code means: "137 (SIGKILL: …)"; in short without what the words add after a comma.
export function describeExit({ exit_code, exit_signal }, isShort = false) {
  if (exit_code === null || exit_code === undefined) return "";
  const signal = exit_signal || (exit_code > 128 && exit_code < 193 ? exit_code - 128 : null);
  const words = signal ? (SIGNALS[signal] ?? `signal ${signal}`) : CODES[exit_code];
  return words ? `${exit_code} (${isShort ? words.split(/[,;]/)[0] : words})` : String(exit_code);
}
