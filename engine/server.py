"""What this server has in hand between its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import getpass
import logging
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.clusters import Clusters
from engine.notify.notifications import Notices
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmError
from slurm_shim.pace import Pace
from slurm_shim.remote.rsync import Transfer
from store import access, errors
from store.config.settings import Settings
from store.disk.audit import Audit
from store.disk.folders import Entry, Folder
from store.disk.streams import Streams
from store.documents import Attempt, JobRecord, Run, Sweep
from store.indexes import jobs
from store.indexes import sweeps as board
from store.indexes.lists import JobList, Listing, RunList
from store.indexes.reports import Collector
from store.rendering.renderer import Renderer
from store.rules import runs, states, sweeps, syncs, workflows
from store.store import Store
from store.times import epoch
from store.views import srunx

log = logging.getLogger("sluice")


async def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What the function gives, called off the event loop; not in the pool that speaks to SLURM."""
    return await asyncio.to_thread(function, *arguments, **named)


@dataclass(frozen=True)
class Shelf:
    """Where workflows lie: the folder, its rows as bytes, and the root that relative paths of its jobs start from."""

    folder: Folder
    shown: Listing
    root: Path | None = None


# Where a mount has its workflows.
SHELF = Path(".srunx") / "workflows"


def shown_workflows(folder: Folder) -> Listing:
    """The workflows of a folder as answers show them, by name."""
    return Listing(folder, lambda entry: entry.summary or {}, lambda row: row["name"])


