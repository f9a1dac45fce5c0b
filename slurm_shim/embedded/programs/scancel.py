"""scancel(1): ends jobs, or sends them signals.

Silent about ids that are gone, unless -v.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
import time

from .. import arrays, cluster, procs, schedule, supervise
from ..hosts import expand_hosts
from ..states import BY_NAME, ERRNO, INVALID_ID, LIVE, Refused, parse_signal
from ..units import is_number
from . import views
from .options import Options, check_cluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..state import Row, State

# No burst buffers, no controller to route signals through; about jobs that are gone it is silent anyway.
OPTIONS = Options(
    "scancel",
    """account/A= batch/b cluster= clusters/M= full/f help interactive/i jobname/n= name= me nodelist/w= partition/p=
    qos/q= reservation/R= signal/s= state/t= usage user/u= verbose/v version/V wckey=""",
    without_effect="ctld hurry/H quiet/Q",
    same={"cluster": "clusters", "name": "jobname"},
)
COLUMNS = {"account": "account", "partition": "partition", "qos": "qos", "jobname": "name"}
FILTERS = (*COLUMNS, "me", "nodelist", "reservation", "state", "user", "wckey")
CANNOT = "Job can not be altered now, try again later"
NOT_ALONE = "Operation not permitted on individual component of heterogeneous job"


class Target:
    """What one operand names: a job, a set of array tasks, or a step."""

    def __init__(self, word: str) -> None:
        self.word = word
        head, dot, step = word.partition(".")
        self.step: str | None = step if dot else None
        number, under, tasks = head.partition("_")
        number, plus, offset = number.partition("+")
        self.tasks: list[int] | None = None
        good = is_number(number) and int(number) > 0 and (not dot or is_number(step) or step == "batch")
        good = good and (not plus or is_number(offset))
        if good and under and tasks != "*":
            try:
                self.tasks = arrays.parse_array(tasks.partition("%")[0], 1 << 31)[0]
            except ValueError:
                good = False
        if not good:
            raise Refused(f"scancel: error: Invalid job id {word}")
        # The parts of a heterogeneous job have ids in a row.
        self.number = int(number) + int(offset or 0)


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run scancel; return its exit status.

    The last error's number modulo 256, 0 when jobs are merely gone.
    """
    asked, operands = OPTIONS.gather(argv)
    check_cluster("scancel", conf, asked.get("clusters"))
    number = _parse_signal(asked)
    targets = [Target(part) for word in operands for part in _split_operand(word)]
    filtered = any(name in asked for name in FILTERS)
    if not targets and not filtered:
        raise Refused("scancel: error: No job identification provided")
    if conf["down"] and targets:
        text = "Unable to contact slurm controller (connect failure)"
        raise Refused(f"scancel: error: Kill job error on job id {targets[0].word}: {text}", 8)
    return _cancel_jobs(conf, asked, targets, number)


def _split_operand(word: str) -> list[str]:
    """Split an operand: `8_[1,3]` is one, `8,9` are two."""
    return [word] if "[" in word else [part for part in word.split(",") if part] or [word]


def _parse_signal(asked: dict[str, str | None]) -> int | None:
    name = asked.get("signal")
    if name is None:
        return None
    number = parse_signal(name)
    if number is None:
        raise Refused(f"Unknown job signal: {name}")
    return number


def _cancel_jobs(conf: dict[str, Any], asked: dict[str, Any], targets: list[Target], number: int | None) -> int:
    verbose = "verbose" in asked
    agreed = _ask_confirmations(conf, asked, targets) if "interactive" in asked else None
    code = 0
    deeds: list[tuple[Row, int | None]] = []
    with cluster.change_state(conf) as state:
        for target in targets or [None]:  # type: ignore[list-item]
            rows = [row for row in _find_rows(state, target, asked) if agreed is None or row["raw_id"] in agreed]
            if target and verbose:
                print(
                    f"scancel: {f'Signal {number} to' if number else 'Terminating'} job {target.word}",
                    file=sys.stderr,
                )
            if target and not any(row["state"] in LIVE or row["completing"] for row in rows):
                if verbose:
                    print(f"scancel: error: Kill job error on job id {target.word}: {INVALID_ID}", file=sys.stderr)
                continue
            for row in rows:
                problem = _cancel_row(state, row, target.tasks if target else None, number, asked, deeds, target)
                if problem:
                    code = ERRNO[problem] % 256
                    name = target.word if target else row["raw_id"]
                    print(f"scancel: error: Kill job error on job id {name}: {problem}", file=sys.stderr)
        sys.stderr.flush()
    for row, sent in deeds:
        if sent is None:
            procs.send_signal([row["sup_pid"]], signal.SIGUSR1)
        else:
            _send_signal(conf, row, sent, asked)
    return code


