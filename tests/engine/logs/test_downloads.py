"""The original of a log, in pieces."""

from __future__ import annotations

import pytest

from engine.logs import downloads
from tests.engine.logs.made_log import MadeLog
from tests.pretended import asynchronous

DATA = bytes(range(256)) * 10_000


@pytest.mark.parametrize(
    ("why", "begin", "end"),
    [("all", 0, len(DATA)), ("some", 10, 20), ("nothing", 20, 20), ("behind its end", len(DATA), len(DATA) + 10)],
)
@asynchronous
async def test_all_bytes_come(why: str, begin: int, end: int) -> None:
    pieces = [piece async for piece in downloads.iterate_pieces(MadeLog(DATA), begin, end)]
    assert b"".join(pieces) == DATA[begin:end], why


@asynchronous
async def test_a_file_that_is_removed_meanwhile_ends() -> None:
    assert [piece async for piece in downloads.iterate_pieces(MadeLog(None), 0, 10)] == []
