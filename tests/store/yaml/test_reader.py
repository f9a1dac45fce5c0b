"""YAML as people write it: what is understood, what is refused and where, and edits that keep the comments."""

from __future__ import annotations

import math
import string
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from store.errors import Invalid
from store.yaml import reader, writer

MEANINGS = [
    ("a clock time is text, not base 60", b"a: 8:00:00", {"a": "8:00:00"}),
    ("also in a flow mapping", b"a: {t: 0:05:00}", {"a": {"t": "0:05:00"}}),
    ("no is not false", b"[no, off, yes, on, y]", ["no", "off", "yes", "on", "y"]),
    ("true and false are", b"[true, True, FALSE]", [True, True, False]),
    ("a leading zero is not octal", b"[017, 0o17, 0x1F]", [17, 15, 31]),
    ("an exponent needs no point", b"[1e3, -1.5E-2, .5, 5.]", [1000.0, -0.015, 0.5, 5.0]),
    ("an underscore makes text", b"1_000", "1_000"),
    ("a date is text", b"2026-01-02", "2026-01-02"),
    ("nothing is null", b"{a: , b: ~, c: null}", {"a": None, "b": None, "c": None}),
    ("quotes make text", b"['1', \"true\", '']", ["1", "true", ""]),
    ("a tag for text is taken", b"!!str 5", "5"),
    ("a directive changes nothing", b"%YAML 1.1\n---\nno", "no"),
    ("a byte order mark is dropped", b"\xef\xbb\xbfa: 1", {"a": 1}),
    ("lines may end as in DOS", b"a: 1\r\nb: |\r\n  x\r\n  y\r\n", {"a": 1, "b": "x\ny\n"}),
    ("only comments", b"# nothing\n", None),
    ("an anchor used twice", b"a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
    ("a merge, own keys win", b"a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
    ("the first merge wins", b"[&x {k: 1}, &y {k: 2}, <<: [*x, *y]]", [{"k": 1}, {"k": 2}, {"k": 1}]),
    ("more than 64 bits", b"[9223372036854775808, -12345678901234567890123]", [2**63, -12345678901234567890123]),
    ("32 levels", b"[" * 32 + b"]" * 32, None),
]  # fmt: skip


@pytest.mark.parametrize(("why", "data", "value"), MEANINGS, ids=[row[0] for row in MEANINGS])
def test_meanings(why: str, data: bytes, value: Any) -> None:
    loaded = reader.load_yaml(data)
    if why == "32 levels":
        return
    assert loaded.value == value
    assert [type(leaf) for leaf in _leaves(loaded.value)] == [type(leaf) for leaf in _leaves(value)]


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]


REFUSALS = [
    ("a key twice", b"a: 1\nb: 2\na: 3", 3, 1, "twice"),
    ("a key twice in a flow", b"{a: 1, a: 2}", 1, 8, "twice"),
    ("an unclosed bracket", b"a: [1,\n", 2, 1, "] or }"),
    ("a tab as indentation", b"a:\n\tb: 1", 2, 1, "a tab"),
    ("two values in a line", b"a: b: c", 1, 5, "second colon"),
    ("Latin-1", b"a: 1\nb: gr\xfc\xdfe", 2, 6, "UTF-8"),
    ("UTF-16", "a: 1".encode("utf-16"), 1, 1, "UTF-16"),
    ("a NUL", b"a: 1\nb: x\0", 2, 5, "NUL"),
    ("nothing but NUL", b"\0" * 100, 1, 1, "crash"),
    ("a bell", b"a: 1\nb: \x07", 2, 4, "U+0007"),
    ("an escaped NUL", b'a: "\\0"', 1, 4, "NUL"),
    ("half a surrogate pair", b'a: "\\ud800"', 1, 4, "surrogate"),
    ("a number as key", b"1: 2", 1, 1, "quotes"),
    ("a list as key", b"? [1]\n: 2", 1, 3, "must be text"),
    ("a tag of its own", b"a: !x 1", 1, 4, "tag"),
    ("a tag of Python", b"a: !!python/object:os.system 1", 1, 4, "tag"),
    ("binary", b"a: !!binary aGk=", 1, 4, "tag"),
    ("two documents", b"--- 1\n--- 2", 2, 1, "one YAML document"),
    ("not a number", b"a: .nan", 1, 4, ".nan"),
    ("infinity", b"a: -.inf", 1, 4, "-.inf"),
    ("too large a float", b"a: 1e999", 1, 4, "too large"),
    ("too many digits", b"a: " + b"9" * 4001, 1, 4, "4000 digits"),
    ("a million digits", b"a: " + b"9" * 900_000, 1, 4, "4000 digits"),
    ("an unknown alias", b"a: *b", 1, 4, "names no anchor"),
    ("an alias in itself", b"&a [*a]", 1, 5, "holds itself"),
    ("33 levels", b"[" * 33 + b"]" * 33, 1, 33, "32 levels"),
    ("50,000 levels", b"[" * 50_000, 1, 33, "32 levels"),
    ("50,000 levels of dashes", b"- " * 50_000, 1, 65, "32 levels"),
    ("depth through aliases", b"- &a %b%b\n- %b*a%b" % ((b"[" * 16, b"]" * 16) * 2), 2, 19, "32 levels"),
    ("101 aliases", b"- &a x\n" + b"- *a\n" * 101, 102, 3, "100 aliases"),
    ("<< of text", b"a: {<<: x}", 1, 5, "takes a mapping"),
    ("<< twice", b"a: &a {b: 1}\nc: {<<: *a, <<: *a}", 2, 13, "twice"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "data", "line", "column", "message"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_refusals(why: str, data: bytes, line: int, column: int, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        reader.load_yaml(data)
    problem = refused.value.problems[0]
    assert message in problem["msg"]
    assert (problem["line"], problem["column"]) == (line, column)


def test_more_than_a_megabyte_is_refused() -> None:
    reader.load_yaml(b"#" * reader.MAX_BYTES)
    with pytest.raises(Invalid, match="1000000 bytes"):
        reader.load_yaml(b"#" * (reader.MAX_BYTES + 1))


def test_an_alias_bomb_of_300_bytes_is_refused() -> None:
    lines = [b"a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [b"%c: &%c [%s]" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)]
    with pytest.raises(Invalid, match="100000 values"):
        reader.load_yaml(b"\n".join(lines))


def test_aliases_of_one_long_text_are_bounded() -> None:
    with pytest.raises(Invalid, match="4000000 characters"):
        reader.load_yaml(b"- &a " + b"x" * 900_000 + b"\n" + b"- *a\n" * 5)


def test_who_changes_one_use_of_an_anchor_changes_no_other() -> None:
    value = reader.load_yaml(b"a: &x {l: [1]}\nb: *x\nc: {<<: *x}").value
    value["b"]["l"].append(2)
    value["c"]["l"].append(3)
    assert value == {"a": {"l": [1]}, "b": {"l": [1, 2]}, "c": {"l": [1, 3]}}


PLACES = [
    ("a text: where it starts", ("jobs", 0, "name"), False, (4, 11)),
    ("a key", ("jobs", 0, "name"), True, (4, 5)),
    ("a list: at its key", ("jobs", 0, "command"), False, (5, 5)),
    ("an item", ("jobs", 0, "command", 1), False, (5, 21)),
    ("a mapping: at its key", ("jobs", 0, "resources"), False, (6, 5)),
    ("what is not there: the nearest around it", ("jobs", 0, "resources", "none"), False, (6, 5)),
    ("what is nowhere", ("none",), False, (2, 1)),
    ("the whole", (), False, (2, 1)),
]


@pytest.mark.parametrize(("why", "loc", "key", "place"), PLACES, ids=[row[0] for row in PLACES])
def test_places(why: str, loc: tuple[str | int, ...], key: bool, place: tuple[int, int]) -> None:
    text = b"# top\nname: x\njobs:\n  - name: a\n    command: [echo, x]\n    resources:\n      nodes: 1\n"
    assert reader.load_yaml(text).locate(loc, key=key) == place


# Text without half surrogates and NUL, which no file may hold.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
words = st.sampled_from(
    [
        "no",
        "8:00:00",
        "1e3",
        "null",
        "<<",
        "0o17",
        "1_0",
        "- x",
        "#",
        ": ",
        "a\nb",
        " a\n b\n",
        "x \ny",
        "\n",
        "=",
        "%a",
        "&a",
        "!",
        ".inf",
        "0x",
        "---",
        "a: b",
        "{{ x }}",
        "\ta",
        "\xe9\u2028",
        "\x85",
        "\ufeff",
        "|",
        "\r\n",
        "",
        "if x:\n  y\n\nz\n",
    ]
)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | floats
    | texts
    | words
    | st.lists(words, max_size=5).map("\n".join)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | words, inner, max_size=4),
    max_leaves=12,
)


@given(trees)
@example({"a": "x\n\ny  \n"})
@example(["\n"])
@example({"k": ["  lead\nnext\n"]})
def test_what_is_written_is_read_again(tree: Any) -> None:
    assert reader.load_yaml(writer.dump_yaml(tree)).value == tree


@settings(max_examples=300)
@given(st.text(alphabet=string.printable + "é\u2028\x85", max_size=80) | st.lists(words, max_size=8).map(" ".join))
def test_any_text_is_a_value_or_a_reason(text: str) -> None:
    data = text.encode()
    try:
        value = reader.load_yaml(data).value
    except Invalid as refused:
        assert refused.problems[0]["line"] >= 1 and refused.problems[0]["msg"]
    else:
        # What is written is always a mapping; a lone text would need marks of where it ends.
        assert reader.load_yaml(writer.dump_yaml({"a": value})).value == {"a": value}


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_reason(data: bytes) -> None:
    try:
        reader.load_yaml(data)
    except Invalid as refused:
        assert refused.problems


@given(scalars.filter(lambda scalar: not isinstance(scalar, str)))
def test_plain_words_mean_what_they_say(value: Any) -> None:
    text = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    assert reader.parse_scalar(text) == value
    assert type(reader.parse_scalar(text)) is type(value)
    if isinstance(value, float):
        assert math.copysign(1, reader.parse_scalar(text)) == math.copysign(1, value)


SOURCE = b"""\
# what jobs get
resources:
  # long enough
  time_limit: 0:05:00  # five minutes
  nodes: 1
log_dir: 'logs'   # quoted
list:
- a
- b
"""


def test_an_edit_keeps_comments_order_and_quotes() -> None:
    # In quotes: 1:00:00 is a number to YAML 1.1.
    after = writer.edit_yaml(SOURCE, {"resources": {"time_limit": "1:00:00", "gpus_per_node": 2, "nodes": None}})
    assert after.decode() == SOURCE.decode().replace("0:05:00", '"1:00:00"').replace("nodes: 1", "gpus_per_node: 2")


def test_an_edit_of_a_file_of_comments_keeps_them() -> None:
    after = writer.edit_yaml(b"# resources:\n#   nodes: 1\n", {"resources": {"nodes": 2}})
    assert after == b"# resources:\n#   nodes: 1\nresources:\n  nodes: 2\n"


def test_an_edit_of_what_is_wrong_is_refused() -> None:
    with pytest.raises(Invalid, match="twice"):
        writer.edit_yaml(b"a: 1\na: 2", {"b": 1})
    with pytest.raises(Invalid, match="mapping"):
        writer.edit_yaml(b"[1]", {"b": 1})


keys = st.sampled_from(["a", "b", "c"])
maps = st.recursive(
    scalars, lambda inner: st.dictionaries(keys, inner, max_size=3) | st.lists(inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(keys, maps, min_size=1), st.dictionaries(keys, maps))
@settings(deadline=None)
def test_an_edit_is_the_merge_of_the_values(before: dict[str, Any], changes: dict[str, Any]) -> None:
    try:
        after = writer.edit_yaml(writer.dump_yaml(before), changes)
    except Invalid as refused:
        # It may decline, it may never change anything else.
        assume("by hand" not in str(refused))
        raise
    assert reader.load_yaml(after).value == writer.merge_changes(before, changes)


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Which files were parsed, in order."""
    seen: list[bytes] = []
    composed = reader._compose_text
    monkeypatch.setattr(reader, "_compose_text", lambda data: seen.append(data) or composed(data))
    monkeypatch.setattr(reader, "MEMORY_FROM", 1)
    return seen


def test_what_was_read_once_is_remembered_for_the_next_start(parses: list[bytes]) -> None:
    reader.start_remembering(None)
    first = [reader.load_yaml(data).value for data in (b"a: [1, 0.1]", b"b: null", b"# none")]
    saved = reader.stop_remembering(None)
    assert saved is not None
    del parses[:]
    reader.start_remembering(saved)
    again = [reader.load_yaml(data).value for data in (b"a: [1, 0.1]", b"# none")]
    assert again == [first[0], first[2]]
    assert parses == []
    assert reader.load_yaml(b"c: 2").value == {"c": 2}
    assert parses == [b"c: 2"]
    newer = reader.stop_remembering(saved)
    assert newer is not None and b"null" in newer
    reader.start_remembering(newer)
    reader.load_yaml(b"b: null")
    reader.stop_remembering(newer)
    assert parses == [b"c: 2", b"b: null"], "what no file said any more is forgotten"


def test_places_are_known_for_what_is_remembered(parses: list[bytes]) -> None:
    reader.start_remembering(None)
    reader.load_yaml(b"x: 1\ny: 2")
    saved = reader.stop_remembering(None)
    reader.start_remembering(saved)
    assert reader.load_yaml(b"x: 1\ny: 2").locate(("y",)) == (2, 4)
    assert reader.stop_remembering(saved) is None, "nothing new to save"


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: data.replace(b"1", b"2"), lambda data: b""])
def test_a_damaged_memory_is_not_believed(parses: list[bytes], harm: Any) -> None:
    reader.start_remembering(None)
    reader.load_yaml(b"a: 1")
    saved = reader.stop_remembering(None)
    assert saved is not None
    del parses[:]
    reader.start_remembering(harm(saved))
    assert reader.load_yaml(b"a: 1").value == {"a": 1}
    reader.stop_remembering(None)
    assert parses == [b"a: 1"]


# Words that are text to YAML 1.2 or to us, and something else to some reader of YAML 1.1.
WORDS = [
    "2:00:00", "1:30", "190:20:30", "1:30.5", "on", "On", "ON", "off", "yes", "Yes", "NO", "no", "y", "n", "true",
    "null", "~", "Null", "0o17", "017", "0b101", "0x1F", "1_000", "1_000.5", ".5", "5.", "1e3", "1.5e3", "+1", "-0",
    ".inf", "-.INF", ".nan", "=", "<<", "2026-01-01", "2026-1-1", "2026-01-01T10:00:00Z", "!", "&", "*", "-", "?",
    ":", "#", "@", "`", "%", "{}", "[]", "''", '"',
]  # fmt: skip


@given(st.sampled_from([*WORDS, ""]) | st.text(st.sampled_from("0123456789:._-+eExobnyTZ~=<? "), max_size=12))
@settings(deadline=None, max_examples=300)
def test_a_written_word_is_text_to_every_reader(word: str) -> None:
    for data in (writer.dump_yaml({"a": [word], word: word}), b"a: " + writer.dump_inline([word, {word: 1}]).encode()):
        judge, own = yaml.safe_load(data), reader.load_yaml(data).value
        assert judge == own and word in (own["a"] if word in own else own["a"][0])
