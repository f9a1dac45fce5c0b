"""The next hit in a log, over the borders of what was searched at once."""

from __future__ import annotations

import pytest

from engine.logs import searches
from store.rules.logs.matches import compile_search
from tests.engine.logs.made_log import MadeLog
from tests.pretended import asynchronous

# Lines 2, 300,002 (in another part) and the last one match.
TEXT = b"no\nhit\n" + b"none\n" * 299_999 + b"hit 2\n" + b"none\n" * 99_999 + b"hit 3\n"


@pytest.mark.parametrize(
    ("why", "offset", "is_forward", "line"),
    [
        ("from the beginning", 0, True, 2),
        ("at a hit", 3, True, 2),
        ("behind it", 4, True, 300_002),
        ("behind the last", len(TEXT), True, None),
        ("from the end", len(TEXT), False, 400_002),
        ("before a hit", 1_500_002, False, 2),
        ("before the first", 3, False, None),
    ],
)
@asynchronous
async def test_the_next_hit(why: str, offset: int, is_forward: bool, line: int | None) -> None:
    log, find = MadeLog(TEXT), compile_search("hit", False, True)
    known, _ = await log.find_counts(("hit",))
    await log.search_on(known, find, 100.0)
    hit = await searches.find_hit(log, known, find, offset, is_forward)
    assert (hit and hit["line"]) == line, why


@asynchronous
async def test_a_word_that_is_cut_between_two_parts_is_found() -> None:
    log, find = (
        MadeLog(b"a\n" + b"x" * 1_999_999 + b"word" + b"x" * 500_000 + b"\n"),
        compile_search("word", False, True),
    )
    known, _ = await log.find_counts(("word",))
    await log.search_on(known, find, 100.0)
    hit = await searches.find_hit(log, known, find, 0, True)
    assert hit is not None and (hit["number"], hit["line"]) == (1, 2)


@pytest.mark.parametrize(
    ("why", "text", "line", "offset"),
    [
        ("it matches", b"hit\nno\na hit", 3, 7),
        ("it does not", b"hit\nno\nnone", None, None),
        ("there is none", b"hit\n", None, None),
        ("it is the only one", b"hit", 1, 0),
        ("it is counted in part, without a match", b"a\n" + b"x" * 1_000_000 + b"hit", 2, 1_000_000 - 62),
        ("it is counted in part, with a match", b"a\nhit" + b"x" * 1_000_000, None, None),
    ],
)
@asynchronous
async def test_the_last_line_while_it_has_no_end(why: str, text: bytes, line: int | None, offset: int | None) -> None:
    log, find = MadeLog(text), compile_search("hit", False, True)
    known, _ = await log.find_counts(("hit",))
    assert await log.search_on(known, find, 100.0)
    hit = await searches.find_unfinished(log, known, find)
    assert (hit and hit["line"], hit and hit["offset"]) == (line, offset), why
    assert known.hit_count + (hit is not None) == text.count(b"hit"), why


@asynchronous
async def test_nothing_was_searched() -> None:
    log, find = MadeLog(b""), compile_search("word", False, True)
    known, _ = await log.find_counts(("word",))
    assert await searches.find_hit(log, known, find, 0, True) is None
