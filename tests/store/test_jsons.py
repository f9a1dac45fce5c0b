"""What is told of a value that fits none of several forms: the place and the reason that help."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import jsonschema_rs
import pytest

from store.errors import NotJson, WrongKind
from store.jsons import MAX_PARTS, dump_json, list_problems, load_json, parse_json

WORDS = {"enum": ["all", "none"]}
NUMBERS = {"type": "array", "minItems": 1, "items": {"type": ["integer", "string"], "minimum": 0}}
NESTED = {"type": "object", "required": ["a"], "properties": {"a": {"oneOf": [{"type": "null"}, NUMBERS]}}}


@pytest.mark.parametrize(
    ("why", "forms", "value", "loc", "kind"),
    [
        ("deep in the only form of its type", [WORDS, NUMBERS], [1, None], ["body", 1], "integer_type"),
        ("a bound of the form of its type", [WORDS, NUMBERS], [], ["body"], "too_short"),
        ("a word that is none of the words", [WORDS, NUMBERS], "some", ["body"], "literal_error"),
        ("not null, but not right either", [{"type": "null"}, NESTED], {}, ["body", "a"], "missing"),
        ("a form within a form", [{"type": "null"}, NESTED], {"a": [-1]}, ["body", "a", 0], "greater_than_equal"),
        ("of no type: of what it could be, not null", [{"type": "null"}, NESTED], 5, ["body"], "object_type"),
        ("only null is no choice", [{"type": "null"}], 5, ["body"], "null_type"),
    ],
)
@pytest.mark.parametrize("choice", ["oneOf", "anyOf"])
def test_the_nearest_form_is_spoken_of(
    why: str, choice: str, forms: list[Any], value: Any, loc: list[Any], kind: str
) -> None:
    schema = {choice: forms}
    (error,) = jsonschema_rs.validator_for(schema).iter_errors(value)
    (problem,) = list_problems(error, schema, "body")
    assert (problem["loc"], problem["type"]) == (loc, kind), why


def test_a_value_of_two_forms_is_told_as_it_is() -> None:
    schema = {"oneOf": [{"type": "integer"}, {"minimum": 0}]}
    (error,) = jsonschema_rs.validator_for(schema).iter_errors(5)
    assert list_problems(error, schema, "body")[0]["loc"] == ["body"]


DIGIT = {"pattern": "^[0-9]$", "x-form": "a digit"}
CLOSED = {
    "properties": {"matrix": {}, "part": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/Part"}]}},
    "additionalProperties": False,
    "$defs": {"Part": {"type": "object", "properties": {"from_job": {}}, "additionalProperties": False}},
}


@pytest.mark.parametrize(
    ("why", "value", "prefix", "messages"),
    [
        ("each by itself", {"matirx": 1, "z": 2}, "body",
         {("body", "matirx"): "unknown field 'matirx'; did you mean 'matrix'?", ("body", "z"): "unknown field 'z'"}),
        ("in a part that is referred to", {"part": {"from-jobs": 1}}, "body",
         {("body", "part", "from-jobs"): "unknown field 'from-jobs'; did you mean 'from_job'?"}),
        ("of a query", {"Matrix": 1}, "query",
         {("query", "Matrix"): "unknown query parameter 'Matrix'; did you mean 'matrix'?"}),
    ],
)  # fmt: skip
def test_unknown_fields_are_named_with_the_near_word(
    why: str, value: Any, prefix: str, messages: dict[Any, str]
) -> None:
    (error,) = jsonschema_rs.validator_for(CLOSED).iter_errors(value)
    assert {tuple(row["loc"]): row["msg"] for row in list_problems(error, CLOSED, prefix)} == messages, why


@pytest.mark.parametrize(
    ("why", "schema", "value", "message"),
    [
        ("a number as text", {"type": "integer"}, "2", 'Input should be an integer, not "2"'),
        ("one of two types", {"type": ["integer", "string", "null"]}, [],
         "Input should be an integer or a string, not a list"),
        ("yes or no", {"type": "boolean"}, "yes", 'Input should be true or false, not "yes"'),
        ("a long value is cut", {"type": "object"}, "a" * 99, f'Input should be an object, not "{"a" * 59}…'),
        ("a word near to one", {"enum": ["csv", "tsv"]}, "CSVs", "Input should be 'csv' or 'tsv'; did you mean 'csv'?"),
        ("a word near to none", {"enum": ["csv", "tsv"]}, "excel", "Input should be 'csv' or 'tsv'"),
        ("no text", {"minLength": 1}, "", "must not be empty"),
        ("no rows", {"minItems": 1}, [], "must not be empty"),
        ("too few rows", {"minItems": 2}, [], "[] has less than 2 items"),
        ("a pattern in words", DIGIT, "ab", 'Input should be a digit, not "ab"'),
        ("a pattern in words, referred to", {"$ref": "#/$defs/Digit", "$defs": {"Digit": DIGIT}}, "ab",
         'Input should be a digit, not "ab"'),
        ("a pattern without words", {"pattern": "^[0-9]$"}, "ab", '"ab" does not match "^[0-9]$"'),
    ],
)  # fmt: skip
def test_what_a_value_should_be_is_told_in_words(why: str, schema: Any, value: Any, message: str) -> None:
    (error,) = jsonschema_rs.validator_for(schema).iter_errors(value)
    (problem,) = list_problems(error, schema, "body")
    assert problem["msg"] == message, why


@pytest.mark.parametrize("number", [0, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 12345678901234567890123, 10**3999])
def test_integers_of_any_size_are_exact(number: int) -> None:
    value = {"a": [number, {"b": number, "t": "12345678901234567890123"}], "f": 1.5}
    assert load_json(dump_json(value)) == value
    assert type(load_json(dump_json(value))["a"][0]) is int


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("not a number", b"[NaN]"),
        ("infinity", b'{"a": -Infinity}'),
        ("beyond every float", b"[1e999]"),
        ("after a large integer", b"[12345678901234567890123, 1e999]"),
        ("too many digits", b"[" + b"9" * 4001 + b"]"),
    ],
)
def test_numbers_that_are_none_are_refused(why: str, data: bytes) -> None:
    with pytest.raises(NotJson):
        parse_json(data)


@pytest.mark.parametrize(
    ("why", "data", "is_taken"),
    [
        ("as many lists as that", b"[" + b"[]," * (MAX_PARTS - 2) + b"1]", True),
        ("one more", b"[" + b"[]," * MAX_PARTS + b"1]", False),
        ("objects", b"[" + b"{}," * MAX_PARTS + b"1]", False),
        ("what only is text", b'["' + b"[" * (MAX_PARTS * 2) + rb"\"[" + b'"]', True),
        ("numbers", b"[" + b"1," * MAX_PARTS * 2 + b"1]", True),
    ],
)
def test_a_body_has_no_millions_of_parts(why: str, data: bytes, is_taken: bool) -> None:
    if is_taken:
        parse_json(data)
        return
    with pytest.raises(NotJson, match="more than 250000 lists and objects"):
        parse_json(data)


def test_json_that_is_kept_takes_no_more_memory_than_it_is_long() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [dump_json({"number": number}) for number in range(1000)]
        each = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()
    assert each < 500, "orjson alone leaves some thousand bytes behind each"


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("twice", b'{"a": 1, "a": 2}'),
        ("with as many commas as members without it", b'{"a": 1, "b": 2, "a": 3}'),
        ("a comma in a text", b'{"a": "1,2", "a": 3}'),
        ("in an object inside", b'{"a": {"b": 1, "b": 2}}'),
        ("in a list", b'[{"a": 1, "a": 2}]'),
    ],
)
def test_a_key_that_stands_twice_is_refused(why: str, data: bytes) -> None:
    with pytest.raises(WrongKind, match="stands twice"):
        parse_json(data)


def test_keys_that_stand_once_are_taken() -> None:
    assert parse_json(b'{"a": "1,2", "b": {}}') == {"a": "1,2", "b": {}} and parse_json(b"{}") == {}
