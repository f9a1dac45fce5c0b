"""A pretended cluster and a clock of the test's own, for everything that watches a cluster over time."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from slurm_shim.job_groups import build_waiting_job, is_part_of
from slurm_shim.parse import Job
from slurm_shim.programs import Breaker, CallCounts
from slurm_shim.snapshot import Snapshot
from slurm_shim.starting.work import Work


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Clock:
    """A clock that stands still until advance(); pause() is what the poller sleeps with."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.sleepers: dict[asyncio.Future[None], float] = {}
        self.asleep = asyncio.Event()

    def now(self) -> float:
        return self.time_s

    async def pause(self, woken: asyncio.Event, seconds: float) -> None:
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers[alarm] = self.time_s + seconds
        self.asleep.set()
        waiting = asyncio.ensure_future(woken.wait())
        try:
            await asyncio.wait({alarm, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            self.sleepers.pop(alarm, None)
            self.asleep.clear()

    async def rest(self) -> None:
        """Returns when the poller has nothing to do before the clock moves."""
        while True:
            await self.asleep.wait()
            for _ in range(5):  # lets a wake-up that is already on its way take effect
                await asyncio.sleep(0)
            if self.asleep.is_set():
                return

    async def advance(self, seconds: float) -> None:
        self.time_s += seconds
        for alarm, deadline in list(self.sleepers.items()):
            if deadline <= self.time_s + 1e-9 and not alarm.done():
                alarm.set_result(None)
        await self.rest()


class Cluster:
    """Stands in for commands.Slurm: rows to answer with, failures to raise, a record of what was asked."""

    sbatch: Callable[..., str]

    def __init__(self) -> None:
        self.rows: list[Job] = []
        self.accounted: list[Job] = []
        self.used: list[dict[str, Any]] = []
        self.windows: list[tuple[int, int]] = []
        self.node_rows: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.node_failure: Exception | None = None
        self.accounting = True
        self.named = "pretended"
        self.polls = 0
        self.node_polls = 0
        self.asked: list[list[str]] = []
        self.gate: threading.Event | None = None
        self.at_the_gate = threading.Event()
        self.on_poll: Callable[[], None] = lambda: None
        self.squeue_s: float | None = None
        self.can_prefetch = False
        self.queue_remembers_s = 300.0
        self.clock_offset_s = 0.0
        self.timeout_s, self.version, self.has_database, self.database = 5.0, "22.05.8", True, Breaker()
        self.calls = CallCounts()
        self.submitted: list[dict[str, Any]] = []
        self.database_failure: Exception | None = None
        self.usage_asked: list[list[str]] = []
        self.scripts: dict[str, str] = {}

    def submit(self, *given: Any) -> Work[str]:
        yield from ()  # it is no program
        return self.sbatch(*given)

    def squeue(self, job_ids: Sequence[str] | None = None, soon: Sequence[Sequence[str]] = ()) -> list[Job]:
        if job_ids is not None:
            return [row for row in self.rows if any(is_part_of(row, job_id) for job_id in job_ids)]
        self.polls += 1
        rows = list(self.rows)  # what it was when the query began
        self.on_poll()
        if self.gate is not None:
            self.at_the_gate.set()
            assert self.gate.wait(180)
        if self.failure is not None:
            raise self.failure
        return rows

    def list_nodes(self) -> list[dict[str, Any]]:
        self.node_polls += 1
        if self.node_failure is not None:
            raise self.node_failure
        return self.node_rows

    def list_partitions(self) -> list[dict[str, Any]]:
        return []

    def list_usage(self, job_ids: Iterable[str]) -> list[Job]:
        self.usage_asked.append(sorted(job_ids))
        if self.database_failure is not None:
            raise self.database_failure
        return self.used

    def read_script(self, job_id: str) -> str:
        if self.failure is not None:
            raise self.failure
        return self.scripts[job_id]

    def load_config(self) -> dict[str, str]:
        return {}

    def iterate_window(self, first_s: int, last_s: int, with_usage: bool, timeout_s: float) -> Iterator[Job]:
        if self.database_failure is not None:
            raise self.database_failure
        if self.failure is not None:
            raise self.failure
        self.windows.append((first_s, last_s))
        return iter(self.used if with_usage else self.accounted)

    def get_user(self) -> str:
        return "ann"

    def list_submitted(self, since_s: float) -> list[dict[str, Any]]:
        if self.failure is not None:
            raise self.failure
        return self.submitted

    def has_accounting(self) -> bool:
        return self.accounting

    def find_accounted(self, job_ids: Iterable[str]) -> list[Job] | None:
        return self.sacct(job_ids) if self.accounting else None

    def get_cluster_name(self) -> str:
        if self.failure is not None:
            raise self.failure
        return self.named

    def sacct(self, job_ids: Iterable[str]) -> list[Job]:
        ids = list(job_ids)
        self.asked.append(ids)
        if self.failure is not None:
            raise self.failure
        known = {row["job_id"]: row for row in self.accounted for job_id in ids if is_part_of(row, job_id)}
        return list(known.values())


def job(job_id: str, state: str = "RUNNING", **more: Any) -> Job:
    return build_waiting_job(job_id, state=state) | more


class World:
    """A snapshot of a pretended cluster under the test's clock."""

    def __init__(self, clock: Clock, cluster: Cluster, snapshot: Snapshot) -> None:
        self.clock, self.cluster, self.snapshot = clock, cluster, snapshot


@asynccontextmanager
async def world(slurm: Any = None, polling: bool = True, **settings: Any) -> AsyncIterator[World]:
    clock, cluster = Clock(), Cluster()
    with ThreadPoolExecutor(4) as executor:
        snapshot = Snapshot(slurm or cluster, executor, now=clock.now, pause=clock.pause, **settings)
        made = World(clock, cluster, snapshot)
        poller = asyncio.ensure_future(snapshot.run()) if polling else None
        if poller is not None:
            await clock.rest()
        try:
            yield made
        finally:
            if poller is not None:
                poller.cancel()
                await asyncio.wait({poller})
