"""A refusal cannot fail, whatever it has to say."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app
from slurm_shim.errors import SlurmConflict
from store.errors import Conflict, Invalid, make_problem


class Speechless(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        return str(10**5000)


def nest(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


# By name, since not even the test's own tools can print them all.
ODD = {
    "beyond 64 bits": 2**64, "below 64 bits": -(2**64), "beyond what Python writes": 10**5000, "no text": Speechless(),
    "no value": object(), "no JSON": {1, 2}, "deeper than JSON": nest(300), "deeper than Python": nest(50_000),
}  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # half surrogate pairs too
LEAVES = (
    st.none() | st.booleans() | st.floats() | ANY_TEXT | st.binary(max_size=9) | st.complex_numbers()
    | st.integers()
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT | st.integers(), inner, max_size=4)
)


def refuse(problem: Exception, family: app.Family) -> Any:
    """What a client reads of the refusal."""
    call = SimpleNamespace(family=family, request_id=b"req_1", endpoint=None)
    return json.loads(family.envelope(app.make_refusal(call, problem)))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", app.FAMILIES, ids=lambda family: family.name)
@settings(deadline=None)
@given(value=ANYTHING, message=ANY_TEXT, loc=st.lists(ANY_TEXT | st.integers(), max_size=3))
def test_whatever_is_wrong_can_be_said(family: app.Family, value: Any, message: str, loc: list[str | int]) -> None:
    wrong = make_problem(message, loc, input=value)
    assert refuse(Invalid([wrong]), family)
    assert refuse(SlurmConflict("sbatch", 1, message), family)


@pytest.mark.parametrize("why", ODD)
def test_what_cannot_be_shown_is_named(why: str) -> None:
    for value in (ODD[why], [ODD[why]], {"key": ODD[why]}):
        problems = refuse(Invalid([make_problem("x", ["body", ODD[why]], input=value)]), app.FAMILIES[0])["detail"]
        assert problems[0]["msg"] == "x", why


@pytest.mark.parametrize(
    ("why", "problem"),
    [
        ("an integer that Python does not write", Invalid([make_problem("x", ["a"], input=10**5000)])),
        ("no place and no problem", Invalid([])),
        ("an exception without text", Speechless()),
        ("a text that UTF-8 cannot hold", Conflict("\ud800")),
        ("a text without end", Invalid([make_problem("x" * 10**5, ["y" * 10**5], input="z" * 10**5)])),
        ("more problems than anybody reads", Invalid([make_problem("x", ["a", n], input=n) for n in range(10**4)])),
        ("thousands of keys", Invalid([make_problem("x", ["a"], input={str(n): n for n in range(10**4)})])),
    ],
)
def test_it_is_short(why: str, problem: Exception) -> None:
    assert len(json.dumps(refuse(problem, app.FAMILIES[0]))) < 30_000, why
