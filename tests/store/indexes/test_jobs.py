"""The index of what went through us: its order, its counts, and the history that callers see."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.documents import Attempt, JobRecord, Part, Run, RunJob
from store.indexes import jobs
from store.indexes.bodies import ITEM_BYTES
from store.indexes.jobs import JobIndex, build_facts, list_entries, restore_facts
from store.times import to_rfc3339
from tests.app_client import Client
from tests.store.disk.archive_samples import a_run, cell
from tests.store.indexes.job_documents import follow_document, list_newest
from tests.waiting import eventually

DAY_S = 86_400
START = 1_774_828_800  # 2026-03-30T00:00:00Z


def record(job_id: str, at: int = START, state: str | None = "COMPLETED", ran_s: int | None = 60) -> JobRecord:
    """A single job, submitted at this time."""
    ended_at = None if ran_s is None else to_rfc3339(at + 5 + ran_s)
    return JobRecord(
        id=f"r{job_id}", name=f"n{job_id}", cluster="c", job_id=job_id, state=state, submitted_at=to_rfc3339(at),
        started_at=None if ran_s is None else to_rfc3339(at + 5), ended_at=ended_at,
    )  # fmt: skip


def build_index(*documents: Run | JobRecord) -> JobIndex:
    """Build an index that has seen these."""
    made = JobIndex()
    for document in documents:
        follow_document(made, None, document)
    return made


def ids(found: list[Any]) -> list[str]:
    """The job ids of entries."""
    return [entry.job_id for entry in found]


def test_an_ended_task_is_found_by_its_id_and_by_its_own_number() -> None:
    parts = {"5_1": Part(raw_id=9, state="FAILED", stdout="/o/1"), "5_2": Part(raw_id=5, state="COMPLETED")}
    attempt = Attempt(number=1, tag="t", job_id="5", state="FAILED", submitted_at=to_rfc3339(START), parts=parts)
    run = Run(id="r", workflow_name="w", cluster="c", jobs=[RunJob(name="a", attempts=[attempt])])
    for document in (run, record("5").model_copy(update={"parts": parts})):
        index = build_index(document)
        for job_id in ("5_1", "9"):
            found = index.get_part("c", job_id)
            assert found is not None
            assert (found.job_id, found.raw_id, found.state, found.stdout) == ("5_1", 9, "FAILED", "/o/1")
        assert [index.get_part(cluster, job_id) for cluster, job_id in (("c", "5_3"), ("c", "7"), ("d", "9"))] == [
            None
        ] * 3
        restored = restore_facts(orjson.loads(orjson.dumps(build_facts(document), default=tuple)))
        assert restored == build_facts(document)
        follow_document(index, document, None)
        assert index.get_part("c", "9") is None


def test_every_attempt_of_a_run_is_an_entry_and_unsubmitted_ones_are_none() -> None:
    attempts = [
        Attempt(number=1, tag="t", job_id="1", state="FAILED", submitted_at=to_rfc3339(START)),
        Attempt(number=2, tag="u", job_id="2", submitted_at=to_rfc3339(START + 9)),
        Attempt(number=3, tag="v", intended_at=to_rfc3339(START + 20)),
    ]
    job = RunJob(
        name="a",
        command=["seq", "1 0"],
        attempts=attempts,
        resources={"nodes": 2, "gpus_per_node": 4, "partition": "gpu"},
    )
    made = list_entries(Run(id="r", workflow_name="w", cluster="c", jobs=[job, RunJob(name="b")]))
    assert ids(made) == ["1", "2"]
    assert (made[0].command, made[0].gpus, made[0].nodes, made[0].partition) == ("seq '1 0'", 8, 2, "gpu")
    assert (made[0].run_id, made[0].workflow_name) == ("r", "w")


def test_newest_first_and_bounded() -> None:
    made = build_index(record("1", START), record("3", START + 9), record("2", START + 5))
    assert ids(list_newest(made)) == ["3", "2", "1"]
    assert ids(list_newest(made, 2)) == ["3", "2"]
    assert list_newest(made, 0) == []
    assert ids(list_newest(made, 10_000)) == ["3", "2", "1"]


def test_the_same_id_on_another_cluster_is_another_job() -> None:
    other = record("1").model_copy(update={"cluster": "d", "name": "other"})
    made = build_index(record("1"), other)
    first, second = made.get("c", "1"), made.get("d", "1")
    assert first and second and (first.name, second.name) == ("n1", "other")
    assert made.get("c", "9") is None
    assert ids(made.list_ended_since("", "d")) == ["1"]


def test_of_ended_jobs_the_last_are_listed() -> None:
    made = build_index(*(record(str(number), START + number) for number in range(1, 5)))
    assert ids(made.list_ended_since("", "c", 3)) == ["4", "3", "2"]
    assert ids(made.list_ended_since("", "c", 9)) == ["4", "3", "2", "1"]


def test_a_document_that_goes_takes_its_entries_along() -> None:
    made = build_index(record("1"), record("2"))
    version = made.version
    follow_document(made, record("1"), None)
    assert ids(list_newest(made)) == ["2"] and made.version > version
    version = made.version
    follow_document(made, record("2"), record("2"))
    assert made.version == version, "nothing new"


@pytest.mark.parametrize(
    ("why", "since", "until", "total"),
    [
        ("all", None, None, 4),
        ("from a date on, its first moment included", "2026-03-30", None, 3),
        ("to a date, its last moment included", None, "2026-03-30", 3),
        ("one day", "2026-03-30", "2026-03-30", 2),
        ("a time", "2026-03-30T00:00:01Z", None, 2),
        ("a time is exact", None, "2026-03-30T00:00:00Z", 2),
        ("another zone", "2026-03-30T02:00:01+02:00", None, 2),
        ("nothing there", "2030-01-01", None, 0),
        ("backwards", "2026-03-31", "2026-03-30", 0),
    ],
)
def test_stats_between_times(why: str, since: str | None, until: str | None, total: int) -> None:
    made = build_index(
        record("1", START - 1), record("2", START), record("3", START + DAY_S - 1), record("4", START + DAY_S)
    )
    assert made.compute_stats(since, until)["total"] == total, why


def test_stats_count_each_end() -> None:
    ends = [
        "COMPLETED",
        "COMPLETED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "CANCELLED",
        "LOST",
        "RUNNING",
        None,
    ]
    made = build_index(*(record(str(i), START + i, end, ran_s=None) for i, end in enumerate(ends)))
    assert made.compute_stats(None, None) == {
        "total": 10, "completed": 2, "failed": 4, "cancelled": 1, "avg_runtime_seconds": None,
    }  # fmt: skip
    made = build_index(record("1", ran_s=10), record("2", ran_s=20), record("3", ran_s=None))
    assert made.compute_stats(None, None)["avg_runtime_seconds"] == 15


@given(st.lists(st.tuples(st.integers(1, 5), st.one_of(st.none(), st.integers(0, 9))), max_size=40))
def test_the_index_is_what_the_documents_say_now(changes: list[tuple[int, int | None]]) -> None:
    made, model = JobIndex(), dict[str, JobRecord]()
    for number, at in changes:
        old = model.pop(str(number), None)
        new = None if at is None else record(str(number), START + at)
        if new is not None:
            model[str(number)] = new
        follow_document(made, old, new)
        wanted = sorted(model.values(), key=lambda entry: (entry.submitted_at, entry.job_id), reverse=True)
        assert ids(list_newest(made)) == [entry.job_id for entry in wanted]
        assert made.compute_stats(None, None)["total"] == len(model)


@pytest.mark.parametrize(
    "document",
    [
        a_run("x"), a_run("x", status="running"), a_run(cell(1), sweep=3),
        Run(id="x", workflow_name="w"), Run(id="x", workflow_name="w", started_at="noon", completed_at="", jobs=[]),
    ],
)  # fmt: skip
def test_facts_survive_being_written_down(document: Run) -> None:
    before = build_facts(document)
    assert restore_facts(orjson.loads(orjson.dumps(before, default=tuple))) == before


def test_a_job_id_that_comes_again_means_the_later_job() -> None:
    """A cluster that was set up anew counts from 1 again."""
    old = a_run("old", 9)
    new = a_run("new", 1)
    new.jobs[0].attempts[0].submitted_at = "2026-04-01T00:00:00Z"
    for document in (old, new):
        document.jobs[0].attempts[0].job_id = "7"
    for first, second in ((old, new), (new, old)):
        job_index = JobIndex()
        follow_document(job_index, None, first)
        follow_document(job_index, None, second)
        found = job_index.get("", "7")
        assert found is not None and found.run_id == "new"
        assert [entry.run_id for entry in list_newest(job_index)] == ["new", "old"]
        follow_document(job_index, first, None)
        assert [entry.run_id for entry in list_newest(job_index)] == [second.id]


def test_the_index_keeps_only_the_entries_asked_for_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "RECENT_BYTES", 5 * (jobs.ENTRY_BYTES + ITEM_BYTES))
    job_index = JobIndex()
    for n in range(40):
        document = a_run(f"r{n}", 9)
        document.jobs[0].attempts[0].job_id = str(n)
        follow_document(job_index, None, document)
    assert len(list_newest(job_index)) == 40 and job_index._recent_entries.size_bytes == jobs.RECENT_BYTES


# --- over HTTP -------------------------------------------------------------------------------------------------------


def test_the_history_of_a_job(client: Client) -> None:
    job_id = client.submit("#!/bin/bash\nexit 4\n", name="remembered")
    client.job(job_id)
    row = eventually(lambda: (found := client.get("/api/history").json()[0])["status"] == "FAILED" and found)
    assert (row["job_id"], row["job_name"], row["slurm_state"]) == (job_id, "remembered", "FAILED")
    # SLURM's times are whole seconds.
    assert row["submitted_at"][:19] <= row["completed_at"][:19] and row["runtime_seconds"] >= 0
    assert (row["nodes"], row["gpus"], row["workflow_name"]) == (1, 0, None)


def test_the_history_is_bounded(client: Client) -> None:
    made = [client.submit("#!/bin/bash\n") for _ in range(3)]
    for job_id in made:
        client.job(job_id)
    ids_of = lambda limit: [row["job_id"] for row in client.get("/api/history", params={"limit": limit}).json()]  # noqa: E731
    assert set(ids_of(-1)) >= set(made)
    assert len(ids_of(2)) == 2 and ids_of(0) == []
    for bad in ("-2", "10001", "x", "1e3"):
        assert client.get("/api/history", params={"limit": bad}).status_code == 422


def test_stats_over_http(client: Client) -> None:
    before = client.get("/api/history/stats").json()
    client.job(client.submit("#!/bin/bash\n"))
    client.job(client.submit("#!/bin/bash\nexit 1\n"))
    after = eventually(
        lambda: (now := client.get("/api/history/stats").json())["failed"] == before["failed"] + 1 and now
    )
    after = eventually(
        lambda: (now := client.get("/api/history/stats").json())["completed"] > before["completed"] and now
    )
    assert after["total"] == before["total"] + 2
    assert client.get("/api/history/stats", params={"from": "2999-01-01"}).json()["total"] == 0
    assert client.get("/api/history/stats", params={"to": "1999-01-01"}).json()["total"] == 0
    assert client.get("/api/history/stats", params={"from": "2000-01-01", "to": "2999-01-01"}).json() == after


@pytest.mark.parametrize(
    "bad", ["yesterday", "2026-13-01", "2026-02-30", "1774828800", "2026-01-01T25:00:00", "2025-02-29"]
)
def test_dates_that_are_none(client: Client, bad: str) -> None:
    answer = client.get("/api/history/stats", params={"from": bad})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["query", "from"]
