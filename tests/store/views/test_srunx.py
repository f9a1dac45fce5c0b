"""The srunx family's shapes: documents and SLURM's rows in, documented answers out."""

from __future__ import annotations

from typing import Any

import pytest

from store.documents import Attempt, JobRecord, Run, RunJob
from store.indexes import jobs
from store.rules import states
from store.views import srunx

ROW: dict[str, Any] = {
    "job_id": "18431", "raw_id": 18431, "array_job_id": None, "name": "train-resnet", "user": "researcher",
    "state": "RUNNING", "reason": None,
    "partition": "gpu", "submit_time": 1_774_861_000, "start_time": 1_774_861_200, "end_time": None, "elapsed_s": 5400,
    "time_limit": "8:00:00", "node_count": 1, "cpu_count": 16, "memory_mb": 64000, "gpus": 8, "nodes": "node01",
    "exit_code": None,
}  # fmt: skip


def make_view(**more: Any) -> dict[str, Any]:
    """Make the view of the row above with these changes."""
    return srunx.to_job_json(ROW | more, None)


def test_a_running_job_is_shown_as_documented() -> None:
    documented = {
        "name": "train-resnet", "job_id": 18431, "status": "RUNNING", "depends_on": [], "command": [],
        "partition": "gpu", "nodes": 1, "gpus": 8, "elapsed_time": "1:30:00",
    }  # fmt: skip
    resources = {"nodes": 1, "gpus_per_node": 8, "partition": "gpu", "time_limit": "8:00:00"}
    view = make_view()
    assert {key: view[key] for key in documented} == documented
    assert {key: view["resources"][key] for key in resources} == resources
    assert view["submitted_at"] == "2026-03-30T08:56:40Z"


def test_a_job_leaves_out_what_it_does_not_have() -> None:
    view = make_view(reason=None, gpus=None)
    lacking = {
        *("display_id", "array_job_id", "array_task_id", "stage", "exit_code", "ended_at", "run_id", "workflow_name")
    }
    assert not lacking & view.keys(), "it runs, is no array and no run's"
    assert (view["reason"], view["gpus"]) == (None, None), "other fields always stand there"
    assert make_view(exit_code=0)["exit_code"] == 0
    assert "nodelist" not in make_view(nodes="", reason="Resources"), "the reason has a field of its own"


@pytest.mark.parametrize(
    ("why", "given", "key", "expected"),
    [
        ("an array task has its own number", {"job_id": "42_7", "raw_id": 51}, "job_id", 51),
        ("and SLURM's text", {"job_id": "42_7", "raw_id": 51}, "display_id", "42_7"),
        ("tasks that wait together", {"job_id": "42_[3-6%2]"}, "array_task_id", "3-6%2"),
        ("a heterogeneous component", {"job_id": "9+1", "raw_id": 10}, "job_id", 10),
        ("the whole array", {"job_id": "42", "raw_id": 42, "array_job_id": 42}, "array_job_id", 42),
        ("GPUs of a job are its total", {"gpus": 8, "node_count": 4}, "gpus", 8),
        ("the nodes by name", {"nodes": "node[01-02]"}, "nodelist", "node[01-02]"),
        ("days are shown", {"elapsed_s": 90_061}, "elapsed_time", "1-01:01:01"),
        ("not started", {"elapsed_s": None}, "elapsed_time", None),
        ("128 + signal as SLURM's words count it", {"exit_code": 137}, "exit_code", 137),
        ("the raw word travels beside the document's", {"state": "NODE_FAIL"}, "slurm_state", "NODE_FAIL"),
        ("the document's word", {"state": "NODE_FAIL"}, "status", "FAILED"),
    ],
)
def test_what_a_field_shows(why: str, given: dict[str, Any], key: str, expected: Any) -> None:
    assert make_view(**given)[key] == expected, why


@pytest.mark.parametrize(
    ("why", "gpus", "nodes", "per_node"),
    [("even", 8, 4, 2), ("uneven: the most one node has", 5, 2, 3), ("none", 0, 3, 0), ("no nodes yet", 2, 0, 2)],
)
def test_gpus_on_each_node(why: str, gpus: int, nodes: int, per_node: int) -> None:
    assert make_view(gpus=gpus, node_count=nodes)["resources"]["gpus_per_node"] == per_node, why


