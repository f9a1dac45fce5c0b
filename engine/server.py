"""The parts of a running server, and how they are connected."""

from __future__ import annotations

import asyncio
import functools
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from engine.callers.codes import Codes
from engine.callers.munge import MungeReader
from engine.callers.signing import SigningKey
from engine.callers.yaptide.password_checks import PasswordChecks
from engine.callers.yaptide.realm_keys import RealmKeys
from engine.changes import Changes
from engine.clusters import Clusters
from engine.exports.work import FileWork
from engine.following import follow_folders
from engine.monitoring.request_counts import RequestCounts
from engine.monitoring.sampler import Sampler
from engine.mounts.work import MountWork
from engine.nodes.node_table import NodeTables
from engine.notify.notifications import Notifications
from engine.notify.webhooks import Sender
from engine.open_documents import LostDocuments, OpenDocuments
from engine.search.text_cache import TextCache
from engine.simulations.known_reports import TaskReports
from engine.simulations.report_batches import ReportBatches
from engine.tasks import Gatherer, Locks, Supervisor, Tasks
from engine.workflow_folders import WorkflowFolders
from slurm_shim.cluster import Cluster
from slurm_shim.pace import Pace
from slurm_shim.script_checks import find_problems
from slurm_shim.threads import start_threads
from store.access import Callers, Logins
from store.access.yaptide.users import User
from store.config.settings import Settings
from store.deadlines import limit_computing
from store.disk.audit import Audit
from store.disk.streams import Streams
from store.errors import StoreError
from store.indexes.bodies import BoundedCache, JobBodies
from store.indexes.job_list import JobList
from store.indexes.jobs import JobIndex
from store.indexes.lists import RunList
from store.indexes.reports import ReportIndex
from store.indexes.simulations import SimulationIndex
from store.indexes.sweeps import SweepIndex
from store.kinds import Key
from store.logs import Tails
from store.rendering.renderer import Renderer
from store.rules import workflows
from store.rules.inbox import Inbox
from store.rules.logs.counts import KnownCounts
from store.store import Store
from store.views import srunx
from store.workflow_files import names

Checked = TypeVar("Checked")
# Of simulations, as somebody has asked for them.
STATES_BYTES = 8_000_000
# Calls of SLURM's programs at once; of submissions there are fewer, see slurm_shim.cluster.
SLURM_CALLS = 24
# A workflow as large as the store takes needs half of it.
CHECK_S = 10.0
CHECKS = 2  # at once
SCRIPTS_AT_ONCE = 16  # that one shell reads for several callers


def make_store(settings: Settings, renderer: Renderer) -> Store:
    """Make the store of these settings; workflows are rendered for lists.

    That is done where files are read, off the event loop: rendering may take as long as its limits allow.
    """
    return Store(
        settings.store,
        parsers={"workflows": lambda data, name: workflows.parse_workflow(data, stem=name)},
        summaries={"workflows": lambda workflow: workflows.to_rendered_json(workflow, renderer)},
        warnings={"workflows": lambda workflow: names.list_warnings(workflow, renderer)},
        poll=settings.watch == "poll",
        system=settings.system_config,
    )


