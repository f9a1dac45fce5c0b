"""The errors of SLURM.

The class carries the meaning, so that one table can map it to an answer.

    SlurmError
    ├─ SlurmRefused      SLURM understood and said no         .reason .text .exit_code .command
    │  ├─ FolderRefused  a folder of the job cannot be used   .reason names it
    │  ├─ SlurmInvalid   the request itself is wrong (an unknown partition, a bad time, an empty script)
    │  ├─ SlurmDenied    not this user
    │  ├─ SlurmConflict  not in the state that it is in now
    │  │  └─ JobFinished
    │  ├─ JobUnknown
    │  └─ NodeUnknown
    ├─ SlurmUnreachable  nobody answered, or not intelligibly  .uncertain: the request may still have been carried out
    │  ├─ ClusterUnreachable  for a reason that is no text of SLURM
    │  └─ SlurmBusy      asked to come back later
    ├─ UnreadableAnswer  an answer that does not have the form we asked for
    ├─ AnswerTooLarge    an answer of which there was more than we take at once
    └─ SyncFailed        rsync ended without having brought everything over

Phrases and exit codes are those of Slurm 22.05.8 (slurm_errno.c gives each a fixed text); later versions kept them.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from typing import Any


class SlurmError(Exception):
    """Base of all errors of SLURM, or of the lack of it."""


class SlurmRefused(SlurmError):
    """SLURM refused the request.

    `command` (the program's name), `exit_code`, `text` (all lines, prefixes stripped), `reason` (the summary alone). As
    text it is the summary with everything else that was said.
    """

    word = "refused"  # what a run's file remembers of the class

    def __init__(self, command: str, exit_code: int, stderr: str, reason: str = "") -> None:
        self.command = command
        self.exit_code = exit_code
        self.text = strip_prefixes(stderr)
        self.reason = reason or extract_reason(stderr) or f"{command} ended with exit code {exit_code}"
        super().__init__(tell_whole(self.reason, self.text))

    @property
    def details(self) -> dict[str, Any]:
        """What was called, and what it said: at most 2,000 characters.

        Nothing where no program was called.
        """
        return (
            {}
            if not self.command
            else {"command": self.command, "exit_code": self.exit_code, "stderr": self.text[:_LONGEST_TEXT]}
        )


class AccountingOff(SlurmRefused):
    """The cluster has no accounting, or none any more."""


class FolderRefused(SlurmRefused):
    """A folder of the job cannot be made or used where the job will run."""

    def __init__(self, field: str, folder: str, why: str) -> None:
        self.field = field
        short = folder if len(folder) <= 200 else f"{folder[:200]}…"
        super().__init__("sbatch", 1, "", f"{field} {short}: {why[:200]}")


class SlurmInvalid(SlurmRefused):
    """The request is invalid and can never be carried out."""

    word = "invalid"


class SlurmDenied(SlurmRefused):
    """The user may not do that."""

    word = "denied"


class SlurmConflict(SlurmRefused):
    """The request is not possible in the present state."""

    word = "conflict"


class JobFinished(SlurmConflict):
    """The job has finished; `job_id` is what was asked for."""

    def __init__(self, job_id: str, command: str = "", exit_code: int = 1, stderr: str = "") -> None:
        super().__init__(command, exit_code, stderr or f"Job {job_id} has already finished")
        self.job_id = job_id


class JobUnknown(SlurmRefused):
    """SLURM does not know the job (any more); `job_id` is what was asked for."""

    def __init__(self, job_id: str, command: str = "", exit_code: int = 1, stderr: str = "") -> None:
        super().__init__(command, exit_code, stderr or f"Invalid job id specified: {job_id}")
        self.job_id = job_id

    @property
    def details(self) -> dict[str, Any]:
        """Which job it is."""
        return {"resource_type": "job", "resource_id": self.job_id}


class NodeUnknown(SlurmRefused):
    """There is no node of that name."""


class SlurmUnreachable(SlurmError):
    """SLURM gave no usable answer.

    Controller or database down, time-out, program missing, authentication service down.

    `uncertain` is true where the request may have been carried out all the same (a time-out after it was sent): whoever
    submitted something must look for it before submitting again.
    """

    def __init__(self, command: str, text: str, uncertain: bool = False) -> None:
        self.command = command
        self.text = strip_prefixes(text)
        self.uncertain = uncertain
        super().__init__(f"{command}: {tell_whole(extract_reason(text) or 'no answer', text)}")


class ClusterUnreachable(SlurmUnreachable):
    """The cluster cannot be asked; `text` says why, whole and for people."""

    def __init__(self, command: str, text: str, uncertain: bool = False) -> None:
        super().__init__(command, text, uncertain)
        self.text = text
        self.args = (text,)


class SlurmBusy(SlurmUnreachable):
    """SLURM takes no more jobs at the moment, at all or of this user."""


class UnreadableAnswer(SlurmError, ValueError):
    """SLURM's answer has an unexpected form; nothing of it is used."""


class AnswerTooLarge(SlurmError):
    """SLURM had more to say than what is taken at once."""

    def __init__(self, command: str, most_bytes: int) -> None:
        super().__init__(f"{command} printed more than {most_bytes // 1_000_000} MB")


class SyncFailed(SlurmError):
    """rsync did not copy everything; `reason` is rsync's own, or ssh's."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"rsync failed: {reason}")


# `sbatch: error: `, or `/usr/bin/sbatch: ` from getopt
_PREFIX = re.compile(r"^(?:\S*/)?(?:s[a-z]+: )?(?:error|fatal|warning|info): |^(?:\S*/)?s[a-z]+: ")
_FOR_JOB = re.compile(r" for job [\w\[\]+,%:-]+$")
# What stands before SLURM's phrase in the line that sums up.
_REFUSAL = "Batch job submission failed: "
_INTRO = re.compile(
    rf"^(?:{_REFUSAL}|allocation failure: |Kill job error on job id \S+: |[a-z_]+ error: |slurm_[a-z_]+: )+", re.ASCII
)
_BROKEN_SCRIPT = (
    "This does not look like a batch script",
    "Batch script contains DOS",
    "The Slurm controller does not",
)
_SYSTEM_ERRORS = tuple(map(os.strerror, errno.errorcode))
_HINTS = ("Try ", "Request aborted", "For inst")
_LONGEST_TEXT = 2000

# Of each table the first match wins, without regard to case. The phrases of the first three begin SLURM's summary:
# elsewhere they are values, and advice of a site's own plugins.
_UNREACHABLE = (
    "unable to contact slurm controller",
    "unable to establish controller machine",
    "unable to establish configuration source",
    "could not establish a configuration source",
    "unable to process configuration file",
    "slurm backup controller in standby mode",
    "problem talking to the database",
    "problem connecting to the database",
    "failed to open persistent connection",
    "sending persistinit msg",
    "slurmdbd: connection refused",
    "database is busy or waiting",
    "only able to contact",
    "protocol authentication error",
    "authentication credential",
    "invalid authentication credential",
    "munge encode failed",
    "munge decode failed",
    "failed to access",
    "no route to host",
    "connection refused",
)
# The request went out, the answer did not come back: it may have been carried out.
_UNCERTAIN = (
    "socket timed out",
    "unexpected message received",
    "zero bytes were transmitted or received",
    "communications connection failure",
    "connection reset by peer",
    "transport endpoint is not connected",
    "header lengths are longer than data received",
)
_BUSY = (
    "slurm temporarily unable to accept job",
    "resource temporarily unavailable",
    "slurm controller is too busy",
    "rate limit exceeded",
    "rpc rate limit",
    "i/o error writing script/environment to file",
)
# What programs say of a disk or a machine that lacks something for now (strerror(3)).
_MOMENTARY = (
    "no space left on device",
    "disk quota exceeded",
    "input/output error",
    "read-only file system",
    "stale file handle",
    "transport endpoint is not connected",
    "connection timed out",
    "too many open files",
    "cannot allocate memory",
    "resource temporarily unavailable",
)
# So many jobs may wait and run at once, for a user, an account or a QOS (AssocMaxSubmitJobLimit, QOSGrpSubmitJobsLimit,
# …): one more is taken when others have ended. slurmctld names the limit on a line of its own, above its summary.
_FULL = re.compile(r"^(?:assoc|qos)(?:max|grp)submitjobs?(?:peruser|peraccount)?limit$", re.MULTILINE | re.IGNORECASE)
_LIMITED = "job violates accounting/qos policy"
_JOB_UNKNOWN = ("invalid job id specified", "invalid job id")
_FINISHED = ("job has already finished", "job/step already completing or completed", "already completing or completed")
_NODE_UNKNOWN = ("invalid node name specified", "node not found")
_DENIED = (
    "access/permission denied",
    "access denied",
    "invalid user id",
    "user's group not permitted",
    "user not in group permitted",
    "invalid account or account/partition combination specified",
    "requires the administrator",
    _LIMITED,
)
_CONFLICT = (
    "job can not be altered now",
    "job is pending execution",
    "job is in held state",
    "job is not pending",
    "job is no longer pending execution",
    "job is currently being",
    "job is not suspended",
    "operation not permitted on individual component",
    "job/step is already suspended",
    "requested operation is presently disabled",
    "requested operation not supported",
    "requested partition not available",
    "required partition not available",
    "invalid node state specified",
    "job update not available right now",
)
_INVALID_COMMANDS = ("sbatch", "scontrol", "squeue", "sacct", "scancel", "sinfo")
_INVALID = (
    "invalid",
    "unrecognized option",
    "unable to open file",
    "batch script",
    "unmatched `",
    "unexpected `",
    "requested node configuration is not available",
    "memory specification can not be satisfied",
    "job dependency problem",
    "requested reservation",
    "requested time limit",
    "requires an argument",
    "option requires",
    "doesn't allow an argument",
    "is ambiguous",
    "pathname of a file, directory or other parameter too long",
    "more processors requested than permitted",
    "bad job/step specified",
    "no job identification provided",
    "update of this parameter is not supported",
    "you must specify a reason",
    "node count specification",
    "unknown job signal",
    "requested node",
    "bad state string",
)


def strip_prefixes(stderr: str) -> str:
    """Strip prefixes like `sbatch: error: ` and drop blank lines."""
    lines = (_PREFIX.sub("", line.rstrip()) for line in stderr.splitlines())
    return "\n".join(line for line in lines if line)


def extract_reason(stderr: str) -> str:
    """Extract SLURM's own phrase from its complaint; "" if there is none.

    That of the line which sums up ("Batch job submission failed: Invalid partition name specified"), without a value.
    What the system says ("Problem talking to the database: Connection refused") keeps what it is about.

    >>> extract_reason("sacct: error: Problem talking to the database: Connection refused")
    'Problem talking to the database: Connection refused'
    >>> extract_reason("squeue: error: Munge encode failed: No such file or directory, retrying in 1sec")
    'Munge encode failed: No such file or directory, retrying in 1sec'
    """
    lines = _list_lines(stderr)
    if not lines:
        return ""
    last = _FOR_JOB.sub("", _find_summary(lines))
    head, colon, tail = last.rpartition(": ")
    # What follows the colon is a value, not a phrase ("Unknown job signal: FOO", "parameter is not supported: frob=1").
    is_phrase = tail[:1].isupper() and " " in tail and not tail.startswith(_SYSTEM_ERRORS)
    phrase = tail if colon and is_phrase else last
    return phrase or head


def tell_whole(reason: str, stderr: str) -> str:
    """Tell the reason, and in brackets all else that was said."""
    lines = dict.fromkeys(" ".join(line.split()) for line in _list_lines(stderr))
    plain = " ".join(reason.split())
    others = [line for line in lines if plain not in line and line not in plain]
    whole = f"{reason} ({'; '.join(others)})" if others else reason
    return whole if len(whole) <= _LONGEST_TEXT else f"{whole[: _LONGEST_TEXT - 1]}…"


def _list_lines(stderr: str) -> list[str]:
    """List what was complained about, without hints how to use a program."""
    return [line for line in strip_prefixes(stderr).splitlines() if not line.startswith(_HINTS)]


def _find_summary(lines: Sequence[str]) -> str:
    """Find what sums up, without its intro: the last refusal, or line."""
    if lines and lines[0].startswith(_BROKEN_SCRIPT):
        return " ".join(" ".join(lines).split())
    # sbatch's own refusal is its last one: a plugin may have used the same words before.
    refusals = [line for line in lines if line.startswith(_REFUSAL)]
    return _INTRO.sub("", [*lines, *refusals][-1] if lines else "")


def make_error(command: str, exit_code: int, stderr: str, ids: Sequence[str] = ()) -> SlurmError:
    """Make the exception for a program that failed; the caller raises it.

    `ids` are the jobs that the call was about; the one that SLURM names (else the first) goes into JobUnknown.job_id.
    """
    lines = _list_lines(stderr)
    summary, said = _find_summary(lines).lower(), "\n".join(lines).lower()
    if summary.startswith(_BUSY) or (summary.startswith(_LIMITED) and _FULL.search(said)):
        return SlurmBusy(command, stderr)
    if summary.startswith(_UNREACHABLE):
        return SlurmUnreachable(command, stderr)
    if summary.startswith(_UNCERTAIN):
        return SlurmUnreachable(command, stderr, uncertain=True)
    if exit_code < 0:
        return SlurmUnreachable(command, stderr or f"{command} was ended by signal {-exit_code}", uncertain=True)
    if command == "sacct" and "accounting storage is disabled" in said:
        return AccountingOff(command, exit_code, stderr)
    if ids and _has_any(_FINISHED, said):
        return JobFinished(_find_named_id(said, ids), command, exit_code, stderr)
    if ids and _has_any(_JOB_UNKNOWN, said):
        return JobUnknown(_find_named_id(said, ids), command, exit_code, stderr)
    if command == "scontrol" and not ids and (_has_any(_NODE_UNKNOWN, said) or re.search(r"node \S+ not found", said)):
        return NodeUnknown(command, exit_code, stderr)
    is_judged = command != "sbatch" or any(line.startswith(_REFUSAL) for line in lines)
    if command == "sbatch":  # what its other lines say are values of the script, or a plugin's words
        said = summary
    if is_judged and _has_any(_DENIED, said):
        return SlurmDenied(command, exit_code, stderr)
    if is_judged and (_has_any(_CONFLICT, said) or _has_any(_FINISHED, said)):
        return SlurmConflict(command, exit_code, stderr)
    if command in _INVALID_COMMANDS and (exit_code == 255 or _has_any(_INVALID, said)):
        return SlurmInvalid(command, exit_code, stderr)
    return SlurmRefused(command, exit_code, stderr)


def restore_refusal(word: str | None, command: str, text: str) -> SlurmRefused:
    """Restore a refusal from its text and the word for its class."""
    kinds = (SlurmInvalid, SlurmDenied, SlurmConflict)
    return next((kind for kind in kinds if kind.word == word), SlurmRefused)(command, 1, "", text)


def is_momentary(said: str) -> bool:
    """Return whether a program failed for a reason that may be over soon."""
    return _has_any(_MOMENTARY, said.lower())


def _has_any(phrases: Sequence[str], said: str) -> bool:
    return any(phrase in said for phrase in phrases)


def _find_named_id(said: str, ids: Sequence[str]) -> str:
    match = re.search(r"job (?:id )?(\d+(?:[_+]\S+)?)", said)
    return match[1].rstrip(":") if match and match[1].rstrip(":") in ids else ids[0]
