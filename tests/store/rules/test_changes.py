"""The rules of the change feed: the log, what readers want, how they are told."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.rules import changes
from store.rules.changes import KINDS, Change, ChangeLog, Filter, Position

EVERYTHING = Filter()


def change_of(kind: str = "job", id: str = "1", parent: str | None = None, row: Any = None) -> Change:
    return Change(7, kind, id, parent, "updated", lambda: row)


FILTERS = [  # why, kinds, ids, kind of the change, id, parent, whether it is wanted
    ("nothing asked for is everything", None, None, "job", "1", None, True),
    ("empty lists are nothing asked for", "", ",", "job", "1", None, True),
    ("one of the kinds", "run,job", None, "job", "1", None, True),
    ("blanks around commas", "run, job", None, "job", "1", None, True),
    ("another kind", "run", None, "job", "1", None, False),
    ("one of the ids", None, "2,1", "job", "1", None, True),
    ("another id", None, "2,3", "job", "1", None, False),
    ("what belongs to an id", "cell", "5", "cell", "0194-a", "5", True),
    ("a kind and another id", "job", "2", "job", "1", "embedded", False),
    ("everybody hears that they must start again", "run", "2", "reset", "", None, True),
]


@pytest.mark.parametrize(
    ("why", "kinds", "ids", "kind", "id", "parent", "wanted"), FILTERS, ids=[f[0] for f in FILTERS]
)
def test_filters(why: str, kinds: str, ids: str, kind: str, id: str, parent: str | None, wanted: bool) -> None:
    assert changes.parse_filter(kinds, ids).accepts(change_of(kind, id, parent)) is wanted


POSITIONS = [
    ("none", None, None),
    ("our own", "1a0c4506c00-12", Position("1a0c4506c00", 12)),
    ("a bare number", "12", None),
    ("another's id", "12-x", None),
    ("a number too long for a number", f"a-{'9' * 16}", None),
]


@pytest.mark.parametrize(("why", "text", "found"), POSITIONS, ids=[case[0] for case in POSITIONS])
def test_positions(why: str, text: str | None, found: Position | None) -> None:
    assert changes.parse_position(text) == found
    assert found is None or str(found) == text


def test_an_event_is_framed_as_the_standard_says() -> None:
    frame = changes.to_event("k3", change_of("cell", "0194", "5", {"status": "running\n"}), b'{"status":"running\\n"}')
    assert frame.endswith(b"\n\n")
    lines = frame.decode().splitlines()
    assert lines[:2] == ["id: k3-7", "event: cell"]
    assert orjson.loads(lines[2].removeprefix("data: ")) == {
        "number": 7, "kind": "cell", "id": "0194", "action": "updated", "parent": "5", "row": {"status": "running\n"},
    }  # fmt: skip
    assert len(lines) == 4


def test_a_sign_of_life_is_no_event_and_says_where_to_go_on() -> None:
    assert changes.to_heartbeat(Position("k3", 9)) == b":\nid: k3-9\n\n"
    assert changes.to_heartbeat(Position("k3", 9), 2000) == b":\nretry: 2000\nid: k3-9\n\n"


@pytest.mark.parametrize(("row", "row_json"), [({"a": 1}, b'{"a":1}'), (b"[1]", b"[1]"), (None, b"null")])
def test_rows_are_json(row: Any, row_json: bytes) -> None:
    assert changes.to_row(change_of(row=row)) == row_json


def test_of_a_resource_the_newest_change_counts() -> None:
    log = ChangeLog(10)
    first = log.add("job", "1", "created", None, "embedded")
    other = log.add("job", "1", "created", None, "elsewhere")
    last = log.add("job", "1", "deleted", None, "embedded")
    assert log.list_after(0, EVERYTHING, 10) == [other, last]
    assert not log.is_newest(first) and log.is_newest(last)
    assert log.list_after(last.number, EVERYTHING, 10) == []


def test_the_oldest_make_room() -> None:
    log = ChangeLog(3)
    for number in range(5):
        log.add("run", str(number), "created", None)
    assert len(log) == 3
    assert log.forgotten == 2
    assert [change.id for change in log.list_after(log.forgotten, EVERYTHING, 2)] == ["2", "3"]


def test_what_is_kept_of_a_change_is_little() -> None:
    log, ids = ChangeLog(5000), [str(number) for number in range(5000)]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for id in ids:
            log.add("job", id, "created", None, "embedded")
        each = (tracemalloc.get_traced_memory()[0] - before) / len(ids)
    finally:
        tracemalloc.stop()
    assert each < 220, "of a long queue it is kept of each row"


acts = st.lists(
    st.tuples(
        st.sampled_from(KINDS[:3]),
        st.sampled_from("abcd"),
        st.sampled_from(["updated", "deleted"]),
        st.none(),
        st.sampled_from([None, "here", "there"]),
    ),
    max_size=40,
)


@given(acts, st.integers(1, 12), st.integers(0, 40), st.integers(1, 5))
def test_a_reader_gets_the_end_of_every_resource_once_and_in_order(
    given_acts: list[Any], limit: int, after: int, batch: int
) -> None:
    log = ChangeLog(limit)
    all_changes = [log.add(*act) for act in given_acts]
    newest = {change.key: change for change in all_changes}
    number = max(after, log.forgotten)
    got: list[Change] = []
    while found := log.list_after(number, EVERYTHING, batch):
        assert len(found) <= batch
        got += found
        number = found[-1].number
    expected = sorted(
        (change for change in newest.values() if change.number > max(after, log.forgotten)),
        key=lambda change: change.number,
    )
    assert got == expected
