"""Jobs counted once each, whatever is seen of them, in one life of the server and over several."""

from __future__ import annotations

from typing import Any

import pytest

from engine.monitoring.job_counter import Events, JobCounter
from slurm_shim.parse import Job
from tests.pretended import job

BEGAN = 1000.4


def waiting(job_id: str, submitted: int, **more: Any) -> Job:
    """Make a waiting job."""
    return job(job_id, "PENDING", submit_time=submitted, **more)


def running(job_id: str, submitted: int, started: int) -> Job:
    """Make a running job."""
    return job(job_id, "RUNNING", submit_time=submitted, start_time=started)


def ended(job_id: str, submitted: int, started: int, at: int, state: str = "COMPLETED") -> Job:
    """Make an ended job."""
    return job(job_id, state, submit_time=submitted, start_time=started, end_time=at)


OLD = ended("1", 100, 200, 300)
# Each step is what the queue shows; the counts are those of all steps but the first, which is the state at the start.
LIVES: list[tuple[str, list[list[Job]], Events, dict[str, int]]] = [
    ("what was there before", [[OLD, waiting("2", 900)]], Events(), {"COMPLETED": 1}),
    (
        "a whole life",
        [[], [waiting("3", 1001)], [running("3", 1001, 1011)], [ended("3", 1001, 1011, 1020)]],
        Events(1, 1, 1, 10, 10),
        {"COMPLETED": 1},
    ),
    (
        "one that is seen when it is over",
        [[], [ended("3", 1001, 1003, 1004, "FAILED")]],
        Events(1, 1, 1, 2, 2),
        {"FAILED": 1},
    ),
    ("of the second in which counting began", [[], [waiting("3", 1000)]], Events(1), {}),
    ("seen again and again", [[], *[[ended("3", 1001, 1003, 1004)]] * 3], Events(1, 1, 1, 2, 2), {"COMPLETED": 1}),
    (
        "a requeued job ends twice",
        [[], [ended("3", 1001, 1003, 1004, "NODE_FAIL")], [waiting("3", 1001)], [ended("3", 1001, 1010, 1012)]],
        Events(1, 2, 2, 11, 9),
        {"NODE_FAIL": 1, "COMPLETED": 1},
    ),
    (
        "tasks of an array",
        [
            [],
            [waiting("8_[0-3]", 1001, raw_id=8, array_job_id=8, array_task_id="0-3")],
            [
                waiting("8_[2-3]", 1001, raw_id=8, array_job_id=8, array_task_id="2-3"),
                running("8_0", 1001, 1005) | {"array_job_id": 8, "array_task_id": "0"},
                ended("8_1", 1001, 1005, 1006) | {"array_job_id": 8, "array_task_id": "1"},
            ],
        ],
        Events(4, 2, 1, 8, 4),
        {"COMPLETED": 1},
    ),
    (
        "waiting tasks that are cancelled together",
        [
            [],
            [
                ended("8_[0-3]", 1001, 0, 1002, "CANCELLED")
                | {"array_job_id": 8, "array_task_id": "0-3", "start_time": None}
            ],
        ],
        Events(4, 0, 4),
        {"CANCELLED": 4},
    ),
    (
        "one that we cancelled and that has not ended yet",
        [[running("3", 900, 950)], [job("3", "CANCELLED", start_time=950)]],
        Events(),
        {},
    ),
]


@pytest.mark.parametrize(("why", "steps", "events", "finished"), LIVES, ids=[row[0] for row in LIVES])
def test_lives(why: str, steps: list[list[Job]], events: Events, finished: dict[str, int]) -> None:
    counter = JobCounter(BEGAN)
    for step in steps:
        jobs = {row["job_id"]: row for row in step}
        counter.follow_jobs(jobs, jobs)
    assert (counter.take_events(jobs), dict(counter.finished)) == (events, finished), why
    assert counter.events == Events()


def test_a_later_life_goes_on_where_the_last_sample_was() -> None:
    counter = JobCounter(1010.0, {"COMPLETED": 5, "FAILED": 1})
    jobs = {row["job_id"]: row for row in (OLD, ended("2", 900, 950, 1010), ended("3", 1001, 1012, 1015, "FAILED"))}
    counter.follow_jobs(jobs, jobs)
    assert dict(counter.finished) == {"COMPLETED": 5, "FAILED": 2}
    assert counter.events == Events(0, 1, 1, 11, 11), "what ended meanwhile; it was submitted and counted before"


def test_what_has_gone_is_forgotten() -> None:
    counter = JobCounter(BEGAN)
    jobs = {"3": waiting("3", 1001)}
    counter.follow_jobs(jobs, jobs)
    counter.take_events({})
    counter.follow_jobs(jobs, {"3": waiting("3", 2000)})
    assert counter.events.submitted == 1, "another job with its id"
