"""Logs by byte offsets: growing files, characters cut in the middle, and files that are none of our business."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import logs
from store.errors import Denied, Invalid
from store.rules import results
from tests.pretended import asynchronous


def since(
    stdout: Path | str | None, stderr: Path | str | None = None, at: int | None = 0, err_at: int | None = 0
) -> dict[str, Any]:
    """What the files hold from these offsets on, for a server that has read nothing before."""
    paths = [None if path is None else str(path) for path in (stdout, stderr)]
    return asyncio.run(
        logs.read_job_logs(*paths, stdout_at=at, stderr_at=err_at, owner=os.getuid(), tails=logs.Tails())
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with ten bytes."""
    path = tmp_path / "job.log"
    path.write_bytes(b"0123456789")
    return path


@pytest.mark.parametrize(
    ("why", "at", "text", "restarted"),
    [
        ("from the start", 0, "0123456789", False),
        ("from the middle", 4, "456789", False),
        ("nothing new", 10, "", False),
        ("beyond the end: the file was truncated", 99, "0123456789", True),
        ("negative counts as the start", -5, "0123456789", False),
    ],
)
def test_offsets(log: Path, why: str, at: int, text: str, restarted: bool) -> None:
    assert since(log, at=at) == {
        "stdout": text,
        "stderr": "",
        "stdout_offset": 10,
        "stderr_offset": 0,
        "stdout_restarted": restarted,
        "stderr_restarted": False,
        "truncated": False,
    }, why


@pytest.mark.parametrize(
    ("why", "text", "read", "restarted"),
    [
        ("it goes on", "first\nsecond\n", "second\n", False),
        ("nothing new", "first\n", "", False),
        ("shorter", "1\n", "1\n", True),
        ("as long as before", "other\n", "other\n", True),
        ("longer again by now", "other\nsecond\n", "other\nsecond\n", True),
        ("empty: what comes is all new", "", "", True),
        ("gone: what comes is all new", None, "", True),
    ],
)
def test_a_log_that_was_written_anew_is_read_from_its_beginning(
    log: Path, why: str, text: str | None, read: str, restarted: bool
) -> None:
    tails = logs.Tails()

    def read_from(at: int) -> dict[str, Any]:
        paths = (str(log.with_name("none")), str(log))
        return asyncio.run(logs.read_job_logs(*paths, stdout_at=0, stderr_at=at, owner=os.getuid(), tails=tails))

    log.write_text("first\n")
    at = read_from(0)["stderr_offset"]
    assert read_from(at)["stderr"] == "", "a reader who looks twice"
    if text is None:
        log.unlink()
    else:
        log.write_text(text)
    found = read_from(at)
    assert (found["stderr"], found["stderr_restarted"], found["stdout_restarted"]) == (read, restarted, False), why
    assert found["stderr_offset"] == len(text or "")
    again = read_from(found["stderr_offset"])
    assert (again["stderr"], again["stderr_restarted"]) == ("", False), "it is said once"


