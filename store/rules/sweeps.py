"""What a sweep is and what becomes of it: pure rules from its document and the states of its cells.

A cell that has not started is no file: it is its place in the matrix. It becomes a run of its own when its turn comes,
so a sweep of 10,000 cells is created with one write. `waiting` says which of the cells without a run still wait; the
others without a run were cancelled while they waited. A cell with a run is what the run is, whatever `waiting` says: a
server that is killed between the two writes goes on rightly.

A cell that is to run again keeps its run, which is `pending` until its turn comes. `again` names the cells whose runs
have not been told so yet, so that running many cells again is accepted with one write, wholly or not at all; they are
told in their order, `AT_ONCE` at a time, before any of them starts or ends.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.documents import Sweep
from store.errors import Conflict, Invalid, make_problem
from store.rules.fields import refuse_python
from store.rules.matrix import expand_matrix, list_cells
from store.rules.shapes import Workflow
from store.times import to_rfc3339

ENDED = frozenset({"completed", "failed", "cancelled"})
STATES = ("pending", "running", "completed", "failed", "cancelled")
# So many cells begin, are told to run again, or end unstarted in one go: whoever comes meanwhile waits for no more.
AT_ONCE = 100


# ---- cells


def make_uid() -> str:
    """What the ids of a sweep's cells begin with: 24 hexadecimal digits of a UUID (RFC 9562, version 8)."""
    return str(uuid.uuid8() if hasattr(uuid, "uuid8") else _make_uuid8(uuid.uuid4().int)).replace("-", "")[:24]


def _make_uuid8(number: int) -> uuid.UUID:
    return uuid.UUID(int=(number & ~(0xF << 76)) | (8 << 76))


def make_cell_id(uid: str, index: int) -> str:
    """The UUID of the cell at this place.

    >>> cell_id("0123456789ab8def8123abcd", 10)
    '01234567-89ab-8def-8123-abcd0000000a'
    """
    return str(uuid.UUID(f"{uid}{index:08x}"))


def parse_cell_id(run_id: str) -> tuple[str, int]:
    """The uid and the place that a cell's id is made of; of any other UUID, what would be; of no UUID, no uid."""
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run_id):
        return "", 0
    plain = run_id.replace("-", "")
    return plain[:24], int(plain[24:], 16)


def to_cell_state(status: str, is_open: bool) -> str:
    """What a cell's run counts as: pending until its turn comes again, running until the last of its jobs has ended."""
    return "running" if is_open and status != "pending" else status


def format_ranges(indices: Iterable[int]) -> str:
    """The numbers as text, runs of them shortened.

    >>> ranges([0, 1, 2, 5, 7, 8]), ranges([])
    ('0-2,5,7-8', '')
    """
    parts = []
    for _, group in itertools.groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(parts)


