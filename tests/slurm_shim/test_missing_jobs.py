"""Jobs that left the queue: what is remembered of them has an end."""

from __future__ import annotations

import pytest

from slurm_shim.past.missing_jobs import MissingJobs, store_bounded


def test_the_oldest_go_where_there_are_too_many() -> None:
    remembered: dict[str, int] = {}
    gone = [value for at, name in enumerate("abcad") for value in store_bounded(remembered, name, at, 3)]
    assert (remembered, gone) == ({"b": 1, "c": 2, "d": 4}, [3])


@pytest.mark.parametrize(
    ("why", "seconds", "open_ids", "is_due", "is_followed"),
    [
        ("somebody waits for it, however long", 7200.0, {"7"}, True, True),
        ("nothing that is open has it, but it may be asked for yet", 600.0, set(), False, True),
        ("nothing that is open has it, and it has been gone for long", 7200.0, set(), False, False),
    ],
)
def test_a_job_that_left_the_queue_is_followed_as_long_as_somebody_waits(
    why: str, seconds: float, open_ids: set[str], is_due: bool, is_followed: bool
) -> None:
    clock, is_there = [0.0], {"7": True}
    jobs = MissingJobs(lambda: clock[0])

    def poll(has_lost_rows: bool) -> None:
        clock[0] += 1.0
        jobs.follow_queue(clock[0], has_lost_rows, lambda job_id: is_there[job_id])

    jobs.note_asked("7")
    poll(has_lost_rows=False)
    is_there["7"] = False
    poll(has_lost_rows=True)
    clock[0] += seconds
    assert (jobs.list_due(open_ids) == ["7"]) is is_due, why
    assert jobs.is_due("7") is is_followed, why
    jobs.note_asked("7")
    poll(has_lost_rows=False)
    assert jobs.is_due("7"), "whoever asks again has it looked for again"
