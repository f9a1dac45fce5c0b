"""One cluster: its commands, its snapshot, and its missing jobs.

Blocking commands run in the executor; everything else belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from slurm_shim.commands import IDS_A_CALL, NO_NEEDS, Needs, Slurm
from slurm_shim.directives import add_tag, read_options
from slurm_shim.errors import AccountingOff, ClusterUnreachable, SlurmError, SlurmUnreachable
from slurm_shim.expectations import build_expected_job
from slurm_shim.inventory import questions
from slurm_shim.inventory.caches import Inventory
from slurm_shim.job_groups import combine_rows, is_part_of
from slurm_shim.look_ups import LookUps
from slurm_shim.parse import Job, Node
from slurm_shim.past.ended_jobs import EndedJobs
from slurm_shim.past.missing_jobs import store_bounded
from slurm_shim.past.usage_look_ups import UsageLookUps
from slurm_shim.queue import job_changes
from slurm_shim.queue.derived import Derived
from slurm_shim.queue.gathered import EmbeddedSlurm
from slurm_shim.remote.commands import TIMEOUT_S, Check, RemoteSlurm, Slice, check_account
from slurm_shim.remote.connection import GRACE_S, Connection
from slurm_shim.remote.work_folders import ChangedFile
from slurm_shim.resources import ClusterCounts, count_cluster, make_empty_row, summarize_partitions
from slurm_shim.snapshot import JobFinding, Snapshot
from slurm_shim.starting.work import follow_work
from slurm_shim.submissions import Submission, choose_ended, get_whole_id
from slurm_shim.threads import start_threads

# Pause before accounting is asked again for tags; and how far beyond their time it is searched.
_SEEK_S = 3.0
_MARGIN_S, _DAY_S = 120.0, 86_400.0
# A request that was cut off may still arrive at the controller within this time.
_DOUBT_S = 10.0
# Over SSH: the time until a connection is found to be silent, plus the time that the remote sbatch may take.
_REMOTE_DOUBT_S = GRACE_S + TIMEOUT_S
# sshd grants 10 sessions over one connection unless told otherwise; some are left for copying files.
_REMOTE_CALLS = 4
_REMOTE_READS = 2  # so many of them may read files: the queue is asked, and jobs submitted, whatever viewers do
# Submissions at once, so that slow ones leave threads to ask the queue with.
_SUBMISSIONS = 16
# Submissions whose fate was unknown, and users, that something is remembered of.
_REMEMBERED = 10_000
# Whoever connects waits for the first snapshot no longer than this: its squeue may take as long.
FIRST_SNAPSHOT_S = 30.0


PROGRAMS = Path(__file__).resolve().parent / "bin"
EMBEDDED = "embedded"


def choose_cluster(
    wanted: str, path: str, conf: str | None, embedded_conf: str, hold_fd: int | None
) -> tuple[str, Slurm]:
    """Choose the cluster to use; return its name and commands.

    Blocks while SLURM is asked.

    `wanted` is slurm, embedded, or auto: SLURM when its programs are on `path` and its controller answers. `conf` is
    SLURM_CONF or None, `embedded_conf` that of the embedded cluster, `hold_fd` what every sbatch inherits.
    """
    slurm = Slurm(path, conf, hold_fd=hold_fd)
    if wanted == "embedded" or (wanted == "auto" and not (shutil.which("sbatch", path=path) and slurm.ping()["up"])):
        return EMBEDDED, make_embedded(path, embedded_conf, hold_fd)
    with contextlib.suppress(SlurmError):  # it does not answer now; it may later
        return slurm.get_cluster_name() or "slurm", slurm
    return read_cluster_name(conf) or "slurm", slurm


def read_cluster_name(conf: str | None) -> str:
    """Read the cluster's name from its slurm.conf; "" without a file.

    Used for as long as SLURM itself does not answer.
    """
    try:
        text = Path(conf or "/etc/slurm/slurm.conf").read_text(errors="replace")
    except OSError:
        return ""
    match = re.search(r"^\s*ClusterName\s*=\s*([\w-]+)", text, re.IGNORECASE | re.MULTILINE)
    return match[1] if match else ""


def make_embedded(path: str, conf: str, hold_fd: int | None) -> Slurm:
    """Make the commands of the embedded cluster."""
    return EmbeddedSlurm(f"{PROGRAMS}:{path}", conf, hold_fd=hold_fd)


class Cluster:
    """SLURM under a name that tells its jobs from those of other clusters.

    The name is what SLURM says it is. `resolve_missing` learns it when SLURM did not answer at the start.
    """

    def __init__(self, name: str, slurm: Slurm, executor: Executor, min_s: float = 2.0, max_s: float = 10.0) -> None:
        self.label, self.slurm = name, slurm
        self._name, self._is_named = name, name == EMBEDDED
        self.snapshot = Snapshot(slurm, executor, min_s, max_s)
        self.snapshot.label = f"cluster {name}"
        self._executor, self._submitting = executor, asyncio.Semaphore(_SUBMISSIONS)
        self._in_flight_s = _DOUBT_S
        self._resources = Derived(self.snapshot, lambda picture: summarize_partitions(*picture))
        self._counts = Derived(self.snapshot, lambda picture: count_cluster(*picture))
        self._began_at = time.monotonic()
        # tag -> time; a squeue begun later that lacks it proves it was not taken
        self._unsure_tags: dict[str, float] = {}
        self.inventory = Inventory(slurm, self._call)
        self._look_ups = LookUps(slurm, self.snapshot, self._call)
        self.ended_jobs, self.usage = EndedJobs(slurm, self._call), UsageLookUps(slurm, self._call)
        self._tried_at: dict[str, float] = {}  # tag -> when this server called sbatch with it
        self._settled_tags: dict[str, JobFinding] = {}  # tag -> what is known for good, until sbatch is called again
        self._missing_tags: dict[str, tuple[Submission, float]] = {}  # tag -> what to look for, and since when (epoch)
        self._seek_again_at = 0.0

    @property
    def name(self) -> str:
        """Name of the cluster in documents, unique among all clusters."""
        return self._name

    @property
    def has_controller(self) -> bool:
        """Whether there is a controller that many submissions may strain."""
        return self.label != EMBEDDED

    @property
    def is_answering(self) -> bool:
        """Whether SLURM answered the last query."""
        return self.snapshot.error is None and self.snapshot.age_s is not None

    async def close(self) -> None:
        """Close the cluster; it holds nothing open."""

    async def _call(self, command: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, functools.partial(command, *arguments))

    # ------------------------------------------------------------------------------------------------- asking

    def check_answering(self) -> None:
        """Raise SlurmUnreachable while SLURM does not answer."""
        if not self.is_answering:
            raise ClusterUnreachable("squeue", self.snapshot.error or "SLURM has not answered yet")

    def get_age_s(self) -> float:
        """Return the seconds since SLURM's last answer; keep polling fast.

        Raises SlurmUnreachable when it never answered.
        """
        self.snapshot.keep_fresh()
        if self.snapshot.age_s is None:
            self.check_answering()
        return self.snapshot.age_s or 0.0

    def list_resources(self, partition: str | None) -> list[tuple[float, dict[str, Any]]]:
        """List (epoch, resources) of every partition, or of the one given.

        See slurm_shim.resources. An unknown partition gives a row of zeros.
        """
        self._check_partitions()
        return self._choose_resources(self._resources.get(), partition)

    async def fetch_resources(self, partition: str | None) -> list[tuple[float, dict[str, Any]]]:
        """List them as `list_resources` does; beside the loop in long queues."""
        self._check_partitions()
        return self._choose_resources(await self._resources.fetch(), partition)

    def _check_partitions(self) -> None:
        if not self.snapshot.partitions:
            raise SlurmUnreachable("scontrol", self.snapshot.nodes_error or "SLURM has not told its partitions yet")

    def _choose_resources(
        self, rows: list[dict[str, Any]], partition: str | None
    ) -> list[tuple[float, dict[str, Any]]]:
        found = [row for row in rows if partition in (None, row["partition"])]
        return [(int(self.snapshot.taken_at_epoch or 0), row) for row in found or [make_empty_row(partition or "")]]

    async def fetch_counts(self) -> ClusterCounts:
        """Fetch the cluster in numbers, counted once for each snapshot."""
        return await self._counts.fetch()

    async def look_up_job(self, job_id: str) -> dict[str, Any] | None:
        """Look up a job that the snapshot does not have; None if there is none.

        Asks the queue, since somebody may have submitted it a moment ago, and accounting, see LookUps. SlurmUnreachable
        when it is not known, and SLURM does not answer whether the queue has it by now.
        """
        found = await self._look_ups.find(job_id)
        if found is None:
            self.check_answering()
        return found

    async def read_script(self, job_id: str) -> str:
        """Read the script that SLURM keeps of a job; see `Slurm.read_script`."""
        script: str = await self._call(self.slurm.read_script, job_id)
        return script

    # ------------------------------------------------------------------------------------------------ telling

    async def sbatch(self, script: str, options: dict[str, Any], row: dict[str, Any], needs: Needs = NO_NEEDS) -> str:
        """Submit a job and show it in the snapshot; return its id.

        `row` is what is known of it besides what script and options say.

        The folders that it needs are made before, where the job will run.

        `options` must have a `comment` that no other job has: by it `by_tag` finds out whether a job was taken when the
        answer was lost. It stands behind the comment that the script gives the job.
        """
        tag = options["comment"]
        store_bounded(self._tried_at, tag, time.monotonic(), _REMEMBERED)
        self._settled_tags.pop(tag, None)
        comment = add_tag(read_options(script).get("comment"), tag)
        try:
            async with self._submitting:
                submitting = self.slurm.submit(script, {**options, "comment": comment}, (), needs)
                job_id = await follow_work(submitting, self._executor)
        except asyncio.CancelledError:
            # sbatch goes on: until it is over, nobody may conclude that the job was not taken.
            self._note_unsure(tag, self._in_flight_s)
            raise
        except SlurmUnreachable as problem:
            self._note_unsure(tag, self._in_flight_s if problem.uncertain else 0.0)
            raise
        for known in (self._unsure_tags, self._tried_at):
            known.pop(tag, None)
        expected = build_expected_job(script, options, self.slurm.get_user(), self.snapshot.partitions)
        if expected["array_task_id"] is not None:
            expected |= {"job_id": f"{job_id}_[{expected['array_task_id']}]", "array_job_id": int(job_id)}
        self.snapshot.add_submitted(job_id, {**expected, "comment": comment, **row})
        return job_id

    def _note_unsure(self, tag: str, seconds: float) -> None:
        """Note that the submission with this tag may arrive for so long."""
        self._unsure_tags.pop(tag, None)  # it is the latest now
        for until in store_bounded(self._unsure_tags, tag, time.monotonic() + seconds, _REMEMBERED):
            # What is not remembered by its tag counts as what was under way at the start.
            self._began_at = max(self._began_at, until)

    async def scancel(self, job_ids: Iterable[str]) -> None:
        """Cancel the jobs and show them as cancelled at once."""
        ids = list(job_ids)
        await self._call(self.slurm.scancel, ids)
        self.snapshot.mark_cancelled(ids)

    async def change_nodes(self, names: Sequence[str], state: str, reason: str | None) -> list[Node]:
        """Change the state of nodes; return and show them as they are then.

        See slurm_shim.inventory.questions.
        """
        try:
            rows: list[Node] = await self._call(questions.change_nodes, self.slurm.ask, names, state, reason)
        except SlurmError:
            self.snapshot.show_nodes([])  # some may have changed all the same
            raise
        self.snapshot.show_nodes(rows)
        return rows

    async def read_nodes(self, names: Sequence[str]) -> list[Node]:
        """Read these nodes as they are now; NodeUnknown."""
        rows: list[Node] = await self._call(questions.read_nodes, self.slurm.ask, names)
        return rows

    async def cancel_jobs(self, job_ids: Sequence[str], signal: str | None = None) -> dict[str, SlurmError]:
        """Cancel the jobs, or send them a signal; return what was refused.

        What is cancelled, also by KILL, is shown so at once. See job_changes.cancel_jobs.
        """
        refused: dict[str, SlurmError] = await self._call(job_changes.cancel_jobs, self.slurm, job_ids, signal)
        if signal in (None, "KILL", "9"):
            self.snapshot.mark_cancelled(job_id for job_id in job_ids if job_id not in refused)
        return refused

    async def change_jobs(
        self, verb: str, job_ids: Sequence[str], fields: Mapping[str, str | int] = job_changes.NO_FIELDS
    ) -> dict[str, SlurmError]:
        """Change the jobs alike; return what was refused, by id.

        See job_changes.change_jobs.
        """
        refused: dict[str, SlurmError] = await self._call(job_changes.change_jobs, self.slurm, verb, job_ids, fields)
        return refused

    async def ask_again(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Ask the queue how these jobs are now, and show it; by id."""
        rows: list[Job] = []
        for at in range(0, len(job_ids), IDS_A_CALL):
            rows += await self._call(self.slurm.squeue, job_ids[at : at + IDS_A_CALL])
        if any(row["array_job_id"] is not None for row in rows):
            # What waits of an array has one row: only the whole queue tells what is left in it.
            self.snapshot.hurry()
            await self.snapshot.refresh()
        else:
            self.snapshot.show_rows(rows)
        by_id = {row["job_id"]: row for row in rows}
        found = {
            job_id: [by_id[job_id]] if job_id in by_id else [row for row in rows if is_part_of(row, job_id)]
            for job_id in job_ids
        }
        return {job_id: combine_rows(job_id, parts) for job_id, parts in found.items() if parts}

    # ------------------------------------------------------------------------------- jobs whose id was never heard

    def describe_submission(self, tag: str | None, user: str | None, name: str | None, at: float | None) -> Submission:
        """Describe a job of ours, as it is told from others with its id.

        `user` is None for our own, `at` when sbatch was called, in epoch seconds of our clock.
        """
        submitted_at = None if at is None else at + self.slurm.clock_offset_s
        return Submission(tag, user or self.slurm.get_user(), name, submitted_at)

    def by_tag(self, submission: Submission, intended_at: float) -> JobFinding:
        """Find the job that carries the submission's tag in its comment.

        The result is that of `Snapshot.by_id`; `intended_at` is when it was to be submitted.

        ("lost", None) when the queue may have forgotten it and there is no accounting.
        Accounting is asked by `resolve_missing`.
        """
        tag = submission.tag or ""
        knowledge, job = self.snapshot.by_tag(submission, self._unsure_tags.get(tag, self._began_at))
        if knowledge != "absent":
            return knowledge, job
        if tag not in self._settled_tags and self.snapshot.has_watched_since(self._find_first_try(tag, intended_at)):
            self._settle_tag(tag, knowledge, job)
        if tag not in self._settled_tags:
            self._missing_tags[tag] = submission, intended_at
        return self._settled_tags.get(tag, ("unknown", None))

    def _find_first_try(self, tag: str, intended_at: float) -> float:
        """Find when sbatch may first have been called, on the monotonic clock.

        What another server did before a clock was set back may be of any time.
        """
        ago_s = time.time() - intended_at
        return self._tried_at.get(tag, time.monotonic() - ago_s if ago_s >= 0 else float("-inf"))

    async def resolve_missing(self, open_ids: Iterable[str]) -> None:
        """Ask accounting about jobs and tags that the queue has lost."""
        if not self._is_named and self.snapshot.error is None:
            self._name = await self._call(self.slurm.get_cluster_name) or self._name
            self._is_named = True
        await self.snapshot.resolve_missing(open_ids)
        if self._missing_tags and time.monotonic() >= self._seek_again_at:
            seeking, self._missing_tags = self._missing_tags, {}
            self._seek_again_at = time.monotonic() + _SEEK_S
            await self._seek_tags(seeking)

    async def _seek_tags(self, seeking: dict[str, tuple[Submission, float]]) -> None:
        absence = self.snapshot.missing.absence
        try:
            found = await self._call(self.find_submitted, seeking)
        except SlurmError:
            absence.break_off()
            raise
        for tag in seeking:
            if found is None:
                self._settle_tag(tag, "lost")
            elif tag in found:
                self._settle_tag(tag, "seen", found[tag])
            elif absence.confirm(tag):
                self._settle_tag(tag, "absent")

    def _settle_tag(self, tag: str, knowledge: str, job: Job | None = None) -> None:
        store_bounded(self._settled_tags, tag, (knowledge, job), _REMEMBERED)
        self.snapshot.missing.absence.end(tag)

    def find_submitted(self, seeking: Mapping[str, tuple[Submission, float]]) -> dict[str, dict[str, Any]] | None:
        """Find jobs in accounting by their tags; None where there is none.

        Blocks. `seeking` has for each tag its submission and since when (epoch) it may be there.
        """
        ages_s = [time.time() - since for _submission, since in seeking.values()]
        back_s = max(ages_s) if min(ages_s) >= 0 else _DAY_S  # our clock was set back meanwhile
        try:
            if not self.slurm.has_accounting():
                return None
            rows = self.slurm.list_submitted(back_s + _MARGIN_S + abs(self.slurm.clock_offset_s))
        except AccountingOff:
            return None
        found = {}
        for tag, (submission, _since) in seeking.items():
            for row in rows:
                if submission.has_user(row) and (tag in (row["comment"] or "") or tag in row["submit_line"]):
                    found[tag] = row | {"job_id": get_whole_id(row)}
                    break
        return found

    async def find_lost(self, lost: Mapping[str, tuple[Submission, str | None, float]]) -> dict[str, JobFinding]:
        """Find those jobs again that were taken for lost, by their tags.

        Each: its submission, its id or None, and when it was to be submitted (epoch). Not found are those that are
        nowhere, and those that accounting has without an end.
        """
        found = {tag: self._find_queued(submission, job_id) for tag, (submission, job_id, _at) in lost.items()}
        gone = {tag: lost[tag] for tag, finding in found.items() if finding is None}
        accounted = await self._call(self._find_accounted_ends, gone) if gone else {}
        return {tag: finding for tag, finding in {**found, **accounted}.items() if finding is not None}

    def _find_queued(self, submission: Submission, job_id: str | None) -> JobFinding | None:
        finding = self.snapshot.by_id(job_id, submission) if job_id else self.snapshot.by_tag(submission, float("inf"))
        return finding if finding[0] == "seen" else None

    def _find_accounted_ends(
        self, gone: Mapping[str, tuple[Submission, str | None, float]]
    ) -> dict[str, JobFinding | None]:
        ids = {tag: job_id for tag, (_submission, job_id, _at) in gone.items() if job_id}
        unnamed = {tag: (submission, at) for tag, (submission, job_id, at) in gone.items() if not job_id}
        if unnamed:
            ids |= {tag: row["job_id"] for tag, row in (self.find_submitted(unnamed) or {}).items()}
        rows = (self.slurm.find_accounted(ids.values()) or []) if ids else []
        found: dict[str, JobFinding | None] = {}
        for tag, job_id in ids.items():
            own = choose_ended((row for row in rows if is_part_of(row, job_id)), gone[tag][0])
            found[tag] = ("absent", combine_rows(job_id, own)) if own else None
        return found


