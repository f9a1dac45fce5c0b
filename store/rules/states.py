"""The words for what a job is doing: SLURM's own, and the few that the documents know.

Source: squeue(1) and sacct(1), JOB STATE CODES, 22.05 to 26.05.
"""

from __future__ import annotations

# Our own word for a job that SLURM had, has no more, and cannot tell the end of (no accounting).
LOST = "LOST"

# SLURM's word -> the documents' word.
WORDS = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"), "PENDING"),
    **dict.fromkeys(("RESV_DEL_HOLD", "POWER_UP_NODE"), "PENDING"),
    **dict.fromkeys(("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"), "RUNNING"),
    "COMPLETED": "COMPLETED",
    **dict.fromkeys(("FAILED", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "PREEMPTED"), "FAILED"),
    **dict.fromkeys(("LAUNCH_FAILED", "RECONFIG_FAIL"), "FAILED"),
    **dict.fromkeys(("CANCELLED", "REVOKED"), "CANCELLED"),
    **dict.fromkeys(("TIMEOUT", "DEADLINE"), "TIMEOUT"),
}

CANCELLED = frozenset({"CANCELLED", "REVOKED"})

# Ends that another attempt may mend. LOST is not among them: what is not known to have ended is never run again.
FAILED = frozenset(state for state, word in WORDS.items() if word in ("FAILED", "TIMEOUT"))

TERMINAL = frozenset({"COMPLETED", LOST}) | CANCELLED | FAILED


def to_status(state: str | None) -> str:
    """The document's word for SLURM's; UNKNOWN for none and for words of a SLURM newer than this table.

    >>> word("NODE_FAIL"), word("COMPLETING"), word("DEADLINE"), word(None)
    ('FAILED', 'RUNNING', 'TIMEOUT', 'UNKNOWN')
    """
    return WORDS.get(state or "", "UNKNOWN")
