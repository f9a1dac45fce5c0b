"""SLURM's words for job states, signals and errors.

squeue(1) JOB STATE CODES, scancel(1), slurm_errno.h.
"""

# A long list of words reads better as a text.
# ruff: noqa: SIM905

from __future__ import annotations

from .units import is_number

STATES = {
    "PENDING": ("PD", 0),
    "RUNNING": ("R", 1),
    "SUSPENDED": ("S", 2),
    "COMPLETED": ("CD", 3),
    "CANCELLED": ("CA", 4),
    "FAILED": ("F", 5),
    "TIMEOUT": ("TO", 6),
    "NODE_FAIL": ("NF", 7),
    "PREEMPTED": ("PR", 8),
    "BOOT_FAIL": ("BF", 9),
    "DEADLINE": ("DL", 10),
    "OUT_OF_MEMORY": ("OOM", 11),
    "COMPLETING": ("CG", 12),
    "CONFIGURING": ("CF", 13),
    "RESIZING": ("RS", 14),
    "RESV_DEL_HOLD": ("RD", 15),
    "REQUEUED": ("RQ", 16),
    "REQUEUE_FED": ("RF", 17),
    "REQUEUE_HOLD": ("RH", 18),
    "REVOKED": ("RV", 19),
    "SIGNALING": ("SI", 20),
    "SPECIAL_EXIT": ("SE", 21),
    "STAGE_OUT": ("SO", 22),
    "STOPPED": ("ST", 23),
}
BY_NAME = {name: name for name in STATES} | {short: name for name, (short, _) in STATES.items()}
LIVE = ("PENDING", "RUNNING", "SUSPENDED")

# The order of `scancel -s` names; numbers are those of the machine.
SIGNALS = ("HUP INT QUIT ABRT KILL ALRM TERM USR1 USR2 URG CONT STOP TSTP TTIN TTOU ILL TRAP BUS FPE SEGV PIPE "
           "CHLD XCPU XFSZ VTALRM PROF WINCH IO PWR SYS").split()  # fmt: skip

# Exit statuses of scancel are these numbers modulo 256.
ERRNO = {
    "Invalid job id specified": 2017,
    "Job/step already completing or completed": 2021,
    "Job can not be altered now, try again later": 2020,
    "Access/permission denied": 2002,
    "Operation not permitted on individual component of heterogeneous job": 2108,
    "Unable to contact slurm controller (connect failure)": 1800,
}
UNREACHABLE = "Unable to contact slurm controller (connect failure)"
INVALID_ID = "Invalid job id specified"
LAUNCH_FAILED = 4021  # the raw exit status of a job whose output file cannot be opened: `0:53` in accounting


class Refused(Exception):
    """The end of a program.

    `lines` go to stderr as they are (none after --help), `code` is its exit status.
    """

    def __init__(self, lines: str | list[str], code: int = 1) -> None:
        self.lines = [lines] if isinstance(lines, str) else lines
        self.code = code
        super().__init__("\n".join(self.lines))


class Unreachable(Exception):
    """The cluster acts as down (SluiceDown).

    Each program says so in its own words.
    """


def parse_signal(name: str) -> int | None:
    """Parse `USR1`, `SIGUSR1`, `usr1` or `10`; None if unknown."""
    import signal

    if is_number(name):
        return int(name)
    known = name.upper().removeprefix("SIG")
    return int(getattr(signal, f"SIG{known}")) if known in SIGNALS else None


def format_exit_status(raw: int | None) -> str:
    """Format a raw wait status as `code:signal`."""
    raw = raw or 0
    return f"{raw >> 8}:{raw & 0x7F}" if raw != LAUNCH_FAILED else "0:53"
