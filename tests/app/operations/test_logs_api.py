"""Logs of jobs by lines: windows, numbers, search, the original; while they grow, shrink, are replaced and removed."""

from __future__ import annotations

import concurrent.futures
import os
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

LONG = "x" * 8_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that jobs may write into."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def job_id(client: Client, folder: Path) -> str:
    """A job that has ended; tests write what they want into its files."""
    script = "#!/bin/bash\necho one; echo oops >&2\n"
    body = {"script": script, "standard_output": f"{folder}/out", "standard_error": f"{folder}/err"}
    made = client.post("/api/v1/jobs", json=body).json()["job_id"]
    eventually(lambda: client.get(f"/api/v1/jobs/{made}/output").json()["complete"])
    return str(made)


@pytest.fixture
def log(client: Client, folder: Path, job_id: str) -> Log:
    """The standard output of that job."""
    return Log(client, folder / "out", job_id)


class Log:
    """A log, written here and read over the API."""

    def __init__(self, client: Client, path: Path, job_id: str) -> None:
        self.client, self.path, self.url = client, path, f"/api/jobs/{job_id}/logs/stdout"

    def write(self, data: bytes) -> None:
        """Write it anew."""
        self.path.write_bytes(data)

    def get(self, **query: Any) -> dict[str, Any]:
        """Get a window."""
        answer = self.client.get(self.url, params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def texts(self, **query: Any) -> list[str]:
        """Get the texts of a window."""
        return [line["text"] for line in self.get(**query)["lines"]]

    def search(self, q: str, **query: Any) -> dict[str, Any]:
        """Search until all was searched."""
        for _ in range(100):
            found: dict[str, Any] = self.client.get(f"{self.url}/search", params={"q": q, **query}).json()
            if found["complete"]:
                return found
        raise AssertionError(found)


def number_lines(first: int, last: int) -> bytes:
    """Lines with their numbers."""
    return b"".join(b"line %d\n" % number for number in range(first, last + 1))


@pytest.mark.parametrize(
    ("why", "query", "first", "texts"),
    [
        ("the end", {"lines": 2}, 999, ["line 999", "line 1000"]),
        ("all of it", {"lines": 1000}, 1, [f"line {number}" for number in range(1, 1001)]),
        ("none", {"lines": 0}, 1001, []),
        ("from a line on", {"line": 10, "lines": 2}, 10, ["line 10", "line 11"]),
        ("the first", {"line": 1, "lines": 1}, 1, ["line 1"]),
        ("the last", {"line": 1000}, 1000, ["line 1000"]),
        ("behind the end", {"line": 1001}, 1001, []),
        ("far behind it", {"line": 5000}, 1001, []),
        ("from a byte on", {"offset": 7, "lines": 1}, 2, ["line 2"]),
        ("behind the last byte", {"offset": 99999, "lines": 1}, 1001, []),
        ("before a byte", {"before": 14, "lines": 1}, 2, ["line 2"]),
        ("before the first", {"before": 0, "lines": 1}, 1, []),
    ],
)
def test_a_window(log: Log, why: str, query: dict[str, int], first: int, texts: list[str]) -> None:
    log.write(number_lines(1, 1000))
    found = log.get(**query)
    assert [line["text"] for line in found["lines"]] == texts, why
    if why not in ("far behind it", "behind the last byte"):
        assert found["first_line"] == first, why
    assert (found["line_count"], found["ended"], found["exists"], found["merged"]) == (1000, True, True, False)


@pytest.mark.parametrize(
    ("why", "data", "count", "texts"),
    [
        ("an empty file", b"", 0, []),
        ("no end of the last line", b"a\nb", 2, ["a", "b"]),
        ("an empty line", b"a\n\n\nb\n", 4, ["a", "", "", "b"]),
        ("only line feeds", b"\n\n", 2, ["", ""]),
        ("not UTF-8", b"a\xffb\n", 1, ["a�b"]),
        ("NUL", b"a\0b\n", 1, ["a\0b"]),
        ("lines of Windows", b"a\r\nb\r\n", 2, ["a\r", "b\r"]),
        ("a progress bar", b"1 %\r2 %\r3 %\n", 1, ["1 %\r2 %\r3 %"]),
    ],
)
def test_what_a_file_may_hold(log: Log, why: str, data: bytes, count: int, texts: list[str]) -> None:
    log.write(data)
    found = log.get()
    assert (found["line_count"], [line["text"] for line in found["lines"]]) == (count, texts), why
    assert log.texts(line=1) == texts, why


def test_a_long_line_is_sent_without_its_middle(log: Log) -> None:
    log.write(b"first\n" + LONG.encode() + b"END\nlast")
    assert log.texts(line=1) == ["first"]  # what is behind it is a window of its own
    for query in ({}, {"lines": 2}, {"line": 2}, {"offset": 6}):
        lines = log.get(**query)["lines"]
        long, last = lines[-2:]
        assert (long["offset"], long["size_bytes"], last["text"]) == (6, 8_000_003, "last")
        assert len(long["text"]) == 8192 and long["end"].endswith("xEND") and len(long["end"]) == 8192
        assert long["left_out_bytes"] == 8_000_003 - 2 * 8192
    got = log.client.get(f"{log.url}/file", params={"offset": 6, "size_bytes": 9})
    assert got.content == b"xxxxxxxxx"
    assert log.search("xEND")["hit"]["line"] == 2 and log.search("last")["hit"]["line"] == 3


def test_a_line_that_is_longer_than_what_is_looked_at(log: Log) -> None:
    log.write(b"first\n" + LONG.encode() * 3 + b"END")
    (line,) = log.get(lines=5)["lines"]
    assert line["end"].endswith("xEND")
    ask_until_counted(log)  # where it begins is known by then
    found = log.get(lines=1)
    assert (found["first_line"], found["line_count"], found["next_offset"]) == (2, 2, 6)
    assert found["lines"][0]["offset"] == 6 and found["lines"][0]["text"] == "x" * 8192


def test_it_grows(log: Log) -> None:
    log.write(number_lines(1, 3) + b"unfin")
    first = log.get()
    assert (first["line_count"], first["next_offset"]) == (4, 21)
    with log.path.open("ab") as file:
        file.write(b"ished\nnext\n")
    more = log.get(offset=first["next_offset"])
    assert [line["text"] for line in more["lines"]] == ["unfinished", "next"]
    assert (more["first_line"], more["line_count"], more["next_offset"]) == (4, 5, 37)
    assert more["file_id"] == first["file_id"]
    assert log.get(offset=37)["lines"] == []


@pytest.mark.parametrize(
    ("why", "data"),
    [("shorter", b"new\n"), ("as long", number_lines(1, 3).replace(b"1", b"7")), ("longer", b"new\n" * 100)],
)
def test_a_file_that_is_written_anew_is_another_one(log: Log, why: str, data: bytes) -> None:
    log.write(number_lines(1, 3))
    before = log.get()["file_id"]
    log.write(data)
    after = log.get()
    assert after["file_id"] != before and after["line_count"] == data.count(b"\n"), why


def test_a_file_that_is_replaced_or_removed(log: Log) -> None:
    log.write(number_lines(1, 3))
    before = log.get()["file_id"]
    other = log.path.with_name("other")
    other.write_bytes(number_lines(1, 4))
    other.rename(log.path)
    assert log.get()["file_id"] != before and log.get()["line_count"] == 4
    log.path.unlink()
    gone = log.get()
    assert (gone["exists"], gone["lines"], gone["size_bytes"], gone["modified_at"]) == (False, [], 0, None)
    assert log.search("line")["count"] == 0
    assert log.client.get(f"{log.url}/file").status_code == 404


def test_many_lines_are_found_by_their_numbers(log: Log) -> None:
    log.write(number_lines(1, 1_000_000))
    for number in (1, 2, 123_456, 999_999, 1_000_000):
        found = log.get(line=number, lines=1)
        assert (found["first_line"], found["lines"][0]["text"]) == (number, f"line {number}")
    assert log.get(lines=1)["first_line"] == 1_000_000
    assert log.get(offset=7, lines=1)["first_line"] == 2


def test_many_readers_count_once(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    from store.rules.logs.counts import Counts

    counted: list[int] = []
    add = Counts.add

    def add_noticed(self: Counts, data: bytes, hits: int = 0) -> None:
        counted.append(len(data))
        add(self, data, hits)

    monkeypatch.setattr(Counts, "add", add_noticed)
    size = 200_000_000
    with log.path.open("wb") as file:
        for _ in range(size // 1_000_000):
            file.write(b"%099d\n" % 7 * 10_000)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        for found in pool.map(lambda _: ask_until_counted(log), range(20)):
            assert found["line_count"] == size // 100
    assert sum(counted) == size


def ask_until_counted(log: Log) -> dict[str, Any]:
    """Ask until all lines are counted."""
    for _ in range(1000):
        found = log.get(lines=1, count=True)
        if found["line_count"] is not None:
            return found
    raise AssertionError("they are never counted")


def test_a_sparse_file_has_an_end(log: Log) -> None:
    with log.path.open("wb") as file:
        file.write(number_lines(1, 10))
        file.truncate(2_000_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + number_lines(11, 1000))
    found = log.get(lines=500)
    assert found["lines"][-1]["text"] == "line 1000" and len(found["lines"]) == 500
    assert log.texts(line=3, lines=2) == ["line 3", "line 4"]
    log.write(b"")


@pytest.mark.parametrize(
    ("why", "q", "query", "count", "line"),
    [
        ("words", "error", {}, 3, 2),
        ("capitals matter", "error", {"case": True}, 2, 2),
        ("none", "nothing", {}, 0, None),
        ("no expression", "e.ror", {}, 0, None),
        ("an expression", "e.ror", {"regex": True}, 3, 2),
        ("the whole line", "^Error$", {"regex": True, "case": True}, 1, 5),
        ("the next", "error", {"offset": 15}, 3, 4),
        ("the one before", "error", {"offset": 37, "direction": "backward"}, 3, 4),
        ("none before", "error", {"offset": 3, "direction": "backward"}, 3, None),
        ("the last", "error", {"direction": "backward"}, 3, 5),
        ("what stands between colours", "red text", {}, 1, 6),
        ("colours themselves", "[31m", {}, 0, None),
        ("a line without an end", "the end", {}, 1, 7),
        ("two lines", "text\nthe", {}, 0, None),
        ("takes for ever elsewhere", "(x+x+)+y", {"regex": True}, 0, None),
    ],
)
def test_search(log: Log, why: str, q: str, query: dict[str, Any], count: int, line: int | None) -> None:
    log.write(b"start\nan error here\nfine\nerror error\nError\n\x1b[31mred\x1b[0m text" + b"x" * 100 + b"\nthe end")
    found = log.search(q, **query)
    assert (found["count"], found["hit"] and found["hit"]["line"]) == (count, line), why


def test_search_steps_through_all(log: Log) -> None:
    data = b"".join(b"line %d%s\n" % (number, b" hit" * (number % 1000 == 0)) for number in range(1, 300_001))
    log.write(data)
    at, seen = 0, []
    while (hit := log.search("hit", offset=at)["hit"]) is not None:
        seen.append(hit["line"])
        assert hit["number"] == len(seen) and data[hit["offset"] :].startswith(hit["text"].encode())
        at = hit["offset"] + 1
    assert seen == list(range(1000, 300_001, 1000))
    while (hit := log.search("hit", offset=at, direction="backward")["hit"]) is not None:
        assert hit["line"] == seen.pop()
        at = hit["offset"]
    assert seen == []


def test_search_follows_what_is_written(log: Log) -> None:
    log.write(b"hit\n")
    assert log.search("hit")["count"] == 1
    with log.path.open("ab") as file:
        file.write(b"hit\nhit\n")
    assert log.search("hit")["count"] == 3
    log.write(b"other\n")
    assert log.search("hit")["count"] == 0


def test_the_original(log: Log) -> None:
    data = b"\x1b[31m" + b"\0\xff" * 1_500_000
    log.write(data)
    got = log.client.get(f"{log.url}/file")
    assert got.content == data and got.headers["content-disposition"] == "attachment; filename*=utf-8''out"
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("why", "path", "status"),
    [
        ("no such job", "/api/jobs/999999/logs/stdout", 404),
        ("no such job to search", "/api/jobs/999999/logs/stdout/search?q=a", 404),
        ("no such job to download", "/api/jobs/999999/logs/stdout/file", 404),
        ("no such stream", "/api/jobs/{}/logs/stdlog", 422),
        ("no words", "/api/jobs/{}/logs/stdout/search", 422),
        ("empty words", "/api/jobs/{}/logs/stdout/search?q=", 422),
        ("a wrong expression", "/api/jobs/{}/logs/stdout/search?q=(&regex=true", 422),
        ("an expression too large", "/api/jobs/{}/logs/stdout/search?q=(a{1000}){1000}&regex=true", 422),
        ("too many lines", "/api/jobs/{}/logs/stdout?lines=5001", 422),
        ("line 0", "/api/jobs/{}/logs/stdout?line=0", 422),
    ],
)
def test_refusals(client: Client, job_id: str, why: str, path: str, status: int) -> None:
    assert client.get(path.replace("{}", job_id, 1)).status_code == status, why


def test_a_job_that_waits_has_no_log(client: Client) -> None:
    made = client.post("/api/v1/jobs", json={"script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}).json()["job_id"]
    found = client.get(f"/api/jobs/{made}/logs/stdout").json()
    assert (found["exists"], found["path"], found["ended"]) == (False, None, False)
    client.delete(f"/api/v1/jobs/{made}")


def test_a_file_of_others_is_refused(client: Client, folder: Path) -> None:
    real = Path(mkdtemp(dir=folder)) / "real"  # no job writes through the link of an earlier run
    body = {"script": "#!/bin/bash\ntrue\n", "standard_output": str(real)}
    made = client.post("/api/v1/jobs", json=body).json()["job_id"]
    eventually(lambda: client.get(f"/api/v1/jobs/{made}/output").json()["complete"])
    real.unlink()
    real.symlink_to("/etc/passwd")
    for path in ("", "/search?q=root", "/file"):
        assert client.get(f"/api/jobs/{made}/logs/stdout{path}").status_code == 403, path
