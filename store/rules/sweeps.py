"""Decide what happens to a sweep: pure rules.

A cell that has not started has no file: it is its position in the matrix. It becomes a run when the sweep has a free
place, so a sweep of 10,000 cells is created with one write. `waiting` lists the cells without a run that still wait;
the others without a run were cancelled while they waited. A cell with a run has the state of that run, whatever
`waiting` says, so a server that is killed between the two writes goes on correctly.

A cell that is to run again keeps its run, which is `pending` until it starts. `again` lists the cells whose runs are
not marked as pending yet, so that rerunning many cells is accepted with one write, wholly or not at all. These runs are
marked in order, `AT_ONCE` at a time, before any of them starts or ends.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from store.documents import Sweep
from store.errors import Conflict, Invalid, make_problem
from store.rules.fields import refuse_python
from store.rules.matrix import expand_matrix, list_cells
from store.rules.shapes import Workflow
from store.times import to_rfc3339

ENDED = frozenset({"completed", "failed", "cancelled"})
STATES = ("pending", "running", "completed", "failed", "cancelled")
# So many cells are started, queued for rerun or cancelled in one step; other requests wait no longer than that.
AT_ONCE = 100


# ---- cells


def make_uid() -> str:
    """Make the 24 hexadecimal digits that a sweep's cell ids begin with.

    They come from a UUID of version 8 (RFC 9562).
    """
    return str(uuid.uuid8() if hasattr(uuid, "uuid8") else _make_uuid8(uuid.uuid4().int)).replace("-", "")[:24]


def _make_uuid8(number: int) -> uuid.UUID:
    return uuid.UUID(int=(number & ~(0xF << 76)) | (8 << 76))


def make_cell_id(uid: str, index: int) -> str:
    """Return the UUID of the cell at this position.

    >>> make_cell_id("0123456789ab8def8123abcd", 10)
    '01234567-89ab-8def-8123-abcd0000000a'
    """
    return str(uuid.UUID(f"{uid}{index:08x}"))


def parse_cell_id(run_id: str) -> tuple[str, int]:
    """Split a cell's id into its sweep's uid and its position.

    Any other text than a UUID gives an empty uid.
    """
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run_id):
        return "", 0
    plain = run_id.replace("-", "")
    return plain[:24], int(plain[24:], 16)


def to_cell_state(status: str, is_open: bool) -> str:
    """Return the state of a cell from its run's status.

    "running" lasts until the last job has ended; "pending" stays "pending".
    """
    return "running" if is_open and status != "pending" else status


def format_ranges(indices: Iterable[int]) -> str:
    """Write numbers as text, with consecutive ones as ranges.

    >>> format_ranges([0, 1, 2, 5, 7, 8]), format_ranges([])
    ('0-2,5,7-8', '')
    """
    parts = []
    for _, group in itertools.groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(parts)


def parse_ranges(text: str) -> list[int]:
    """Return the numbers that `format_ranges` wrote, ascending."""
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


class CellStates(dict[int, str]):
    """The states of a sweep's runs by position, grouped by state too.

    So what a sweep needs next is found without looking at all of its cells. Cells below `first_free` have a run.
    """

    def __init__(self, states: Mapping[int, str] = MappingProxyType({})) -> None:
        super().__init__(states)
        self.groups: dict[str, set[int]] = {}
        self.first_free = 0
        for index, state in states.items():
            self.groups.setdefault(state, set()).add(index)

    def change(self, index: int, state: str | None) -> None:
        """Note the state of a cell's run; None when it has none any more."""
        if (before := self.get(index)) is not None:
            self.groups[before].discard(index)
        if state is None:
            self.pop(index, None)
            self.first_free = min(self.first_free, index)
        else:
            self[index] = state
            self.groups.setdefault(state, set()).add(index)
        while self.first_free in self:
            self.first_free += 1

    def get_group(self, state: str) -> Set[int]:
        """Get the positions of the cells in this state."""
        return self.groups.get(state, frozenset())

    def iterate_without_run(self, ranges: str) -> Iterator[int]:
        """Yield those of these positions that have no run, ascending."""
        for part in ranges.split(",") if ranges else ():
            first, _, last = part.partition("-")
            for index in range(max(int(first), self.first_free), int(last or first) + 1):
                if index not in self:
                    yield index