class RemoteCluster(Cluster):
    """The cluster behind an SSH connection.

    It is called `LABEL:ClusterName`, or `LABEL` until its own name is known.

    It has threads of its own, so that a machine which does not answer keeps nobody else waiting.
    """

    slurm: RemoteSlurm

    def __init__(self, label: str, connection: Connection, min_s: float = 2.0, max_s: float = 10.0) -> None:
        threads = start_threads(_REMOTE_CALLS, "ssh")
        super().__init__(label, RemoteSlurm(connection), threads, min_s, max_s)
        self.connection = connection
        self._reads = asyncio.Semaphore(_REMOTE_READS)
        self._homes: dict[str, str | None] = {}
        self._is_named = True
        self._in_flight_s = _REMOTE_DOUBT_S
        # A previous server's sbatch may still be in flight on the remote side; no lock tells.
        self._began_at += _REMOTE_DOUBT_S

    @property
    def name(self) -> str:
        """Name of the cluster in documents, unique among all clusters."""
        return f"{self.label}:{self.slurm.own_name}" if self.slurm.own_name else self.label

    @property
    def home(self) -> str:
        """Home folder of the account; `~` until it is known."""
        return self.slurm.home or "~"

    async def connect(self) -> Check:
        """Connect now, without any pause, and wait for the first snapshot."""
        check: Check = await self._call(check_account, self.slurm)
        if check.failed is None:
            try:
                async with asyncio.timeout(FIRST_SNAPSHOT_S):
                    await self.snapshot.refresh()
                said = self.snapshot.error
            except TimeoutError:
                said = f"squeue gave no answer within {FIRST_SNAPSHOT_S:g} s"
            if said is not None:
                check.failed, check.error = "slurm", self.slurm.explain_silence(said)
        return check

    async def read_files(
        self, wanted: Sequence[tuple[str, int, int]], owner: int | None, folders: Sequence[str]
    ) -> tuple[list[Slice], dict[str, str]]:
        """Read parts of files, see `RemoteSlurm.read_files`."""
        async with self._reads:
            found: tuple[list[Slice], dict[str, str]] = await self._call(self.slurm.read_files, wanted, owner, folders)
        return found

    async def find_home(self, user: str) -> str | None:
        """Find the home folder of a user there, "" for our account.

        None for an unknown user. Our own is `~` until it is known.
        """
        if not user:
            return self.home
        if user not in self._homes:
            home: str | None = await self._call(self.slurm.find_home, user)
            store_bounded(self._homes, user, home, _REMEMBERED)
        return self._homes[user]

    async def remove_files(self, files: Sequence[str], folders: Sequence[str]) -> None:
        """Remove files, then those of the folders that are empty."""
        await self._call(self.slurm.remove_files, files, folders)

    async def read_changed(self, folder: str, known: Mapping[str, str], most_bytes: int) -> dict[str, ChangedFile]:
        """Read what changed of some files, see `RemoteSlurm.read_changed`."""
        async with self._reads:
            found: dict[str, ChangedFile] = await self._call(self.slurm.read_changed, folder, known, most_bytes)
        return found

    async def list_files(self, folder: str, names: Sequence[str], ending: str, most_files: int) -> list[str]:
        """List files in these folders below one folder, as `NAME/FILE`."""
        async with self._reads:
            found: list[str] = await self._call(self.slurm.list_files, folder, names, ending, most_files)
        return found

    async def remove_folder(self, folder: str) -> None:
        """Remove the folder with all that is in it; what cannot be stays."""
        await self._call(self.slurm.remove_folder, folder)

    async def close(self) -> None:
        """End the connection."""
        # The threads end when their last call is done.
        await asyncio.to_thread(self.connection.close)
