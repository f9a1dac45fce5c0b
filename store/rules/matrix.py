"""The matrix of a sweep: lists, ranges, logspaces, exclusions. Pure."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from store.errors import TOLD_PROBLEMS, Invalid, make_problem
from store.rules.fields import is_axis_value, refuse_control_characters, refuse_python

LOC = ("body", "sweep")
MAX_AXES = 100
# Above any configured limit; the configuration sets the real one.
MAX_CELLS = 1_000_000
# Counting goes no further, so that every count can be written in an answer.
MAX_COUNTED = 10**18
# So many times the limit may be listed where some of it is excluded.
EXCLUDABLE = 10
# Computed values are rounded to so many digits, so that 0.1 + 0.2 becomes 0.3.
DIGITS = 12


def count_cells(matrix: Mapping[str, Any]) -> int:
    """Count the combinations without expanding any axis, up to MAX_COUNTED.

    An axis that is none counts as one value.

    >>> count_cells({"a": [1, 2], "b": {"range": [0, 10**9]}}), count_cells({"a": {"range": [0, 1e300, 1e-300]}})
    (2000000000, 1000000000000000000)
    """
    count = 1
    for values in matrix.values():
        own = count_series(values) if isinstance(values, Mapping) else len(values) if isinstance(values, list) else 1
        count = min(count * (own or 1), MAX_COUNTED)
    return count


def refuse_many_cells(matrix: Mapping[str, Any], limit: int, exclude: Sequence[Any] = ()) -> None:
    """Raise Invalid for more combinations than `limit` and `exclude` allow."""
    if (count := count_cells(matrix)) > limit * (EXCLUDABLE if exclude else 1):
        raise _make_count_error(count, limit)


def _make_count_error(count: int, limit: int) -> Invalid:
    at_least = " or more" if count == MAX_COUNTED else ""
    message = f"matrix cell_count={count}{at_least} exceeds limit {limit}"
    return Invalid([make_problem(message, (*LOC, "matrix"), input=count)])


def expand_matrix(
    matrix: Mapping[str, Any], limit: int = MAX_CELLS, exclude: Sequence[Any] = ()
) -> dict[str, list[Any]]:
    """Expand every axis into a list of plain values.

    An axis is a list, `range` [start, stop, step] without stop, or `logspace` [first, last, count]. Raises Invalid with
    everything that is wrong, and before any axis is expanded for more combinations than `limit` and `exclude` allow.
    """
    loc = (*LOC, "matrix")
    refuse_many_cells(matrix, limit, exclude)
    problems: list[dict[str, Any]] = []
    if not matrix:
        problems.append(make_problem("matrix must declare at least one axis", loc))
    if len(matrix) > MAX_AXES:
        raise Invalid([make_problem(f"matrix has more than {MAX_AXES} axes", loc)])
    plain: dict[str, list[Any]] = {}
    for axis, values in matrix.items():
        try:
            plain[axis] = _expand_axis(axis, values, (*loc, axis))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(problems[:TOLD_PROBLEMS])
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
        raise Invalid(problems[:TOLD_PROBLEMS])
    refuse_control_characters(values, tuple(loc))
    return list(values)


SERIES = {
    "range": "[start, stop, step] with a step that leads to stop",
    "logspace": "[first, last, count], both above 0",
}


def expand_series(spec: Mapping[str, Any], loc: Sequence[str | int]) -> list[Any]:
    """Expand an axis given as a range or a logspace; Invalid at `loc`."""
    check_series(spec, loc)
    kind, numbers = next(iter(spec.items()))
    return _expand_range(numbers) if kind == "range" else _expand_logspace(numbers)


def check_series(spec: Mapping[str, Any], loc: Sequence[str | int]) -> None:
    """Raise Invalid at `loc` for what is no series, or has too many values."""
    kind = next(iter(spec)) if len(spec) == 1 else ""
    if kind not in SERIES:
        message = "must be a list of values, {range: [start, stop, step]} or {logspace: [first, last, count]}"
        raise Invalid([make_problem(message, loc)])
    count = count_series(spec)
    if not count:
        raise Invalid([make_problem(f"{kind} takes {SERIES[kind]}", (*loc, kind), input=spec[kind])])
    if count > MAX_CELLS:
        message = f"{kind} has more than {MAX_CELLS} values"
        raise Invalid([make_problem(message, (*loc, kind), input=spec[kind])])


def count_series(spec: Mapping[str, Any]) -> int:
    """Count the values of a series up to MAX_COUNTED; 0 for what is none."""
    kind, numbers = next(iter(spec.items())) if len(spec) == 1 else ("", None)
    if kind not in SERIES or not isinstance(numbers, list) or not all(map(_is_number, numbers)):
        return 0
    return min(_count_range(numbers) if kind == "range" else _count_logspace(numbers), MAX_COUNTED)


def _is_number(value: Any) -> bool:
    # YAML has integers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 <= value <= 1e300


def _count_range(numbers: list[float]) -> int:
    start, stop, step = [*numbers, 1][:3] if len(numbers) in (2, 3) else (0, 0, 1)
    if all(isinstance(number, int) for number in numbers):
        return max(0, -((start - stop) // step)) if step else 0  # type: ignore[return-value]
    steps = (stop - start) / step if step else 0
    return math.ceil(round(min(steps, MAX_COUNTED), 9)) or 1 if steps > 0 else 0


def _expand_range(numbers: list[float]) -> list[Any]:
    """Expand a range as Python does, for fractions too.

    >>> _expand_range([0, 1, 0.25]), _expand_range([3, 0, -1]), _expand_range([1, 4])
    ([0.0, 0.25, 0.5, 0.75], [3, 2, 1], [1, 2, 3])
    """
    start, stop, step = [*numbers, 1][:3]
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return list(range(start, stop, step))  # exact, also beyond what floats hold
    return [float(f"{start + n * step:.{DIGITS}g}") for n in range(_count_range(numbers))]


def _count_logspace(numbers: list[float]) -> int:
    if len(numbers) != 3 or min(numbers[:2]) <= 0 or not isinstance(numbers[2], int) or numbers[2] < 2:
        return 0
    return numbers[2]


def _expand_logspace(numbers: list[float]) -> list[Any]:
    """Expand from first to last in equal factors, both included.

    >>> _expand_logspace([0.001, 0.1, 3])
    [0.001, 0.01, 0.1]
    """
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
    refuse_many_cells(matrix, limit, exclude)
    unknown = [(index, axis) for index, entry in enumerate(exclude) for axis in entry if axis not in matrix]
    if unknown:
        raise Invalid(
            [
                make_problem(f"exclude names '{axis}', which is no axis of the matrix", (*LOC, "exclude", index, axis))
                for index, axis in unknown[:TOLD_PROBLEMS]
            ]
        )
    combinations: Iterable[tuple[Any, ...]] = itertools.product(*matrix.values())
    if exclude:
        # An entry that every value of a combination fits excludes it.
        fits = (functools.reduce(operator.and_, bits) for bits in itertools.product(*_list_fits(matrix, exclude)))
        combinations = (values for values, bits in zip(combinations, fits, strict=True) if not bits)
    left = iter(combinations)
    cells = [dict(zip(matrix, values, strict=True)) for values in itertools.islice(left, limit)]
    if more := sum(1 for _ in left):
        raise _make_count_error(len(cells) + more, limit)
    if not cells:
        raise Invalid([make_problem("exclude leaves no cell of the matrix", (*LOC, "exclude"))])
    return cells


def _list_fits(matrix: Mapping[str, list[Any]], exclude: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """List for each value of each axis which entries it fits, one bit each.

    It fits those that name it, or do not name its axis. So the work grows with the entries plus the cells.
    """
    every = []
    for axis, values in matrix.items():
        silent, named = 0, dict[str, int]()
        for index, entry in enumerate(exclude):
            if axis in entry:
                key = _identify_value(entry[axis])
                named[key] = named.get(key, 0) | 1 << index
            elif entry:
                silent |= 1 << index
        named = {key: bits | silent for key, bits in named.items()}
        every.append([named.get(_identify_value(value), silent) for value in values])
    return every


def _identify_value(value: Any) -> str:
    # 1, 1.0 and true are different values of an axis.
    return f"{type(value).__name__} {value!r}"