class Server:
    """The store, the clusters and what is kept in memory of them.

    One for each app that runs. The folders are not loaded yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.began = settings, time.monotonic()
        self.renderer = Renderer()
        self.callers = Callers(settings.host, settings.allowed_hosts, settings.always_ask == "yes")
        self.store = make_store(settings, self.renderer)
        self.pool, self.check_pool = start_threads(SLURM_CALLS, "slurm"), start_threads(CHECKS, "checks")
        self.store.workflows.run_reading = self.check
        self.audit = Audit(self.store.join_path("audit"), self.store.files)
        self.munge, self.signing_key, self.codes = MungeReader(), SigningKey(self.store.files), Codes()
        self.script_checks = Gatherer(functools.partial(self.check, find_problems), SCRIPTS_AT_ONCE, CHECKS)
        self.passwords, self.web = PasswordChecks(), Sender()
        self.realm_keys = RealmKeys(self.web.get)
        self.logins = Logins(self.find_user, lambda: self.signing_key.value)
        self.streams = Streams(self.store.join_path("streams"), self.store.files)
        self.locks, self.supervisor, self.wake = Locks(), Supervisor(), asyncio.Event()
        self.open_documents = OpenDocuments(self.wake.set)
        self.lost_documents = LostDocuments()
        self.tasks = Tasks(self.open_documents.mark, self.open_documents.retry_later)
        self.changes, self.mount_work, self.pace = Changes(), MountWork(), Pace()
        self.update_feeds: list[Any] = []  # one, once somebody wants updates: see engine/live
        self.file_work = FileWork()
        self.clusters = Clusters(self.store, settings, self.pool, self.supervisor.start)
        self.requests = RequestCounts()
        self.job_texts, self.user_texts, self.run_texts = TextCache(), TextCache(), TextCache()
        self.sampler = Sampler(self.store, lambda: self.cluster)
        self.answering: dict[str, Cluster] = {}  # the clusters of open documents that answered in the last pass
        self.job_index = JobIndex()
        self.sweep_index = SweepIndex(self.store.sweeps.get, self.store.runs.get, self.store.archive)
        self.simulation_index, self.task_reports = SimulationIndex(), TaskReports()
        self.report_batches = ReportBatches()
        self.simulation_states = BoundedCache(STATES_BYTES)
        self.notifications = Notifications(
            self.store, self.job_index, self.sweep_index, lambda: self.cluster.name, self.clusters.view_job,
            lambda name: self.locks.hold(Key("notification", name)), self.supervisor.start,
        )  # fmt: skip
        follow_folders(self.store, self.open_documents, self.job_index, self.sweep_index, self.simulation_index)
        for kind in ("run", "job"):
            self.lost_documents.follow_folder(self.store.by_kind[kind], kind)
        self.store.simulations.listeners.append(self.task_reports.follow)
        self.inbox = Inbox(self.store.join_path("inbox"))
        self.store.inbox.listeners.append(self._follow_inbox)
        # Lists follow after the indexes, from which their rows are made.
        self.workflow_folders = WorkflowFolders(self.store, self.changes)
        self.run_list = RunList(self.store.runs, srunx.to_run_json)
        self.report_index = ReportIndex(self.store.jobs)
        self.report_index.find_ahead_s = lambda: self.cluster.slurm.clock_offset_s
        self.ways: dict[tuple[Any, ...], Any] = {}  # what the heads of requests lead to: see http_server/ways.py
        self.log_tails: weakref.WeakKeyDictionary[Cluster, Tails] = weakref.WeakKeyDictionary()
        self.log_counts: weakref.WeakKeyDictionary[Cluster, KnownCounts] = weakref.WeakKeyDictionary()
        self.reported_counts = KnownCounts()
        self.node_tables: weakref.WeakKeyDictionary[Cluster, NodeTables] = weakref.WeakKeyDictionary()
        self.job_lists: weakref.WeakKeyDictionary[Cluster, JobList] = weakref.WeakKeyDictionary()
        self.job_bodies: weakref.WeakKeyDictionary[Cluster, JobBodies] = weakref.WeakKeyDictionary()
        self.queue_views: weakref.WeakKeyDictionary[Cluster, Any] = weakref.WeakKeyDictionary()  # see engine/queue

    def get_job_list(self, cluster: Cluster) -> JobList:
        """Get the list of a cluster's jobs."""
        found = self.job_lists.get(cluster)
        if found is None:
            found = self.job_lists[cluster] = JobList(self.job_index, self.report_index)
        return found

    def _follow_inbox(self, *_change: Any) -> None:
        self.inbox.mark_changed()
        self.wake.set()

    async def check(self, work: Callable[..., Checked], *given: Any, **named: Any) -> Checked:
        """Check in a thread what a caller has sent, within CHECK_S.

        Few threads do that and nothing else, so that other requests never wait for them. Raises Invalid when the work
        takes longer, or finds something wrong.
        """

        def check_in_time() -> Checked:
            with limit_computing(CHECK_S):
                return work(*given, **named)

        return await asyncio.get_running_loop().run_in_executor(self.check_pool, check_in_time)

    async def check_each(
        self, work: Callable[..., Checked], given: Sequence[Sequence[Any]]
    ) -> list[Checked | Exception]:
        """Check several things in one thread, each within CHECK_S.

        What is wrong with one, an error of the store or a ValueError, stands in its place.
        """

        def check_in_time(arguments: Sequence[Any]) -> Checked | Exception:
            try:
                with limit_computing(CHECK_S):
                    return work(*arguments)
            except (StoreError, ValueError) as problem:
                return problem

        def check_all() -> list[Checked | Exception]:
            return [check_in_time(arguments) for arguments in given]

        return await asyncio.get_running_loop().run_in_executor(self.check_pool, check_all)

    def find_user(self, user_id: str) -> User | None:
        """Return the user with this id as the store has him now, or None."""
        users = self.store.users
        found: User | None = users.get(user_id) if user_id in users else None
        return found

    def check_ready(self, cluster: Cluster) -> None:
        """Raise StoreUnavailable or SlurmUnreachable if nothing can start now.

        Of the store first: an embedded cluster is gone with it.
        """
        self.store.files.require_store(self.store.root)
        cluster.check_answering()

    @property
    def cluster(self) -> Cluster:
        """The cluster that everything new goes to."""
        return self.clusters.in_force
