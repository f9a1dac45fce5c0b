"""Words found in texts, and how well they fit."""

from __future__ import annotations

import pytest

from store.errors import Invalid
from store.rules.monitoring import search

TEXTS = [
    search.make_search_text("12345", "simulation_run", ["alice", "gpu", "RUNNING"]),
    search.make_search_text("12346", "train-gpu", ["bob", "cpu-long", None]),
    search.make_search_text("gpu001", "gpu001", ["MIXED", "Größe"]),
]
FOUND: list[tuple[str, str, list[tuple[float, int]]]] = [
    ("an id", "12345", [(1.0, 0)]),
    ("the beginning of ids, the first ones first", "1234", [(0.9, 0), (0.9, 1)]),
    ("the beginning of a title", "simul", [(0.9, 0)]),
    ("a whole word, also within a name", "run", [(0.8, 0)]),
    ("a part", "lic", [(0.6, 0)]),
    ("several words, all of them", "alice gpu", [(0.8, 0)]),
    ("the mean", "simulation lic", [(0.75, 0)]),
    ("case and width do not matter", "ＧＲÖSSE", [(0.8, 2)]),
    ("the best first", "gpu", [(0.9, 2), (0.8, 0), (0.8, 1)]),
    ("nothing", "alice bob", []),
    ("punctuation", "cpu-l", [(0.6, 1)]),
]


@pytest.mark.parametrize(("why", "query", "expected"), FOUND, ids=[row[0] for row in FOUND])
def test_finding(why: str, query: str, expected: list[tuple[float, int]]) -> None:
    hits, total = search.find_texts(TEXTS, search.parse_words(query), 10)
    assert ([tuple(hit) for hit in hits], total) == (expected, len(expected)), why


def test_a_limit_keeps_the_best() -> None:
    hits, total = search.find_texts(TEXTS, ["gpu"], 1)
    assert ([hit.place for hit in hits], total) == ([2], 3)


@pytest.mark.parametrize("query", ["", "  ", "a b c d e f g h i j k"])
def test_queries_that_are_refused(query: str) -> None:
    with pytest.raises(Invalid):
        search.parse_words(query)


def test_types() -> None:
    assert search.parse_types("Nodes,job") == ["jobs", "nodes"] and len(search.parse_types(None)) == 6
    with pytest.raises(Invalid, match="did you mean 'nodes'"):
        search.parse_types("noodes")
