"""What lists of one cluster's jobs are made from, kept until a change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.ids import count_tasks, expand_hosts, expand_tasks
from slurm_shim.job_groups import build_waiting_job
from slurm_shim.queue.derived import ROWS_AT_ONCE, Derived, Picture, Remade
from slurm_shim.resources import summarize_partitions
from slurm_shim.times import parse_duration
from store.errors import Invalid, make_problem
from store.indexes.bodies import BoundedCache
from store.indexes.jobs import JobEntry, JobSource
from store.indexes.making import Making
from store.rules.queue import dependencies, pressure, waiting
from store.rules.queue.job_query import IdOrder
from store.times import to_epoch, to_rfc3339
from store.views import s9s

Row = Mapping[str, Any]
Loads = Mapping[str, pressure.PartitionLoad]
KEPT_PAGES_BYTES = 8_000_000
# So many rows that were chosen, with eight bytes for each.
KEPT_CHOICES_BYTES = 8_000_000
KEPT_PAST_ROWS = 20_000
MOST_TASKS = 200_000


class TaskRow(dict[str, Any]):
    """A task of an array that waits among others; all else is as in their row."""

    __slots__ = ("whole",)

    def __init__(self, whole: Row, task: int) -> None:
        super().__init__(job_id=f"{whole['array_job_id']}_{task}", array_task_id=str(task))
        self.whole = whole

    def __missing__(self, key: str) -> Any:
        return self.whole[key]


@dataclass(frozen=True)
class Rows:
    """Rows by their ids, the largest first, and what they were made of.

    `chosen` has those that were wanted of them, in the order that was wanted.
    """

    version: tuple[Any, ...]
    ended: Sequence[Row] | None
    rows: list[Row]
    chosen: BoundedCache = field(default_factory=lambda: BoundedCache(KEPT_CHOICES_BYTES))


class QueueView:
    """The rows of a cluster's lists, the load of its partitions, kept pages."""

    def __init__(self, asked: Cluster) -> None:
        self.pages = BoundedCache(KEPT_PAGES_BYTES)
        self.making = Making()  # of pages, and of what they are chosen from
        self.loads = Derived(asked.snapshot, _measure_load)
        self._rows = {False: Remade[Rows](), True: Remade[Rows]()}
        self._orders = {False: IdOrder(), True: IdOrder()}
        self._past: dict[str, tuple[Any, Row]] = {}

    async def fetch_rows(self, server: Server, asked: Cluster, since: float, ended: Sequence[Row] | None) -> Rows:
        """Fetch SLURM's jobs, those in `ended`, and ours that it forgot.

        Ours are those that ended after `since` (epoch). `ended` is what accounting has, None where it was not asked.
        """
        snapshot, has_history = asked.snapshot, ended is not None

        def find_version() -> tuple[Any, ...]:
            # The rows keep what accounting has, so nothing else gets its id.
            return asked.name, snapshot.version, server.job_index.version, since, ended and id(ended)

        def begin() -> Callable[[], Rows]:
            version, order, rows = find_version()[:-1], self._orders[has_history], dict[str, Row](snapshot.jobs)
            for row in ended or ():
                rows.setdefault(row["job_id"], row)
            self._add_own(server, asked, since, rows)
            return lambda: Rows(version, ended, order.sort_rows(rows))

        return await self._rows[has_history].fetch(find_version, begin, len(snapshot.jobs) > ROWS_AT_ONCE)

    def _add_own(self, server: Server, asked: Cluster, since: float, rows: dict[str, Row]) -> None:
        """Add ended jobs of ours that are not there, in whole or in part."""
        found = server.job_index.list_ended_since(to_rfc3339(since) or "", asked.name)
        if not found:
            return
        wholes = {row["array_job_id"] or row["het_job_id"] for row in rows.values()}
        known = rows.keys() | set(map(str, wholes))
        if len(self._past) > KEPT_PAST_ROWS:
            self._past = {}
        for own in found:
            if own.job_id not in known:
                rows[own.job_id] = self._build_past_row(server, own)

    def _build_past_row(self, server: Server, own: JobSource) -> Row:
        kept = self._past.get(own.job_id)
        if kept is None or kept[0] is not own.source:
            row = build_past_row(server.job_index.build_entry(own.source, own.job_id))
            kept = self._past[own.job_id] = (own.source, row)
        return kept[1]

    def explain_wait(self, asked: Cluster, row: Row, loads: Loads | None = None) -> str | None:
        """Explain why a job waits; None for a job that does not.

        Without `loads` those of long queues are the last that were measured.
        """
        if row["state"] not in waiting.WAITING:
            return None
        if loads is None:
            loads = self.loads.get_last() or {}
        load = pressure.choose_load(loads, row["partition"])
        if row["reason"] == "JobArrayTaskLimit":
            row = _find_whole(asked, row)  # only that says how many may run at once
        return waiting.explain_wait(row, load, list_dependencies(asked, row))

    def to_job_json(self, server: Server, asked: Cluster, row: Row, loads: Loads | None = None) -> dict[str, Any]:
        """Build a job of the list from a row; see `explain_wait`."""
        row = add_paths(server, asked, row)
        return s9s.to_job_json(row, expand_hosts(row["nodes"] or ""), self.explain_wait(asked, row, loads))


