"""Lists kept as bytes: always the list, made again only where it changed."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.indexes.bodies import ITEM_BYTES, PIECE_BYTES, Body, BoundedCache, ListBody, join_array

keys = st.sampled_from("abcdef")
rows = st.dictionaries(st.sampled_from("xy"), st.integers(0, 3))
steps = st.lists(
    st.tuples(st.just("put"), keys, rows)
    | st.tuples(st.just("drop"), keys, st.none())
    | st.tuples(st.just("replace"), st.dictionaries(keys, rows), st.none()),
    max_size=20,
)


@given(steps, st.booleans())
def test_a_list_as_bytes_is_the_list(changes: list[Any], ranked: bool) -> None:
    rank = (lambda key, row: (-row.get("x", 0), key)) if ranked else None
    kept = ListBody(rank)
    model: dict[str, Any] = {}
    for what, first, second in changes:
        before, version = kept.get_body(), kept.version
        if what == "put":
            kept.put(first, second)
            model[first] = second
        elif what == "drop":
            kept.drop(first)
            model.pop(first, None)
        else:
            kept.replace(first.items())
            model = dict(first)
        wanted = sorted(model, key=lambda key: rank(key, model[key])) if rank else list(model)
        body = kept.get_body()
        assert body.data == orjson.dumps([model[key] for key in wanted])
        assert (body is before) == (kept.version == version)
        assert (body.etag == before.etag) == (body.data == before.data)
        assert len(kept) == len(model)


def test_only_the_rows_that_changed_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ListBody()
    table = {str(i): {"n": i} for i in range(100)}
    kept.replace(table.items())
    made: list[Any] = []
    monkeypatch.setattr("store.indexes.bodies.dump_json", lambda row: made.append(row) or orjson.dumps(row))
    kept.replace({**table, "7": {"n": 70}}.items())
    assert made == [{"n": 70}]
    assert kept.get_body().gzipped[:2] == b"\x1f\x8b"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60))
def test_what_is_bounded_stays_so(puts: list[tuple[int, int]]) -> None:
    limit_bytes = 100 + 4 * ITEM_BYTES
    cache = BoundedCache(limit_bytes)
    for key, size in puts:
        cache.put(key, (key, size), size)
        assert cache.get(key) == (key, size)
        assert cache.size_bytes <= limit_bytes
        assert sum(cache.get(key)[1] + ITEM_BYTES for key in range(10) if cache.get(key)) == cache.size_bytes


@pytest.mark.parametrize("sizes", [[], [1], [PIECE_BYTES], [5, PIECE_BYTES, 7], [PIECE_BYTES + 1] * 3, [1000] * 1000])
def test_rows_are_the_array_that_joined_they_would_be(sizes: list[int]) -> None:
    rows = [b"%d" % (10 ** (size - 1)) if size < 4000 else b"1" * size for size in sizes]
    body, joined = Body(rows=rows), Body(join_array(rows))
    pieces = list(body.split())
    assert b"".join(pieces) == body.data == joined.data
    assert (body.size_bytes, body.etag) == (len(joined.data), joined.etag)
    assert gzip.decompress(body.gzipped) == joined.data
    assert max(map(len, pieces)) <= PIECE_BYTES + max(sizes, default=0) + 2 * len(sizes) + 2, "none is the whole"
