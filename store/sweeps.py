"""What a sweep is and what becomes of it: pure rules from its document and the states of its cells.

A cell that has not started is no file: it is its place in the matrix. It becomes a run of its own when its turn comes,
so a sweep of 10,000 cells is created with one write. `waiting` says which of the cells without a run still wait; the
others without a run were cancelled while they waited. A cell with a run is what the run is, whatever `waiting` says: a
server that is killed between the two writes goes on rightly.

A cell that is to run again keeps its run, which is `pending` until its turn comes. `again` names the cells whose runs
have not been told so yet, so that running many cells again is accepted with one write, wholly or not at all.
"""

from __future__ import annotations

import itertools
import math
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.documents import Sweep
from store.errors import Conflict, Invalid, problem
from store.fields import refuse_python
from store.shapes import Workflow
from store.times import rfc3339

ENDED = frozenset({"completed", "failed", "cancelled"})
STATES = ("pending", "running", "completed", "failed", "cancelled")
LOC = ("body", "sweep")
MAX_AXES = 100
# So many cells begin in one go: a cancellation that arrives meanwhile waits for no more than these.
AT_ONCE = 100
# A value given as a number of steps has no more digits than people write.
DIGITS = 12


# ---- the matrix


def expanded(matrix: Mapping[str, Any], loc: Sequence[str | int] = (*LOC, "matrix")) -> dict[str, list[Any]]:
    """The matrix with plain values only: `range` [start, stop, step] without stop, `logspace` [first, last, count].

    Raises Invalid with everything that is wrong.
    """
    wrong: list[dict[str, Any]] = []
    if not matrix:
        wrong.append(problem("matrix must declare at least one axis", loc))
    if len(matrix) > MAX_AXES:
        wrong.append(problem(f"matrix has more than {MAX_AXES} axes", loc))
    plain: dict[str, list[Any]] = {}
    for axis, values in matrix.items():
        place = (*loc, axis)
        try:
            plain[axis] = _axis(axis, values, place)
        except Invalid as error:
            wrong += error.problems
    if wrong:
        raise Invalid(wrong)
    return plain


