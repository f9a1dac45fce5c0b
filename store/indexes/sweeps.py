"""The sweeps as answers show them: counters, cells and results.

Everything here is derived from the documents of sweeps and runs, so it always equals a recount.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import csv
import functools
import io
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from store.disk.archive import Archive
from store.documents import Run, Sweep
from store.errors import Conflict, NotFound
from store.jsons import dump_json
from store.rules import runs, sweeps, workflows
from store.views import srunx

NEWEST_LIMIT = 200
# Rows made between two yields to the event loop: some 5 ms.
ROWS_PER_STEP = 50
# Recently used sweeps whose axis values are kept.
MAX_KEPT_VALUES = 16


@functools.lru_cache(maxsize=64)
def parse_workflow(text: str) -> workflows.Workflow:
    """Parse the workflow that a sweep was started with."""
    return workflows.parse_workflow(text.encode())


class SweepIndex:
    """The state of each cell of each sweep.

    `sweep` and `run` give documents by id; `run` that of a cell that has one.
    """

    def __init__(
        self, sweep: Callable[[str], Sweep], run: Callable[[str], Run], archive: Archive | None = None
    ) -> None:
        self._sweep, self._run, self._archive = sweep, run, archive
        self.version = self._largest = 0
        self.order: list[tuple[str, int]] = []  # (started_at, id), oldest first
        self._states: dict[str, sweeps.CellStates] = {}
        self._by_uid: dict[str, str] = {}
        self._by_key: dict[str, str] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._values: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()

    @classmethod
    def from_archive(cls, sweep: Sweep, states: Mapping[str, str], cells: Mapping[str, Run]) -> SweepIndex:
        """Make an index of one archived sweep.

        `states` are those of its cells that have a run, `cells` these runs.
        """
        self = cls(lambda _name: sweep, cells.__getitem__)
        self.follow_sweep(None, sweep)
        for run_id, state in states.items():
            self.follow_run(run_id, state)
        return self

    # Following the documents.

    def follow_sweep(self, old: Sweep | None, new: Sweep | None) -> None:
        """Follow a sweep that was written, read or deleted."""
        self.version += 1
        for sweep in (old, new):
            if sweep is not None:
                self._by_uid.pop(sweep.uid, None)
                self._by_key.pop(sweep.request_key or "", None)
                self._counts.pop(sweep.uid, None)
        if new is not None:
            self._by_uid[new.uid] = new.id
            self._by_key[new.request_key or ""] = new.id
        if old is not None:
            with contextlib.suppress(ValueError):
                self.order.remove((old.started_at, int(old.id)))
        if new is not None:
            bisect.insort(self.order, (new.started_at, int(new.id)))

    def follow_run(self, run_id: str, state: str | None, number: int = 0) -> bool:
        """Note the state of a cell's run (`sweeps.to_cell_state`); None: deleted.

        Return whether it is another one than before.

        `number` is that of its sweep, which is not given to another one even when the file of the sweep is gone.
        """
        self._largest = max(self._largest, number)
        uid, index = sweeps.parse_cell_id(run_id)
        states = self._states.setdefault(uid, sweeps.CellStates())
        has_changed = states.get(index) != state
        states.change(index, state)
        if not states:
            del self._states[uid]
        self._counts.pop(uid, None)
        self.version += 1
        return has_changed

    # Looking things up.

    def find_by_request_key(self, request_key: str) -> Sweep | None:
        """Return the sweep that a request with this key made, or None."""
        sweep_id = self._by_key.get(request_key) if request_key else None
        return None if sweep_id is None else self._sweep(sweep_id)

    def get_next_id(self) -> int:
        """Return the number for a new sweep."""
        return max((self._largest, *(number for _, number in self.order))) + 1

    def get_states(self, sweep: Sweep) -> sweeps.CellStates:
        """Return the states of the sweep's runs as they change, by cell index."""
        return self._states.get(sweep.uid) or sweeps.CellStates()

    def list_values(self, sweep: Sweep) -> list[dict[str, Any]]:
        """List the axis values of each cell."""
        values = self._values.get(sweep.uid)
        if values is None:
            values = self._values[sweep.uid] = sweeps.list_cells(sweep.matrix, sweep.exclude, sweep.cell_count)
            while len(self._values) > MAX_KEPT_VALUES:
                self._values.popitem(last=False)
        self._values.move_to_end(sweep.uid)
        return values

    def find_cell(self, run_id: str) -> tuple[Sweep, int]:
        """Return the sweep and index of a cell. Raises NotFound.

        The cell need not have a run yet.
        """
        uid, index = sweeps.parse_cell_id(run_id)
        sweep_id = self._by_uid.get(uid)
        sweep = self._sweep(sweep_id) if sweep_id is not None else None
        if sweep is None or index >= sweep.cell_count:
            raise NotFound("Run", run_id)
        return sweep, index

    def has_cell(self, run_id: str) -> bool:
        """Tell whether the run is a cell of a sweep that is not archived."""
        return sweeps.parse_cell_id(run_id)[0] in self._by_uid

    def is_rerun_pending(self, run_id: str) -> bool:
        """Tell whether the cell is to run again and its run is not marked yet."""
        uid, index = sweeps.parse_cell_id(run_id)
        sweep_id = self._by_uid.get(uid)
        again = self._sweep(sweep_id).again if sweep_id is not None else ""
        return bool(again) and index in sweeps.parse_ranges(again)

    def build_args(self, sweep: Sweep, index: int) -> dict[str, Any]:
        """Return the args of a cell: those of the sweep, and its axis values."""
        return {**sweep.args, **self.list_values(sweep)[index]}

    def list_args(self, sweep: Sweep) -> list[dict[str, Any]]:
        """List the args of each cell, in the order of the matrix."""
        return [{**sweep.args, **values} for values in self.list_values(sweep)]

    # Including the archive.

    def is_archived(self, sweep_id: int) -> bool:
        """Tell whether the sweep is in the archive only."""
        live = any(number == sweep_id for _, number in self.order)
        return not live and self._archive is not None and ("sweep", str(sweep_id)) in self._archive

    def get_live_sweep(self, sweep_id: int) -> Sweep:
        """Return the sweep of this number. Raises NotFound, or Conflict.

        Conflict for one in the archive, which cannot be changed.
        """
        if self.is_archived(sweep_id):
            raise Conflict(f"Sweep run {sweep_id} is in the archive, which does not change")
        return self._sweep(str(sweep_id))

    async def find(self, sweep_id: int, whole: bool = False) -> tuple[SweepIndex, Sweep]:
        """Return the sweep and the index that shows it, archived ones too.

        `whole` asks for the cells of an archived one too.
        """
        if self._archive is None or not self.is_archived(sweep_id):
            return self, self.get_live_sweep(sweep_id)
        sweep: Sweep = await self._archive.get("sweep", str(sweep_id))
        line = await self._archive.read_line("sweep", str(sweep_id))
        cells = await self._archive.read_documents("run", line["cells"]) if whole else {}
        return SweepIndex.from_archive(sweep, line["cells"], cells), sweep

    async def get_run_without_file(self, run_id: str) -> dict[str, Any]:
        """Return a run that has no file of its own. Raises NotFound.

        It is in the archive, or a cell that has not started, or is to run again.
        """
        if self.is_rerun_pending(run_id):
            sweep, index = self.find_cell(run_id)
            if index in self._states.get(sweep.uid, {}):
                waits = {"status": sweeps.list_states_with_run(sweep, self.get_states(sweep))[index]}
                return srunx.to_run_json(runs.queue_rerun(self._run(run_id)).model_copy(update=waits))
            return self.build_waiting_run(run_id)
        if self._archive is not None and ("run", run_id) in self._archive:
            return srunx.to_run_json(await self._archive.get("run", run_id)) | {"archived": True}
        kept = await self._archive.find_sweep(sweeps.parse_cell_id(run_id)[0]) if self._archive is not None else None
        if kept is None:
            return self.build_waiting_run(run_id)
        return (await self.find(int(kept.id)))[0].build_waiting_run(run_id) | {"archived": True}

    # Building rows.

    def build_row(self, sweep: Sweep) -> dict[str, Any]:
        """Return a sweep as documented; counters are kept until it changes."""
        is_current = self._by_uid.get(sweep.uid) == sweep.id and sweep is self._sweep(sweep.id)
        counted = self._counts.get(sweep.uid) if is_current else None
        if counted is None:
            counted = sweeps.count_cells(sweep, self.get_states(sweep))
        if is_current:
            self._counts[sweep.uid] = counted
        return srunx.to_sweep_json(sweep, counted)

    def list_newest(self) -> list[dict[str, Any]]:
        """List the rows of the sweeps started last."""
        return [self.build_row(self._sweep(str(number))) for _, number in reversed(self.order[-NEWEST_LIMIT:])]

    async def list_cells(self, sweep: Sweep) -> list[dict[str, Any]]:
        """List all cells, by state, start and id."""
        rows = [
            srunx.to_cell_json(sweep, index, run, state, {**sweep.args, **values})
            async for index, run, state, values in self._iterate_cells(sweep)
        ]
        return sorted(rows, key=lambda row: (row["status"], row["started_at"], row["id"]))

    def build_waiting_run(self, run_id: str) -> dict[str, Any]:
        """Return a cell that has no run yet, in the shape of a run."""
        sweep, index = self.find_cell(run_id)
        state = sweeps.list_states_without_run(sweep, self.get_states(sweep)).get(index, "cancelled")
        return srunx.to_unstarted_cell_json(sweep, index, state, self.build_args(sweep, index))

    async def _iterate_cells(self, sweep: Sweep) -> AsyncIterator[tuple[int, Run | None, str, dict[str, Any]]]:
        """Yield index, run, state and axis values of each cell.

        The states are those of one moment.
        """
        own = self.get_states(sweep)
        states, others = sweeps.list_states_with_run(sweep, own), sweeps.list_states_without_run(sweep, own)
        for index, values in enumerate(self.list_values(sweep)):
            if index and index % ROWS_PER_STEP == 0:
                await asyncio.sleep(0)  # others run, and may change or delete what is listed here
            if index in states:
                yield index, self._find_run(sweeps.make_cell_id(sweep.uid, index)), states[index], values
            else:
                yield index, None, others[index], values

    def _find_run(self, run_id: str) -> Run | None:
        try:
            return self._run(run_id)
        except NotFound:
            return None

    async def list_results(self, sweep: Sweep) -> list[dict[str, Any]]:
        """List a row per cell in the order of the matrix.

        The keys are cell_id, status, duration_seconds, args (axes first), and result. `result` is flat: what job
        `train` wrote as {"loss": {"last": 1}} stands under `train.loss.last`.
        """
        return [
            {
                "cell_id": sweeps.make_cell_id(sweep.uid, index),
                "status": state,
                "duration_seconds": srunx.find_cell_duration_s(run, state),
                "args": {**values, **((run.args if run else {}) or sweep.args)},
                "result": srunx.flatten_results(run),
            }
            async for index, run, state, values in self._iterate_cells(sweep)
        ]


def to_csv(rows: list[dict[str, Any]]) -> bytes:
    """Return the results as CSV (RFC 4180).

    The columns are cell_id, status, duration_seconds, the args, then every result that any cell has. A text that a
    spreadsheet would take for a formula gets a `'` before it; booleans, lists and objects are as in JSON. An arg that
    has the name of one of the first three columns is `args.` and its name.
    """
    own = ("cell_id", "status", "duration_seconds")
    args = list(dict.fromkeys(arg for row in rows for arg in row["args"]))
    names = [f"args.{arg}" if arg in own else arg for arg in args]
    keys = sorted({key for row in rows for key in row["result"]})
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([_to_csv_value(name) for name in (*own, *names, *keys)])
    for row in rows:
        values = [row["args"].get(arg) for arg in args] + [row["result"].get(key) for key in keys]
        writer.writerow([*(row[key] for key in own), *map(_to_csv_value, values)])
    return out.getvalue().encode()


def _to_csv_value(value: Any) -> Any:
    """Return the value as a CSV cell that no spreadsheet evaluates."""
    if isinstance(value, bool | list | dict):
        return dump_json(value).decode()
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
