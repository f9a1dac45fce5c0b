"""Single jobs: what SLURM says beside what we remember, submitted once and cancelled."""

from __future__ import annotations

import time
from typing import Any

import orjson

from clockwork import copying, places
from clockwork.here import Here, in_thread
from slurm_shim import errors as slurm_errors
from slurm_shim import script as batch
from slurm_shim.cluster import Cluster
from store import access, errors, history, logs, records, requests, runs, states, templates, views
from store.bodies import Body
from store.documents import JobRecord
from store.lists import JobList
from store.times import rfc3339

LISTED_S = 6 * 3600


def listed(here: Here, cluster: str | None = None) -> Body:
    """SLURM's jobs, and ours of the last six hours that it has forgotten; SlurmUnreachable before its first word.

    Here and below, `cluster` is the name of a cluster; None means the one in force.
    """
    asked = here.clusters.asked(cluster)
    if asked.snapshot.age_s is None:
        asked.must_answer()
    shown = here.jobs_shown.setdefault(asked, JobList(here.reported))
    since = rfc3339(time.time() - LISTED_S) or ""
    return shown.body(asked.name, asked.snapshot.version, asked.snapshot.jobs, here.ledger, since)


def resources(here: Here, partition: str | None, cluster: str | None = None) -> Body:
    """GPUs and nodes of each partition, or of the one asked for."""
    rows = here.clusters.asked(cluster).resources(partition)
    return Body(orjson.dumps([{"timestamp": rfc3339(at), **row} for at, row in rows]))


async def known(here: Here, job_id: str, cluster: str | None = None) -> dict[str, Any]:
    """The job as the queue says, else our record once it has ended, else accounting; NotFound when nobody knows it."""
    asked = here.clusters.asked(cluster)
    entry, row = await traces(here, job_id, asked)
    if row is not None:
        told = here.reported.of(row, asked.name)
        return views.job(row, entry, told.stage if told else None, asked.name)
    if entry is not None:
        told = here.reported.of_entry(entry, asked.name)
        return views.remembered(entry, time.time(), told.stage if told else None)
    raise errors.NotFound("Job", job_id)


async def traces(here: Here, job_id: str, asked: Cluster) -> tuple[history.Entry | None, dict[str, Any] | None]:
    """What we remember of a job, and what SLURM says of it; accounting is asked only where neither is enough.

    A job of ours is remembered as it was last seen while SLURM does not answer; about others SlurmUnreachable.
    """
    entry = here.ledger.get(asked.name, job_id)
    row = asked.snapshot.jobs.get(job_id) or asked.snapshot.look(job_id)[1]
    if row is None and (entry is None or entry.state not in states.TERMINAL):
        try:
            row = await asked.recall(job_id)
        except slurm_errors.SlurmUnreachable:
            if entry is None:
                raise
    return entry, row


async def written(
    here: Here, job_id: str, stdout_at: int, stderr_at: int, cluster: str | None = None
) -> dict[str, Any]:
    """What the job wrote since these offsets, read where its files lie; NotFound as `known`."""
    asked = here.clusters.asked(cluster)
    paths = await log_paths(here, job_id, asked)
    return await logs.since(**paths, stdout_at=stdout_at, stderr_at=stderr_at, read=places.reader(asked))


async def log_paths(here: Here, job_id: str, asked: Cluster) -> dict[str, Any]:
    """`{stdout, stderr, owner}` of a job: paths or None, and the uid they must belong to; NotFound as `known`."""
    entry, row = await traces(here, job_id, asked)
    if entry is None and row is None:
        raise errors.NotFound("Job", job_id)
    known = [row, None if entry is None else {"stdout": entry.stdout, "stderr": entry.stderr}]
    paths = {key: next((one[key] for one in known if one and one[key]), None) for key in ("stdout", "stderr")}
    return {**paths, "owner": row and row["uid"]}


async def cancel(here: Here, job_id: str, cluster: str | None = None) -> None:
    """Nothing; the job is being ended, or was over already."""
    job = await known(here, job_id, cluster)
    if job["slurm_state"] not in states.TERMINAL:
        await here.clusters.asked(cluster).scancel([job_id])


async def submit(here: Here, body: dict[str, Any], record_id: str, caller: access.Caller) -> JobRecord:
    """The record of the job that sbatch has taken; for a request that was seen before, the record it made then."""
    cluster, script = here.cluster, body.get("script_content")
    place = places.place(here, cluster, body.get("mount_name"), record_id)
    if place.local is not None and body.get("script_path"):
        script = await in_thread(templates.script, body["script_path"], [place.local])
    wanted = requests.digest(body)
    cluster.must_answer()
    place = places.place(here, cluster, body.get("mount_name"), record_id)  # as it is now that the cluster was heard
    async with here.turn(record_id):
        if record_id in here.store.jobs:
            record = here.store.jobs.get(record_id)
            requests.refuse_other(record, wanted)
            record = await adopted(here, record)
        else:
            here.notices.check(body)
            given = {"cluster": cluster.name, "user": caller.name, "request_hash": wanted, "script": script}
            if place.copied and await places.is_synced(here, place):
                await copying.needed(here, cluster, body["mount_name"])
            record = records.intended(record_id, body, place.root, given, time.time())
            record.options["job_name"] = batch.job_name(record.name)
        await here.store.jobs.put(record_id, record)
        record = record if record.job_id else await hand_over(here, record)
        await here.notices.requested("job", record.job_id or "", body, record.intended_at, record.cluster)
        return record


async def adopted(here: Here, record: JobRecord) -> JobRecord:
    """The record of a request that was cut off before its answer, with the job that SLURM may have taken for it."""
    if record.job_id is None:
        _look, find = here.sights(record.cluster)
        sight = find(record)
        if sight.knowledge == "unknown":
            raise slurm_errors.SlurmUnreachable("squeue", "whether SLURM took this job is not known yet; ask again")
        record = record.model_copy(deep=True)
        runs.adopt(record, sight, time.time())
        if record.state == states.LOST:
            raise errors.Conflict(record.error)
    return record


async def hand_over(here: Here, record: JobRecord) -> JobRecord:
    """The record after sbatch has taken its job; refused, it is forgotten, since nothing was submitted."""
    options = {**record.options, "comment": record.tag}
    told = batch.missing_options(record.script or "", record.work_dir or "")
    folders = [record.work_dir or ""] if told else []
    try:
        shown = {"name": options["job_name"]}
        cluster = here.clusters.of(record.cluster)
        job_id = await cluster.sbatch(record.script or "", {**options, **told}, shown, folders)
    except slurm_errors.SlurmError as problem:
        if not getattr(problem, "uncertain", False):
            await here.store.jobs.delete(record.id)
        raise
    record = record.model_copy(update={"job_id": job_id, "state": "PENDING", "submitted_at": rfc3339(time.time())})
    await here.store.jobs.put(record.id, record)
    return record


async def follow(here: Here, record_id: str) -> None:
    """Nothing; brings one record up to what SLURM says."""
    async with here.turn(record_id):
        record = here.store.jobs.get(record_id)
        followed = runs.follow(record, *here.sights(record.cluster), time.time())
        if followed is None:
            await here.store.jobs.delete(record_id)
        elif followed != record:
            await here.store.jobs.put(record_id, followed)
