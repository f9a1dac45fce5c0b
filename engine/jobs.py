"""Single jobs: submitted once, found, read and cancelled.

What SLURM says stands beside what we remember. `cluster` is the name of a cluster; None means the one in force.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from engine import planning, workdirs
from engine.clusters import describe_submission
from engine.mounts import copies
from engine.server import Server
from slurm_shim import errors as slurm_errors
from slurm_shim import expectations
from slurm_shim import script as batch
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.commands import NO_NEEDS, Needs
from store import access, errors, logs
from store.disk.audit import MakeLine
from store.documents import JobRecord, RunJob
from store.indexes import jobs
from store.indexes.bodies import Answer, Body, BoundedCache, JobBodies
from store.indexes.job_list import Queue
from store.jsons import dump_json
from store.kinds import Key
from store.outside_files import mount_calls
from store.outside_files.job_files import JobPlace
from store.rendering import templates
from store.rules import requests, states
from store.rules.changes import Filter
from store.rules.jobs import records
from store.rules.jobs.views import REPLACED, adopt_job
from store.times import to_epoch, to_rfc3339
from store.views import srunx

LISTED_S = 6 * 3600
# Of each cluster.
KEPT_JOBS_BYTES = 4_000_000


def list_jobs(server: Server, cluster: str | None) -> Answer | Coroutine[Any, Any, Answer]:
    """List queued, running and recently finished jobs.

    Those of SLURM, and ours of the last six hours that it has forgotten. Raises SlurmUnreachable before SLURM has
    answered for the first time.
    """
    asked = server.clusters.resolve(cluster)
    if asked.snapshot.age_s is None:
        asked.check_answering()
    # In whole seconds, so that it is the same for a while.
    since = to_rfc3339(int(time.time()) - LISTED_S) or ""
    queue = Queue(asked.name, asked.snapshot.version, asked.snapshot.jobs, since)
    body, age_s = server.get_job_list(asked).get_body(queue), look_at(asked)
    return Answer(body, age_s) if isinstance(body, Body) else _answer_list(body, age_s)


async def _answer_list(body: Coroutine[Any, Any, Body], age_s: float | None) -> Answer:
    return Answer(await body, age_s)


async def list_resources(server: Server, partition: str | None, cluster: str | None) -> Answer:
    """List GPUs and nodes of each partition, or of the one asked for."""
    asked = server.clusters.resolve(cluster)
    rows = await asked.fetch_resources(partition)
    body = Body(dump_json([{"timestamp": to_rfc3339(at), **row} for at, row in rows]))
    return Answer(body, look_at(asked))


def look_at(asked: Cluster) -> float | None:
    """Return how old the snapshot of a cluster is; None while there is none.

    It is kept fresh from now on, since somebody looks at it.
    """
    asked.snapshot.keep_fresh()
    return asked.snapshot.age_s


def get_job(server: Server, job_id: str, cluster: str | None, wait: int = 0) -> Answer | Coroutine[Any, Any, Answer]:
    """Get one job, at once where its bytes are kept; raise NotFound."""
    asked = server.clusters.resolve(cluster)
    kept = get_kept(server, asked)
    body = None if wait else kept.bodies.get(job_id)
    return _read_job(server, job_id, asked, wait, kept) if body is None else Answer(body, look_at(asked))


def get_kept(server: Server, asked: Cluster) -> JobBodies:
    """Get the jobs kept as bytes in the present version of the queue."""
    kept, version = server.job_bodies.get(asked), _get_version(server, asked)
    if kept is None or kept.version != version:
        kept = server.job_bodies[asked] = JobBodies(version, BoundedCache(KEPT_JOBS_BYTES))
    return kept


def is_plain(asked: Cluster, job_id: str) -> bool:
    """Return whether the queue has this job, which is no part of others.

    Of those parts may have ended, which the version of the queue does not tell.
    """
    row = asked.snapshot.jobs.get(job_id)
    return row is not None and row["array_job_id"] is None and row["het_job_id"] is None


def _get_version(server: Server, asked: Cluster) -> tuple[int, int, int]:
    """Get the version of all that the rows of a cluster's queue are made of."""
    return asked.snapshot.version, server.job_index.version, server.report_index.stages_version


