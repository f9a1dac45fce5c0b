"""Search texts are made again only where something has changed."""

from __future__ import annotations

from typing import Any

from engine.search.text_cache import TextCache


def test_only_what_changed_is_made_again() -> None:
    cache, read_rows = TextCache(), list[Any]()

    def read(row: dict[str, Any]) -> tuple[Any, ...]:
        read_rows.append(row["name"])
        return row["name"], row["state"]

    job, two = {"name": "a", "state": "PENDING"}, {"name": "b", "state": "PENDING"}
    rows = [("1", job), ("2", two)]
    sources, first = cache.list_texts(1, lambda: rows, read)
    assert sources == [job, two] and read_rows == ["a", "b"]
    assert cache.list_texts(1, list, read) == (sources, first), "the same version"
    assert cache.list_texts(2, lambda: rows, read)[1] == first and read_rows == ["a", "b"], "the same rows"
    _, again = cache.list_texts(3, lambda: [("1", dict(job)), ("2", two | {"state": "RUNNING"})], read)
    assert again[0] is first[0] and "running" in again[1] and read_rows[2:] == ["a", "a", "b", "b"], "now and before"
    assert cache.list_texts(4, lambda: [("2", two)], read)[1] == first[1:]