# ---- sweeps


def build_sweep(
    workflow: Workflow,
    text: str,
    wanted: Mapping[str, Any],
    body: Mapping[str, Any],
    limit: int,
    given: Mapping[str, Any],
    now: float,
) -> Sweep:
    """Build a sweep that is not written yet and has no number.

    `text` is the workflow's file; `wanted` has matrix, exclude, fail_fast and max_parallel; `body` has args_override
    and the part of the workflow; `given` has mount, cluster, source and request_hash. Raises Invalid for a wrong
    matrix.
    """
    exclude = wanted.get("exclude") or []
    matrix = expand_matrix(wanted["matrix"], limit, exclude)
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
    """Change how many cells may run at once; Conflict if the sweep has ended."""
    if sweep.status in ENDED:
        raise Conflict(f"Sweep run {sweep.id} is already {sweep.status}")
    return sweep.model_copy(update={"max_parallel": max_parallel})


@dataclass(frozen=True)
class StartCells:
    """Start the runs of these cells, in this order."""

    indices: tuple[int, ...]


@dataclass(frozen=True)
class CancelCells:
    """Cancel the runs of these cells."""

    indices: tuple[int, ...]


Step = StartCells | CancelCells


def list_states_with_run(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    """Return the state of each cell that has a run, by position.

    Cells that are to run again are pending, or cancelled while the sweep drains. `states` are the states of the runs
    themselves, here and below.
    """
    cell_states = _add_queued_states(sweep, states)
    if is_stopping(sweep, states):
        return {index: "cancelled" if state == "pending" else state for index, state in cell_states.items()}
    return dict(cell_states)


def _add_queued_states(sweep: Sweep, states: Mapping[int, str]) -> CellStates:
    """Return the runs' states, with cells queued for rerun as pending."""
    if isinstance(states, CellStates) and not sweep.again:
        return states
    return CellStates({**states, **dict.fromkeys(parse_ranges(sweep.again), "pending")})


def is_stopping(sweep: Sweep, states: Mapping[int, str]) -> bool:
    """Return whether no further cell may start.

    So when the sweep was cancelled, or fails fast and a cell has failed. Cells that had failed before others were
    rerun, and were not rerun themselves, do not count.
    """
    if sweep.cancel_requested_at:
        return True
    if not sweep.fail_fast:
        return False
    return bool(_add_queued_states(sweep, states).get_group("failed") - set(parse_ranges(sweep.forgiven)))


def count_cells(sweep: Sweep, states: Mapping[int, str]) -> dict[str, int]:
    """Count the cells in each state; the sum is the number of cells."""
    cell_states = list_states_with_run(sweep, states)
    counts = Counter(cell_states.values())
    waiting = (
        0 if is_stopping(sweep, states) else sum(1 for index in parse_ranges(sweep.waiting) if index not in cell_states)
    )
    counts["pending"] += waiting
    counts["cancelled"] += sweep.cell_count - len(cell_states) - waiting
    return {state: counts[state] for state in STATES}


def list_states_without_run(sweep: Sweep, states: Mapping[int, str]) -> dict[int, str]:
    """Return the state of each cell without a run: pending or cancelled."""
    waiting = set() if is_stopping(sweep, states) else set(parse_ranges(sweep.waiting))
    return {
        index: "pending" if index in waiting else "cancelled"
        for index in range(sweep.cell_count)
        if index not in states
    }


def advance_sweep(sweep: Sweep, states: Mapping[int, str], now: float) -> tuple[Sweep, list[Step]]:
    """Bring the sweep up to date; return it with the steps to take next.

    The sweep given is not changed. `now` is epoch seconds.
    """
    sweep = sweep.model_copy()
    if sweep.status in ENDED:
        return sweep, []
    cell_states, draining = _add_queued_states(sweep, states), is_stopping(sweep, states)
    if draining:
        sweep.waiting = ""
    paused, running = cell_states.get_group("pending"), cell_states.get_group("running")
    # The next ones are enough: of 10,000 cells only a few start at once.
    unstarted = itertools.islice(cell_states.iterate_without_run(sweep.waiting), AT_ONCE)
    waiting = sorted([*paused, *unstarted])
    if not waiting and not running:
        return _end_sweep(sweep, states, now), []
    sweep.status = "draining" if draining else "running" if states else "pending"
    if draining:
        cancelling = sorted(index for index in paused if states.get(index) == "pending")[:AT_ONCE]
        ending = sorted([*cancelling, *(running if sweep.cancel_requested_at else [])])
        return sweep, [CancelCells(tuple(ending))] if ending else []
    free_slots = min(sweep.max_parallel - len(running), AT_ONCE)
    return sweep, [StartCells(tuple(waiting[:free_slots]))] if waiting and free_slots > 0 else []


def _end_sweep(sweep: Sweep, states: Mapping[int, str], now: float) -> Sweep:
    counts = count_cells(sweep, states)
    if sweep.cancel_requested_at:
        sweep.status = "cancelled"
    else:
        sweep.status = next((state for state in ("failed", "cancelled") if counts[state]), "completed")
    sweep.waiting, sweep.completed_at = "", to_rfc3339(now)
    return sweep


def cancel_sweep(sweep: Sweep, now: float) -> Sweep:
    """Mark the sweep as cancelled; an ended or cancelled one is unchanged."""
    if sweep.status in ENDED or sweep.cancel_requested_at:
        return sweep
    return sweep.model_copy(update={"cancel_requested_at": to_rfc3339(now), "waiting": "", "status": "draining"})


def choose_cells(sweep: Sweep, states: Mapping[int, str], which: str | Sequence[str]) -> list[int]:
    """Return the positions of the cells to run again.

    Raises Invalid for ids that are no cells of the sweep, Conflict for cells that have not ended.
    """
    now = dict(sorted({**list_states_with_run(sweep, states), **list_states_without_run(sweep, states)}.items()))
    if isinstance(which, str):
        wanted = {"failed": {"failed"}, "cancelled": {"cancelled"}, "unfinished": {"failed", "cancelled"}}[which]
        return [index for index, state in now.items() if state in wanted]
    indices = {make_cell_id(sweep.uid, index): index for index in now}
    unknown = [cell_id for cell_id in which if cell_id not in indices]
    if unknown:
        raise Invalid([make_problem(f"'{unknown[0]}' is no cell of this sweep", ("body", "cells"), input=unknown[0])])
    chosen = [indices[cell_id] for cell_id in dict.fromkeys(which)]
    alive = [index for index in chosen if now[index] not in ENDED]
    if alive:
        raise Conflict(f"cell {make_cell_id(sweep.uid, alive[0])} has not ended")
    return chosen


def rerun_cells(sweep: Sweep, states: Mapping[int, str], chosen: Iterable[int]) -> Sweep:
    """Reopen the sweep with the chosen cells waiting to start.

    Raises Conflict while the sweep is still draining.
    """
    if is_stopping(sweep, states) and sweep.status not in ENDED:
        raise Conflict(f"Sweep run {sweep.id} is still draining")
    chosen = set(chosen)
    failed = _add_queued_states(sweep, states).get_group("failed")
    changes: dict[str, Any] = {"status": "running", "completed_at": None, "cancel_requested_at": None, "error": None}
    changes["waiting"] = format_ranges({*parse_ranges(sweep.waiting), *chosen})
    changes["again"] = format_ranges({*parse_ranges(sweep.again), *(index for index in chosen if index in states)})
    changes["forgiven"] = format_ranges(failed - chosen)
    return sweep.model_copy(update=changes)


def reopen_sweep(sweep: Sweep) -> Sweep:
    """Have an ended sweep end anew, since a cell turned up that seemed lost."""
    if sweep.status not in ENDED or sweep.cancel_requested_at:
        return sweep
    return sweep.model_copy(update={"status": "running", "completed_at": None, "error": None})


def list_unqueued_cells(sweep: Sweep) -> list[int]:
    """Return the next cells whose runs are to be queued for rerun."""
    return parse_ranges(sweep.again)[:AT_ONCE]


def mark_queued(sweep: Sweep, indices: Iterable[int]) -> Sweep:
    """Record that the runs of these cells are queued for rerun."""
    return sweep.model_copy(update={"again": format_ranges(set(parse_ranges(sweep.again)).difference(indices))})
