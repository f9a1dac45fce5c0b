"""Edits of YAML by whole lines: what is not asked for stays byte for byte, comments above all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.yaml import reader, writer

TEXT = """\
# clusters
profiles:
  # the big one
  dgx:
    hostname: h  # eol
    mounts:
      - name: x  # m
        local: /x
      # second
      - {name: y, local: /y}
    note: |
      hello

      world

  # the small one
  o: {hostname: q}
  empty:
# the end
last: 1
"""
X, Y, Z = {"name": "x", "local": "/x"}, {"name": "y", "local": "/y"}, {"name": "z", "local": "/z"}

EDITS: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
    ("another value, its comment stays", {"profiles": {"dgx": {"hostname": "k"}}}, ("h  # eol", "k  # eol")),
    ("a value that needs quotes", {"last": "a: b"}, ("last: 1", "last: 'a: b'")),
    ("a value in braces", {"profiles": {"o": {"hostname": "r"}}}, ("{hostname: q}", "{hostname: r}")),
    ("a new key, above the next one's heading", {"profiles": {"dgx": {"port": 3}}},
     ("      world\n", "      world\n    port: 3\n")),
    ("a new profile, above the next one's heading", {"profiles": {"new": {"hostname": "k"}}},
     ("  empty:\n", "  empty:\n  new:\n    hostname: k\n")),
    ("a new key at the end", {"more": True}, ("last: 1\n", "last: 1\nmore: true\n")),
    ("a key goes, the headings stay", {"profiles": {"o": None}}, ("  o: {hostname: q}\n", "")),
    ("a key with lines goes", {"profiles": {"dgx": {"note": None}}},
     ("    note: |\n      hello\n\n      world\n", "")),
    ("an item goes", {"profiles": {"dgx": {"mounts": [Y]}}}, ("      - name: x  # m\n        local: /x\n", "")),
    ("the last item goes", {"profiles": {"dgx": {"mounts": [X]}}}, ("      - {name: y, local: /y}\n", "")),
    ("an item comes", {"profiles": {"dgx": {"mounts": [X, Y, Z]}}},
     ("      - {name: y, local: /y}\n", "      - {name: y, local: /y}\n      - name: z\n        local: /z\n")),
    ("all items go", {"profiles": {"dgx": {"mounts": []}}},
     ("      - name: x  # m\n        local: /x\n      # second\n      - {name: y, local: /y}\n", "")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "changes", "swap"), EDITS, ids=[row[0] for row in EDITS])
def test_only_these_lines_change(why: str, changes: dict[str, Any], swap: tuple[str, str]) -> None:
    after = writer.edit_yaml(TEXT.encode(), changes).decode()
    if why == "all items go":
        assert reader.load_yaml(after.encode()).value["profiles"]["dgx"]["mounts"] == []
        return
    assert after == TEXT.replace(*swap, 1)


def test_the_last_key_of_a_mapping_goes() -> None:
    assert (
        writer.edit_yaml(b"a:\n  # why\n  b: 1  # x\n# c\nd: 2\n", {"a": {"b": None}})
        == b"a:\n  # why\n  {}\n# c\nd: 2\n"
    )
    assert writer.edit_yaml(b"# all\na: 1\n# rest\n", {"a": None}) == b"# all\n# rest\n"
    assert writer.edit_yaml(b"a: 1\n", {"a": None}) == b"{}\n"
    assert writer.edit_yaml(b"{}\n", {"a": 2}) == b"a: 2\n"


def test_an_empty_collection_is_filled_below_its_heading() -> None:
    text = b"# one\na: {}\n# two\nb: []\n# three\nc: 1\n"
    after = b"# one\na:\n  x: 1\n# two\nb:\n  - 2\n# three\nc: 1\n"
    assert writer.edit_yaml(text, {"a": {"x": 1}, "b": [2]}) == after


def test_null_is_written_where_it_is_meant() -> None:
    assert reader.load_yaml(writer.edit_yaml(b"a: 1\n", {"a": writer.NULL_VALUE, "b": writer.NULL_VALUE})).value == {
        "a": None,
        "b": None,
    }


def test_true_is_not_one() -> None:
    assert writer.edit_yaml(b"a: 1\n", {"a": True}) == b"a: true\n"
    assert writer.edit_yaml(b"a: [1, 2]\n", {"a": [True, 2]}) == b"a: [true, 2]\n"


def test_much_at_once_takes_the_other_way_in_time() -> None:
    changes = {f"k{number}": number for number in range(3000)}
    assert reader.load_yaml(writer.edit_yaml(b"# c\na: 1\n", changes)).value == {"a": 1, **changes}


names = st.sampled_from(list("abcde"))
values = st.recursive(
    st.integers(0, 9) | st.sampled_from(["x", "no", "1", "a: b", "# c", "two\nlines\n", "- d", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values, min_size=1, max_size=4), st.dictionaries(names, values | st.none(), max_size=3))
@settings(deadline=None)
def test_comments_of_keys_that_stay_stay_above_them(before: dict[str, Any], changes: dict[str, Any]) -> None:
    """Every top-level key gets a heading; after the edit each that is left still has its own right above it."""
    text = "".join(f"# heads {key}\n{writer.dump_yaml({key: value}).decode()}" for key, value in before.items())
    assert reader.load_yaml(text.encode()).value == before
    after = writer.edit_yaml(text.encode(), changes)
    wanted = writer.merge_changes(before, changes)
    assert (reader.load_yaml(after).value or {}) == wanted
    lines = after.decode().split("\n")
    for key in before:
        assert f"# heads {key}" in lines
        if key in wanted:
            at = lines.index(f"# heads {key}")
            assert lines[at + 1].lstrip("'\"").startswith(key), after.decode()


# --- lists, brackets, aliases, line ends ---------------------------------------------------------------------------

LISTS: list[tuple[str, str, Any, str]] = [
    ("an item between", "a:\n  # one\n  - x  # x\n  # two\n  - y\n", {"a": ["x", "z", "y"]},
     "a:\n  # one\n  - x  # x\n  - z\n  # two\n  - y\n"),
    ("the first item", "a:\n- x\n- y\n", {"a": ["w", "x", "y"]}, "a:\n- w\n- x\n- y\n"),
    ("two go, one comes", "a: [1, 2, 3,\n    4]  # c\n", {"a": [1, 3, 5, 4]}, "a: [1, 3,\n    5, 4]  # c\n"),
    ("the only one", "a: [1]  # c\n", {"a": []}, "a: []  # c\n"),
    ("braces", "a: {b: 1, c: [x]}  # c\n", {"a": {"c": ["x", {"d": 1}]}}, "a: {c: [x, {d: 1}]}  # c\n"),
    ("an alias", "a: &a {b: 1}\nc: *a  # c\nd: 1\n", {"a": {"b": 1}, "c": 2, "d": 1}, "a: &a {b: 1}\nc: 2\nd: 1\n"),
    ("what a merge key gives", "a: &a {b: 1}\nc:\n  <<: *a\n  e: 1\n", {"a": {"b": 1}, "c": {"b": 2, "e": 1}},
     "a: &a {b: 1}\nc:\n  <<: *a\n  e: 1\n  b: 2\n"),
    ("crlf", "# c\r\na: 1\r\nb: |\r\n  x\r\n", {"a": 2, "b": "x\n", "c": 3}, "# c\r\na: 2\r\nb: |\r\n  x\r\nc: 3\r\n"),
    ("no last line end", "a: 1\nb: 2", {"a": 1, "b": 2, "c": 3}, "a: 1\nb: 2\nc: 3"),
    ("a text without its last line end", "a: 1\nb: |-\n  x\n  y", {"a": 1, "b": "x\ny", "c": 3},
     "a: 1\nb: |-\n  x\n  y\nc: 3"),
    ("a byte order mark", "\ufeffa: 1\n", {"a": 2}, "\ufeffa: 2\n"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "text", "wanted", "after"), LISTS, ids=[row[0] for row in LISTS])
def test_the_rest_of_the_file_stays(why: str, text: str, wanted: Any, after: str) -> None:
    assert writer.rewrite_yaml(text.encode(), wanted).decode() == after
    assert reader.load_yaml(after.encode()).value == wanted


@given(values, values)
@settings(deadline=None)
def test_a_rewritten_file_says_what_is_wanted_or_is_left(before: Any, wanted: Any) -> None:
    data = writer.dump_yaml({"a": before, "b": [before]})
    after = reader.load_yaml(writer.rewrite_yaml(data, {"a": wanted, "b": [wanted, before]})).value
    assert after == {"a": wanted, "b": [wanted, before]}