def parse_ranges(text: str) -> list[int]:
    """The numbers of `ranges`, ascending."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


# ---- what becomes of a sweep


def build_sweep(
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
    matrix = expand_matrix(wanted["matrix"])
    exclude = wanted.get("exclude") or []
    count = len(list_cells(matrix, exclude, limit))
    refuse_python(body.get("args_override") or {}, ("body", "args_override"))
    args = {**workflow.args, **(body.get("args_override") or {})}
    return Sweep(
        id="0",
        uid=make_uid(),
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
        waiting=format_ranges(range(count)),
        submission_source=given["source"],
        started_at=to_rfc3339(now) or "",
        request_hash=given["request_hash"],
    )


def set_max_parallel(sweep: Sweep, max_parallel: int) -> Sweep:
    """The sweep with another bound; Conflict for one that has ended."""
    if sweep.status in ENDED:
        raise Conflict(f"Sweep run {sweep.id} is already {sweep.status}")
    return sweep.model_copy(update={"max_parallel": max_parallel})


@dataclass(frozen=True)
class StartCells:
    """Let these cells become runs, in this order."""

    indices: tuple[int, ...]


@dataclass(frozen=True)
class CancelCells:
    """Cancel the runs of these cells."""

    indices: tuple[int, ...]


Step = StartCells | CancelCells


def list_states_with_run(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    """What each cell with a run counts as: those that are to run again wait, or are cancelled when the sweep drains.

    `states` are those that the runs themselves are in, here and below.
    """
    found = _add_queued_states(sweep, states)
    if is_stopping(sweep, states):
        return {index: "cancelled" if state == "pending" else state for index, state in found.items()}
    return found


def _add_queued_states(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    return {**states, **dict.fromkeys(parse_ranges(sweep.again), "pending")}


def is_stopping(sweep: Sweep, states: Mapping[int, str]) -> bool:
    """Whether no further cell may start: somebody cancelled the sweep, or it fails fast and a cell has failed.

    Cells that had failed before others were run again, and were not themselves, do not count.
    """
    if sweep.cancel_requested_at:
        return True
    failed = (
        {index for index, state in _add_queued_states(sweep, states).items() if state == "failed"}
        if sweep.fail_fast
        else set()
    )
    return bool(failed.difference(parse_ranges(sweep.forgiven)))


def count_cells(sweep: Sweep, states: Mapping[int, str]) -> dict[str, int]:
    """How many cells are in each state; the sum is the number of cells."""
    found = list_states_with_run(sweep, states)
    counted = Counter(found.values())
    waiting = 0 if is_stopping(sweep, states) else sum(1 for index in parse_ranges(sweep.waiting) if index not in found)
    counted["pending"] += waiting
    counted["cancelled"] += sweep.cell_count - len(found) - waiting
    return {state: counted[state] for state in STATES}


def list_states_without_run(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    """What each cell that has no run counts as: pending or cancelled."""
    waiting = set() if is_stopping(sweep, states) else set(parse_ranges(sweep.waiting))
    return {
        index: "pending" if index in waiting else "cancelled"
        for index in range(sweep.cell_count)
        if index not in states
    }


def advance_sweep(sweep: Sweep, states: Mapping[int, str], now: float) -> tuple[Sweep, list[Step]]:
    """The sweep as it is now, and the steps to take next. The sweep given is not changed; `now` is epoch seconds."""
    sweep = sweep.model_copy()
    if sweep.status in ENDED:
        return sweep, []
    found, draining = _add_queued_states(sweep, states), is_stopping(sweep, states)
    if draining:
        sweep.waiting = ""
    paused = [index for index, state in found.items() if state == "pending"]
    running = [index for index, state in found.items() if state == "running"]
    waiting = sorted([*paused, *(index for index in parse_ranges(sweep.waiting) if index not in found)])
    if not waiting and not running:
        return _end_sweep(sweep, states, now), []
    sweep.status = "draining" if draining else "running" if states else "pending"
    if draining:
        told = sorted(index for index in paused if states.get(index) == "pending")[:AT_ONCE]
        ending = sorted([*told, *(running if sweep.cancel_requested_at else [])])
        return sweep, [CancelCells(tuple(ending))] if ending else []
    places = min(sweep.max_parallel - len(running), AT_ONCE)
    return sweep, [StartCells(tuple(waiting[:places]))] if waiting and places > 0 else []


def _end_sweep(sweep: Sweep, states: Mapping[int, str], now: float) -> Sweep:
    counted = count_cells(sweep, states)
    if sweep.cancel_requested_at:
        sweep.status = "cancelled"
    else:
        sweep.status = next((state for state in ("failed", "cancelled") if counted[state]), "completed")
    sweep.waiting, sweep.completed_at = "", to_rfc3339(now)
    return sweep


def cancel_sweep(sweep: Sweep, now: float) -> Sweep:
    """The sweep as somebody cancelled it; one that has ended or was cancelled already stays as it is."""
    if sweep.status in ENDED or sweep.cancel_requested_at:
        return sweep
    return sweep.model_copy(update={"cancel_requested_at": to_rfc3339(now), "waiting": "", "status": "draining"})


def choose_cells(sweep: Sweep, states: Mapping[int, str], which: str | Sequence[str]) -> list[int]:
    """The places of the cells to run again; Invalid for ids of other things, Conflict for cells that live."""
    now = dict(sorted({**list_states_with_run(sweep, states), **list_states_without_run(sweep, states)}.items()))
    if isinstance(which, str):
        wanted = {"failed": {"failed"}, "cancelled": {"cancelled"}, "unfinished": {"failed", "cancelled"}}[which]
        return [index for index, state in now.items() if state in wanted]
    places = {make_cell_id(sweep.uid, index): index for index in now}
    unknown = [one for one in which if one not in places]
    if unknown:
        raise Invalid([make_problem(f"'{unknown[0]}' is no cell of this sweep", ("body", "cells"), input=unknown[0])])
    found = [places[one] for one in dict.fromkeys(which)]
    alive = [index for index in found if now[index] not in ENDED]
    if alive:
        raise Conflict(f"cell {make_cell_id(sweep.uid, alive[0])} has not ended")
    return found


def rerun_cells(sweep: Sweep, states: Mapping[int, str], chosen: Iterable[int]) -> Sweep:
    """The sweep alive again, the cells chosen waiting for their turn; Conflict for one that is still draining."""
    if is_stopping(sweep, states) and sweep.status not in ENDED:
        raise Conflict(f"Sweep run {sweep.id} is still draining")
    chosen = set(chosen)
    failed = {index for index, state in _add_queued_states(sweep, states).items() if state == "failed"}
    fresh: dict[str, Any] = {"status": "running", "completed_at": None, "cancel_requested_at": None, "error": None}
    fresh["waiting"] = format_ranges({*parse_ranges(sweep.waiting), *chosen})
    fresh["again"] = format_ranges({*parse_ranges(sweep.again), *(index for index in chosen if index in states)})
    fresh["forgiven"] = format_ranges(failed - chosen)
    return sweep.model_copy(update=fresh)


def list_unqueued_cells(sweep: Sweep) -> list[int]:
    """The places of the cells whose runs are to be told next that they run again."""
    return parse_ranges(sweep.again)[:AT_ONCE]


def mark_queued(sweep: Sweep, places: Iterable[int]) -> Sweep:
    """The sweep after the runs of these cells have been told that they run again."""
    return sweep.model_copy(update={"again": format_ranges(set(parse_ranges(sweep.again)).difference(places))})
