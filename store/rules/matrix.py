"""The matrix of a sweep: lists, ranges, logspaces, exclusions. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from store.errors import Invalid, make_problem
from store.rules.fields import is_axis_value, refuse_control_characters, refuse_python

LOC = ("body", "sweep")
MAX_AXES = 100
# Computed values are rounded to so many digits, so that 0.1 + 0.2 becomes 0.3.
DIGITS = 12


def expand_matrix(matrix: Mapping[str, Any], loc: Sequence[str | int] = (*LOC, "matrix")) -> dict[str, list[Any]]:
    """Expand every axis into a list of plain values.

    An axis is a list, `range` [start, stop, step] without stop, or `logspace` [first, last, count]. Raises Invalid with
    everything that is wrong.
    """
    problems: list[dict[str, Any]] = []
    if not matrix:
        problems.append(make_problem("matrix must declare at least one axis", loc))
    if len(matrix) > MAX_AXES:
        problems.append(make_problem(f"matrix has more than {MAX_AXES} axes", loc))
    plain: dict[str, list[Any]] = {}
    for axis, values in matrix.items():
        axis_loc = (*loc, axis)
        try:
            plain[axis] = _expand_axis(axis, values, axis_loc)
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(problems)
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
    problems = [
        make_problem(
            f"matrix axis '{axis}' takes texts, numbers, booleans, null and lists of these", (*loc, index), input=value,
        )
        for index, value in enumerate(values)
        if not is_axis_value(value)
    ]  # fmt: skip
    if problems:
        raise Invalid(problems)
    refuse_control_characters(values, tuple(loc))
    return list(values)


def expand_series(spec: Mapping[str, Any], loc: Sequence[str | int]) -> list[Any]:
    """Expand an axis given as a range or a logspace; Invalid at `loc`."""
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
    values = makers[kind](numbers) if isinstance(numbers, list) and all(map(_is_number, numbers)) else None
    if values is None:
        form = {
            "range": "[start, stop, step] with a step that leads to stop",
            "logspace": "[first, last, count], both above 0",
        }
        raise Invalid([make_problem(f"{kind} takes {form[kind]}", (*loc, kind), input=numbers)])
    return values


def _is_number(value: Any) -> bool:
    # YAML has integers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 <= value <= 1e300


def _expand_range(numbers: list[float]) -> list[Any] | None:
    """Expand a range as Python does, for fractions too.

    >>> _expand_range([0, 1, 0.25]), _expand_range([3, 0, -1]), _expand_range([1, 4])
    ([0.0, 0.25, 0.5, 0.75], [3, 2, 1], [1, 2, 3])
    """
    if len(numbers) not in (2, 3):
        return None
    start, stop = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else 1
    steps = (stop - start) / step if step else 0
    if not 0 < steps <= 1_000_000:
        return None
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return list(range(start, stop, step))  # exact, also beyond what floats hold
    count = math.ceil(round(steps, 9)) or 1
    return [float(f"{start + n * step:.{DIGITS}g}") for n in range(count)]


def _expand_logspace(numbers: list[float]) -> list[Any] | None:
    """Expand from first to last in equal factors, both included.

    >>> _expand_logspace([0.001, 0.1, 3])
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
    """List the axis values of each cell of the sweep.

    Cells are the product in the order of the axes, the last one changing fastest, less those excluded. An entry of
    `exclude` removes every cell that has all of its values. Raises Invalid for more than `limit` cells, or none.
    """
    size = math.prod(len(values) for values in matrix.values())
    if size > limit * (10 if exclude else 1):
        raise Invalid([make_problem(f"matrix cell_count={size} exceeds limit {limit}", (*LOC, "matrix"), input=size)])
    problems = [
        make_problem(f"exclude names '{axis}', which is no axis of the matrix", (*LOC, "exclude", index, axis))
        for index, entry in enumerate(exclude)
        for axis in entry
        if axis not in matrix
    ]
    if problems:
        raise Invalid(problems)
    axes = list(matrix)
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*matrix.values())]
    if exclude:
        cells = [cell for cell in cells if not any(_is_excluded(cell, entry) for entry in exclude)]
    if len(cells) > limit:
        raise Invalid(
            [make_problem(f"matrix cell_count={len(cells)} exceeds limit {limit}", (*LOC, "matrix"), input=len(cells))]
        )
    if not cells:
        raise Invalid([make_problem("exclude leaves no cell of the matrix", (*LOC, "exclude"))])
    return cells


def _is_excluded(cell: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    # 1, 1.0 and true are different values of an axis.
    """Return whether the cell has all values of the entry."""
    return bool(entry) and all(
        cell[axis] == value and type(cell[axis]) is type(value) and repr(cell[axis]) == repr(value)
        for axis, value in entry.items()
    )
