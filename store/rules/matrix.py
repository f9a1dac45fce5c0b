"""The matrix of a sweep: axes as lists, ranges and logspaces; their product, less what is excluded. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from store.errors import Invalid, make_problem
from store.rules.fields import refuse_python

LOC = ("body", "sweep")
MAX_AXES = 100
# A value given as a number of steps has no more digits than people write.
DIGITS = 12


def expand_matrix(matrix: Mapping[str, Any], loc: Sequence[str | int] = (*LOC, "matrix")) -> dict[str, list[Any]]:
    """The matrix with plain values only: `range` [start, stop, step] without stop, `logspace` [first, last, count].

    Raises Invalid with everything that is wrong.
    """
    wrong: list[dict[str, Any]] = []
    if not matrix:
        wrong.append(make_problem("matrix must declare at least one axis", loc))
    if len(matrix) > MAX_AXES:
        wrong.append(make_problem(f"matrix has more than {MAX_AXES} axes", loc))
    plain: dict[str, list[Any]] = {}
    for axis, values in matrix.items():
        place = (*loc, axis)
        try:
            plain[axis] = _expand_axis(axis, values, place)
        except Invalid as error:
            wrong += error.problems
    if wrong:
        raise Invalid(wrong)
    return plain


def _expand_axis(axis: str, values: Any, loc: Sequence[str | int]) -> list[Any]:
    if not axis.isidentifier():
        raise Invalid([make_problem(f"matrix axis '{axis}' cannot be the name of an arg", loc, input=axis)])
    if axis == "deps":
        raise Invalid([make_problem("the name 'deps' is reserved for the exports of other jobs", loc, input=axis)])
    if isinstance(values, Mapping):
        values = expand_series(values, loc)
    if not isinstance(values, list):
        raise Invalid([make_problem(f"matrix axis '{axis}' must be a list, a range or a logspace", loc, input=values)])
    if not values:
        raise Invalid([make_problem(f"matrix axis '{axis}' must contain at least one value", loc, input=values)])
    refuse_python(values, tuple(loc))
    wrong = [
        make_problem(
            f"matrix axis '{axis}' holds something that is no text, number or boolean", (*loc, at), input=value
        )
        for at, value in enumerate(values)
        if not _is_scalar(value)
    ]
    if wrong:
        raise Invalid(wrong)
    return list(values)


def _is_scalar(value: Any) -> bool:
    # JSON as we write it has integers of 64 bits, and neither infinity nor NaN.
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def expand_series(spec: Mapping[str, Any], loc: Sequence[str | int]) -> list[Any]:
    """The values of an axis that is given as a range or a logspace; Invalid at `loc`."""
    kind, numbers = next(iter(spec.items())) if len(spec) == 1 else ("", None)
    makers = {"range": _expand_range, "logspace": _expand_logspace}
    if kind not in makers:
        raise Invalid(
            [
                make_problem(
                    "must be a list of values, {range: [start, stop, step]} or {logspace: [first, last, count]}", loc
                )
            ]
        )
    made = makers[kind](numbers) if isinstance(numbers, list) and all(map(_is_number, numbers)) else None
    if made is None:
        form = {
            "range": "[start, stop, step] with a step that leads to stop",
            "logspace": "[first, last, count], both above 0",
        }
        raise Invalid([make_problem(f"{kind} takes {form[kind]}", (*loc, kind), input=numbers)])
    return made


def _is_number(value: Any) -> bool:
    # YAML has integers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 <= value <= 1e300


def _expand_range(numbers: list[float]) -> list[Any] | None:
    """As Python's range, for fractions too.

    >>> _range([0, 1, 0.25]), _range([3, 0, -1]), _range([1, 4])
    ([0.0, 0.25, 0.5, 0.75], [3, 2, 1], [1, 2, 3])
    """
    if len(numbers) not in (2, 3):
        return None
    start, stop = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else 1
    steps = (stop - start) / step if step else 0
    if not 0 < steps <= 1_000_000:
        return None
    count = math.ceil(round(steps, 9)) or 1
    whole = all(isinstance(n, int) for n in numbers)
    return [start + n * step if whole else float(f"{start + n * step:.{DIGITS}g}") for n in range(count)]


def _expand_logspace(numbers: list[float]) -> list[Any] | None:
    """From first to last in equal factors, both included.

    >>> _logspace([0.001, 0.1, 3])
    [0.001, 0.01, 0.1]
    """
    if (
        len(numbers) != 3
        or min(numbers[:2]) <= 0
        or not isinstance(numbers[2], int)
        or not 2 <= numbers[2] <= 1_000_000
    ):
        return None
    first, last, count = numbers
    factor = (math.log(last) - math.log(first)) / (count - 1)
    between = [float(f"{math.exp(math.log(first) + n * factor):.{DIGITS}g}") for n in range(1, int(count) - 1)]
    return [float(first), *between, float(last)]


def list_cells(
    matrix: Mapping[str, list[Any]], exclude: Sequence[Mapping[str, Any]], limit: int
) -> list[dict[str, Any]]:
    """The axis values of each cell: the product in the order of the axes, the last one fastest, less what is excluded.

    An entry of `exclude` takes out every cell that agrees with all of its values. Raises Invalid when more than `limit`
    are left, or none.
    """
    size = math.prod(len(values) for values in matrix.values())
    if size > limit * (10 if exclude else 1):
        raise Invalid([make_problem(f"matrix cell_count={size} exceeds limit {limit}", (*LOC, "matrix"), input=size)])
    wrong = [
        make_problem(f"exclude names '{axis}', which is no axis of the matrix", (*LOC, "exclude", at, axis))
        for at, entry in enumerate(exclude)
        for axis in entry
        if axis not in matrix
    ]
    if wrong:
        raise Invalid(wrong)
    axes = list(matrix)
    found = [dict(zip(axes, values, strict=True)) for values in itertools.product(*matrix.values())]
    if exclude:
        found = [cell for cell in found if not any(_is_excluded(cell, entry) for entry in exclude)]
    if len(found) > limit:
        raise Invalid(
            [make_problem(f"matrix cell_count={len(found)} exceeds limit {limit}", (*LOC, "matrix"), input=len(found))]
        )
    if not found:
        raise Invalid([make_problem("exclude leaves no cell of the matrix", (*LOC, "exclude"))])
    return found


def _is_excluded(cell: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    # 1, 1.0 and true are different values of an axis.
    return bool(entry) and all(cell[axis] == value and type(cell[axis]) is type(value) for axis, value in entry.items())
