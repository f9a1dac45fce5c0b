"""Single jobs: what SLURM says beside what we remember, submitted once and cancelled."""

from __future__ import annotations

import time
from typing import Any

import orjson

from engine import workdirs
from engine.mounts import copies
from engine.server import Here, in_thread
from slurm_shim import errors as slurm_errors
from slurm_shim import script as batch
from slurm_shim.cluster import Cluster
from store import access, errors, logs
from store.documents import JobRecord
from store.indexes import jobs
from store.indexes.bodies import Body
from store.indexes.lists import JobList
from store.rendering import templates
from store.rules import records, requests, runs, states
from store.times import rfc3339
from store.views import srunx

LISTED_S = 6 * 3600


def listed(server: Here, cluster: str | None = None) -> Body:
    """SLURM's jobs, and ours of the last six hours that it has forgotten; SlurmUnreachable before its first word.

    Here and below, `cluster` is the name of a cluster; None means the one in force.
    """
    asked = server.clusters.asked(cluster)
    if asked.snapshot.age_s is None:
        asked.must_answer()
    shown = server.jobs_shown.setdefault(asked, JobList(server.reported))
    since = rfc3339(time.time() - LISTED_S) or ""
    return shown.body(asked.name, asked.snapshot.version, asked.snapshot.jobs, server.ledger, since)


def resources(server: Here, partition: str | None, cluster: str | None = None) -> Body:
    """GPUs and nodes of each partition, or of the one asked for."""
    rows = server.clusters.asked(cluster).resources(partition)
    return Body(orjson.dumps([{"timestamp": rfc3339(at), **row} for at, row in rows]))


async def known(server: Here, job_id: str, cluster: str | None = None) -> dict[str, Any]:
    """The job as the queue says, else our record once it has ended, else accounting; NotFound when nobody knows it."""
    asked = server.clusters.asked(cluster)
    entry, row = await traces(server, job_id, asked)
    if row is not None:
        told = server.reported.of(row, asked.name)
        return srunx.job(row, entry, told.stage if told else None, asked.name)
    if entry is not None:
        told = server.reported.of_entry(entry, asked.name)
        return srunx.remembered(entry, time.time(), told.stage if told else None)
    raise errors.NotFound("Job", job_id)


async def traces(server: Here, job_id: str, asked: Cluster) -> tuple[jobs.Entry | None, dict[str, Any] | None]:
    """What we remember of a job, and what SLURM says of it; accounting is asked only where neither is enough.

    A job of ours is remembered as it was last seen while SLURM does not answer; about others SlurmUnreachable.
    """
    entry = server.ledger.get(asked.name, job_id)
    row = asked.snapshot.jobs.get(job_id) or asked.snapshot.look(job_id)[1]
    if row is None and (entry is None or entry.state not in states.TERMINAL):
        try:
            row = await asked.recall(job_id)
        except slurm_errors.SlurmUnreachable:
            if entry is None:
                raise
    return entry, row


async def written(
    server: Here, job_id: str, stdout_at: int, stderr_at: int, cluster: str | None = None
) -> dict[str, Any]:
    """What the job wrote since these offsets, read where its files lie; NotFound as `known`."""
    asked = server.clusters.asked(cluster)
    paths = await log_paths(server, job_id, asked)
    return await logs.since(**paths, stdout_at=stdout_at, stderr_at=stderr_at, read=workdirs.reader(asked))


async def log_paths(server: Here, job_id: str, asked: Cluster) -> dict[str, Any]:
    """`{stdout, stderr, owner}` of a job: paths or None, and the uid they must belong to; NotFound as `known`."""
    entry, row = await traces(server, job_id, asked)
    if entry is None and row is None:
        raise errors.NotFound("Job", job_id)
    known = [row, None if entry is None else {"stdout": entry.stdout, "stderr": entry.stderr}]
    paths = {key: next((one[key] for one in known if one and one[key]), None) for key in ("stdout", "stderr")}
    return {**paths, "owner": row and row["uid"]}


async def cancel(server: Here, job_id: str, cluster: str | None = None) -> None:
    """Nothing; the job is being ended, or was over already."""
    job = await known(server, job_id, cluster)
    if job["slurm_state"] not in states.TERMINAL:
        await server.clusters.asked(cluster).scancel([job_id])


async def submit(server: Here, body: dict[str, Any], record_id: str, caller: access.Caller) -> JobRecord:
    """The record of the job that sbatch has taken; for a request that was seen before, the record it made then."""
    cluster, script = server.cluster, body.get("script_content")
    place = workdirs.place(server, cluster, body.get("mount_name"), record_id)
    if place.local is not None and body.get("script_path"):
        script = await in_thread(templates.script, body["script_path"], [place.local])
    wanted = requests.digest(body)
    cluster.must_answer()
    place = workdirs.place(server, cluster, body.get("mount_name"), record_id)
    async with server.turn(record_id):
        if record_id in server.store.jobs:
            record = server.store.jobs.get(record_id)
            requests.refuse_other(record, wanted)
            record = await adopted(server, record)
        else:
            server.notices.check(body)
            given = {"cluster": cluster.name, "user": caller.name, "request_hash": wanted, "script": script}
            if place.copied and await workdirs.is_synced(server, place):
                await copies.needed(server, cluster, body["mount_name"])
            record = records.intended(record_id, body, place.root, given, time.time())
            record.options["job_name"] = batch.job_name(record.name)
        await server.store.jobs.put(record_id, record)
        record = record if record.job_id else await hand_over(server, record)
        await server.notices.requested("job", record.job_id or "", body, record.intended_at, record.cluster)
        return record


async def adopted(server: Here, record: JobRecord) -> JobRecord:
    """The record of a request that was cut off before its answer, with the job that SLURM may have taken for it."""
    if record.job_id is None:
        _look, find = server.sights(record.cluster)
        sight = find(record)
        if sight.knowledge == "unknown":
            raise slurm_errors.SlurmUnreachable("squeue", "whether SLURM took this job is not known yet; ask again")
        record = record.model_copy(deep=True)
        runs.adopt(record, sight, time.time())
        if record.state == states.LOST:
            raise errors.Conflict(record.error)
    return record


async def hand_over(server: Here, record: JobRecord) -> JobRecord:
    """The record after sbatch has taken its job; refused, it is forgotten, since nothing was submitted."""
    options = {**record.options, "comment": record.tag}
    told = batch.missing_options(record.script or "", record.work_dir or "")
    folders = [record.work_dir or ""] if told else []
    try:
        shown = {"name": options["job_name"]}
        cluster = server.clusters.of(record.cluster)
        job_id = await cluster.sbatch(record.script or "", {**options, **told}, shown, folders)
    except slurm_errors.SlurmError as problem:
        if not getattr(problem, "uncertain", False):
            await server.store.jobs.delete(record.id)
        raise
    record = record.model_copy(update={"job_id": job_id, "state": "PENDING", "submitted_at": rfc3339(time.time())})
    await server.store.jobs.put(record.id, record)
    return record


async def follow(server: Here, record_id: str) -> None:
    """Nothing; brings one record up to what SLURM says."""
    async with server.turn(record_id):
        record = server.store.jobs.get(record_id)
        followed = runs.follow(record, *server.sights(record.cluster), time.time())
        if followed is None:
            await server.store.jobs.delete(record_id)
        elif followed != record:
            await server.store.jobs.put(record_id, followed)
