"""One snapshot of queue and nodes: N viewers cost one poll.

A single poller asks squeue at most once per interval and everything else reads memory. Our own recent
actions are laid over it until a squeue that STARTED after them has answered. A query that fails changes nothing but
the age. A job is seen, absent or unknown; absent needs both queue and accounting to say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from slurm_shim.commands import NODES, PARTITIONS, Slurm
from slurm_shim.errors import SlurmError
from slurm_shim.ids import is_job_id, list_tasks, split_job_id
from slurm_shim.job_groups import build_waiting_job, combine_rows, is_part_of, list_common_tasks, list_row_tasks
from slurm_shim.parse import FINISHED, WAITING, Job, Node, Partition
from slurm_shim.past.missing_jobs import MissingJobs, store_bounded
from slurm_shim.past.past_tasks import GroupChange, PastTasks
from slurm_shim.queue.answers import Queue, find_differing, index_answer, is_same_but_time
from slurm_shim.submissions import ANY, Submission, choose_ended, get_whole_id

JobFinding = tuple[str, Job | None]
Pause = Callable[[asyncio.Event, float], Awaitable[None]]

_COST = 20  # the interval is at least so many times what squeue takes
_OWN_SHARE = 4  # what we take to read its answer, which costs nobody else anything, counts so much less
_OWN_FREE_S = 0.1  # CPU of reading an answer that does not count
_LONGEST_S = 60.0  # but never longer than this
_HURRIED_COST = 4  # the same where somebody says that jobs have just ended
_SOUGHT = 10_000  # tags that are looked for at once
_CONFIG_S = 60.0  # how often the controller is asked for its settings and its clock

_log = logging.getLogger("sluice.slurm")


class Snapshot:
    """The last known state of queue and nodes, shared by all.

    Methods belong to one event loop; `slurm` runs in `executor`.

    `jobs` (by id, own recent actions laid over), `nodes`, `partitions`: read only, replaced or brought up to date in
    place when a poll brings changes. `version` grows with every change of what is shown. `is_busy()` may be set to say
    that open jobs of ours exist, which keeps the poller fast; so does keep_fresh(). `on_jobs_changed` functions are
    called on the loop with the ids of the jobs that changed in more than their elapsed time (empty: only nodes or times
    did).
    `now` and `pause` are for tests.
    """

    def __init__(
        self,
        slurm: Slurm,
        executor: Executor,
        min_s: float = 2.0,
        max_s: float = 10.0,
        *,
        nodes_s: float = 5.0,
        now: Callable[[], float] = time.monotonic,
        pause: Pause | None = None,
    ) -> None:
        self._slurm, self._executor = slurm, executor
        self.min_s, self.max_s, self._nodes_s = min_s, max(min_s, max_s), nodes_s
        self._now, self._pause = now, pause or _wait_for_wake
        self.jobs: dict[str, Job] = {}
        self.nodes: list[Node] = []
        self.partitions: list[Partition] = []
        self.version = 0
        self.taken_at: float | None = None  # when the squeue that we show began, on the clock of `now`
        self.taken_at_epoch: float | None = None
        self.error: str | None = None
        self.label = "SLURM"  # what it is called in the log
        self.nodes_error: str | None = None
        self._changed_nodes: dict[str, tuple[Node, float]] = {}  # by our own actions, and when
        self.is_busy: Callable[[], bool] = lambda: False
        self.on_jobs_changed: list[Callable[[set[str]], None]] = []
        self._queue = Queue()  # the last squeue as it is
        self._past = PastTasks()
        self._submitted: dict[str, tuple[Job, float]] = {}  # submitted by us and when, by the id that sbatch gave
        self._asked: dict[str, tuple[Job, float]] = {}  # as squeue gave it alone after a change of ours, and when
        self._cancelled: dict[str, float] = {}
        self._overlaid: set[str] = set()  # where `jobs` shows something else than the queue
        self.missing = MissingJobs(now)
        self._watched: tuple[float, float] | None = None  # the end of the first poll without a gap, begin of the last
        self._sought: dict[str, list[Job]] = {}  # the tags that somebody looks for, with the rows that last had them
        self._config_at = float("-inf")
        self._resolve_lock = asyncio.Lock()
        self._to_resolve: set[str] = set()
        self._poll: asyncio.Task[None] | None = None
        self._began_at = float("-inf")
        self._nodes_began_at = float("-inf")
        self._costs_s: list[float] = []
        self._viewed_at = float("-inf")
        self._poll_requested = False
        self._hurried = False
        self._wake = asyncio.Event()
        self._running = False
        self._polled = asyncio.Condition()
        self._polls = 0

    # ------------------------------------------------------------------------------------------------------- age

    @property
    def age_s(self) -> float | None:
        """Seconds since the shown squeue began; None before the first answer."""
        return None if self.taken_at is None else max(0.0, self._now() - self.taken_at)

    @property
    def interval_s(self) -> float:
        """Shortest time between two squeue calls at present.

        `min_s`, or more where squeue is slow.
        """
        # The cheaper of the last two: one slow answer may be an accident of the machine, or a controller that starts.
        cost_s = min(self._costs_s) if len(self._costs_s) > 1 else 0.0
        return max(self.min_s, min(_COST * cost_s, _LONGEST_S))

    @property
    def problem(self) -> str | None:
        """Why SLURM counts as not answering; None while it answers.

        A query that is under way for too long counts as well, before its time-out ends it.
        """
        return self.describe_problem(self.age_s)

    def describe_problem(self, age_s: float | None) -> str | None:
        """Describe `problem` for a snapshot of this age."""
        if self.error is not None or age_s is None:
            return self.error or "it has not answered yet"
        overdue = age_s > max(self.max_s, self.interval_s) + self._slurm.timeout_s
        return f"no answer for {age_s:.0f} s" if overdue else None

    def _note_answer(self, error: str | None) -> None:
        """Note whether SLURM answered, and log when that changes."""
        if error is not None and self.error is None:
            _log.warning("%s does not answer: %s", self.label, error)
        elif error is None and self.error is not None:
            _log.warning("%s answers again", self.label)
        self.error = error

    # ------------------------------------------------------------------------------------------------- the poller

    def keep_fresh(self) -> None:
        """Poll fast for a while: somebody is looking.

        Costs a clock reading, so every request may call it.
        """
        before, self._viewed_at = self._viewed_at, self._now()
        if self._viewed_at - before > self.max_s and not self.is_busy():
            self._wake.set()

    def wake(self) -> None:
        """Ask for a poll as soon as the interval allows.

        Many calls make one poll.
        """
        self._poll_requested = True
        self._wake.set()

    def hurry(self) -> None:
        """Ask for a poll now: jobs are known to have ended.

        How often is only limited by what a poll takes.
        """
        self._hurried = True
        self._wake.set()

    def _needs_fast_polling(self) -> bool:
        return self._now() - self._viewed_at <= self.max_s or self.is_busy()

    def _get_due_at(self) -> float:
        if self._hurried:
            return self._began_at + min(self.interval_s, _HURRIED_COST * min(self._costs_s, default=0.0))
        soon = self._poll_requested or self._needs_fast_polling() or bool(self._cancelled)
        return self._began_at + (self.interval_s if soon else max(self.max_s, self.interval_s))

    async def run(self) -> None:
        """Poll until the task is cancelled."""
        self._running = True
        try:
            while True:
                self._wake.clear()
                wait_s = self._get_due_at() - self._now()
                if wait_s > 0:
                    await self._pause(self._wake, wait_s)
                else:
                    await self._join_poll()
        finally:
            self._running = False

    async def refresh(self) -> None:
        """Wait until a squeue begun after this call has answered or failed.

        With run() going that is within the interval, so that even this cannot ask too often; without it, at once.
        """
        target = self._polls + (2 if self._poll is not None else 1)
        if not self._running:
            while self._polls < target:
                await self._join_poll()
            return
        self.wake()
        async with self._polled:
            while self._polls < target:
                self.wake()
                await self._polled.wait()

    async def _join_poll(self) -> None:
        if self._poll is None:
            self._poll = asyncio.ensure_future(self._poll_once())
        await asyncio.shield(self._poll)

    async def _poll_once(self) -> None:
        began, self._poll_requested, self._hurried = self._now(), False, False
        self._began_at = began
        began_epoch = time.time()
        loop = asyncio.get_running_loop()
        look_at_nodes = began - self._nodes_began_at >= (
            self._nodes_s if self._needs_fast_polling() else max(10.0, self._nodes_s)
        )
        soon = [NODES, PARTITIONS] if look_at_nodes else []
        hosts: asyncio.Future[bool] | None = None
        try:
            asked = loop.run_in_executor(self._executor, self._fetch_queue, self._queue, soon)
            hosts = asyncio.ensure_future(self._poll_nodes(began, asked)) if look_at_nodes else None
            queue, groups, own_s = await asyncio.shield(asked)
            cost_s = self._slurm.squeue_s
            cost_s = self._now() - began - own_s if cost_s is None else cost_s
            self._costs_s = [*self._costs_s[-1:], max(cost_s, own_s / _OWN_SHARE)]
            self._note_answer(None)
            self.taken_at, self.taken_at_epoch = began, began_epoch
            self._follow_watch(began)
            for changed in self._accept_queue(queue, groups, began):
                self._notify_listeners(changed)
                await asyncio.sleep(0)  # others have their turn between thousands of changes
        except SlurmError as error:
            self._note_answer(str(error))
            self._costs_s = []
            self.missing.absence.break_off()
        except Exception as error:  # a defect of ours must show, but never end the polling
            _log.exception("polling the queue failed")
            self._note_answer(f"{type(error).__name__}: {error}")
        finally:
            # First of all: whatever else goes wrong here, the next poll is made.
            self._poll = None
            self._polls += 1
            try:
                if hosts is not None and await hosts:
                    self.version += 1
                    self._notify_listeners(set())
            finally:
                async with self._polled:
                    self._polled.notify_all()

    def _follow_watch(self, began: float) -> None:
        """Note whether a job may have come and gone since the last poll."""
        remembers_s, now = self._slurm.queue_remembers_s, self._now()
        has_gap = self._watched is None or now - self._watched[1] > remembers_s
        self._watched = (now if has_gap or self._watched is None else self._watched[0]), began

    def has_watched_since(self, at: float) -> bool:
        """Return whether no job submitted since then can have escaped us.

        The queue remembers an ended job for MinJobAge, and was asked at least so often.
        """
        return self._watched is not None and self._watched[0] - at <= self._slurm.queue_remembers_s

    def _fetch_queue(self, last: Queue, soon: Sequence[Sequence[str]]) -> tuple[Queue, dict[int, GroupChange], float]:
        """Ask for the queue and compare it; also return the CPU that counts.

        In the thread pool, so that the event loop does not wait for thousands of rows to be sorted and compared.
        """
        began_s = time.thread_time()
        queue = index_answer(self._slurm.squeue(soon=soon), last)
        groups = self._past.compare(queue.groups)
        return queue, groups, max(0.0, time.thread_time() - began_s - _OWN_FREE_S)

    async def _poll_nodes(self, began: float, queue: asyncio.Future[Any]) -> bool:
        loop = asyncio.get_running_loop()
        self._nodes_began_at = began
        if self._slurm.can_prefetch:
            await asyncio.wait({queue})
        if began - self._config_at >= _CONFIG_S:
            with contextlib.suppress(SlurmError):  # it is asked again with the next poll
                await loop.run_in_executor(self._executor, self._slurm.load_config)
                self._config_at = began
        try:
            nodes = await loop.run_in_executor(self._executor, self._slurm.list_nodes)
            partitions = await loop.run_in_executor(self._executor, self._slurm.list_partitions)
        except SlurmError as error:
            self.nodes_error = str(error)
            return False
        except Exception as error:  # as for the queue
            _log.exception("asking for the nodes failed")
            self.nodes_error = f"{type(error).__name__}: {error}"
            return False
        self.nodes_error = None
        self._changed_nodes = {name: (row, at) for name, (row, at) in self._changed_nodes.items() if at >= began}
        nodes = self._overlay_nodes(nodes)
        changed = nodes != self.nodes or partitions != self.partitions
        self.nodes, self.partitions = nodes, partitions
        return changed

    def _overlay_nodes(self, nodes: list[Node]) -> list[Node]:
        return [self._changed_nodes.get(node["name"], (node,))[0] for node in nodes]

    # ---------------------------------------------------------------------------------------- taking an answer over

    def _accept_queue(self, queue: Queue, groups: Mapping[int, GroupChange], began: float) -> Sequence[set[str]]:
        """Show an answer of squeue; return the ids to tell listeners, in parts."""
        if queue.rows is not self._queue.rows:
            # What has changed is told once, and takes memory where it is much.
            self._queue = replace(queue, changed=set(), notable=())
            self._past.follow(queue.groups, began, self._slurm.queue_remembers_s, groups)
        self._past.followed_at = began
        self._submitted = {job_id: (job, at) for job_id, (job, at) in self._submitted.items() if at >= began}
        self._asked = {job_id: (job, at) for job_id, (job, at) in self._asked.items() if at >= began}
        self._cancelled = {
            job_id: at for job_id, at in self._cancelled.items() if at >= began or self._is_completing(job_id)
        }
        is_there = functools.partial(_is_there, queue.rows, self._find_rows)
        self.missing.follow_queue(began, queue.lost, is_there)
        for tag in self._sought.keys() & queue.words.keys():
            self._sought[tag] = queue.words[tag]
        return self._update_jobs(queue)

    def _is_completing(self, job_id: str) -> bool:
        # We cancelled it and its processes are still ending: SLURM shows COMPLETING over the CANCELLED below.
        return any(row["state"] == "COMPLETING" for row in self._find_rows(job_id))

    def _update_jobs(self, queue: Queue) -> Sequence[set[str]]:
        rows, laid = dict(queue.rows), set()
        for whole, (job, _at) in self._submitted.items():
            if not self._find_rows(whole):
                rows[job["job_id"]] = job
                laid.add(job["job_id"])
        rows |= {job_id: job for job_id, (job, _at) in self._asked.items()}
        laid |= self._asked.keys()
        for job_id in self._cancelled:
            for row in self._list_cancelled(job_id):
                rows[row["job_id"]] = row | {"state": "CANCELLED"}
                laid.add(row["job_id"])
        before, self.jobs = self.jobs, rows
        laid, self._overlaid = laid | self._overlaid, laid
        # Where nothing was laid over, before or now, the thread has compared already.
        overlaid = find_differing(before, rows, laid)
        # The order may be the one that was shown already.
        if overlaid or queue.changed - laid or (queue.reordered and list(before) != list(rows)):
            self.version += 1
            notable = {i for i in overlaid if not is_same_but_time(before.get(i), rows.get(i))}
            return [notable | (queue.notable[0] if queue.notable else set()), *queue.notable[1:]]
        # What is laid over them may look the same, but what SLURM says of them has changed.
        return queue.notable

    def _overlay_rows(self, rows: dict[str, Job]) -> None:
        """Show these rows in place of what the queue says.

        They stay until it is asked again. The cost does not depend on the other rows.
        """
        changed = find_differing(self.jobs, rows, rows)
        self._overlaid |= rows.keys()
        if changed:
            notable = {i for i in changed if not is_same_but_time(self.jobs.get(i), rows[i])}
            self.jobs.update(rows)
            self.version += 1
            self._notify_listeners(notable)

    def _notify_listeners(self, changed: set[str]) -> None:
        for listener in self.on_jobs_changed:
            listener(changed)

    # ------------------------------------------------------------------------------------------- our own actions

    def add_submitted(self, job_id: str, job: Job) -> None:
        """Show a job that sbatch has just accepted under this id.

        `job` has what is known of it, also an array's own `job_id`; what is missing is filled in.
        """
        row = build_waiting_job(**({"job_id": job_id} | job))
        self._submitted[job_id] = (row, self._now())
        self.missing.note_asked(job_id)
        if not self._find_rows(job_id):
            self._overlay_rows({row["job_id"]: row})
        self.wake()

    def mark_cancelled(self, job_ids: Iterable[str]) -> None:
        """Show jobs as cancelled that scancel has just been told to end.

        Whole arrays go by their own id. Tasks that wait among others leave no row behind.
        """
        now, ended = self._now(), {}
        for job_id in job_ids:
            self._cancelled[job_id] = now
            for row in self._list_cancelled(job_id):
                ended[row["job_id"]] = row | {"state": "CANCELLED"}
            for row in self._find_rows(job_id) or self._find_submitted(job_id):
                if not _ends_whole(row, job_id):
                    self._past.note_unstarted(row, list_common_tasks(row, job_id))
        self._overlay_rows(ended)
        self.wake()

    def show_nodes(self, rows: Iterable[Node]) -> None:
        """Show nodes as they were read after we changed them.

        They stay so until the nodes are asked for again, which is soon.
        """
        self._changed_nodes |= {row["name"]: (row, self._now()) for row in rows}
        self.nodes = self._overlay_nodes(self.nodes)
        self.version += 1
        self._notify_listeners(set())
        self._nodes_began_at = float("-inf")
        self.wake()

    def show_rows(self, rows: Iterable[Job]) -> None:
        """Show rows that squeue has just given for jobs that we have changed.

        They stay so until a squeue that began later has answered.
        """
        now, fresh = self._now(), {row["job_id"]: row for row in rows}
        self._asked |= {job_id: (row, now) for job_id, row in fresh.items()}
        for whole, (job, at) in self._submitted.items():
            self._submitted[whole] = fresh.get(job["job_id"], job), at
        self._overlay_rows(fresh)
        self.wake()

    def _list_cancelled(self, job_id: str) -> list[Job]:
        rows = self._find_rows(job_id) or self._find_submitted(job_id)
        return [row for row in rows if row["state"] not in FINISHED and _ends_whole(row, job_id)]

    # ----------------------------------------------------------------------------------------- what about one job

    def by_id(self, job_id: str, submission: Submission = ANY) -> JobFinding:
        """Return what SLURM knows of a job: (knowledge, job).

        ("seen", job) | ("absent", what accounting says, or None) | ("replaced", None) | ("unknown", None).

        The truth of SLURM, without the CANCELLED that we show early. An array's or heterogeneous job's own id gives
        one combined job. Absent: a squeue that began after this job was first asked about lacks it, and
        resolve_missing() found it ended, or nowhere for long enough. Replaced: another job than this submission has
        the id. Unknown must not be acted upon.
        """
        self.missing.note_asked(job_id)
        rows = self._find_rows(job_id)
        if rows and not any(map(submission.matches, rows)):
            return "replaced", None
        if rows:
            self.missing.forget(job_id)  # requeued since
            return "seen", self._combine_rows(job_id, rows)
        if submitted := self._find_submitted(job_id):
            return "seen", combine_rows(job_id, submitted)
        settled = self.missing.find_settled(job_id)
        if settled is None:
            return "unknown", None
        own = choose_ended(settled, submission)
        return "absent", combine_rows(job_id, own) if own else None

    def find(self, job_id: str) -> Job | None:
        """Find a job by any of its ids, as it is shown; None if unknown.

        An array or heterogeneous job (35), some tasks (35_[2-3%2]), a task or component (35_2, 35+1), also by its own
        number. Also tasks that the queue has forgotten since. ValueError for what is no id.
        """
        known = self._find_rows(job_id) or self._find_submitted(job_id)
        tasks = list_tasks(job_id)
        unstarted = self._past.find_unstarted(job_id) if tasks else []
        rows = [self.jobs.get(row["job_id"], row) for row in known] or self._past.find_ended(job_id)
        if unstarted and (not rows or (len(unstarted) == len(tasks) and all(row["state"] in WAITING for row in rows))):
            rows = unstarted
        return self._combine_rows(job_id, rows) if rows else None

    def _find_rows(self, job_id: str) -> list[Job]:
        row = self._queue.rows.get(job_id)
        number = split_job_id(job_id)["job"] if is_job_id(job_id) else None
        if number in self._queue.groups and (row is None or job_id.isdigit()):
            # "8_5" is here while it still waits in the row "8_[3-6]".
            return [row for row in self._queue.groups[number] if is_part_of(row, job_id)]
        row = row or (self._queue.numbers.get(int(job_id)) if job_id.isdigit() else None)
        return [] if row is None else [row]

    def _find_submitted(self, job_id: str) -> list[Job]:
        row, _at = self._submitted.get(job_id.partition("_")[0], (None, 0.0))
        return [row] if row is not None and is_part_of(row, job_id) else []

    def list_parts(self, job_id: str) -> list[str]:
        """List the ids of the tasks or components that the queue shows.

        Of an array or a heterogeneous job.
        """
        parts = self._queue.groups.get(int(job_id), []) if job_id.isascii() and job_id.isdigit() else []
        return [row["job_id"] for row in parts]

    def _combine_rows(self, job_id: str, rows: list[Job]) -> Job:
        number = int(job_id) if job_id.isdigit() else -1
        over = self._past.get_unstarted(number) | self._past.get_ended(number)
        return combine_rows(job_id, list((over | {row["job_id"]: row for row in rows}).values()))

    def by_tag(self, submission: Submission, since: float) -> JobFinding:
        """Return what SLURM knows of the job with this tag in its comment.

        The result is that of by_id(); absent when a squeue begun after `since` lacks it.

        `since` is a time on the clock of `now` (time.monotonic). An array is found as one combined job.
        """
        tag = submission.tag or ""
        rows = list(filter(submission.has_user, self._queue.words.get(tag, ())))
        if rows:
            whole = get_whole_id(rows[0])
            return ("seen", rows[0]) if whole == rows[0]["job_id"] else self.by_id(whole, submission)
        for whole, (job, _at) in self._submitted.items():
            if tag in (job["comment"] or "").split():
                return "seen", combine_rows(whole, [job])
        if tag not in self._sought:
            store_bounded(self._sought, tag, [], _SOUGHT)
        for row in filter(submission.has_user, self._sought[tag]):  # it was there, and has gone since
            return "seen", row | {"job_id": get_whole_id(row)}
        return ("unknown", None) if self.taken_at is None or self.taken_at <= since else ("absent", None)

    async def resolve_missing(self, job_ids: Iterable[str]) -> None:
        """Ask accounting about jobs that left the queue, for by_id().

        All that is asked for at once goes into one sacct, and one runs at a time. A failure changes nothing.
        """
        wanted = {job_id for job_id in job_ids if self._is_missing(job_id)}
        if not wanted:
            return
        self._to_resolve |= wanted
        async with self._resolve_lock:
            ids, self._to_resolve = {i for i in self._to_resolve if self._is_missing(i)}, set()
            if ids:
                await self._ask_accounting(ids)

    def list_missing(self, job_ids: Container[str]) -> list[str]:
        """List those of the jobs that accounting is to be asked about.

        They have left the queue, and their pause is over.
        """
        return [job_id for job_id in self.missing.list_due(job_ids) if self._is_missing(job_id)]

    def _is_missing(self, job_id: str) -> bool:
        self.missing.note_asked(job_id)
        # Whether it is due is what costs least: hundreds are asked about at once.
        return self.missing.is_due(job_id) and job_id not in self._submitted and not self._find_rows(job_id)

    async def _ask_accounting(self, ids: set[str]) -> None:
        loop = asyncio.get_running_loop()
        try:
            accounted = await loop.run_in_executor(self._executor, self._slurm.find_accounted, sorted(ids))
        except SlurmError as error:
            _log.info("accounting did not answer: %s", error)
            self.missing.absence.break_off()
            return  # the question stays open and is asked again
        changed = {job_id for job_id in ids if self._settle_job(job_id, accounted or [])}
        if changed:
            self._notify_listeners(changed)

    def _settle_job(self, job_id: str, accounted: list[Job]) -> bool:
        rows = [row for row in accounted if is_part_of(row, job_id)] or self._past.find_unstarted(job_id)
        return self.missing.settle(job_id, rows, bool(choose_ended(rows, ANY)))


def _ends_whole(row: Job, job_id: str) -> bool:
    # Else other tasks of the row go on waiting.
    return len(list_common_tasks(row, job_id)) == len(list_row_tasks(row))


def _is_there(rows: Container[str], find_rows: Callable[[str], list[Job]], job_id: str) -> bool:
    # Nearly all of thousands that are asked about have a row of their own.
    return job_id in rows or bool(find_rows(job_id))


async def _wait_for_wake(woken: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
