"""Many rows as one job."""

from __future__ import annotations

from typing import Any

import pytest

from slurm_shim.job_groups import build_waiting_job, combine_rows, is_part_of, list_row_tasks
from slurm_shim.parse import Job


def job(job_id: str, state: str = "RUNNING", **more: Any) -> Job:
    return build_waiting_job(job_id, state=state) | more


@pytest.mark.parametrize(
    ("why", "states", "expected"),
    [
        ("one runs", ["PENDING", "RUNNING", "COMPLETED"], "RUNNING"),
        ("one is ending", ["COMPLETED", "COMPLETING"], "COMPLETING"),
        ("one waits", ["FAILED", "PENDING"], "PENDING"),
        ("all went well", ["COMPLETED", "COMPLETED"], "COMPLETED"),
        ("the worst end counts", ["COMPLETED", "CANCELLED", "FAILED", "TIMEOUT"], "FAILED"),
        ("a node's failure is worse", ["FAILED", "NODE_FAIL"], "NODE_FAIL"),
        ("a state of a later SLURM is not over", ["COMPLETED", "FROBBING"], "FROBBING"),
    ],
)
def test_the_state_of_many(why: str, states: list[str], expected: str) -> None:
    rows = [
        job(f"8_{task}", state, array_job_id=8, array_task_id=str(task), exit_code=task if state == "FAILED" else 0)
        for task, state in enumerate(states)
    ]
    whole = combine_rows("8", rows)
    assert (whole["state"], whole["job_id"], whole["array_task_id"]) == (expected, "8", None), why
    assert sum(whole["tasks"].values()) == len(states)
    if expected == "FAILED":
        assert whole["exit_code"] == states.index("FAILED")


def test_times_span_all_parts() -> None:
    rows = [
        job("8_1", "COMPLETED", array_job_id=8, array_task_id="1", start_time=10, end_time=20, elapsed_s=10),
        job("8_2", "FAILED", array_job_id=8, array_task_id="2", start_time=12, end_time=15, elapsed_s=3, exit_code=2),
    ]
    whole = combine_rows("8", rows)
    assert (whole["start_time"], whole["end_time"], whole["elapsed_s"], whole["exit_code"]) == (10, 20, 10, 2)
    rows.append(job("8_3", "RUNNING", array_job_id=8, array_task_id="3", start_time=11))
    whole = combine_rows("8", rows)
    assert (whole["end_time"], whole["exit_code"], whole["state"]) == (None, None, "RUNNING")


def test_a_plain_job_stays_itself() -> None:
    plain = job("7", "FAILED")
    assert combine_rows("7", [plain]) is plain


@pytest.mark.parametrize(
    ("why", "row", "job_id", "expected"),
    [
        ("itself", job("7"), "7", True),
        ("another", job("7"), "77", False),
        ("a task of the array", job("8_1", array_job_id=8, array_task_id="1"), "8", True),
        ("a task by its own id", job("8_1", array_job_id=8, array_task_id="1"), "8_1", True),
        ("another task", job("8_1", array_job_id=8, array_task_id="1"), "8_2", False),
        ("a task that waits with others", job("8_[3-6%2]", array_job_id=8, array_task_id="3-6%2"), "8_5", True),
        ("a task that is not among them", job("8_[3-6%2]", array_job_id=8, array_task_id="3-6%2"), "8_7", False),
        ("a component", job("9+1", het_job_id=9, het_job_offset=1), "9", True),
        ("another component", job("9+1", het_job_id=9, het_job_offset=1), "9+0", False),
    ],
)
def test_what_belongs_to_an_id(why: str, row: Job, job_id: str, expected: bool) -> None:
    assert is_part_of(row, job_id) is expected, why


def test_the_tasks_of_a_row() -> None:
    assert list_row_tasks(job("8_[3-6%2]", array_task_id="3-6%2")) == (3, 4, 5, 6)
    assert list_row_tasks(job("8_3", array_task_id="3")) == (3,)
    assert list_row_tasks(job("8")) == ()


def test_a_job_that_was_just_accepted_has_every_key() -> None:
    made = build_waiting_job("8", name="x", comment="sluice:ab")
    assert (made["raw_id"], made["state"], made["name"], made["comment"]) == (8, "PENDING", "x", "sluice:ab")
