"""The history of jobs, window by window.

Accounting is asked for windows of time that grow where little happened and shrink where much did, so that neither a
call of sacct nor what it answers becomes large. Each job belongs to the window in which it ended.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Protocol

from slurm_shim.errors import AnswerTooLarge, SlurmUnreachable
from slurm_shim.parse import FINISHED, Job

HOUR_S = 3600.0
FIRST_S = 1_009_843_200.0  # 2002: no SLURM ran a job before
# However little happened in a window, the next one may have very much.
SHORTEST_S, LONGEST_S = 60.0, 7 * 24 * HOUR_S
# Before the first job of all, which may be years after the time that was asked for.
LONGEST_SILENT_S = 13 * LONGEST_S
# So many rows a window should have: below, the next one is twice as long, far above half as long.
FEW_ROWS, MANY_ROWS, LOT_ROWS = 1000, 5000, 500
# sacct counts from when it runs, which is a little later.
MARGIN_S = 60
TIMEOUT_S = 30.0


class Accounting(Protocol):
    """What is asked for the jobs of a window; see Slurm."""

    @property
    def clock_offset_s(self) -> float:
        """How far SLURM's clock is ahead."""

    def iterate_window(self, first_s: int, last_s: int, with_usage: bool, timeout_s: float) -> Iterator[Job]:
        """Yield the jobs between two times, in seconds ago."""


def iterate_ended(
    slurm: Accounting, since: float, until: float, with_usage: bool = False, first_length_s: float = HOUR_S
) -> Iterator[list[Job]]:
    """Yield the jobs that ended from `since` to before `until`, in lots.

    Epoch seconds. Every job once, whatever the windows are, those of earlier windows first; `with_usage` gives rows as
    in slurm_shim.past.usage. A window without jobs gives an empty lot, so that the reader can stop. The
    first window has `first_length_s`. Blocks.
    """
    begin, length_s, longest_s = max(since, FIRST_S), first_length_s, LONGEST_SILENT_S
    while begin < until:
        end = min(until, begin + length_s)
        count = 0
        try:
            window = _open_window(slurm, begin, end, with_usage)
        except SlurmUnreachable:
            if length_s <= HOUR_S:
                raise
            length_s = max(HOUR_S, length_s / 8)  # it may have been too much for the time there is
            continue
        except AnswerTooLarge:  # the shortest window never is
            length_s = max(SHORTEST_S, length_s / 8)
            continue
        for lot in _split_lots(window, LOT_ROWS):
            count += len(lot)
            yield lot
        if not count:
            yield []
        begin, longest_s = end, LONGEST_S if count else longest_s
        if count < FEW_ROWS:
            length_s = 2 * length_s
        elif count > MANY_ROWS:
            length_s = max(length_s * MANY_ROWS / count / 2, SHORTEST_S)
        length_s = min(length_s, longest_s)


def _open_window(slurm: Accounting, begin: float, end: float, with_usage: bool) -> Iterator[Job]:
    now = time.time() + slurm.clock_offset_s
    first_s, last_s = max(0, int(now - begin) + MARGIN_S), max(0, int(now - end) - MARGIN_S)
    jobs = slurm.iterate_window(first_s, last_s, with_usage, TIMEOUT_S)
    return (job for job in jobs if job["state"] in FINISHED and begin <= (job["end_time"] or -1) < end)


def _split_lots(jobs: Iterator[Job], size: int) -> Iterator[list[Job]]:
    while lot := list(itertools.islice(jobs, size)):
        yield lot