def _axis(axis: str, values: Any, loc: Sequence[str | int]) -> list[Any]:
    if not axis.isidentifier():
        raise Invalid([problem(f"matrix axis '{axis}' cannot be the name of an arg", loc, input=axis)])
    if axis == "deps":
        raise Invalid([problem("the name 'deps' is reserved for the exports of other jobs", loc, input=axis)])
    if isinstance(values, Mapping):
        values = _series(values, loc)
    if not isinstance(values, list):
        raise Invalid([problem(f"matrix axis '{axis}' must be a list, a range or a logspace", loc, input=values)])
    if not values:
        raise Invalid([problem(f"matrix axis '{axis}' must contain at least one value", loc, input=values)])
    refuse_python(values, tuple(loc))
    wrong = [
        problem(f"matrix axis '{axis}' holds something that is no text, number or boolean", (*loc, at), input=value)
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


def _series(spec: Mapping[str, Any], loc: Sequence[str | int]) -> list[Any]:
    kind, numbers = next(iter(spec.items())) if len(spec) == 1 else ("", None)
    makers = {"range": _range, "logspace": _logspace}
    if kind not in makers:
        raise Invalid(
            [problem("must be a list of values, {range: [start, stop, step]} or {logspace: [first, last, count]}", loc)]
        )
    made = makers[kind](numbers) if isinstance(numbers, list) and all(map(_is_number, numbers)) else None
    if made is None:
        form = {
            "range": "[start, stop, step] with a step that leads to stop",
            "logspace": "[first, last, count], both above 0",
        }
        raise Invalid([problem(f"{kind} takes {form[kind]}", (*loc, kind), input=numbers)])
    return made


def _is_number(value: Any) -> bool:
    # YAML has integers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 <= value <= 1e300


def _range(numbers: list[float]) -> list[Any] | None:
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


def _logspace(numbers: list[float]) -> list[Any] | None:
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


def cells(matrix: Mapping[str, list[Any]], exclude: Sequence[Mapping[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The axis values of each cell: the product in the order of the axes, the last one fastest, less what is excluded.

    An entry of `exclude` takes out every cell that agrees with all of its values. Raises Invalid when more than `limit`
    are left, or none.
    """
    size = math.prod(len(values) for values in matrix.values())
    if size > limit * (10 if exclude else 1):
        raise Invalid([problem(f"matrix cell_count={size} exceeds limit {limit}", (*LOC, "matrix"), input=size)])
    wrong = [
        problem(f"exclude names '{axis}', which is no axis of the matrix", (*LOC, "exclude", at, axis))
        for at, entry in enumerate(exclude)
        for axis in entry
        if axis not in matrix
    ]
    if wrong:
        raise Invalid(wrong)
    axes = list(matrix)
    found = [dict(zip(axes, values, strict=True)) for values in itertools.product(*matrix.values())]
    if exclude:
        found = [cell for cell in found if not any(_agrees(cell, entry) for entry in exclude)]
    if len(found) > limit:
        raise Invalid(
            [problem(f"matrix cell_count={len(found)} exceeds limit {limit}", (*LOC, "matrix"), input=len(found))]
        )
    if not found:
        raise Invalid([problem("exclude leaves no cell of the matrix", (*LOC, "exclude"))])
    return found


def _agrees(cell: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    # 1, 1.0 and true are different values of an axis.
    return bool(entry) and all(cell[axis] == value and type(cell[axis]) is type(value) for axis, value in entry.items())


# ---- cells


def new_uid() -> str:
    """What the ids of a sweep's cells begin with: 24 hexadecimal digits of a UUID (RFC 9562, version 8)."""
    return str(uuid.uuid8() if hasattr(uuid, "uuid8") else _version8(uuid.uuid4().int)).replace("-", "")[:24]


def _version8(number: int) -> uuid.UUID:
    return uuid.UUID(int=(number & ~(0xF << 76)) | (8 << 76))


def cell_id(uid: str, index: int) -> str:
    """The UUID of the cell at this place.

    >>> cell_id("0123456789ab8def8123abcd", 10)
    '01234567-89ab-8def-8123-abcd0000000a'
    """
    return str(uuid.UUID(f"{uid}{index:08x}"))


def place_of(run_id: str) -> tuple[str, int]:
    """The uid and the place that a cell's id is made of; of any other UUID, what would be; of no UUID, no uid."""
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run_id):
        return "", 0
    plain = run_id.replace("-", "")
    return plain[:24], int(plain[24:], 16)


def state_of(status: str, is_open: bool) -> str:
    """What a cell's run counts as: pending until its turn comes again, running until the last of its jobs has ended."""
    return "running" if is_open and status != "pending" else status


def ranges(indices: Iterable[int]) -> str:
    """The numbers as text, runs of them shortened.

    >>> ranges([0, 1, 2, 5, 7, 8]), ranges([])
    ('0-2,5,7-8', '')
    """
    parts = []
    for _, group in itertools.groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(parts)


def indices(text: str) -> list[int]:
    """The numbers of `ranges`, ascending."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


# ---- what becomes of a sweep


def new(
    workflow: Workflow,
    text: str,
    wanted: Mapping[str, Any],
    body: Mapping[str, Any],
    limit: int,
    given: Mapping[str, Any],
    now: float,
) -> Sweep:
    """A sweep that is not written yet and has no number; Invalid with what is wrong with its matrix.

    `text` is the workflow's file, `wanted` has matrix, exclude, fail_fast and max_parallel, `body` args_override and
    the part of the workflow, `given` mount, cluster, source and request_hash.
    """
    matrix = expanded(wanted["matrix"])
    exclude = wanted.get("exclude") or []
    count = len(cells(matrix, exclude, limit))
    refuse_python(body.get("args_override") or {}, ("body", "args_override"))
    args = {**workflow.args, **(body.get("args_override") or {})}
    return Sweep(
        id="0",
        uid=new_uid(),
        name=workflow.name,
        workflow_name=workflow.name,
        workflow_text=text,
        mount=given["mount"],
        cluster=given["cluster"],
        matrix=matrix,
        exclude=exclude,
        args={key: value for key, value in args.items() if key not in matrix},
        part={key: body[key] for key in ("from_job", "to_job", "single_job") if body.get(key)},
        fail_fast=bool(wanted.get("fail_fast")),
        max_parallel=wanted.get("max_parallel") or 4,
        cell_count=count,
        waiting=ranges(range(count)),
        submission_source=given["source"],
        started_at=rfc3339(now) or "",
        request_hash=given["request_hash"],
    )


def bounded(sweep: Sweep, max_parallel: int) -> Sweep:
    """The sweep with another bound; Conflict for one that has ended."""
    if sweep.status in ENDED:
        raise Conflict(f"Sweep run {sweep.id} is already {sweep.status}")
    return sweep.model_copy(update={"max_parallel": max_parallel})


@dataclass(frozen=True)
class Start:
    """Let these cells become runs, in this order."""

    indices: tuple[int, ...]


@dataclass(frozen=True)
class CancelCells:
    """Cancel the runs of these cells."""

    indices: tuple[int, ...]


Step = Start | CancelCells


def seen(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    """What each cell with a run counts as: those that are to run again wait, or are cancelled when the sweep drains.

    `states` are those that the runs themselves are in, here and below.
    """
    found = _known(sweep, states)
    if stopping(sweep, states):
        return {index: "cancelled" if state == "pending" else state for index, state in found.items()}
    return found


def _known(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    return {**states, **dict.fromkeys(indices(sweep.again), "pending")}


def stopping(sweep: Sweep, states: Mapping[int, str]) -> bool:
    """Whether no further cell may start: somebody cancelled the sweep, or it fails fast and a cell has failed.

    Cells that had failed before others were run again, and were not themselves, do not count.
    """
    if sweep.cancel_requested_at:
        return True
    failed = (
        {index for index, state in _known(sweep, states).items() if state == "failed"} if sweep.fail_fast else set()
    )
    return bool(failed.difference(indices(sweep.forgiven)))


def counts(sweep: Sweep, states: Mapping[int, str]) -> dict[str, int]:
    """How many cells are in each state; the sum is the number of cells."""
    found = seen(sweep, states)
    counted = Counter(found.values())
    waiting = 0 if stopping(sweep, states) else sum(1 for index in indices(sweep.waiting) if index not in found)
    counted["pending"] += waiting
    counted["cancelled"] += sweep.cell_count - len(found) - waiting
    return {state: counted[state] for state in STATES}


def without_run(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    """What each cell that has no run counts as: pending or cancelled."""
    waiting = set() if stopping(sweep, states) else set(indices(sweep.waiting))
    return {
        index: "pending" if index in waiting else "cancelled"
        for index in range(sweep.cell_count)
        if index not in states
    }


def advance(sweep: Sweep, states: Mapping[int, str], now: float) -> tuple[Sweep, list[Step]]:
    """The sweep as it is now, and the steps to take next. The sweep given is not changed; `now` is epoch seconds."""
    sweep = sweep.model_copy()
    if sweep.status in ENDED:
        return sweep, []
    found, draining = _known(sweep, states), stopping(sweep, states)
    if draining:
        sweep.waiting = ""
    paused = [index for index, state in found.items() if state == "pending"]
    running = [index for index, state in found.items() if state == "running"]
    waiting = sorted([*paused, *(index for index in indices(sweep.waiting) if index not in found)])
    if not waiting and not running:
        return _ended(sweep, states, now), []
    sweep.status = "draining" if draining else "running" if states else "pending"
    if draining:
        ending = sorted([*paused, *(running if sweep.cancel_requested_at else [])])
        return sweep, [CancelCells(tuple(ending))] if ending else []
    places = min(sweep.max_parallel - len(running), AT_ONCE)
    return sweep, [Start(tuple(waiting[:places]))] if waiting and places > 0 else []


def _ended(sweep: Sweep, states: Mapping[int, str], now: float) -> Sweep:
    counted = counts(sweep, states)
    if sweep.cancel_requested_at:
        sweep.status = "cancelled"
    else:
        sweep.status = next((state for state in ("failed", "cancelled") if counted[state]), "completed")
    sweep.waiting, sweep.completed_at = "", rfc3339(now)
    return sweep


def cancelled(sweep: Sweep, now: float) -> Sweep:
    """The sweep as somebody cancelled it; one that has ended or was cancelled already stays as it is."""
    if sweep.status in ENDED or sweep.cancel_requested_at:
        return sweep
    return sweep.model_copy(update={"cancel_requested_at": rfc3339(now), "waiting": "", "status": "draining"})


def chosen(sweep: Sweep, states: Mapping[int, str], which: str | Sequence[str]) -> list[int]:
    """The places of the cells to run again; Invalid for ids of other things, Conflict for cells that live."""
    now = dict(sorted({**seen(sweep, states), **without_run(sweep, states)}.items()))
    if isinstance(which, str):
        wanted = {"failed": {"failed"}, "cancelled": {"cancelled"}, "unfinished": {"failed", "cancelled"}}[which]
        return [index for index, state in now.items() if state in wanted]
    places = {cell_id(sweep.uid, index): index for index in now}
    unknown = [one for one in which if one not in places]
    if unknown:
        raise Invalid([problem(f"'{unknown[0]}' is no cell of this sweep", ("body", "cells"), input=unknown[0])])
    found = [places[one] for one in dict.fromkeys(which)]
    alive = [index for index in found if now[index] not in ENDED]
    if alive:
        raise Conflict(f"cell {cell_id(sweep.uid, alive[0])} has not ended")
    return found


def again(sweep: Sweep, states: Mapping[int, str], chosen: Iterable[int]) -> Sweep:
    """The sweep alive again, the cells chosen waiting for their turn; Conflict for one that is still draining."""
    if stopping(sweep, states) and sweep.status not in ENDED:
        raise Conflict(f"Sweep run {sweep.id} is still draining")
    chosen = set(chosen)
    failed = {index for index, state in _known(sweep, states).items() if state == "failed"}
    fresh: dict[str, Any] = {"status": "running", "completed_at": None, "cancel_requested_at": None, "error": None}
    fresh["waiting"] = ranges({*indices(sweep.waiting), *chosen})
    fresh["again"] = ranges({*indices(sweep.again), *(index for index in chosen if index in states)})
    fresh["forgiven"] = ranges(failed - chosen)
    return sweep.model_copy(update=fresh)


def told(sweep: Sweep) -> Sweep:
    """The sweep after the runs of all cells that are to run again have been told so."""
    return sweep.model_copy(update={"again": ""})
