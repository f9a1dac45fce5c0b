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
from engine.notify.notifications import Notifications
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmError
from slurm_shim.pace import Pace
from slurm_shim.remote.rsync import Transfer
from store import access, errors
from store.config.settings import Settings
from store.disk.audit import Audit
from store.disk.folders import FileEntry, Folder
from store.disk.streams import Streams
from store.documents import Attempt, JobRecord, Run, Sweep
from store.indexes import jobs
from store.indexes import sweeps as board
from store.indexes.lists import JobList, RowList, RunList
from store.indexes.reports import ReportIndex
from store.rendering.renderer import Renderer
from store.rules import runs, states, sweeps, syncs, workflows
from store.store import Store
from store.times import to_epoch
from store.views import srunx

log = logging.getLogger("sluice")


async def run_in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What the function gives, called off the event loop; not in the pool that speaks to SLURM."""
    return await asyncio.to_thread(function, *arguments, **named)


@dataclass(frozen=True)
class WorkflowFolder:
    """Where workflows lie: the folder, its rows as bytes, and the root that relative paths of its jobs start from."""

    folder: Folder
    rows: RowList
    root: Path | None = None


# Where a mount has its workflows.
WORKFLOWS_PATH = Path(".srunx") / "workflows"


def make_workflow_listing(folder: Folder) -> RowList:
    """The workflows of a folder as answers show them, by name."""
    return RowList(folder, lambda entry: entry.summary or {}, lambda row: row["name"])


class Server:
    """The store, the cluster and everything kept in memory about them; one per process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.began = time.monotonic()
        self.renderer = Renderer()
        self.store = Store(
            settings.store,
            parsers={"workflows": lambda data, name: workflows.parse_workflow(data, stem=name)},
            # Made where files are read, off the event loop: rendering may take as long as its limits allow.
            summaries={"workflows": lambda workflow: workflows.to_rendered_json(workflow, self.renderer)},
            poll=settings.watch == "poll",
            system=settings.system_config,
        )
        self.pool = ThreadPoolExecutor(8, thread_name_prefix="sluice")
        # Folders on a server that hangs, and transfers that take hours, hold up nothing but their own kind.
        self.browsing = ThreadPoolExecutor(4, thread_name_prefix="browse")
        self.syncing = ThreadPoolExecutor(8, thread_name_prefix="rsync")
        self.open_syncs: set[str] = set()
        self.transfers: dict[str, Transfer] = {}
        self.job_index = jobs.JobIndex()
        self.audit = Audit(self.store.join_path("audit"), self.store.files)
        self.turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self.wake = asyncio.Event()
        self.open_runs: dict[str, Run] = {}
        self.open_records: dict[str, JobRecord] = {}
        self.open_sweeps: dict[str, Sweep] = {}
        self.news: set[str] = set()
        self.copying: dict[tuple[str, str], Any] = {}  # by cluster and mount, see engine.mounts.copies
        self.busy: set[str] = set()  # the clusters of the open documents
        self.going: dict[str, asyncio.Task[None]] = {}
        self.sweep_index = board.SweepIndex(self.store.sweeps.get, self.store.runs.get, self.store.archive)
        self.notifications = Notifications(
            self.store, self.job_index, self.sweep_index, lambda: self.cluster.name, self.view_job, self.turn
        )
        self.failures = access.Failures()
        self.peers = access.Peers()
        self.hosts = access.LOOPBACK_NAMES
        self.own_caller = access.Caller(getpass.getuser(), access.INCLUDED["admin"])
        self.clusters = Clusters(self.store, settings, self.pool)
        self.pace: Pace
        self.job_lists: weakref.WeakKeyDictionary[Cluster, JobList] = weakref.WeakKeyDictionary()
        self.own_shelf: WorkflowFolder
        self.shelves: dict[Path, WorkflowFolder] = {}
        self.run_list: RunList
        self.report_index: ReportIndex
        self.questions: dict[str, None] = {}  # jobs that reported and of which SLURM may have to say something
        self.streams = Streams(self.store.join_path("streams"), self.store.files)

    def update_hosts(self, *_change: Any) -> None:
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
        for watch in self.notifications.list_foreign_watches():
            found.setdefault(watch.cluster, []).append(watch.target)
        return found

    def follow(self) -> None:
        """Nothing; ledger, lists and open documents follow the folders, which are not loaded yet."""
        self.store.sweeps.listeners.append(self._sweep_changed)
        for folder, opened in ((self.store.runs, self.open_runs), (self.store.jobs, self.open_records)):
            folder.listeners.append(functools.partial(self._changed, opened))
        self.store.syncs.listeners.append(self._sync_changed)
        self.own_shelf = WorkflowFolder(self.store.workflows, make_workflow_listing(self.store.workflows))
        self.store.inbox.listeners.append(lambda *_change: self.wake.set())
        self.run_list = RunList(self.store.runs, srunx.to_run_json)
        self.report_index = ReportIndex(self.store.jobs)
        self.report_index.listeners.append(lambda job_id: self.news.add(f"report {job_id}"))

    def _sweep_changed(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        self.sweep_index.follow_sweep(old.document if old else None, new.document if new else None)
        self._opened(self.open_sweeps, name, new if new and new.document.status not in sweeps.ENDED else None)

    def _sync_changed(self, name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        if new is not None and new.document.state not in syncs.ENDED:
            self.open_syncs.add(name)
            self.wake.set()
        else:
            self.open_syncs.discard(name)

    def _changed(self, opened: dict[str, Any], name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        # At the start these are 100,000, and no document is parsed that has ended.
        self.job_index.follow(old, new)
        number = next((one.facts.sweep for one in (new, old) if one is not None and one.facts.sweep is not None), None)
        if number is not None:
            self.sweep_index.follow_run(
                name, sweeps.to_cell_state(new.facts.status, new.facts.open) if new else None, number
            )
            self.wake.set()  # the place of a cell that has ended is free for the next one
        self._opened(opened, name, new if new and new.facts.open else None)

    def _opened(self, opened: dict[str, Any], name: str, new: FileEntry | None) -> None:
        if new is not None:
            opened[name] = new.document
            self.news.add(name)
            self.wake.set()
        else:
            opened.pop(name, None)

    # ------------------------------------------------------------------------------------------------- finding

    def find_shelf(self, mount: str | None) -> WorkflowFolder:
        """The store's own workflows, or those of a mount; NotFound for one that profile or disk lacks."""
        if mount is None:
            return self.own_shelf
        found = self.store.profiles.get_mount(mount)
        root = found.root
        if root not in self.shelves:
            if not found.is_there():
                raise errors.NotFound("Mount", mount, ": its folder is not there")
            folder = self.store.add_folder(root / WORKFLOWS_PATH, self.store.workflows)
            self.shelves[root] = WorkflowFolder(folder, make_workflow_listing(folder), root)
        return self.shelves[root]

    def look(self, job_id: str) -> runs.JobView:
        """What the cluster in force knows of a job id, for the rules."""
        return runs.JobView(*self.cluster.snapshot.by_id(job_id))

    def view_job(self, name: str, job_id: str) -> runs.JobView:
        """What the cluster of this name knows of a job id."""
        return self.make_lookups(name)[0](job_id)

    def make_lookups(self, name: str) -> tuple[runs.ById, runs.ByTag]:
        """What the cluster of this name knows of a job id, and of an attempt whose job id was never heard."""
        cluster = self.clusters.find(name)
        if cluster is None:
            return lambda _job_id: UNKNOWN, lambda _attempt: UNKNOWN
        return (
            lambda job_id: runs.JobView(*cluster.snapshot.by_id(job_id)),
            lambda attempt: runs.JobView(*cluster.by_tag(attempt.tag or "", to_epoch(attempt.intended_at) or 0)),
        )

    def get_age_s(self, run_id: str) -> float:
        """How old what is known of a run is: 0 when it is over, all our time when its cluster has not answered yet."""
        facts = self.store.runs.get_entry(run_id).facts
        cluster = self.clusters.find(facts.cluster) if facts.open else None
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
            await end_task(task)


UNKNOWN = runs.JobView("unknown")


def _alive(attempts: Iterable[Attempt | JobRecord]) -> list[str]:
    return [one.job_id for one in attempts if one.job_id and one.state not in states.TERMINAL]


async def end_task(task: asyncio.Task[Any]) -> None:
    """Nothing; the task is cancelled and over."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