def test_what_is_remembered_of_logs_is_bounded(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_REMEMBERED", 3)
    tails = logs.Tails()
    for at in range(1, 10):
        tails.keep_before("/log", at, b"x" * 1000)
    assert [at for at in range(10) if tails.get_before("/log", at)] == [7, 8, 9]
    assert len(tails.get_before("/log", 9)) == logs.REMEMBERED_BYTES


def test_a_growing_file_is_read_piece_by_piece(log: Path) -> None:
    answer = since(log)
    with log.open("ab") as file:
        file.write(b" and more")
    assert since(log, at=answer["stdout_offset"])["stdout"] == " and more"


def test_two_files_have_two_offsets(log: Path, tmp_path: Path) -> None:
    errors = tmp_path / "job.err"
    errors.write_bytes(b"oh no")
    found = since(log, errors, 8, 3)
    assert (found["stdout"], found["stdout_offset"], found["stderr"], found["stderr_offset"]) == ("89", 10, "no", 5)


def test_one_file_for_both_is_told_once(log: Path) -> None:
    found = since(log, log, 0, 7)
    assert (found["stdout"], found["stderr"], found["stderr_offset"]) == ("0123456789", "", 7)


def test_a_file_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert since(tmp_path / "none", tmp_path / "no.err", 5, 5)["stdout_offset"] == 0
    assert since(None)["stdout"] == ""


@pytest.mark.parametrize(
    ("why", "text", "expected", "truncated"),
    [
        ("all of it", "one\ntwo\n", "one\ntwo\n", False),
        ("all that is sent at once", "x" * 19 + "\n", "x" * 19 + "\n", False),
        ("whole lines of the end", "one\ntwo\nthree\nfour\nfive\n", "three\nfour\nfive\n", True),
        ("a line that is longer", "x" * 30, "x" * 20, True),
        ("characters stay whole", "é" * 9 + "\n" + "é" * 9 + "\n", "é" * 9 + "\n", True),
        ("nothing yet", "", "", False),
    ],
)
def test_without_an_offset_the_end_of_a_long_log_is_sent(
    log: Path, monkeypatch: pytest.MonkeyPatch, why: str, text: str, expected: str, truncated: bool
) -> None:
    monkeypatch.setattr(logs, "TAIL_BYTES", 20)
    log.write_text(text)
    found = since(log, at=None)
    assert (found["stdout"], found["truncated"]) == (expected, truncated), why
    assert found["stdout_offset"] == len(text.encode()), "the next read goes on from there"


def test_a_long_log_comes_in_bounded_pieces_that_make_the_whole(log: Path) -> None:
    whole = "".join(f"line {i} é\n" for i in range(250_000))
    log.write_text(whole)
    pieces, at = [], 0
    while piece := since(log, at=at)["stdout"]:
        pieces.append(piece)
        at += len(piece.encode())
    assert len(pieces) > 2 and max(len(piece.encode()) for piece in pieces) <= logs.SLICE_BYTES
    assert "".join(pieces) == whole


@pytest.mark.parametrize(
    ("why", "data", "more", "text", "used"),
    [
        ("whole", "aé".encode(), False, "aé", 3),
        ("cut: the rest may come", "aé".encode()[:2], False, "a", 1),
        ("cut: the rest is there", "a€".encode()[:3], True, "a", 1),
        ("broken in the middle", b"a\xffb", False, "a\ufffdb", 3),
        ("not text at all, at the end", b"\xff", False, "\ufffd", 1),
        ("a half character alone at the end is told, or a reader would wait for ever", b"\xc3", False, "\ufffd", 1),
        ("nothing", b"", False, "", 0),
    ],
)
def test_characters_are_never_cut(why: str, data: bytes, more: bool, text: str, used: int) -> None:
    assert logs.decode_whole_characters(data, 100, more) == (text, 100 + used), why


@given(st.text(max_size=60), st.lists(st.integers(1, 7), min_size=1, max_size=200))
def test_however_a_text_is_cut_its_pieces_make_the_whole(text: str, sizes: list[int]) -> None:
    data, at, text_read, i = text.encode("utf-8", "replace"), 0, "", 0
    while at < len(data):
        piece = data[at : at + 3 + sizes[i % len(sizes)]]
        found, at = logs.decode_whole_characters(piece, at, at + len(piece) < len(data))
        text_read, i = text_read + found, i + 1
    assert text_read == data.decode()


@pytest.mark.parametrize(
    ("why", "value"),
    [
        ("nothing", {}),
        ("short", {"stdout": "a", "stderr": "", "truncated": False, "stdout_offset": 1}),
        ("cut into pieces", {"stdout": "é\n" * logs.PIECE_CHARS, "stderr": "\0\N{GRINNING FACE}" * logs.PIECE_CHARS}),
    ],
)
@asynchronous
async def test_a_long_log_is_written_in_pieces(why: str, value: dict[str, Any]) -> None:
    pieces = [piece async for piece in logs.iterate_json(value)]
    assert json.loads(b"".join(pieces)) == value, why
    assert all(len(piece) <= 6 * logs.PIECE_CHARS for piece in pieces), why


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_only_plain_files_are_read(tmp_path: Path, log: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "link":
        path.symlink_to(log)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(Denied):
        since(path)


def test_a_file_of_somebody_else_is_not_read(log: Path) -> None:
    with pytest.raises(Denied):
        asyncio.run(
            logs.read_job_logs(str(log), None, stdout_at=0, stderr_at=0, owner=os.getuid() + 1, tails=logs.Tails())
        )


# --- what a job leaves in $SLUICE_RESULT ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "data", "result", "problem"),
    [
        ("an object", b'{"total": 500500}', {"total": 500500}, None),
        ("nothing was left", None, None, None),
        ("no JSON", b"{'total': 1}", None, "the result is no JSON"),
        ("a number that is none", b'{"loss": [NaN, -Infinity]}', {"loss": ["NaN", "-Infinity"]}, None),
        ("a text that only names one", b'{"a": "NaN \\" NaN", "NaN": NaN}', {"a": 'NaN " NaN', "NaN": "NaN"}, None),
        ("such a word in another one", b'{"loss": NaNs}', None, "the result is no JSON"),
        ("such a word in a broken text", b'{"loss": "NaN', None, "the result is no JSON"),
        ("not an object", b"[1]", None, "not an object"),
        ("empty", b"", None, "the result is no JSON"),
        ("too large", b'{"a": "' + b"x" * 200 + b'"}', None, "more than the 100 that are kept"),
    ],
)
def test_results(
    tmp_path: Path, why: str, data: bytes | None, result: dict[str, Any] | None, problem: str | None
) -> None:
    path = tmp_path / "r.json"
    if data is not None:
        path.write_bytes(data)
    value, problem_found = asyncio.run(results.read_result(str(path), 100))
    assert value == result, why
    assert (problem_found is None) if problem is None else (problem in (problem_found or "")), why


def test_a_link_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"key": 1}')
    (tmp_path / "r.json").symlink_to(tmp_path / "secret")
    value, problem_found = asyncio.run(results.read_result(str(tmp_path / "r.json"), 100))
    assert value is None and problem_found


