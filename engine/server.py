"""The parts of a running server, and how they are connected."""

from __future__ import annotations

import asyncio
import getpass
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.changes import Changes
from engine.clusters import Clusters
from engine.notify.notifications import Notifications
from engine.open_documents import OpenDocuments
from engine.tasks import Locks, Supervisor, Tasks
from slurm_shim.cluster import Cluster
from slurm_shim.pace import Pace
from slurm_shim.remote.rsync import Transfer
from store import access, errors
from store.config.settings import Settings
from store.disk.audit import Audit
from store.disk.entries import FileEntry
from store.disk.folders import Folder
from store.disk.streams import Streams
from store.indexes import jobs
from store.indexes import sweeps as board
from store.indexes.lists import JobList, RowList, RunList
from store.indexes.reports import ReportIndex
from store.kinds import KINDS, Key
from store.rendering.renderer import Renderer
from store.rules import runs, sweeps, workflows
from store.store import Store
from store.times import to_epoch
from store.views import srunx

# What could not be done now is tried again after so long.
RETRY_S = 0.5


async def run_in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call the function in a thread that no SLURM call can block."""
    return await asyncio.to_thread(function, *arguments, **named)


@dataclass(frozen=True)
class WorkflowFolder:
    """Where workflows lie.

    The folder, its rows as bytes, and the root that relative paths of its jobs start from.
    """

    folder: Folder
    rows: RowList
    root: Path | None = None


# Where a mount has its workflows.
WORKFLOWS_PATH = Path(".srunx") / "workflows"


def make_workflow_listing(folder: Folder) -> RowList:
    """Make the list of a folder's workflows as answers show them, by name."""
    return RowList(folder, lambda entry: entry.summary or {}, lambda row: row["name"])


