"""What is told of a value that fits none of several forms: the place and the reason that help."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from store.jsons import to_problem

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
    (error,) = jsonschema_rs.validator_for({choice: forms}).iter_errors(value)
    problem = to_problem(error, "body")
    assert (problem["loc"], problem["type"]) == (loc, kind), why


def test_a_value_of_two_forms_is_told_as_it_is() -> None:
    (error,) = jsonschema_rs.validator_for({"oneOf": [{"type": "integer"}, {"minimum": 0}]}).iter_errors(5)
    assert to_problem(error, "body")["loc"] == ["body"]
