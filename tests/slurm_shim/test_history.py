"""The history of jobs by windows: each job once, windows that follow how much happened, failures that are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim import commands
from slurm_shim.errors import AnswerTooLarge, SlurmUnreachable, UnreadableAnswer
from slurm_shim.parse import Job
from slurm_shim.past import history
from tests.slurm_programs import Programs

HOUR = 3600


class Accounting:
    """Jobs by their ends, given for windows that are wider than what was asked for, as sacct's are."""

    clock_offset_s = 0.0

    def __init__(self, ends: list[int], most_rows: int = 10**9) -> None:
        self.ends, self.most_rows = ends, most_rows
        self.windows: list[tuple[int, int]] = []

    def iterate_window(self, first_s: int, last_s: int, with_usage: bool, timeout_s: float) -> Iterator[Job]:
        now = time.time()
        rows = [end for end in self.ends if now - first_s <= end <= now - last_s]
        if len(rows) > self.most_rows:
            raise SlurmUnreachable("sacct", f"no answer within {timeout_s} s")
        self.windows.append((first_s, last_s))
        return iter([{"job_id": str(end), "state": "COMPLETED", "end_time": end} for end in rows])


def list_ends(slurm: Any, since: float, until: float) -> list[int]:
    return [job["end_time"] for lot in history.iterate_ended(slurm, since, until) for job in lot]


@given(st.lists(st.integers(min_value=0, max_value=40 * 86_400), max_size=60, unique=True), st.integers(0, 40 * 86_400))
def test_every_job_of_the_period_is_there_once_and_in_the_order_of_windows(agos: list[int], length_s: int) -> None:
    now = int(time.time())
    slurm, since = Accounting(sorted(now - ago for ago in agos)), now - length_s
    assert list_ends(slurm, since, now) == [end for end in slurm.ends if since <= end < now]


def test_jobs_that_go_on_and_those_without_an_end_are_none_of_it() -> None:
    now = time.time()
    rows = [
        {"job_id": "1", "state": "RUNNING", "end_time": None},
        {"job_id": "2", "state": "PENDING", "end_time": None},
    ]
    slurm = Accounting([])
    slurm.iterate_window = lambda *_: iter(rows)  # type: ignore[method-assign, assignment]
    assert list_ends(slurm, now - HOUR, now) == []


def test_windows_grow_where_little_happened_and_shrink_where_much_did() -> None:
    now = int(time.time())
    dense = [now - HOUR + at // 20 for at in range(50_000)]
    slurm = Accounting(dense)
    assert len(list_ends(slurm, now - 60 * 86_400, now)) == 50_000
    assert len(slurm.windows) < 30


def test_years_before_the_first_job_of_all_take_few_windows() -> None:
    now, day_s = int(time.time()), 86_400
    slurm = Accounting([now - 60 * day_s])
    assert list_ends(slurm, 0, now) == slurm.ends
    assert len(slurm.windows) < 150
    later = [first - last for first, last in slurm.windows if last < 60 * day_s][1:]
    assert max(later) <= history.LONGEST_S + 2 * history.MARGIN_S + 2, "then there may be very many at any time"


def test_a_window_that_takes_too_long_is_asked_for_in_parts() -> None:
    now = int(time.time())
    slurm = Accounting([now - at * 600 for at in range(1, 2000)], most_rows=100)
    assert len(list_ends(slurm, now - 20 * 86_400, now)) == 1999
    slurm.most_rows = -1
    with pytest.raises(SlurmUnreachable):
        list_ends(slurm, now - HOUR, now)


def test_a_window_that_has_too_much_is_asked_for_in_parts() -> None:
    now = int(time.time())
    slurm = Accounting(list(range(now - 4 * HOUR, now - 2 * HOUR)))
    iterate_all = slurm.iterate_window

    def iterate_few(first_s: int, last_s: int, with_usage: bool, timeout_s: float) -> Iterator[Job]:
        rows = list(iterate_all(first_s, last_s, with_usage, timeout_s))
        if len(rows) > 500:
            raise AnswerTooLarge("sacct", 8_000_000)
        return iter(rows)

    slurm.iterate_window = iterate_few  # type: ignore[method-assign]
    assert list_ends(slurm, now - 60 * 86_400, now) == slurm.ends


BOUNDS = [
    # why, seconds, bytes that sacct prints (of no job), what becomes of them
    ("below the bound", 3600, 9_999, UnreadableAnswer),
    ("above the bound", 3600, 10_001, AnswerTooLarge),
    ("above the bound, in the shortest window", history.SHORTEST_S + 2 * history.MARGIN_S, 10_001, UnreadableAnswer),
]


@pytest.mark.parametrize("with_usage", [False, True])
@pytest.mark.parametrize(("why", "first_s", "size", "problem"), BOUNDS, ids=[row[0] for row in BOUNDS])
def test_so_much_is_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, first_s: int, size: int, problem: type, with_usage: bool
) -> None:
    monkeypatch.setattr(commands, "WINDOW_BYTES", 10_000)
    programs = Programs(tmp_path)
    programs.write("sacct", f"yes | head -c {size}")
    with pytest.raises(problem):
        list(programs.slurm().iterate_window(int(first_s), 0, with_usage, 60.0))
