"""What may be done to a job in its present state. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from store.rules import states

WAITING = frozenset(["PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"])
# For so long a comment may be: SLURM takes 1,024 bytes.
MOST_COMMENT_BYTES = 1024
# How the reason of a hold stands behind the user's own comment.
_HELD, _HELD_END = " (held: ", ")"

# What each action is called in answers: of one job, of one among many, and what it would do.
ACTIONS = {
    "cancel": ("Job cancelled successfully", "Job cancelled", "Job would be cancelled"),
    "signal": ("Signal sent", "Signal sent", "The signal would be sent"),
    "hold": ("Job held successfully", "Job held", "Job would be held"),
    "release": ("Job released successfully", "Job released", "Job would be released"),
    "requeue": ("Job requeued successfully", "Job requeued", "Job would be requeued"),
    "suspend": ("Job suspended successfully", "Job suspended", "Job would be suspended"),
    "resume": ("Job resumed successfully", "Job resumed", "Job would be resumed"),
    "priority": ("Job priority updated", "Job priority updated", "Job priority would be updated"),
}


def find_obstacle(action: str, state: str, reason: str | None = None, parts: Iterable[str] = ()) -> str | None:
    """Find why the state of a job does not allow the action; None if it does.

    SLURM itself says nothing about some of them and does nothing, or something else than was asked for. Jobs that have
    ended are judged before, see `is_over`. `parts` are states of tasks: one that allows it is enough.

    >>> find_obstacle("hold", "RUNNING"), find_obstacle("hold", "RUNNING", parts=["RUNNING", "PENDING"])
    ('the job is RUNNING; only a waiting job can be held', None)
    """
    if any(find_obstacle(action, part, reason) is None for part in parts):
        return None
    is_waiting = state in WAITING
    if action == "hold" and not is_waiting:
        return f"the job is {state}; only a waiting job can be held"
    if action == "priority" and not is_waiting:
        return f"the job is {state}; only a waiting job has a priority that counts"
    if action == "priority" and is_held(state, reason):
        return "the job is held; release it first"
    if action in ("signal", "suspend", "resume", "requeue") and is_waiting:
        return f"the job is {state}: it has not begun"
    if action == "resume" and state not in ("SUSPENDED", "STOPPED"):
        return f"the job is {state}, not suspended"
    if action == "suspend" and state != "RUNNING":
        return f"the job is {state}; only a running job can be suspended"
    return None


def find_silent_refusal(action: str, row: Mapping[str, Any]) -> str | None:
    """Find why an action did nothing to a job; None if it did.

    SLURM takes a hold or a priority of what runs by now, says nothing, and does nothing.
    """
    if action not in ("hold", "priority"):
        return None
    return find_obstacle(action, row["state"], parts=row.get("tasks", ()))


def is_over(action: str, state: str) -> bool:
    """Tell whether a job has ended, so that the action comes too late.

    One that has ended can be run again.
    """
    return state in states.TERMINAL and action != "requeue"


def is_held(state: str, reason: str | None) -> bool:
    """Tell whether a job waits because somebody holds it.

    >>> is_held("PENDING", "JobHeldUser"), is_held("PENDING", "Resources")
    (True, False)
    """
    return state in WAITING and (reason or "").startswith(("JobHeld", "job requeued in held state"))


def add_hold_reason(comment: str | None, reason: str) -> str:
    """Add the reason of a hold behind a comment, cut to what SLURM takes.

    >>> add_hold_reason("mine", "Need to debug"), add_hold_reason("mine (held: before)", "now")
    ('mine (held: Need to debug)', 'mine (held: now)')
    """
    kept = remove_hold_reason(comment)
    room = MOST_COMMENT_BYTES - len(f"{kept}{_HELD}{_HELD_END}".encode())
    if room <= 0:
        return kept
    shortened = reason.encode()[:room].decode(errors="ignore")
    return f"{kept}{_HELD}{shortened}{_HELD_END}".strip()


def remove_hold_reason(comment: str | None) -> str:
    """Return a comment without the reason of a hold.

    >>> remove_hold_reason("mine (held: Need to debug)"), remove_hold_reason("(held: x)"), remove_hold_reason(None)
    ('mine', '', '')
    """
    text = f" {comment or ''}"
    return (text.rpartition(_HELD)[0] if _HELD in text and text.endswith(_HELD_END) else text).strip()
