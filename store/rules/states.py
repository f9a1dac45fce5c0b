"""States of a job: SLURM's words, and the few that the documents know.

Source: squeue(1) and sacct(1), JOB STATE CODES, 22.05 to 26.05.
"""

from __future__ import annotations

# Our own state for a job that SLURM no longer knows, without accounting that would say how it ended.
LOST = "LOST"

# SLURM's state -> the documents' status.
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

# End states after which a job may be retried. LOST is not among them: such a job may still be running.
FAILED = frozenset(state for state, word in WORDS.items() if word in ("FAILED", "TIMEOUT"))

TERMINAL = frozenset({"COMPLETED", LOST}) | CANCELLED | FAILED


def to_status(state: str | None) -> str:
    """Translate SLURM's state into the documents' status.

    UNKNOWN for None and for states of a SLURM newer than this table.

    >>> to_status("NODE_FAIL"), to_status("COMPLETING"), to_status("DEADLINE"), to_status(None)
    ('FAILED', 'RUNNING', 'TIMEOUT', 'UNKNOWN')
    """
    return WORDS.get(state or "", "UNKNOWN")