def _measure_load(seen: Picture) -> Loads:
    gpus = summarize_partitions(*seen)
    return pressure.measure_load(seen.partitions, seen.nodes, gpus, seen.jobs, count_tasks)


def add_paths(server: Server, asked: Cluster, row: Row) -> Row:
    """Add where a job of ours wrote to a row of accounting."""
    return fill_paths(row, server.job_index.get(asked.name, row["job_id"])) if row["source"] == "sacct" else row


def fill_paths(row: Row, entry: JobEntry | None) -> Row:
    """Fill in where a job of ours wrote, which accounting does not know."""
    return row if entry is None else {**row, "stdout": entry.stdout, "stderr": entry.stderr}


def _find_whole(asked: Cluster, row: Row) -> Row:
    """Find the row of the tasks that wait together with this one."""
    if isinstance(row, TaskRow):
        return row.whole
    parts = asked.snapshot.list_parts(str(row["array_job_id"])) if "%" not in (row["array_task_id"] or "") else []
    return next((asked.snapshot.jobs.get(part, row) for part in parts if "%" in part), row)


def get_view(server: Server, asked: Cluster) -> QueueView:
    """Get the view of a cluster's queue."""
    view = server.queue_views.get(asked)
    if view is None:
        view = server.queue_views[asked] = QueueView(asked)
    return view


def list_dependencies(asked: Cluster, row: Row) -> list[dict[str, Any]]:
    """List what a job depends on, with the state of each that is known."""
    found = dependencies.parse_dependencies(row["dependency"])
    for item in found:
        known = asked.snapshot.find(item["job_id"]) if item["job_id"] else None
        item["job_state"] = known["state"] if known else None
    return found


def expand_rows(rows: Iterable[Row]) -> list[Row]:
    """Expand the rows of tasks that wait together into one of each task."""
    expanded: list[Row] = []
    count = 0
    for row in rows:
        tasks = row["array_task_id"]
        if tasks is None or tasks.isdigit() or row["state"] not in waiting.WAITING:
            expanded.append(row)
            continue
        count += count_tasks(tasks)
        if count > MOST_TASKS:
            text = f"more than {MOST_TASKS} tasks wait: ask for fewer jobs, such as those of one user"
            raise Invalid([make_problem(text, ["query", "expand_arrays"], input=True)])
        # Rows come with the largest id first.
        expanded += [TaskRow(row, task) for task in reversed(expand_tasks(tasks))]
    return expanded


def build_past_row(entry: JobEntry) -> dict[str, Any]:
    """Build the row of a job of ours that SLURM no longer knows.

    None is what is not kept of it: account, QOS, priority, CPUs, hosts and work folder.
    """
    limit_s = None
    with contextlib.suppress(ValueError):
        limit_s = parse_duration(entry.time_limit or "")
    times = {"submit_time": entry.submitted_at, "start_time": entry.started_at, "end_time": entry.ended_at}
    return build_waiting_job(
        entry.job_id,
        **({} if entry.raw_id is None else {"raw_id": entry.raw_id}),
        **{name: None if text is None else int(to_epoch(text) or 0) for name, text in times.items()},
        name=entry.name,
        user=entry.user,
        partition=entry.partition,
        state=entry.state or "UNKNOWN",
        reason=entry.reason,
        elapsed_s=int(entry.runtime_s or 0),
        time_limit_s=limit_s,
        node_count=entry.nodes,
        memory_mb=entry.memory_mb,
        gpus=entry.gpus,
        stdout=entry.stdout,
        stderr=entry.stderr,
        exit_code=entry.exit_code,
        command=entry.command,
        source="sluice",
    )
