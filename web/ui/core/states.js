// States of everything, in five families, each with a shape and a colour class. Nothing else on the page knows states.

export const FAMILIES = {
  waiting: { mark: "○", word: "waiting" },
  running: { mark: "▶", word: "running" },
  done: { mark: "✓", word: "done" },
  failed: { mark: "✗", word: "failed" },
  cancelled: { mark: "–", word: "cancelled" },
  unknown: { mark: "?", word: "unknown" },
};

const WORDS = {
  waiting: "PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD CONFIGURING SUSPENDED QUEUED SUBMITTING SUBMITTED WAITING",
  running: "RUNNING COMPLETING RESIZING SIGNALING STAGE_OUT STOPPED DRAINING STARTING WORKERS FRONTEND BENCHMARK SYNCING PROCESSING",
  done: "COMPLETED READY AVAILABLE SENT DELIVERED SYNCED",
  failed: "FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE LAUNCH_FAILED RECONFIG_FAIL ERROR EXPIRED ABANDONED",
  cancelled: "CANCELLED PREEMPTED REVOKED SKIPPED CANCELED",
};

const BY_WORD = new Map(
  Object.entries(WORDS).flatMap(([family, words]) => words.split(" ").map((word) => [word.toUpperCase(), family])),
);

// Return the family of a state, whatever API it comes from.
export function findFamily(state) {
  return BY_WORD.get(String(state ?? "").toUpperCase().replaceAll("-", "_")) ?? "unknown";
}

// Return whether something in this state goes on.
export function isOpen(state) {
  const family = findFamily(state);
  return family === "waiting" || family === "running";
}

const NODE_FAMILIES = [
  [/DOWN|FAIL|NOT_RESPONDING|ERROR|UNKNOWN|POWERED_DOWN/, "failed"],
  [/DRAIN|MAINT|REBOOT|RESERVED/, "cancelled"],
  [/ALLOC|MIXED|COMPLETING/, "running"],
  [/IDLE/, "done"],
];

// Return the family of a node's state, such as IDLE+DRAIN.
export function findNodeFamily(state) {
  const text = String(state ?? "").toUpperCase();
  return NODE_FAMILIES.find(([pattern]) => pattern.test(text))?.[1] ?? "unknown";
}

// Return a state as people write it: OUT_OF_MEMORY is "out of memory".
export function writeState(state) {
  return String(state ?? "unknown").toLowerCase().replaceAll("_", " ");
}

// Return whether a job waits because somebody holds it.
export function isHeld({ state, reason }) {
  return findFamily(state) === "waiting" && (/^JobHeld/.test(reason ?? "") || state === "REQUEUE_HOLD" || state === "SPECIAL_EXIT");
}

// All words that SLURM has for the state of a job, and LOST: a list that names them asks accounting for what has ended.
export const JOB_STATES =
  `PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD CONFIGURING SUSPENDED RUNNING COMPLETING RESIZING
  SIGNALING STAGE_OUT STOPPED COMPLETED FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE LAUNCH_FAILED RECONFIG_FAIL
  CANCELLED PREEMPTED REVOKED LOST`.split(/\s+/);
