"""The kinds of documents: each row is a folder of the store, and what is followed of an open document."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.documents import Attempt, JobRecord, Run, RunJob, from_json, to_json
from store.kinds import KINDS, Key, OpenDocument, find_open_record, find_open_run, find_open_simulation
from store.rules import runs
from store.store import Store
from tests.store.rules.simulations.samples import AT, ID, make_simulation


def test_every_kind_is_a_folder_of_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for kind in KINDS:
        folder = store.by_kind[kind.name]
        assert getattr(store, kind.folder) is folder and folder.kind == kind.label
    assert set(store.checkpoints) == {kind.folder for kind in KINDS if kind.facts}
    assert (str(Key("sweep", "5")), str(Key("inbox", ""))) == ("sweep 5", "inbox")


def test_what_is_followed_of_open_documents(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.open()
    try:
        jobs = [RunJob(name="a", attempts=[Attempt(number=1, tag="t", job_id="7", state="PENDING")]), RunJob(name="b")]
        run = Run(id="r", workflow_name="w", cluster="here", status="running", jobs=jobs)
        store.runs.path.joinpath("r.json").write_bytes(to_json(run))
        store.jobs.path.joinpath("j.json").write_bytes(
            to_json(JobRecord(id="j", name="j", cluster="here", job_id="8", state="PENDING", tag="t"))
        )
        store.runs.load()
        store.jobs.load()
        assert find_open_run(store.runs.get_entry("r")) == OpenDocument("here", ["7"])
        assert find_open_record(store.jobs.get_entry("j")) == OpenDocument("here", ["8"])
    finally:
        store.lock.release()  # type: ignore[union-attr]
        store.files.close()


@pytest.mark.parametrize(
    ("why", "state", "settled_at", "open_document"),
    [
        ("it runs", "RUNNING", None, OpenDocument(None)),
        ("it was cancelled, its jobs are not yet", "CANCELED", None, OpenDocument(None)),
        ("nothing is left to do", "COMPLETED", AT, None),
    ],
)
def test_which_simulations_are_followed(
    tmp_path: Path, why: str, state: str, settled_at: str | None, open_document: OpenDocument | None
) -> None:
    store = Store(tmp_path / "store")
    store.open()
    try:
        simulation = make_simulation(state=state, settled_at=settled_at)
        store.simulations.path.joinpath(f"{ID}.json").write_bytes(to_json(simulation))
        store.simulations.load()
        entry = store.simulations.get_entry(ID)
        assert find_open_simulation(entry) == open_document, why
        assert entry.document == simulation and not store.list_problems()
    finally:
        store.lock.release()  # type: ignore[union-attr]
        store.files.close()


@pytest.mark.parametrize(
    ("why", "status", "error", "kind", "reason"),
    [
        ("SLURM refused it", "failed", "Submission failed: too large", "refused", "too large"),
        ("not copied", "failed", "Mount sync failed: away", "unsynced", "away"),
        ("its jobs failed", "failed", "Jobs failed: a", None, "Jobs failed: a"),
        ("no error", "completed", None, None, ""),
    ],
)
def test_files_of_the_version_before_say_the_kind_of_their_error(
    why: str, status: str, error: str | None, kind: str | None, reason: str
) -> None:
    text = to_json({"id": "r", "workflow_name": "w", "status": status, "error": error})
    run = from_json(Run, text, "r")
    assert (run.error_kind, runs.get_reason(run)) == (kind, reason), why
    assert from_json(Run, to_json(run), "r") == run