class Here:
    """The store, the cluster and everything kept in memory about them; one per process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.began = time.monotonic()
        self.renderer = Renderer()
        self.store = Store(
            settings.store,
            parsers={"workflows": lambda data, name: workflows.parse(data, stem=name)},
            # Made where files are read, off the event loop: rendering may take as long as its limits allow.
            summaries={"workflows": lambda workflow: workflows.show(workflow, self.renderer)},
            poll=settings.watch == "poll",
            system=settings.system_config,
        )
        self.pool = ThreadPoolExecutor(8, thread_name_prefix="sluice")
        # Folders on a server that hangs, and transfers that take hours, hold up nothing but their own kind.
        self.browsing = ThreadPoolExecutor(4, thread_name_prefix="browse")
        self.syncing = ThreadPoolExecutor(8, thread_name_prefix="rsync")
        self.open_syncs: set[str] = set()
        self.transfers: dict[str, Transfer] = {}
        self.ledger = jobs.Ledger()
        self.audit = Audit(self.store.path("audit"), self.store.files)
        self.turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self.turned = asyncio.Event()
        self.open_runs: dict[str, Run] = {}
        self.open_records: dict[str, JobRecord] = {}
        self.open_sweeps: dict[str, Sweep] = {}
        self.news: set[str] = set()
        self.copying: dict[tuple[str, str], Any] = {}  # by cluster and mount, see engine.mounts.copies
        self.busy: set[str] = set()  # the clusters of the open documents
        self.going: dict[str, asyncio.Task[None]] = {}
        self.board = board.Board(self.store.sweeps.get, self.store.runs.get, self.store.archive)
        self.notices = Notices(self.store, self.ledger, self.board, lambda: self.cluster.name, self.look_at, self.turn)
        self.failures = access.Failures()
        self.peers = access.Peers()
        self.hosts = access.LOOPBACK_NAMES
        self.own_caller = access.Caller(getpass.getuser(), access.INCLUDED["admin"])
        self.clusters = Clusters(self.store, settings, self.pool)
        self.pace: Pace
        self.jobs_shown: weakref.WeakKeyDictionary[Cluster, JobList] = weakref.WeakKeyDictionary()
        self.own_shelf: Shelf
        self.shelves: dict[Path, Shelf] = {}
        self.runs_shown: RunList
        self.reported: Collector
        self.questions: dict[str, None] = {}  # jobs that reported and of which SLURM may have to say something
        self.streams = Streams(self.store.path("streams"), self.store.files)

    def know_hosts(self, *_change: Any) -> None:
        """Nothing; the names in a Host header that mean this server are known from now on."""
        self.hosts = access.host_names(
            self.settings.host, [*self.settings.allowed_hosts, *self.store.access.allowed_hosts]
        )

    @property
    def cluster(self) -> Cluster:
        """The cluster that everything new goes to."""
        return self.clusters.in_force

    def held(self) -> dict[str, list[str]]:
        """The clusters of the open documents by name, each with the ids of jobs of theirs that have not ended."""
        found: dict[str, list[str]] = {sweep.cluster: [] for sweep in self.open_sweeps.values()}
        for run in self.open_runs.values():
            last = [job.attempts[-1] for job in run.jobs if job.attempts]
            found.setdefault(run.cluster, []).extend(_alive(last))
        for record in self.open_records.values():
            found.setdefault(record.cluster, []).extend(_alive([record]))
        for watch in self.notices.foreign():
            found.setdefault(watch.cluster, []).append(watch.target)
        return found

    def follow(self) -> None:
        """Nothing; ledger, lists and open documents follow the folders, which are not loaded yet."""
        self.store.sweeps.listeners.append(self._sweep_changed)
        for folder, opened in ((self.store.runs, self.open_runs), (self.store.jobs, self.open_records)):
            folder.listeners.append(functools.partial(self._changed, opened))
        self.store.syncs.listeners.append(self._sync_changed)
        self.own_shelf = Shelf(self.store.workflows, shown_workflows(self.store.workflows))
        self.store.inbox.listeners.append(lambda *_change: self.turned.set())
        self.runs_shown = RunList(self.store.runs, srunx.run)
        self.reported = Collector(self.store.jobs)
        self.reported.listeners.append(lambda job_id: self.news.add(f"report {job_id}"))

    def _sweep_changed(self, name: str, old: Entry | None, new: Entry | None) -> None:
        self.board.sweep_changed(old.document if old else None, new.document if new else None)
        self._opened(self.open_sweeps, name, new if new and new.document.status not in sweeps.ENDED else None)

    def _sync_changed(self, name: str, _old: Entry | None, new: Entry | None) -> None:
        if new is not None and new.document.state not in syncs.ENDED:
            self.open_syncs.add(name)
            self.turned.set()
        else:
            self.open_syncs.discard(name)

    def _changed(self, opened: dict[str, Any], name: str, old: Entry | None, new: Entry | None) -> None:
        # At the start these are 100,000, and no document is parsed that has ended.
        self.ledger.follow(old, new)
        number = next((one.facts.sweep for one in (new, old) if one is not None and one.facts.sweep is not None), None)
        if number is not None:
            self.board.run_changed(name, sweeps.state_of(new.facts.status, new.facts.open) if new else None, number)
            self.turned.set()  # the place of a cell that has ended is free for the next one
        self._opened(opened, name, new if new and new.facts.open else None)

    def _opened(self, opened: dict[str, Any], name: str, new: Entry | None) -> None:
        if new is not None:
            opened[name] = new.document
            self.news.add(name)
            self.turned.set()
        else:
            opened.pop(name, None)

    # ------------------------------------------------------------------------------------------------- finding

    def shelf(self, mount: str | None) -> Shelf:
        """The store's own workflows, or those of a mount; NotFound for one that profile or disk lacks."""
        if mount is None:
            return self.own_shelf
        found = self.store.profiles.mount(mount)
        root = found.root
        if root not in self.shelves:
            if not found.is_there():
                raise errors.NotFound("Mount", mount, ": its folder is not there")
            folder = self.store.adopt(root / SHELF, self.store.workflows)
            self.shelves[root] = Shelf(folder, shown_workflows(folder), root)
        return self.shelves[root]

    def look(self, job_id: str) -> runs.Sight:
        """What the cluster in force knows of a job id, for the rules."""
        return runs.Sight(*self.cluster.snapshot.look(job_id))

    def look_at(self, name: str, job_id: str) -> runs.Sight:
        """What the cluster of this name knows of a job id."""
        return self.sights(name)[0](job_id)

    def sights(self, name: str) -> tuple[runs.Look, runs.Find]:
        """What the cluster of this name knows of a job id, and of an attempt whose job id was never heard."""
        cluster = self.clusters.named(name)
        if cluster is None:
            return lambda _job_id: UNKNOWN, lambda _attempt: UNKNOWN
        return (
            lambda job_id: runs.Sight(*cluster.snapshot.look(job_id)),
            lambda attempt: runs.Sight(*cluster.find(attempt.tag or "", epoch(attempt.intended_at) or 0)),
        )

    def age_s(self, run_id: str) -> float:
        """How old what is known of a run is: 0 when it is over, all our time when its cluster has not answered yet."""
        facts = self.store.runs.entry(run_id).facts
        cluster = self.clusters.named(facts.cluster) if facts.open else None
        age_s = None if cluster is None else cluster.snapshot.age_s
        return 0.0 if not facts.open else time.monotonic() - self.began if age_s is None else age_s

    # ------------------------------------------------------------------------------------------ taking turns

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """One after the other for whoever works on the document of this name."""
        lock = self.turns.setdefault(name, asyncio.Lock())
        async with lock:
            yield

    def set_going(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Nothing; the work goes on by itself, unless the same is still going on."""
        if name in self.going:
            self.news.add(name)
            work.close()
            return
        task = self.going[name] = asyncio.create_task(self.looked_after(name, work))
        task.add_done_callback(lambda _task: self.going.pop(name, None))

    async def looked_after(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Nothing; a failure is told and costs nothing, since the next turn looks at everything again."""
        try:
            await work
        except errors.NotFound:
            log.debug("%s was deleted meanwhile", name)
        except (errors.StoreError, SlurmError) as problem:
            log.warning("%s waits: %s", name, problem)
            self.news.add(name)
        except Exception:
            log.exception("%s stumbled", name)
            self.news.add(name)

    async def stop_going(self) -> None:
        """Nothing; what was set going is over."""
        for task in list(self.going.values()):
            await ended(task)


UNKNOWN = runs.Sight("unknown")


def _alive(attempts: Iterable[Attempt | JobRecord]) -> list[str]:
    return [one.job_id for one in attempts if one.job_id and one.state not in states.TERMINAL]


async def ended(task: asyncio.Task[Any]) -> None:
    """Nothing; the task is cancelled and over."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
