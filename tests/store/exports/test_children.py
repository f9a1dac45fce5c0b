"""The children that make files: bounded, ended with whoever started them, and telling why they failed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.disk.files import Files
from store.exports.children import REPORT_WORKER, TABLE_WORKER, Bounds, NotMade, Work, make_file
from tests import ROOT
from tests.waiting import eventually

WIDE = Bounds(memory_mb=1500, cpu_s=60, wall_s=300, file_bytes=10**8)
WANTED = {
    "format": "csv",
    "title": "t",
    "columns": [["a", "text"]],
    "headers": False,
    "delimiter": ",",
    "scratch": "/tmp",
}


def make(root: Path, batches: Any, bounds: Bounds = WIDE, work: Work | None = None, **more: Any) -> bytes:
    files, path = Files(root), root / "exports" / "x" / "data"
    with files.fill(path) as fd:
        make_file(TABLE_WORKER, WANTED | {"scratch": str(path.parent)} | more, batches, fd, bounds, work or Work())
    return path.read_bytes()


def test_rows_become_a_file_that_is_there_whole(tmp_path: Path) -> None:
    work = Work()
    assert make(tmp_path, [[["a"], ["b"]], [], [["c"]]], work=work) == b"a\r\nb\r\nc\r\n"
    assert work.rows == 3 and [entry.name for entry in (tmp_path / "exports" / "x").iterdir()] == ["data"]


FAILURES = [
    ("larger than it may be", Bounds(1500, 60, 300, 1000), [[["x" * 100]] * 5] * 20, "larger than 1000 bytes"),
    ("no time", Bounds(1500, 60, 0.0, 10**6), [[["x"]]] * 10, "took more than 0 s"),
]


@pytest.mark.parametrize(("why", "bounds", "batches", "text"), FAILURES, ids=[row[0] for row in FAILURES])
def test_what_goes_wrong_is_told_and_leaves_nothing(
    tmp_path: Path, why: str, bounds: Bounds, batches: Any, text: str
) -> None:
    with pytest.raises(NotMade, match=text):
        make(tmp_path, batches, bounds)
    assert list((tmp_path / "exports" / "x").iterdir()) == []


def test_what_the_rows_raise_is_raised_and_the_child_ends(tmp_path: Path) -> None:
    work = Work()

    def fail() -> Iterator[Any]:
        yield [["a"]]
        raise LookupError("accounting is away")

    with pytest.raises(LookupError):
        make(tmp_path, fail(), work=work)
    assert work.process is not None and work.process.returncode is not None
    assert list((tmp_path / "exports" / "x").iterdir()) == []


def test_stopping_ends_the_child(tmp_path: Path) -> None:
    work, go_on = Work(), threading.Event()

    def wait() -> Iterator[Any]:
        yield [["a"]]
        threading.Thread(target=lambda: (work.stop(), go_on.set())).start()
        go_on.wait(60)
        yield [["b"]] * 100_000

    with pytest.raises(NotMade, match="stopped"):
        make(tmp_path, wait(), work=work)
    with pytest.raises(NotMade, match="stopped"):
        make(tmp_path, [], work=work)


PARENT = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from store.disk.files import Files
from store.exports.children import *
work = Work()
def rows():
    yield [["a"]]
    print(work.process.pid, flush=True)
    sys.stdin.read()
with Files(Path({store!r})).fill(Path({store!r}) / "exports" / "data") as fd:
    make_file(TABLE_WORKER, {wanted!r}, rows(), fd, Bounds(1500, 60, 300, 10**6), work)
"""


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = textwrap.dedent(PARENT).format(root=str(ROOT), store=str(tmp_path), wanted=WANTED)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = Path("/proc") / parent.stdout.readline().decode().strip()
        assert (child / "cmdline").exists()
        parent.kill()

    def has_ended() -> bool:
        try:
            return (child / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            return True

    eventually(has_ended, 30)


def test_a_report_that_wants_too_much_memory_is_told(tmp_path: Path) -> None:
    report = {"title": "t", "subtitle": "", "summary": [], "notes": [], "tables": [], "charts": [
        {"title": "c", "kind": "bar", "labels": ["a"], "unit": "", "series": [["s", [1]]]}]}  # fmt: skip
    wanted = {"format": "html", "cache": str(tmp_path), "report": report}
    files, path = Files(tmp_path), tmp_path / "reports" / "data"
    with pytest.raises(NotMade), files.fill(path) as fd:
        make_file(REPORT_WORKER, wanted, (), fd, Bounds(60, 60, 300, 10**6), Work())
    assert not path.exists()