async def _read_job(server: Server, job_id: str, asked: Cluster, wait: int, kept: JobBodies) -> Answer:
    """Read one job, after waiting for its end for so long; keep a plain one."""
    # Tasks of an array and parts of a job change under ids of their own: then any change there may be one of them.
    # So do tasks that wait together, as soon as one of them starts.
    name = job_id if job_id in asked.snapshot.jobs and "[" not in job_id else asked.name
    wanted = Filter(frozenset(["job"]), frozenset([name]))
    row = await server.changes.wait_until(
        wanted,
        wait,
        lambda: find_job(server, job_id, asked),
        lambda row: row["slurm_state"] in states.TERMINAL,
    )
    body = Body(dump_json(row))
    if is_plain(asked, job_id) and kept.version == _get_version(server, asked):
        kept.bodies.put(job_id, body, len(body.data) + 500)
    return Answer(body, look_at(asked))


async def find_job(server: Server, job_id: str, asked: Cluster) -> dict[str, Any]:
    """Find a job in the queue, our records or accounting.

    Records count once the job has ended. Raises NotFound.
    """
    found = await find_trace(server, job_id, asked)
    if isinstance(found, jobs.JobEntry):
        report = server.report_index.find_for_entry(found, asked.name)
        return srunx.to_past_job_json(found, time.time(), report.stage if report else None)
    report = server.report_index.find_for_job(found, asked.name)
    entry = find_whole_entry(server, asked, found)
    if entry is not None and entry.state == states.LOST:
        entry = None  # the cluster lost it, and gave its id to this job
    return srunx.to_job_json(found, entry, report.stage if report else None, asked.name)


def find_whole_entry(server: Server, asked: Cluster, row: dict[str, Any]) -> jobs.JobEntry | None:
    """Find what we remember of the job that a row of SLURM is part of."""
    return server.job_index.get(asked.name, jobs.get_whole_id(row["job_id"]))


def is_replaced(server: Server, asked: Cluster, row: dict[str, Any]) -> bool:
    """Return whether another job has the id of one that we submitted."""
    entry = find_whole_entry(server, asked, row)
    if entry is None:
        return False
    wanted: Any = server.job_index.find_submission(asked.name, row["job_id"])
    attempts = wanted.attempts if isinstance(wanted, RunJob) else [wanted]
    tried = next(attempt for attempt in attempts if attempt.job_id == entry.job_id)
    return not describe_submission(asked, tried, wanted).matches(row)


async def find_trace(server: Server, job_id: str, asked: Cluster) -> dict[str, Any] | jobs.JobEntry:
    """Find what SLURM says of a job, or else what we remember of it.

    By any id that SLURM has for it, see `Snapshot.find`. SLURM is asked only where neither is enough.

    A job of ours is remembered as it was last seen while SLURM does not answer; about others SlurmUnreachable. Invalid
    for array tasks that are none, NotFound.
    """
    try:
        row = asked.snapshot.find(job_id)
    except ValueError as problem:
        raise errors.Invalid([errors.make_problem(str(problem), ["path", "job_id"], input=job_id)]) from None
    if row is not None:
        return row
    entry = find_entry(server, asked, job_id)
    if entry is None or entry.state not in states.TERMINAL:
        try:
            row = await asked.look_up_job(job_id)
        except slurm_errors.SlurmUnreachable:
            if entry is None:
                raise
    found = row or entry
    if found is None:
        raise errors.NotFound("Job", job_id)
    return found


def find_entry(server: Server, asked: Cluster, job_id: str) -> jobs.JobEntry | None:
    """Find what we remember of a job, or of an ended part of one."""
    return server.job_index.get(asked.name, job_id) or server.job_index.get_part(asked.name, job_id)


async def check_reader(server: Server, asked: Cluster, job_id: str, caller: access.Caller) -> None:
    """Refuse who may not read what a job writes, see `check_owner`.

    Its owner may for whom MUNGE vouches. Raises Denied, NotFound.
    """
    found = await find_trace(server, job_id, asked)
    user = found.user if isinstance(found, jobs.JobEntry) else found["user"]
    if caller.kind != "munge" or caller.name != user:
        check_owner(asked, user, caller)


def check_owner(asked: Cluster, user: str | None, caller: access.Caller) -> None:
    """Refuse a job of another user than the server's own without admin."""
    if user not in (None, asked.slurm.get_user()):
        access.require_admin(caller, f"the job belongs to user {user}")


