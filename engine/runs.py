"""Workflow runs: started once, driven from step to step by the rules in store/rules/runs.py, cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from engine import sweep_cells, workdirs
from engine.mounts import copies
from engine.server import Server
from slurm_shim import errors as slurm_errors
from slurm_shim import script as batch
from store import errors
from store.documents import Run
from store.rules import requests, results, runs
from store.times import to_epoch


async def start(server: Server, draft: Run, body: Mapping[str, Any]) -> Run:
    """The run, durable and its first jobs submitted; for a request that was seen before, the run it made then.

    Whom `body` names hears of it. A run whose mount takes long to be copied is given back while that goes on. Raises
    SlurmRefused when SLURM refuses a job of it, MountUnsynced when its mount cannot be copied: the run is kept as
    failed, what it submitted is cancelled.
    """
    server.clusters.get(draft.cluster).check_answering()
    async with server.turn(f"start {draft.id}"):
        before = await started(server, draft.id, draft.request_hash or "")
        if before is not None:
            await server.notifications.subscribe_requested("workflow_run", before.id, body, before.started_at)
            return before
        await server.store.runs.create(draft.id, draft)
        await server.notifications.subscribe_requested("workflow_run", draft.id, body, draft.started_at)
    await (advance_for_a_while(server, draft.id) if draft.syncs else advance_run(server, draft.id))
    run: Run = server.store.runs.get(draft.id)
    if run.status == "failed" and (run.error or "").startswith(runs.REFUSED):
        raise slurm_errors.SlurmRefused("sbatch", 1, (run.error or "").removeprefix(runs.REFUSED))
    if run.status == "failed" and (run.error or "").startswith(runs.UNSYNCED):
        raise copies.MountUnsynced((run.error or "").removeprefix(runs.UNSYNCED))
    return run


async def started(server: Server, run_id: str, request_hash: str) -> Run | None:
    """The run that a request of this hash has made under this id; None when there is none yet, Invalid for another."""
    known: Run | None = server.store.runs.get(run_id) if run_id in server.store.runs else None
    if known is None and ("run", run_id) in server.store.archive:
        known = await server.store.archive.get("run", run_id)
    if known is not None:
        requests.refuse_other_request(known, request_hash)
    return known


async def advance_for_a_while(server: Server, run_id: str) -> None:
    """Nothing; the run has gone as far as it can, or is still on its way, by itself, after SYNC_WAIT_S."""
    server.set_going(run_id, advance_run(server, run_id))
    going = server.going.get(run_id)
    if going is not None:
        await asyncio.wait({going}, timeout=SYNC_WAIT_S)


SYNC_WAIT_S = 20.0


async def cancel_run(server: Server, run_id: str) -> list[str]:
    """The warnings about jobs that could not be told to end; the clockwork goes on telling them."""
    if server.sweep_index.is_rerun_pending(run_id):
        await sweep_cells.requeue_cell(server, run_id)
    if run_id not in server.store.runs:
        if ("run", run_id) in server.store.archive:
            raise errors.Conflict(f"Run is already {(await server.store.archive.get('run', run_id)).status}")
        await sweep_cells.cancel_waiting_cell(server, run_id)
        return []
    async with server.turn(run_id):
        run = server.store.runs.get(run_id)
        if run.status in runs.ENDED:
            raise errors.Conflict(f"Run is already {run.status}")
        await server.store.runs.put(run_id, runs.cancel_run(run, time.time()))
    return await advance_run(server, run_id)


async def advance_run(server: Server, run_id: str, placed: bool = False) -> list[str]:
    """Warnings; takes the run as far as it can go now: asks the rules for steps and takes them until there are none.

    What may take long is waited for without holding the run's turn, so that it can be cancelled meanwhile: the place of
    a cell that has something to submit, and the copying of a mount.
    """
    warnings: list[str] = []
    async with server.turn(run_id):
        while run_id in server.store.runs:
            run = server.store.runs.get(run_id)
            if server.clusters.find(run.cluster) is None:
                return [f"the jobs are on cluster {run.cluster}; they are told when it can be asked again"]
            advanced, steps = runs.advance_run(run, *server.make_lookups(run.cluster), time.time())
            if any(isinstance(step, runs.SyncMount) for step in steps):
                break
            if run.sweep_run_id and not placed and any(isinstance(step, runs.SubmitJob) for step in steps):
                break
            if advanced != run:
                await server.store.runs.put(run_id, advanced)
            for step in steps:
                try:
                    advanced = await EFFECTS[type(step)](server, advanced, step)
                except slurm_errors.SlurmError as problem:
                    warnings.append(str(problem))
                    server.news.add(run_id)
                    if isinstance(step, runs.CancelJobs) and isinstance(problem, slurm_errors.SlurmUnreachable):
                        await server.store.runs.put(run_id, runs.mark_cancel_unsent(advanced, step))
                    steps = []
                    break
                if advanced.status in runs.ENDED and isinstance(step, runs.SubmitJob):
                    break
            if not steps:
                return warnings
        else:
            return warnings
    if isinstance(steps[0], runs.SyncMount):
        try:
            await copy_mount(server, run, steps[0])
        except slurm_errors.SlurmError as problem:
            return [*warnings, str(problem)]
        return warnings + await advance_run(server, run_id)
    async with server.pace.hold_slot():
        return warnings + await advance_run(server, run_id, placed=True)


async def copy_mount(server: Server, run: Run, step: runs.SyncMount) -> None:
    """Nothing; the run goes on with its mount copied, or has failed because it cannot be; or nobody knows yet.

    What a sweep copied for one of its cells is good for all of them.
    """
    cluster = server.clusters.get(run.cluster)
    sweep = server.store.sweeps.get(str(run.sweep_run_id)) if str(run.sweep_run_id) in server.store.sweeps else None
    since = to_epoch((sweep or run).started_at) or time.time()
    error = await copies.copy_mount(server, cluster, step.mount, since)
    async with server.turn(run.id):
        if run.id in server.store.runs:
            run = server.store.runs.get(run.id)
            await server.store.runs.put(run.id, runs.mark_synced(run, error, time.time()))


async def submit_job(server: Server, run: Run, step: runs.SubmitJob) -> Run:
    """The run after sbatch was called for the job's last attempt."""
    job = next(job for job in run.jobs if job.name == step.job)
    attempt = job.attempts[-1]
    options = {**job.options, "comment": attempt.tag, "dependency": step.dependency, "kill_on_invalid_dep": "yes"}
    shown = {"name": options["job_name"], "dependency": step.dependency}
    unreachable: slurm_errors.SlurmUnreachable | None = None
    try:
        cluster = server.clusters.get(run.cluster)
        if run.sweep_run_id:
            await server.pace.wait_for_slot()
        folders = [one for one in (job.work_dir, job.log_dir, str(Path(job.result_path or "").parent)) if one]
        script, log_dir = job.script or "", job.log_dir or ""
        told = batch.build_missing_options(script, job.work_dir or "", log_dir)
        job_id = await cluster.sbatch(script, {**options, **told}, shown, folders)
        log_path = batch.find_log_path(script, log_dir, options["job_name"], job_id)
        run = runs.mark_submitted(run, job.name, job_id, {"stdout": log_path, "stderr": log_path}, time.time())
    except slurm_errors.SlurmUnreachable as problem:
        unreachable, run = problem, runs.mark_unanswered(run, job.name, str(problem), time.time())
    except (slurm_errors.SlurmError, errors.StoreError, ValueError) as problem:
        run = runs.mark_refused(run, job.name, str(problem), time.time())
    await server.store.runs.put(run.id, run)
    if unreachable:
        raise unreachable
    return run


async def cancel_jobs(server: Server, run: Run, step: runs.CancelJobs) -> Run:
    """The run, unchanged; its jobs are told to end."""
    await server.clusters.get(run.cluster).scancel(step.job_ids)
    return run


async def read_result(server: Server, run: Run, step: runs.ReadResult) -> Run:
    """The run with the result that the job left, if it left one."""
    slices = workdirs.make_reader(server.clusters.get(run.cluster))
    result, problem = await results.read_result(step.path, server.store.config.limits.result_bytes, slices)
    run = runs.record_result(run, step.job, result, problem)
    await server.store.runs.put(run.id, run)
    return run


EFFECTS: dict[type, Callable[..., Awaitable[Run]]] = {
    runs.SubmitJob: submit_job,
    runs.CancelJobs: cancel_jobs,
    runs.ReadResult: read_result,
}
