"""Checkpoints of many runs: what is kept for the next start, and how little is read then."""

from __future__ import annotations

import asyncio
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import jsons
from store.disk.kept import checkpoint
from store.documents import Attempt, RunJob, to_json
from store.errors import StoreUnavailable
from store.indexes.jobs import JobIndex
from store.indexes.lists import RunList
from store.store import Store
from store.times import to_rfc3339
from store.views import srunx
from tests.store.disk.archive_samples import NOW, a_run, prepare_store
from tests.store.indexes.job_documents import list_newest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is worth its while from ten files on, has segments of twenty, and a process that looks at files."""
    sizes = {"SEGMENT_ROWS": 20, "MIN_SEGMENT_ROWS": 10, "SAVE_FROM_ROWS": 10, "LOOKER_FROM_SEGMENTS": 2}
    for name, number in sizes.items():
        monkeypatch.setattr(checkpoint, name, number)
    monkeypatch.setattr("os.cpu_count", lambda: 2)


class Started:
    """A store that was opened, with all that follows it; `parsed` names the files that were parsed for that."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.parsed: list[str] = []
        parse = self.store.runs.parse
        self.store.runs.parse = lambda data, name: self.parsed.append(name) or parse(data, name)
        self.job_index = JobIndex()
        self.store.runs.add_listener(lambda _name, old, new: self.job_index.follow(old, new), self.job_index.load)
        self.list = RunList(self.store.runs, srunx.to_run_json)
        self.store.open(wait_s=10)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run(self.store.close())

    def read_all(self) -> tuple[Any, ...]:
        """Read all that callers can see of the runs."""
        names = self.store.runs.list_names()
        rows = asyncio.run(self.list.get_window(2_000))[0].data
        entries = [(entry.job_id, entry.run_id, entry.state) for entry in list_newest(self.job_index)]
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


def damage(path: Path) -> None:
    """Make a segment something else, in the file that is open."""
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("why", "harm"),
    [
        ("cut off", lambda path: os.truncate(path, 100)),
        ("overwritten", damage),
        ("deleted", lambda path: path.unlink()),
    ],
)
def test_documents_survive_a_segment_that_is_harmed_meanwhile(
    why: str, harm: Callable[[Path], Any], tmp_path: Path
) -> None:
    root = many(tmp_path / "data", 20)
    answers = fresh(root)
    with Started(root) as started:
        for path in segments(root):
            harm(path)
        assert started.read_all() == answers, why


async def test_what_was_right_is_lost_only_with_segment_and_file(tmp_path: Path) -> None:
    root = many(tmp_path / "data", 20)
    await asyncio.to_thread(fresh, root)
    started = Started(root)
    before = started.store.runs.get_raw("r007")
    (root / "runs/r007.json").write_bytes(b"{")
    await started.store.runs.refresh(["r007.json"])
    assert started.store.runs.get_raw("r007") == before, "as long as the segment is whole"
    damage(segments(root)[0])
    with pytest.raises(StoreUnavailable, match=r"runs/r007.json is lost"):
        started.store.runs.get_raw("r007")
    right = to_json(a_run("r007", 3, error="edited"))
    (root / "runs/r007.json").write_bytes(right)
    await started.store.runs.refresh(["r007.json"])
    assert "r007.json is lost" in started.store.runs.describe_problems("r007"), "it is told"
    await started.store.close()
    again = Started(root)
    assert again.store.runs.get_raw("r007")[0] == right and not again.store.list_problems(), "a start mends it"
    await again.store.close()


async def test_what_was_saved_is_held_in_memory_no_more(tmp_path: Path) -> None:
    root = many(tmp_path / "data", 0)
    started = Started(root)
    folder = started.store.runs
    await asyncio.gather(*(folder.put(f"n{n:03}", a_run(f"n{n:03}", n)) for n in range(30)))
    before = {name: folder.get_raw(name) for name in folder.list_names()}
    assert {type(entry.kept.data) for entry in folder.iterate_entries()} == {bytes}
    await asyncio.to_thread(started.store.checkpoints["runs"].save)
    assert {type(entry.kept.data) for entry in folder.iterate_entries()} == {int}
    assert {name: folder.get_raw(name) for name in before} == before
    await started.store.close()


async def test_what_waits_for_a_segment_takes_no_more_memory_than_it_is_long(tmp_path: Path) -> None:
    started = Started(many(tmp_path / "data", 0))
    folder = started.store.runs
    tracemalloc.start()
    try:
        await asyncio.gather(*(folder.put(f"n{n:03}", a_run(f"n{n:03}", n)) for n in range(30)))
        made = [tracemalloc.Filter(True, module.__file__) for module in (checkpoint, jsons)]
        kept = tracemalloc.take_snapshot().filter_traces(made).statistics("filename")
    finally:
        tracemalloc.stop()
    assert len(started.store.checkpoints["runs"]) == 30
    assert 0 < sum(found.size for found in kept) / 30 < 1500, "orjson alone leaves some thousand bytes behind each"
    await started.store.close()


def test_a_job_id_that_came_again_is_that_of_the_newest_job(tmp_path: Path) -> None:
    """Of a cluster that was set up anew, and counts from 1 again: among rows of one segment and of several."""
    root = many(tmp_path / "data", 0)

    def find_submission(n: int) -> int:
        return NOW - 90 * (n % 7) - n

    for n in range(60):
        attempt = Attempt(
            number=1,
            tag=f"t{n}",
            job_id=str(n % 25),
            state="COMPLETED",
            submitted_at=to_rfc3339(find_submission(n)),
        )
        run = a_run(f"r{n:03}", n).model_copy(update={"jobs": [RunJob(name="a", attempts=[attempt])]})
        (root / f"runs/{run.id}.json").write_bytes(to_json(run))
        os.utime(root / f"runs/{run.id}.json", (NOW, NOW))

    def find_all(index: JobIndex) -> list[str]:
        return [index.get("", str(number)).run_id for number in range(25)]  # type: ignore[union-attr]

    newest = {}
    for n in sorted(range(60), key=find_submission):
        newest[n % 25] = f"r{n:03}"
    with Started(root) as first:
        assert find_all(first.job_index) == [newest[number] for number in range(25)]
    with Started(root) as again:
        assert again.parsed != first.parsed and len(again.store.runs.kept) == 60
        assert find_all(again.job_index) == [newest[number] for number in range(25)]