async def read_logs(
    server: Server,
    job_id: str,
    stdout_offset: int | None,
    stderr_offset: int | None,
    caller: access.Caller,
    cluster: str | None = None,
) -> dict[str, Any] | AsyncIterator[bytes]:
    """Read a job's output from these offsets on; raises NotFound, Denied.

    Without an offset as much as is sent at once, see `logs.read_job_logs`. Much of it is given as JSON in pieces.
    """
    asked = server.clusters.resolve(cluster)
    await check_reader(server, asked, job_id, caller)
    paths = await find_log_paths(server, job_id, asked)
    tails = server.log_tails.setdefault(asked, logs.Tails())
    read = workdirs.make_reader(asked, build_log_place(server, asked, job_id, [paths["stdout"], paths["stderr"]]))
    found = await logs.read_job_logs(**paths, stdout_at=stdout_offset, stderr_at=stderr_offset, tails=tails, read=read)
    return found if len(found["stdout"]) + len(found["stderr"]) < logs.PIECE_CHARS else logs.iterate_json(found)


def build_log_place(server: Server, asked: Cluster, job_id: str, paths: list[str | None]) -> JobPlace:
    """Build where the output of a job may lie: with it, and since when.

    The folders that it names for its output are its own as well: what is read there must have been written since.
    """
    row, entry = asked.snapshot.find(job_id), find_entry(server, asked, job_id)
    submitted = server.job_index.find_submission(asked.name, job_id)
    folders = [getattr(submitted, "work_dir", None), getattr(submitted, "log_dir", None)]
    folders += [str(Path(path).parent) for path in paths if path]
    # Our own clock may have been set since, so SLURM's times count too.
    times = [to_epoch(entry.submitted_at), to_epoch(entry.started_at)] if entry else []
    if row is not None:
        folders.append(row["work_dir"])
        # A job that is requeued counts as submitted anew; its output may be older.
        times += [row["submit_time"]] if not row["restarts"] else []
    return workdirs.build_place(server, asked, folders, min((time for time in times if time), default=None))


async def find_log_paths(server: Server, job_id: str, asked: Cluster) -> dict[str, Any]:
    """Find `{stdout, stderr, owner}` of a job; raises NotFound.

    Paths may be None, as they are before the job has begun: until then the files are those of other jobs. Nor is there
    anything in /dev/null. The owner is the uid that the files must belong to.
    """
    found = await find_trace(server, job_id, asked)
    if not has_begun(found):
        return {"stdout": None, "stderr": None, "owner": None}
    return build_log_paths(server, asked, found)


def build_log_paths(server: Server, asked: Cluster, found: dict[str, Any] | jobs.JobEntry) -> dict[str, Any]:
    """Build `{stdout, stderr, owner}` of a job, begun or not."""
    if isinstance(found, jobs.JobEntry):
        owner, sources = found.uid, [_get_paths(found)]
    else:
        owner, entry = found["uid"], find_entry(server, asked, found["job_id"])
        sources = [found, _get_paths(entry), build_submitted_paths(server, asked, found)]
    paths = {key: next((source[key] for source in sources if source.get(key)), None) for key in ("stdout", "stderr")}
    kept = {key: None if path == os.devnull else path for key, path in paths.items()}
    return {**kept, "owner": owner}


def _get_paths(entry: jobs.JobEntry | None) -> dict[str, Any]:
    return {} if entry is None else {"stdout": entry.stdout, "stderr": entry.stderr}


def has_begun(found: dict[str, Any] | jobs.JobEntry) -> bool:
    """Return whether a job has ever begun; one that is lost may have."""
    if isinstance(found, jobs.JobEntry):
        return found.started_at is not None or found.state == states.LOST
    return found["start_time"] is not None or found["restarts"] > 0


def build_submitted_paths(server: Server, asked: Cluster, row: dict[str, Any]) -> dict[str, Any]:
    """Build where a job of ours writes from what it was submitted with.

    For what SLURM does not say: accounting does not know files.
    """
    submitted = server.job_index.find_submission(asked.name, row["job_id"])
    if submitted is None:
        return {}
    script, work_dir, log_dir = submitted.script or "", submitted.work_dir or "", getattr(submitted, "log_dir", None)
    options = {**submitted.options, **batch.build_missing_options(script, work_dir, log_dir)}
    return expectations.build_expected_paths(script, options, row)