@pytest.mark.parametrize(
    ("why", "data", "is_cut", "text"),
    [
        ("nothing", b"", False, ""),
        ("only blanks", b" \n\t\n\n", False, ""),
        ("a line that goes on", b"a\nb", False, "a\nb"),
        ("the last ten lines", b"0\n" * 9 + b"1\n" * 9, False, "\n".join("0" + "1" * 9)),
        ("a line that was cut is left out", b"lf a line\nwhole\n", True, "whole"),
        ("but not when there is no other", b"x" * 3000, True, "…" + "x" * 1000),
        ("a progress bar", b"1%\r50%\r100%\r\nend\n", False, "100%\nend"),
        ("colours and a title", b"\x1b]0;t\x07\x1b[1;31mred\x1b[0m\x1b(B\n", False, "red"),
        ("control and invisible characters", "a\0b\u202ec\td\n".encode(), False, "abc\td"),
        ("no UTF-8", b"caf\xe9\n", False, "caf\ufffd"),
    ],
)  # fmt: skip
def test_the_last_lines_of_a_log(why: str, data: bytes, is_cut: bool, text: str) -> None:
    assert results.to_last_lines(data, is_cut) == text


def test_the_first_log_with_lines_says_why(tmp_path: Path) -> None:
    (tmp_path / "blank").write_text("\n")
    (tmp_path / "out").write_text("gone\n" * 5000 + "no memory\n")
    paths = [str(tmp_path / name) for name in ("none", "blank", "out")]
    assert (asyncio.run(results.read_log_end(paths)) or "").endswith("\ngone\nno memory")
    assert asyncio.run(results.read_log_end(paths[:2])) is None


RESULTS = [
    (3, 0.1, {"fit.loss": 2, "a.n": 1, "fit.lr": 1}),
    (1, 1e-3, {"fit.loss": -1}),
    (2, "x", {}),
    (None, 5, {"fit.loss": 2, "b.n": 1}),
    (None, 6, {"fit.loss": "NaN"}),
]
ROWS = [
    {"cell_id": str(number), "status": "completed", "duration_seconds": seconds, "args": {"lr": lr}, "result": result}
    for number, (seconds, lr, result) in enumerate(RESULTS)
]


@pytest.mark.parametrize(
    ("why", "order_by", "ids"),
    [
        ("a result", "fit.loss", "10324"),
        ("the largest first; without the value last", "-fit.loss", "03124"),
        ("the end of its name", "-loss", "03124"),
        ("an arg, numbers before texts; not the end of a result's name", "lr", "10342"),
        ("a column", "duration_seconds", "12034"),
    ],
)
def test_rows_in_the_order_of_a_value(why: str, order_by: str, ids: str) -> None:
    assert "".join(row["cell_id"] for row in results.order_rows(ROWS, order_by)) == ids


@pytest.mark.parametrize(("order_by", "said"), [("n", "there is a.n, b.n"), ("-accuracy", "there is lr, fit.loss")])
def test_a_value_that_no_row_has(order_by: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        results.order_rows(ROWS, order_by)
    assert results.order_rows(ROWS[2:3], order_by) == ROWS[2:3], "nothing is known yet"