class Server:
    """The store, the clusters and what is kept in memory of them.

    One for each app that runs.
    """

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
        self.transfers: dict[str, Transfer] = {}
        self.copying: dict[tuple[str, str], Any] = {}  # by cluster and mount, see engine.mounts.copies
        self.audit = Audit(self.store.join_path("audit"), self.store.files)
        self.streams = Streams(self.store.join_path("streams"), self.store.files)
        self.locks, self.supervisor = Locks(), Supervisor()
        self.wake = asyncio.Event()
        self.open_documents = OpenDocuments(self.wake.set)
        self.tasks = Tasks(self.open_documents.mark, self.retry_later)
        self.answering: dict[str, Cluster] = {}  # the clusters of open documents that answered in the last pass
        self.open_questions: dict[str, None] = {}  # jobs that reported and of which SLURM may have to say something
        self.job_index = jobs.JobIndex()
        self.changes = Changes()
        self.sweep_index = board.SweepIndex(self.store.sweeps.get, self.store.runs.get, self.store.archive)
        self.notifications = Notifications(
            self.store,
            self.job_index,
            self.sweep_index,
            lambda: self.cluster.name,
            self.view_job,
            lambda name: self.locks.hold(Key("notification", name)),
            self.supervisor.start,
        )
        self.failures, self.peers = access.Failures(), access.Peers()
        self.hosts = access.LOOPBACK_NAMES
        self.own_caller = access.Caller(getpass.getuser(), access.INCLUDED["admin"])
        self.clusters = Clusters(self.store, settings, self.pool, self.supervisor.start)
        self.pace: Pace
        self.job_lists: weakref.WeakKeyDictionary[Cluster, JobList] = weakref.WeakKeyDictionary()
        self.own_shelf: WorkflowFolder
        self.shelves: dict[Path, WorkflowFolder] = {}
        self.run_list: RunList
        self.report_index: ReportIndex

    def update_hosts(self, *_change: Any) -> None:
        """Learn the names in a Host header that mean this server."""
        self.hosts = access.list_host_names(
            self.settings.host, [*self.settings.allowed_hosts, *self.store.access.allowed_hosts]
        )

    @property
    def cluster(self) -> Cluster:
        """The cluster that everything new goes to."""
        return self.clusters.in_force

    def retry_later(self, key: Key) -> None:
        """Have a document whose work failed looked at again, but not at once."""
        self.open_documents.schedule(key, time.time() + RETRY_S)

    def follow(self) -> None:
        """Make indexes, lists and open documents follow the folders.

        The folders are not loaded yet.
        """
        self.store.sweeps.listeners.append(self._follow_sweep)
        for folder in (self.store.runs, self.store.jobs):
            folder.listeners.append(self._follow_jobs)
        for kind in KINDS:
            if kind.find_open is not None:
                self.store.by_kind[kind.name].listeners.append(self.open_documents.make_listener(kind))
        self.own_shelf = WorkflowFolder(self.store.workflows, make_workflow_listing(self.store.workflows))
        self.store.inbox.listeners.append(lambda *_change: self.wake.set())
        self.run_list = RunList(self.store.runs, srunx.to_run_json)
        self.report_index = ReportIndex(self.store.jobs)
        self.report_index.listeners.append(lambda job_id: self.open_questions.update({job_id: None}))

    def _follow_sweep(self, _name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        self.sweep_index.follow_sweep(old.document if old else None, new.document if new else None)

    def _follow_jobs(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        # At the start these are 100,000, and no document is parsed that has ended.
        self.job_index.follow(old, new)
        numbers = [entry.facts.sweep for entry in (new, old) if entry is not None and entry.facts.sweep is not None]
        if numbers:
            state = sweeps.to_cell_state(new.facts.status, new.facts.open) if new else None
            self.sweep_index.follow_run(name, state, numbers[0])
            # The place of a cell that has ended is free for the next one.
            self.open_documents.mark(Key("sweep", str(numbers[0])))

    # ------------------------------------------------------------------------------------------------- finding

    def find_shelf(self, mount: str | None) -> WorkflowFolder:
        """Find the workflows of the store, or of a mount.

        Raises NotFound for a mount that the profile or the disk lacks.
        """
        if mount is None:
            return self.own_shelf
        found = self.store.profiles.get_mount(mount)
        root = found.root
        if root not in self.shelves:
            if not found.is_there():
                raise errors.NotFound("Mount", mount, ": its folder is not there")
            folder = self.store.add_folder(root / WORKFLOWS_PATH, self.store.workflows)
            shelf = self.shelves[root] = WorkflowFolder(folder, make_workflow_listing(folder), root)
            self.changes.follow_folder(folder, "workflow", lambda name: shelf.rows.get_row(name).data, mount)
        return self.shelves[root]

    def view_job(self, name: str, job_id: str) -> runs.JobView:
        """View a job as the cluster of this name knows it."""
        return self.make_lookups(name)[0](job_id)

    def make_lookups(self, name: str) -> tuple[runs.ById, runs.ByTag]:
        """Make the look-ups of a cluster: by job id, and by tag.

        The tag finds an attempt whose job id is not known.
        """
        cluster = self.clusters.find(name)
        if cluster is None:
            return lambda _job_id: UNKNOWN, lambda _attempt: UNKNOWN
        return (
            lambda job_id: runs.JobView(*cluster.snapshot.by_id(job_id)),
            lambda attempt: runs.JobView(*cluster.by_tag(attempt.tag or "", to_epoch(attempt.intended_at) or 0)),
        )

    def get_age_s(self, run_id: str) -> float:
        """Get the age of what is known of a run.

        0 when it is over, the time since our start while its cluster has not answered.
        """
        facts = self.store.runs.get_entry(run_id).facts
        cluster = self.clusters.find(facts.cluster) if facts.open else None
        age_s = None if cluster is None else cluster.snapshot.age_s
        return 0.0 if not facts.open else time.monotonic() - self.began if age_s is None else age_s


UNKNOWN = runs.JobView("unknown")