async def cancel_job(server: Server, job_id: str, caller: access.Caller, cluster: str | None = None) -> None:
    """Cancel the job, unless it has ended already.

    That of another user only for the scope admin.
    """
    asked = server.clusters.resolve(cluster)
    found = await find_trace(server, job_id, asked)
    if isinstance(found, jobs.JobEntry):
        found_id, state = job_id, found.state
        check_owner(asked, found.user, caller)
    else:
        found_id, state = found["job_id"], found["state"]
        check_owner(asked, found["user"], caller)
        entry = find_whole_entry(server, asked, found)
        is_ours = entry is not None and (entry.state == states.LOST or entry.state not in states.TERMINAL)
        if is_ours and is_replaced(server, asked, found):
            raise errors.Conflict(REPLACED.format(job_id=job_id))
    if state not in states.TERMINAL:
        await asked.scancel([found_id])


async def submit_script(
    server: Server,
    body: dict[str, Any],
    idempotency_key: str | None,
    caller: access.Caller,
    make_line: MakeLine | None = None,
) -> dict[str, Any]:
    """Submit a batch script as a job; return its name and id.

    Raises Invalid with everything that is wrong.
    """
    records.check_submission(body)
    record_id = requests.make_id(caller.name, "job", idempotency_key)
    record = await submit_job(server, body, record_id, caller, make_line=make_line)
    return srunx.to_submission_json(record.name, record.job_id or "")


class Wish(NamedTuple):
    """What a request asks for beside its script and who is told.

    `options` are sbatch's, which win over the script's; `place` is that of the script in the request. `asked` is what
    makes it the same request again, by default its body; `kept` are fields of the record.
    """

    options: Mapping[str, Any] | None = None
    place: tuple[str, ...] = ("body", "script_content")
    asked: Any = None
    kept: Mapping[str, Any] = MappingProxyType({})


NO_WISH = Wish()


async def submit_job(
    server: Server,
    body: dict[str, Any],
    record_id: str,
    caller: access.Caller,
    needs: Needs = NO_NEEDS,
    wish: Wish = NO_WISH,
    make_line: MakeLine | None = None,
) -> JobRecord:
    """Submit a job that works in the folders it needs; return its record.

    For a request that was made before, return the record that it made then. Its secrets are kept nowhere. The line of
    the audit is in the commit that tells of the job.
    """
    await server.clusters.wait_for_first_answer()
    cluster, script = server.cluster, body.get("script_content")
    work_dir = await workdirs.choose_workdir(server, cluster, body.get("mount_name"), record_id)
    if work_dir.local is not None and body.get("script_path"):
        script = await mount_calls.run_call(
            work_dir.local, templates.read_script, body["script_path"], work_dir.local, server.store.root
        )
    wanted = requests.hash_request(wish.asked or body)
    place = ("body", "script_path") if body.get("script_path") else wish.place
    await planning.check_scripts(server, {place: script or ""})
    server.check_ready(cluster)
    if isinstance(cluster, RemoteCluster):  # whose home may be known only now
        work_dir = await workdirs.choose_workdir(server, cluster, body.get("mount_name"), record_id)
    async with server.locks.hold(Key("job", record_id)):
        before = find_record(server, record_id)
        if before is not None:
            requests.refuse_other_request(before, wanted)
            record = await adopt_taken_job(server, before)
            await server.store.jobs.put(record_id, record)
            server.store.intents.settle(record_id)
        else:
            server.notifications.check_request(body)
            given = {"cluster": cluster.name, "user": caller.name, "request_hash": wanted, "script": script}
            if work_dir.is_copied and await workdirs.is_sync_wanted(server, work_dir):
                await copies.require_mount(server, cluster, body["mount_name"])
            record = records.build_record(
                record_id, body, Path(needs.folders.get("work_dir", work_dir.root)), given, time.time()
            )
            record = record.model_copy(update=dict(wish.kept))
            record.options = dict(wish.options or {"job_name": batch.to_job_name(record.name)})
            await server.store.intents.note(record_id, record)
        record = record if record.job_id else await hand_over_job(server, record, needs, make_line)
        await server.notifications.subscribe_requested(
            "job", record.job_id or "", body, record.intended_at, record.cluster
        )
        return record


def find_record(server: Server, record_id: str) -> JobRecord | None:
    """Find the record of a submission, also one that has no file yet."""
    found: Any = server.store.intents.pending.get(record_id)
    return server.store.jobs.get(record_id) if record_id in server.store.jobs else found


