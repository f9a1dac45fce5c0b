"""What is counted of a file, in bounded memory, and forgotten."""

from __future__ import annotations

import pytest

from store.rules.logs import counts
from store.rules.logs.counts import Counts, KnownCounts, Mark


def test_a_file_of_any_size_is_counted_in_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_PARTS", 8)
    known = Counts()
    for number in range(1000):
        known.add(b"a\nb\n", hits=number % 2)
        assert len(known.starts) <= 9
    assert (known.end, known.line_count, known.hit_count) == (4000, 2000, 500)
    for line in (1, 2, 3, 777, 2000):
        start, line_feeds = known.find_line(line)
        assert start // 2 + line_feeds == line - 1 and line_feeds <= 2 * known.every
    ends = [known.get_part(at) for at in range(len(known.starts))]
    assert [begin for begin, _ in ends[1:]] == [end for _, end in ends[:-1]] and ends[-1][1] == known.end
    assert sum(known.count_hits(at) for at in range(len(known.starts))) == 500


@pytest.mark.parametrize(
    ("why", "head", "tail", "size_bytes", "inode", "is_same"),
    [
        ("as it was", b"begin more", b"end", 100, 7, True),
        ("longer", b"begin", b"end", 200, 7, True),
        ("shorter", b"begin", b"end", 99, 7, False),
        ("another beginning", b"other", b"end", 100, 7, False),
        ("other bytes where it ended", b"begin", b"dne", 100, 7, False),
        ("another file of the same name", b"begin", b"end", 100, 8, False),
    ],
)
def test_a_file_is_recognised(why: str, head: bytes, tail: bytes, size_bytes: int, inode: int, is_same: bool) -> None:
    assert Mark(100, b"begin", b"end", 7).is_in(head, tail, size_bytes, inode) == is_same, why
    assert Mark(0, b"", b"", 0).is_in(head, b"", size_bytes, inode)


def test_what_was_used_last_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_KNOWN", 2)
    known = KnownCounts()
    first, second = known.get("a"), known.get("b")
    assert known.get("a") is first
    known.get("c")
    assert known.get("a") is first and known.get("b") is not second
    known.forget("b", second)
    again = known.get("b")
    known.forget("b", again)
    assert known.get("b") is not again


def test_parts_with_hits_are_found_both_ways() -> None:
    known = Counts()
    for hits in (0, 2, 0, 0, 1, 0):
        known.add(b"x\n", hits)
    assert [known.find_part_with_hits(at, True) for at in range(6)] == [1, 4, 4, 4, None, None]
    assert [known.find_part_with_hits(at, False) for at in range(6)] == [None, None, 1, 1, 1, 4]