def _ask_confirmations(conf: dict[str, Any], asked: dict[str, Any], targets: list[Target]) -> set[int]:
    """Ask on stdin which jobs may be cancelled (--interactive).

    Refused for an id that is gone, and when stdin ends without an answer, where SLURM would ask for ever.
    """
    with cluster.read_state(conf) as state:
        chosen = [(target, _find_rows(state, target, asked)) for target in targets or [None]]  # type: ignore[list-item]
    yes = set()
    for target, rows in chosen:
        rows = [row for row in rows if row["state"] in LIVE]
        if target and not rows:
            raise Refused(f"scancel: error: Kill job error on job id {target.word}: {INVALID_ID}")
        yes |= {row["raw_id"] for row in rows if _confirm_job(row, target)}
    return yes


def _confirm_job(row: Row, target: Target | None) -> bool:
    array_id = views.Job(row, 0).array_id
    what = f"step_id={array_id}.{target.step}" if target and target.step else f"job_id={array_id}"
    while True:
        print(f"Cancel {what} name={row['name']} partition={row['partition']} [y/n]? ", end="", flush=True)
        answer = sys.stdin.readline()
        if not answer:
            print()
            raise Refused("scancel: error: nothing is cancelled: --interactive needs an answer, but stdin has ended")
        if answer[0] in "yYnN":
            return answer[0] in "yY"


def _find_rows(state: State, target: Target | None, asked: dict[str, Any]) -> list[Row]:
    """Find the rows of an operand; without one, those that pass the filters."""
    if target is None:
        rows = state.select_jobs("end_time IS NULL")
    elif target.tasks is None:
        rows = state.select_jobs("raw_id = ?", target.number)
        if not rows or target.number in (rows[0]["array_job_id"], rows[0]["het_job_id"]):
            rows = cluster.find_jobs(state, target.number) or rows
    else:
        rows = [row for row in state.select_jobs("array_job_id = ?", target.number) if _has_task(row, target.tasks)]
    return [row for row in rows if _is_wanted(row, asked)]


def _has_task(row: Row, tasks: list[int]) -> bool:
    return row["array_task_id"] in tasks or bool(set(arrays.unfold_tasks(row["array_tasks"] or "")) & set(tasks))


def _is_wanted(row: Row, asked: dict[str, Any]) -> bool:
    if "state" in asked:
        states = {BY_NAME.get(word.upper()) for word in asked["state"].split(",")}
        if None in states:
            raise Refused(f"scancel: error: Invalid job state string: {asked['state']}")
        if row["state"] not in states:
            return False
    if "user" in asked or "me" in asked:
        word = asked.get("user") or str(os.geteuid())
        try:
            uid = int(word) if is_number(word) else pwd.getpwnam(word).pw_uid
        except KeyError as error:
            raise Refused(f"scancel: error: Invalid user name: {word}") from error
        if row["uid"] != uid:
            return False
    for option, column in COLUMNS.items():
        if option in asked and row[column] not in asked[option].split(","):
            return False
    if "nodelist" in asked and not _parse_hosts(asked) & {share[0] for share in schedule.unpack_shares(row["alloc"])}:
        return False
    return "reservation" not in asked and "wckey" not in asked


def _parse_hosts(asked: dict[str, Any]) -> set[str]:
    try:
        return set(expand_hosts(asked["nodelist"]))
    except ValueError:
        return set()  # a list that cannot be read names no node, as in SLURM


def _cancel_row(
    state: State, row: Row, tasks: list[int] | None, number: int | None, asked: dict[str, Any],
    deeds: list[tuple[Row, int | None]], target: Target | None,
) -> str | None:  # fmt: skip
    """Write down what happens to a job; return the error's text, if any.

    Processes are signalled after the commit.
    """
    now = int(time.time())
    if row["state"] not in LIVE:
        return None
    if row["state"] == "PENDING":
        if number not in (None, signal.SIGKILL):
            return CANNOT
        if row["het_offset"] and target and target.number == row["raw_id"]:
            return NOT_ALONE
        cluster.cancel_pending_job(state, row, tasks, now, uid=os.geteuid())
        return None
    if (
        number not in (None, signal.SIGKILL)
        or (number == signal.SIGKILL and "batch" in asked)
        or (target and target.step)
    ):
        deeds.append((row, number or signal.SIGKILL))
        return None
    if row["het_offset"]:  # it has no script to be ended
        state.has_ended_jobs = True
        state.update_job(row["raw_id"], state="CANCELLED", end_time=now, kill_uid=os.geteuid())
        return None
    state.update_job(
        row["raw_id"], state="CANCELLED", ending="CANCELLED", completing=1, end_time=now, kill_uid=os.geteuid()
    )
    deeds.append((row, None))
    return None


def _send_signal(conf: dict[str, Any], row: Row, number: int, asked: dict[str, Any]) -> None:
    """Send a signal to the processes of a job.

    Without -b or -f it goes to the steps only, not to the batch shell (STOP and CONT go to all).
    """
    everyone = "full" in asked or number in (signal.SIGSTOP, signal.SIGCONT)
    supervise.signal_job(conf, row, number, batch=everyone or "batch" in asked, steps=everyone or "batch" not in asked)