async def adopt_taken_job(server: Server, record: JobRecord) -> JobRecord:
    """Add the job that SLURM may have taken to an unfinished record.

    The request that made the record was cut off before its answer.
    """
    if record.job_id is None:
        _by_id, by_tag = server.clusters.make_lookups(record.cluster)
        view = by_tag(record, record)
        if view.knowledge == "unknown":
            raise slurm_errors.SlurmUnreachable("squeue", "whether SLURM took this job is not known yet; ask again")
        record = record.model_copy(deep=True)
        adopt_job(record, view, time.time())
        if record.state == states.LOST:
            raise errors.Conflict(record.error)
    return record


async def hand_over_job(server: Server, record: JobRecord, needs: Needs, make_line: MakeLine | None) -> JobRecord:
    """Call sbatch for the record; return it with its job.

    A record whose job is refused is dropped. Where SLURM may have taken it, the record stays for the loop to settle.
    """
    options = {**record.options, "comment": record.tag}
    missing = batch.build_missing_options(record.script or "", record.work_dir or "")
    if missing or "chdir" in options:
        needs = Needs({**needs.folders, "work_dir": record.work_dir or ""}, needs.secrets)
    try:
        row = {"name": options["job_name"]}
        cluster = server.clusters.get(record.cluster)
        submitted_at = to_rfc3339(time.time())
        script = batch.require_folder(record.script or "", record.work_dir or "", "chdir" in options)
        job_id = await cluster.sbatch(script, {**options, **missing}, row, needs)
    except BaseException as problem:
        if not isinstance(problem, slurm_errors.SlurmError) or getattr(problem, "uncertain", False):
            await write_pending_record(server, record.id)
        else:
            server.store.intents.settle(record.id)
            if record.id in server.store.jobs:
                await server.store.jobs.delete(record.id)
        raise
    record = record.model_copy(update={"job_id": job_id, "state": "PENDING", "submitted_at": submitted_at})
    # With what is known of the job already, which would be written next.
    lookups = server.clusters.make_lookups(record.cluster)
    record = records.follow_record(record, *lookups, time.time()) or record
    line = make_line(int(job_id), is_synced=False) if make_line else None  # as all lines of what is not only a report
    await server.store.jobs.put(record.id, record, line=line)
    server.store.intents.settle(record.id)
    settle_record(server, record.id)
    return record


async def write_pending_records(server: Server) -> None:
    """Write the records of submissions that have ended without a file."""
    for record_id in list(server.store.intents.pending):
        if not server.locks.is_held(Key("job", record_id)):
            async with server.locks.hold(Key("job", record_id)):
                await write_pending_record(server, record_id)


async def write_pending_record(server: Server, record_id: str) -> None:
    """Write a record that has no file yet.

    Where the disk refuses it stays pending.
    """
    with contextlib.suppress(errors.StoreError):
        await server.store.intents.write(record_id)


def settle_record(server: Server, record_id: str) -> None:
    """Have no pass look at a record just written, if it is as SLURM says."""
    if record_id in server.store.jobs:
        record = server.store.jobs.get(record_id)
        if records.follow_record(record, *server.clusters.make_lookups(record.cluster), time.time()) is record:
            server.open_documents.skip(Key("job", record_id))


async def follow_record(server: Server, record_id: str) -> None:
    """Update a record from what SLURM says of its job."""
    async with server.locks.hold(Key("job", record_id)):
        record = server.store.jobs.get(record_id)
        followed = records.follow_record(record, *server.clusters.make_lookups(record.cluster), time.time())
        if followed is None:
            await server.store.jobs.delete(record_id)
        elif followed is not record and followed != record:
            await server.store.jobs.put(record_id, followed)
            settle_record(server, record_id)


# --- history ----------------------------------------------------------------------------------------------------------

# As many as a negative limit asks for.
MOST_LISTED = 10_000


async def list_history(server: Server, limit: int) -> list[dict[str, Any]]:
    """List the jobs submitted through Sluice, newest first."""
    found = await server.job_index.list_newest(limit if limit >= 0 else MOST_LISTED)
    return list(map(srunx.to_history_json, found))


def compute_history_stats(server: Server, from_: str | None, to: str | None) -> dict[str, Any]:
    """Count jobs by outcome and average their running time."""
    return server.job_index.compute_stats(from_, to)
