"""What is counted of a log: bounded in time, once, and anew for another file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.logs import log_files
from engine.logs.log_files import cut_piece, open_log
from store import access
from store.errors import Denied, NotFound
from store.rules.logs.counts import PART_BYTES
from store.rules.logs.matches import compile_search
from tests.engine.logs.made_log import MadeLog, make_clock
from tests.engine.servers.pretended import CALLER, open_server
from tests.pretended import asynchronous, job

TEXT = b"line\n" * 1_000_000


@asynchronous
async def test_counting_stops_in_time_and_goes_on_there() -> None:
    log = MadeLog(TEXT)
    await log.find_counts()
    await log.count_on(None, 1.0, make_clock(0.6))
    assert log.counts.end == PART_BYTES
    await log.count_on(300_000, 100.0, make_clock(0.6))
    assert log.counts.line_count == 400_000
    again = MadeLog(TEXT, log.known)
    await again.find_counts()
    await again.count_on(None, 100.0)
    assert again.counts is log.counts and again.counts.line_count == 1_000_000


@asynchronous
async def test_many_who_find_another_file_begin_anew_together() -> None:
    first = MadeLog(TEXT)
    await first.find_counts()
    await first.count_on(None, 100.0)
    others = [MadeLog(b"other\n" * 1000, first.known) for _ in range(5)]
    await asyncio.gather(*(log.find_counts() for log in others))
    assert len({log.counts.id for log in others}) == 1 and others[0].counts is not first.counts


@asynchronous
async def test_a_file_of_another_inode_is_another_one() -> None:
    log = MadeLog(TEXT)
    log.inode = 1
    known, _ = await log.find_counts()
    log.inode = 2
    assert (await log.find_counts())[0] is not known


@asynchronous
async def test_search_stops_in_time_and_goes_on_there() -> None:
    log, find = MadeLog(TEXT), compile_search("line", False, False)
    known, _ = await log.find_counts(("line", False, False))
    assert not await log.search_on(known, find, 1.0, make_clock(0.6))
    assert known.hit_count == PART_BYTES // 5
    assert await log.search_on(known, find, 100.0)
    assert known.hit_count == 1_000_000


@asynchronous
async def test_a_missing_file_holds_nothing() -> None:
    log = MadeLog(None)
    await log.find_counts()
    await log.count_on(None, 1.0)
    assert (log.describe()["exists"], log.counts.end) == (False, 0)


@pytest.mark.parametrize(
    ("why", "data", "is_last", "piece"),
    [
        ("whole lines", b"a\nb", False, b"a\n"),
        ("the last line of a job that runs", b"b", False, b""),
        ("of one that has ended", b"b", True, b"b"),
        ("part of a long line", b"x" * PART_BYTES, False, b"x" * PART_BYTES),
        ("nothing", b"", True, b""),
    ],
)
def test_what_is_searched_at_once(why: str, data: bytes, is_last: bool, piece: bytes) -> None:
    assert cut_piece(data, is_last) == piece, why


@pytest.mark.parametrize(
    ("why", "pieces", "hits"),
    [
        ("lines", [b"hit\nno\nhit\n"], [2]),
        ("a long line counts once", [b"hit", b"hit", b"hit\nhit\n"], [1, 0, 1]),
        ("a word that is cut", [b"xhi", b"t\n"], [0, 1]),
        ("a line behind a long one", [b"hit", b"\nhit"], [1, 1]),
        ("a long line without a hit", [b"no", b"no\nhit\n"], [0, 1]),
    ],
)
def test_hits_count_where_they_begin(why: str, pieces: list[bytes], hits: list[int]) -> None:
    known, find, found = log_files.Counts(), compile_search("hit", False, True), []
    for piece in pieces:
        found.append(log_files.count_matches(known, piece, find))
        known.add(piece, found[-1])
    assert found == hits, why


@asynchronous
async def test_who_may_read(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "PENDING"), job("8", "RUNNING", user="somebody"))
        assert (await open_log(world.server, None, "7", "stdout", CALLER)).path is None
        reader = access.Caller("bob", access.INCLUDED["read"])
        with pytest.raises(Denied):
            await open_log(world.server, None, "8", "stdout", reader)
        with pytest.raises(NotFound):
            await open_log(world.server, None, "9", "stdout", CALLER)
