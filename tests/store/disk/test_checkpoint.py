"""Many runs: what is kept for the next start, how little is read then, and lists a window at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.disk import checkpoint
from store.disk.compression import Packer, Packing
from store.documents import Run, to_json
from store.indexes import jobs
from store.indexes.jobs import JobIndex, build_facts, restore_facts
from store.indexes.lists import BoundedCache, RunList
from store.indexes.timelines import Timeline
from store.store import Store
from store.views import srunx
from tests.app_client import Client
from tests.store.disk.archive_samples import NOW, a_run, cell, prepare_store
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is worth its while from ten files on, and has segments of twenty."""
    for name, number in (("SEGMENT_ROWS", 20), ("MIN_SEGMENT_ROWS", 10), ("SAVE_FROM_ROWS", 10)):
        monkeypatch.setattr(checkpoint, name, number)


class Started:
    """A store that was opened, with all that follows it; `parsed` names the files that were parsed for that."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.parsed: list[str] = []
        parse = self.store.runs.parse
        self.store.runs.parse = lambda data, name: self.parsed.append(name) or parse(data, name)
        self.job_index = JobIndex()
        self.store.runs.listeners.append(lambda _name, old, new: self.job_index.follow(old, new))
        self.list = RunList(self.store.runs, srunx.to_run_json)
        self.store.open(wait_s=10)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run(self.store.close())

    def read_all(self) -> tuple[Any, ...]:
        """Read all that callers can see of the runs."""
        names = self.store.runs.list_names()
        rows = asyncio.run(self.list.get_window(None, 2_000))[0].data
        entries = [(entry.job_id, entry.run_id, entry.state) for entry in self.job_index.list_newest()]
        documents = [self.store.runs.get_raw(name) for name in names]
        return names, rows, entries, self.job_index.compute_stats(None, None), documents, self.store.list_problems()


def many(root: Path, count: int = 50, **more: Any) -> Path:
    """A store with so many runs that are over, written a while ago."""
    prepare_store(root, *(a_run(f"r{n:03}", 10 + n, **more) for n in range(count)), retention="{}")
    for path in (root / "runs").iterdir():
        os.utime(path, (NOW, NOW))
    return root


def fresh(root: Path) -> tuple[Any, ...]:
    """What a server tells that has never seen the store."""
    shutil.rmtree(root / ".cache", ignore_errors=True)
    with Started(root) as started:
        return started.read_all()


def segments(root: Path) -> list[Path]:
    """The files of the checkpoint."""
    return sorted((root / ".cache/runs").glob("[0-9]*"))


# --- the checkpoint --------------------------------------------------------------------------------------------------


def test_no_document_is_parsed_at_a_start_with_a_fresh_checkpoint(tmp_path: Path) -> None:
    root = many(tmp_path / "data")
    with Started(root) as first:
        assert sorted(first.parsed) == first.store.runs.list_names()
        answers = first.read_all()
    assert len(segments(root)) == 3
    with Started(root) as second:
        assert second.parsed == []
        assert second.read_all() == answers


EDITS: list[tuple[str, Callable[[Path], Any], set[str]]] = [
    ("nothing", lambda path: None, set()),
    ("another size", lambda path: path.write_bytes(to_json(a_run("r007", 3, error="edited"))), {"r007"}),
    ("the same size, another time", lambda path: path.write_bytes(other_words(path)), {"r007"}),
    ("the same size, its time set back", lambda path: set_back(path), {"r007"}),
    ("another file in its place", lambda path: replace_file(path), {"r007"}),
    ("touched", lambda path: path.touch(), {"r007"}),
    ("deleted", lambda path: path.unlink(), set()),
    ("torn", lambda path: path.write_bytes(path.read_bytes()[:100]), {"r007"}),
    ("another document", lambda path: path.write_bytes(to_json(a_run("r008", 3))), {"r007"}),
    ("a new one beside it", lambda path: path.with_name("r999.json").write_bytes(to_json(a_run("r999", 1))), {"r999"}),
    ("a link", lambda path: (path.rename(path.with_name("hidden")), path.symlink_to("hidden")), set()),
]  # fmt: skip


def other_words(path: Path) -> bytes:
    """The file's bytes with a word changed."""
    return path.read_bytes().replace(b"echo", b"oche")


