"""The records of single jobs: what may be submitted, and how a record follows its job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.documents import JobRecord
from store.errors import Invalid
from store.rules.jobs import records
from store.rules.jobs.views import JobView
from store.times import to_rfc3339
from tests.store.rules.run_samples import NOW, UNKNOWN, view_of

SUBMISSION = {"name": "train", "script_content": "#!/bin/sh\nhostname\n", "notify": False}


@pytest.mark.parametrize(
    ("why", "change", "keys"),
    [
        ("a script is enough", {}, []),
        ("a file on a mount is enough", {"script_content": None, "script_path": "a.sh", "mount_name": "ml"}, []),
        ("no script at all", {"script_content": None}, ["script_content"]),
        ("two scripts", {"script_path": "a.sh", "mount_name": "ml"}, ["script_content"]),
        ("a file on no mount", {"script_content": None, "script_path": "a.sh"}, ["mount_name"]),
        ("news for nobody", {"notify": True}, ["endpoint_id"]),
        ("everything that is wrong", {"script_content": None, "notify": True}, ["script_content", "endpoint_id"]),
    ],
)
def test_what_may_be_submitted(why: str, change: dict[str, Any], keys: list[str]) -> None:
    found: list[Any] = []
    try:
        records.check_submission(SUBMISSION | change)
    except Invalid as error:
        found = [problem["loc"][-1] for problem in error.problems]
    assert found == keys, why


def test_a_record_is_written_before_its_job_is_submitted() -> None:
    given = {"cluster": "moon", "script": "#!/bin/sh", "user": "me", "request_hash": "h"}
    record = records.build_record("r1", SUBMISSION | {"job_name": "mine"}, Path("/home/me"), given, NOW)
    assert (record.id, record.name, record.work_dir, record.intended_at) == ("r1", "mine", "/home/me", to_rfc3339(NOW))
    assert record.tag and record.job_id is None and record.cluster == "moon"
    assert records.find_record_due_time(record, NOW) == NOW, "whether SLURM has it is not known"
    assert records.find_record_due_time(record.model_copy(update={"job_id": "5"}), NOW) is None
    assert records.find_record_due_time(record.model_copy(update={"state": "LOST"}), NOW) is None


def make_record(**more: Any) -> JobRecord:
    """Make the record of a submitted job."""
    return JobRecord(**{"id": "x", "name": "n", "tag": "sluice:x", "job_id": "5", **more})


def follow(record: JobRecord, by_id: JobView, by_tag: JobView = UNKNOWN) -> JobRecord | None:
    """Return the record after one look."""
    return records.follow_record(record, lambda *_job: by_id, lambda *_job: by_tag, NOW)


def test_a_record_follows_its_job_and_keeps_the_way_it_went() -> None:
    record: JobRecord | None = make_record()
    for state in ("PENDING", "PENDING", "RUNNING", "COMPLETED", "COMPLETED"):
        assert record is not None
        record = follow(
            record, view_of("5", state, exit_code=0 if state == "COMPLETED" else None, gpus=4, node_count=2)
        )
    assert record is not None
    assert [change.state for change in record.history] == ["PENDING", "RUNNING", "COMPLETED"]
    assert (record.exit_code, record.gpus, record.node_count, record.partition) == (0, 4, 2, "main")
    assert follow(record, view_of("5", "RUNNING")) == record, "an end is not taken back"


def test_the_ended_tasks_of_an_array_are_remembered_with_their_files() -> None:
    ended = view_of("9", "FAILED", exit_code=2).job
    assert ended is not None
    ended |= {"raw_id": 9, "start_time": 5, "end_time": 9, "stdout": "/o/1", "stderr": None}
    record = follow(make_record(), view_of("5", "RUNNING", ended_parts={"5_1": ended}))
    assert record is not None
    known = record.parts["5_1"]
    assert (known.raw_id, known.state, known.exit_code, known.stdout) == (9, "FAILED", 2, "/o/1")
    again = follow(record, view_of("5", "RUNNING", ended_parts={"5_1": ended}))
    assert again is not None and again.parts["5_1"] is known, "made once"
    # The job was requeued, and accounting, which knows no files, says how it ended.
    again = follow(record, view_of("5", "RUNNING", ended_parts={"5_1": ended | {"end_time": 20, "stdout": None}}))
    assert again is not None and again.parts["5_1"].stdout == "/o/1" != again.parts["5_1"].ended_at


@pytest.mark.parametrize(
    ("why", "find", "job_id", "state"),
    [
        ("never submitted, nobody was told", JobView("absent"), None, "forgotten"),
        ("adopted", view_of("5", "PENDING"), "5", None),
        ("nobody can say yet", UNKNOWN, None, None),
        ("nobody can ever say", JobView("lost"), None, "LOST"),
    ],
)
def test_a_record_whose_answer_was_lost(why: str, find: JobView, job_id: str | None, state: str | None) -> None:
    record = follow(make_record(job_id=None), UNKNOWN, find)
    if state == "forgotten":
        assert record is None, why
    else:
        assert record is not None
        assert (record.job_id, record.state) == (job_id, state), why