@pytest.mark.parametrize(
    ("state", "word"),
    [
        *((state, "PENDING") for state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")),
        *((state, "RUNNING") for state in ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT")),
        ("COMPLETED", "COMPLETED"),
        *((state, "FAILED") for state in ("FAILED", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "PREEMPTED")),
        *((state, "CANCELLED") for state in ("CANCELLED", "REVOKED")),
        *((state, "TIMEOUT") for state in ("TIMEOUT", "DEADLINE")),
        ("LOST", "UNKNOWN"),
        ("A_WORD_OF_A_LATER_SLURM", "UNKNOWN"),
        (None, "UNKNOWN"),
    ],
)
def test_the_documents_word_for_each_of_slurms(state: str | None, word: str) -> None:
    assert states.to_status(state) == word


def test_what_we_know_of_a_job_that_slurm_has_forgotten_has_the_keys_of_one_that_has_ended() -> None:
    record = JobRecord(
        id="x", name="n", job_id="7", cluster="c", state="FAILED", exit_code=3, submitted_at="2026-03-30T09:00:00Z",
        started_at="2026-03-30T09:00:10Z", ended_at="2026-03-30T09:01:40Z", node_count=2, gpus=4, user="me",
    )  # fmt: skip
    view = srunx.to_past_job_json(jobs.list_entries(record)[0], 0)
    assert view.keys() | {"nodelist"} == make_view(exit_code=3, end_time=1_774_861_300).keys()
    assert (view["job_id"], view["status"], view["exit_code"], view["elapsed_time"]) == (7, "FAILED", 3, "0:01:30")
    assert view["resources"]["gpus_per_node"] == 2


def test_a_job_of_a_run_says_so() -> None:
    job = RunJob(
        name="train",
        depends_on=["prep"],
        command=["python", "a b.py"],
        attempts=[Attempt(number=1, tag="t", job_id="18431")],
    )
    run = Run(id="r1", workflow_name="ml", cluster="c", jobs=[job])
    view = srunx.to_job_json(ROW, jobs.list_entries(run)[0])
    assert (view["run_id"], view["workflow_name"], view["depends_on"]) == ("r1", "ml", ["prep"])
    assert view["command"] == ["python 'a b.py'"]


def test_a_run_shows_each_attempt_and_lists_only_what_was_submitted() -> None:
    tries = [
        Attempt(number=1, tag="t1", job_id="1", state="FAILED", exit_code=1),
        Attempt(number=2, tag="t2", job_id="2", state="COMPLETED", exit_code=0),
    ]
    jobs = [
        RunJob(name="a", attempts=tries, result={"total": 1}),
        RunJob(name="b", depends_on=["afternotok:a"], skipped="DependencyNeverSatisfied"),
        RunJob(name="c", depends_on=["a"]),
        RunJob(name="d", depends_on=["a"], attempts=[Attempt(number=1, tag="t3")]),
    ]
    view = srunx.to_run_json(Run(id="r1", workflow_name="ml", status="running", jobs=jobs))
    assert view["job_ids"] == {"a": "2"}
    assert view["job_statuses"] == {"a": "COMPLETED", "b": "CANCELLED"}
    a, b, c, d = view["jobs"]
    assert (a["job_id"], a["exit_code"], a["result"], len(a["attempts"])) == ("2", 0, {"total": 1}, 2)
    assert [attempt["number"] for attempt in a["attempts"]] == [1, 2] and "tag" not in a["attempts"][0]
    assert (b["status"], b["reason"], b["attempts"]) == ("CANCELLED", "DependencyNeverSatisfied", [])
    assert (c["status"], c["attempts"]) == ("UNKNOWN", [])
    assert (d["status"], d["job_id"]) == ("UNKNOWN", None), "intended, but SLURM has not answered"


def test_the_answer_to_a_submission_is_the_documented_one() -> None:
    assert srunx.to_submission_json("training-run", "18500") == {
        "name": "training-run", "job_id": 18500, "status": "PENDING", "depends_on": [], "command": [], "resources": {},
    }  # fmt: skip