def set_back(path: Path) -> None:
    """Change the file without changing its size or the time that programs look at."""
    status = path.stat()
    data = other_words(path)
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_file(path: Path) -> None:
    """Put another file of the same size and time in its place."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(other_words(path))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(("why", "edit", "parsed"), EDITS)
def test_what_changed_while_the_server_was_down_is_read(
    why: str, edit: Callable[[Path], Any], parsed: set[str], tmp_path: Path
) -> None:
    root = many(tmp_path / "data")
    with Started(root):
        pass
    edit(root / "runs/r007.json")
    with Started(root) as again:
        assert set(again.parsed) <= parsed, why
        answers = again.read_all()
    plain, other = answers[:5], fresh(root)
    assert plain == other[:5], why
    assert [problem["reason"] for problem in answers[5]] == [problem["reason"] for problem in other[5]], why


@pytest.mark.parametrize(
    ("why", "damage", "good"),
    [
        ("empty", lambda data: b"", False),
        ("cut off", lambda data: data[:-1], False),
        ("cut off early", lambda data: data[:30], False),
        ("longer", lambda data: data + b"x", False),
        ("a bit flipped", lambda data: data[:-7] + bytes([data[-7] ^ 1]) + data[-6:], False),
        ("a bit of the table flipped", lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:], False),
        ("of another version", lambda data: data[:20] + bytes(8) + data[28:], False),
        ("somebody's notes", lambda data: b"remember the milk\n", False),
        ("as it was", lambda data: data, True),
    ],
)
def test_a_damaged_segment_is_passed_over_and_replaced(
    why: str, damage: Callable[[bytes], bytes], good: bool, tmp_path: Path
) -> None:
    root = many(tmp_path / "data")
    with Started(root) as first:
        answers = first.read_all()
    path = segments(root)[0]
    path.write_bytes(damage(path.read_bytes()))
    with Started(root) as again:
        assert bool(again.parsed) != good, why
        assert again.read_all() == answers, why
    with Started(root) as healed:
        assert healed.parsed == [] and healed.read_all() == answers, why


def test_a_checkpoint_from_another_place_counts_for_nothing(tmp_path: Path) -> None:
    """Copied with the store to another disk: inodes and times are others."""
    root = many(tmp_path / "data")
    with Started(root) as first:
        answers = first.read_all()
    shutil.copytree(root, tmp_path / "copy")
    with Started(tmp_path / "copy") as copy:
        assert len(copy.parsed) == 50 and copy.read_all() == answers


def test_a_checkpoint_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    root = many(tmp_path / "data")
    (root / ".cache").write_text("in the way")
    with Started(root) as started:
        assert len(started.store.runs) == 50


async def test_what_a_server_wrote_is_kept_too_and_what_is_open_is_not(tmp_path: Path) -> None:
    root = many(tmp_path / "data", 0)
    with_open = [a_run(f"n{n:03}", n) for n in range(30)] + [a_run("open", 1, "running")]
    started = Started(root)
    await asyncio.gather(*(started.store.runs.put(run.id, run) for run in with_open))
    await started.store.runs.delete("n003")
    await asyncio.to_thread(started.store.checkpoints["runs"].save)
    await started.store.close()
    again = Started(root)
    assert set(again.parsed) == {"open"}
    assert len(again.store.runs) == 30
    await again.store.close()


def test_segments_do_not_pile_up(tmp_path: Path) -> None:
    root = many(tmp_path / "data", 0)
    for turn in range(12):
        for n in range(12):
            path = root / f"runs/t{turn}-{n}.json"
            path.write_bytes(to_json(a_run(f"t{turn}-{n}", turn)))
            os.utime(path, (NOW, NOW))
        with Started(root) as started:
            assert len(started.store.runs) == 12 * (turn + 1)
        # All is in segments that are at least half full, and perhaps one that is not.
        assert len(segments(root)) <= len(started.store.runs) / 10 + 1
    shutil.rmtree(root / "runs")
    many(root, 15)
    for _ in range(2):
        with Started(root) as started:
            assert len(started.store.runs) == 15
    assert len(segments(root)) <= 2


@pytest.mark.parametrize(
    ("why", "python", "helped"),
    [("they do", None, True), ("they fail", "/bin/false", False), ("there are none", "/nonexistent", False)],
)
def test_other_processes_help_to_read_many_files(
    why: str, python: str | None, helped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = many(tmp_path / "data", 60)
    (root / "runs/r007.json").write_bytes(b"{}")
    (root / "runs/r008.json").write_bytes(to_json(a_run("r008", 1, "running")))
    answers = fresh(root)
    shutil.rmtree(root / ".cache")
    monkeypatch.setattr(checkpoint, "HELPERS_FROM_FILES", 50)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    if python:
        monkeypatch.setattr("sys.executable", python)
    with Started(root) as started:
        assert (set(started.parsed) == {"r007", "r008"}) == helped, why
        found = started.read_all()
    assert found[:5] == answers[:5] and [problem["reason"] for problem in found[5]] == [
        problem["reason"] for problem in answers[5]
    ], why
    with Started(root) as again:
        assert set(again.parsed) == {"r007", "r008"}, why


# --- what is kept of each run ----------------------------------------------------------------------------------------


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


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=12))
def test_packed_is_unpacked_again(documents: list[bytes]) -> None:
    packer = Packer()
    packed = [(way := packer.choose_packing(document), way.pack(document)) for document in documents]
    assert [way.unpack(data) for way, data in packed] == documents
    other = Packing(packer.packing.dictionary)
    assert other.unpack(packer.packing.pack(documents[0])) == documents[0], "after a restart"


def test_documents_of_one_folder_are_packed_small() -> None:
    packer = Packer()
    documents = [to_json(a_run(f"run-{n}", n)) for n in range(20)]
    sizes = [len(packer.choose_packing(document).pack(document)) for document in documents]
    assert sizes[-1] < sizes[0] / 3


times = st.integers(0, 5).map(float)


@given(st.lists(st.tuples(st.sampled_from(["add", "drop", "read"]), times, st.sampled_from("abcdefgh")), max_size=150))
def test_a_timeline_is_a_sorted_list(steps: list[tuple[str, float, str]]) -> None:
    line, model = Timeline("BO"), dict[str, float]()
    for what, time, key in steps:
        if what == "add" and key not in model:
            line.add(time, key, ord(key), key.upper())
            model[key] = time
        elif what == "drop":
            line.drop(time, key)
            if model.get(key) == time:
                del model[key]
        elif what == "read":
            check(line, model)
    check(line, model)


def check(line: Timeline, model: dict[str, float]) -> None:
    """Nothing; the timeline has just what the model has."""
    wanted = sorted((time, key) for key, time in model.items())
    assert [*zip(line.times, line.keys, strict=True)] == wanted
    assert [*line.get_column(0)] == [ord(key) for _, key in wanted]
    assert [*line.get_column(1)] == [key.upper() for _, key in wanted]
    for time in (-1.0, 0.0, 2.0, 2.5, 9.0):
        assert line.count_before(time) == sum(moment < time for moment, _ in wanted)
        assert line.count_until(time) == sum(moment <= time for moment, _ in wanted)


def test_many_additions_at_once_are_sorted_together() -> None:
    line = Timeline()
    for n in range(1000):
        line.add(float(n * 7 % 1000), str(n))
        if n == 500:
            assert list(line.times) == sorted(line.times)
    assert list(line.times) == [float(n) for n in range(1000)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60))
def test_what_is_bounded_stays_so(puts: list[tuple[int, int]]) -> None:
    cache = BoundedCache(100)
    for key, size in puts:
        cache.put(key, (key, size), size)
        assert cache.get(key) == (key, size)
        assert cache.size_bytes <= 100
        assert sum(cache.get(key)[1] for key in range(10) if cache.get(key)) == cache.size_bytes


def test_a_job_id_that_comes_again_means_the_later_job() -> None:
    """A cluster that was set up anew counts from 1 again."""
    old = a_run("old", 9)
    new = a_run("new", 1)
    new.jobs[0].attempts[0].submitted_at = "2026-04-01T00:00:00Z"
    for document in (old, new):
        document.jobs[0].attempts[0].job_id = "7"
    for first, second in ((old, new), (new, old)):
        job_index = JobIndex()
        job_index.follow_document(None, first)
        job_index.follow_document(None, second)
        found = job_index.get("", "7")
        assert found is not None and found.run_id == "new"
        assert [entry.run_id for entry in job_index.list_newest()] == ["new", "old"]
        job_index.follow_document(first, None)
        assert [entry.run_id for entry in job_index.list_newest()] == [second.id]


def test_the_ledger_holds_no_more_entries_than_asked_for_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "RECENT_DOCUMENTS", 5)
    job_index = JobIndex()
    for n in range(40):
        document = a_run(f"r{n}", 9)
        document.jobs[0].attempts[0].job_id = str(n)
        job_index.follow_document(None, document)
    assert len(job_index.list_newest()) == 40 and len(job_index._recent_entries) == 5


# --- the list, a window at a time ------------------------------------------------------------------------------------


def list_runs(started: Started, *asked: Any) -> tuple[list[str], int]:
    """The ids in a window, and how many there are."""
    body, total = asyncio.run(started.list.get_window(*asked))
    return [row["id"] for row in orjson.loads(body.data)], total


def test_a_window_is_a_part_of_the_list(tmp_path: Path) -> None:
    with Started(many(tmp_path / "data", 120)) as started:
        whole = [f"r{n:03}" for n in range(120)]
        for limit, offset in ((200, 0), (10, 0), (10, 115), (1, 119), (5, 120), (5, 10**9), (60, 30)):
            assert list_runs(started, None, limit, offset) == (whole[offset : offset + limit], 120)
        assert list_runs(started, "w", 3, 1) == (whole[1:4], 120)
        assert list_runs(started, "other", 3, 0) == ([], 0)


async def test_windows_follow_changes_and_are_the_same_object_until_then(tmp_path: Path) -> None:
    started = Started(many(tmp_path / "data", 30))
    rows, runs = started.list, started.store.runs
    first, _ = await rows.get_window(None, 5)
    assert (await rows.get_window(None, 5))[0] is first
    changed = a_run("r002", 12, error="new")
    await runs.put("r002", changed)
    again, total = await rows.get_window(None, 5)
    assert again is not first and total == 30
    assert orjson.loads(again.data)[2]["error"] == "new" == orjson.loads(rows.get_row("r002").data)["error"]
    await runs.delete("r000")
    await runs.put("zz", a_run("zz", 1))
    moved = a_run("r001", 99)
    moved.workflow_name = "other"
    await runs.put("r001", moved)
    body, total = await rows.get_window(None, 3)
    assert ([row["id"] for row in orjson.loads(body.data)], total) == (["zz", "r002", "r003"], 30)
    body, total = await rows.get_window("other", 3)
    assert ([row["id"] for row in orjson.loads(body.data)], total) == (["r001"], 1)
    await runs.delete("r001")
    assert (await rows.get_window("other", 3))[1] == 0
    await started.store.close()


async def test_a_change_while_rows_are_made_does_not_stay_in_the_answer(tmp_path: Path) -> None:
    started = Started(many(tmp_path / "data", 120))
    asking = asyncio.ensure_future(started.list.get_window(None, 120))
    await asyncio.sleep(0)  # it has begun
    entry = started.store.runs.get_entry
    await started.store.runs.put("r001", a_run("r001", 11, error="later"))
    await asking
    body, _ = await started.list.get_window(None, 120)
    assert orjson.loads(body.data)[1]["error"] == "later"
    assert entry("r001").document.error == "later"
    await started.store.close()


# --- over HTTP -------------------------------------------------------------------------------------------------------


def drop(client: Client, folder: str, *documents: Any) -> None:
    """Put documents down as files, as somebody else would, and wait until they are seen."""
    for document in documents:
        (client.store / folder / f"{document.id}.json").write_bytes(to_json(document))
    if folder == "runs":
        eventually(
            lambda: all(client.get(f"/api/workflows/runs/{document.id}").status_code == 200 for document in documents)
        )


def uuid_of(number: int) -> str:
    """An id as runs have them."""
    return f"00000000-0000-4000-8000-{number:012x}"


def test_the_list_of_runs_has_a_window_and_a_total(client: Client) -> None:
    drop(client, "runs", *(a_run(uuid_of(n), n + 1).model_copy(update={"workflow_name": "windowed"}) for n in range(5)))
    asked = lambda **params: client.get("/api/workflows/runs", params={"name": "windowed", **params})  # noqa: E731
    ids = lambda answer: [int(row["id"][-12:], 16) for row in answer.json()]  # noqa: E731
    assert ids(asked()) == [0, 1, 2, 3, 4]
    assert ids(asked(limit=2)) == [0, 1] and ids(asked(limit=2, offset=3)) == [3, 4] and ids(asked(offset=9)) == []
    assert {answer.headers["x-total-count"] for answer in (asked(), asked(limit=1), asked(offset=9))} == {"5"}
    for wrong in ({"limit": 0}, {"limit": 2001}, {"offset": -1}, {"limit": "x"}):
        assert asked(**wrong).status_code == 422
    answer = asked(limit=2)
    known = client.get(
        "/api/workflows/runs",
        params={"name": "windowed", "limit": 2},
        headers={"If-None-Match": answer.headers["etag"]},
    )
    assert known.status_code == 304 and known.headers["x-total-count"] == "5"


def test_deleting_a_runs_file_by_hand_takes_it_from_the_api(client: Client) -> None:
    run_id = uuid_of(77)
    drop(client, "runs", a_run(run_id, 1))
    (client.store / "runs" / f"{run_id}.json").unlink()
    eventually(lambda: client.get(f"/api/workflows/runs/{run_id}").status_code == 404)
    assert run_id not in [run["id"] for run in client.get("/api/workflows/runs").json()]
    assert run_id not in [row["run_id"] for row in client.get("/api/history").json()]
