"""Workflow runs: advanced step by step, cancelled.

The rules are in store/rules/runs.py.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import planning, sweep_cells, workdirs
from engine.mounts import copies
from engine.server import Server
from engine.simulations.work_files import load_work_files
from slurm_shim import errors as slurm_errors
from slurm_shim import script as batch
from slurm_shim.commands import Needs
from store import errors
from store.documents import Run
from store.indexes.bodies import Answer, Body
from store.indexes.lists import RunFilter
from store.jsons import dump_json, load_json
from store.kinds import Key
from store.rules import results, runs
from store.rules.changes import Filter
from store.times import to_epoch
from store.views import srunx

log = logging.getLogger("sluice")


@dataclass(frozen=True)
class Rules:
    """What moves the documents of one kind on.

    `advance` gives the changed document and the next steps, `effects` takes a step of each type and gives the document
    after it; a document whose status is one of `ended` needs no more, and `withdraw(document, steps)` takes back the
    steps that were left. A step of a type that is `repeatable` is taken again after a crash, so that the document need
    not be written before. `tidy(server, document, steps)` removes what is not needed any more once the document is
    written with what these steps gave. `find_wait(document, steps, has_slot)` gives the
    step that is to be waited for first, `wait(server, document, step, held)` waits for it; what it puts into `held` is
    let go when the document has gone as far as it can.
    """

    kind: str
    ended: Collection[str]
    repeatable: Collection[type]
    advance: Callable[..., tuple[Any, list[Any]]]
    effects: Mapping[type, Callable[[Server, Any, Any], Awaitable[Any]]]
    withdraw: Callable[[Any, list[Any]], Any]
    tidy: Callable[[Server, Any, list[Any]], Awaitable[None]]
    find_wait: Callable[[Any, list[Any], bool], Any]
    wait: Callable[[Server, Any, Any, contextlib.AsyncExitStack], Awaitable[None]]


async def list_runs(
    server: Server,
    name: str | None,
    limit: int,
    offset: int,
    workflow: str | None = None,
    status: Collection[str] = (),
    sweep: int | None = None,
    cells: bool = True,
) -> Answer:
    """List workflow runs, newest first, and their total."""
    wanted = RunFilter(name if workflow is None else workflow, tuple(status), sweep, cells)
    body, total = await server.run_list.get_window(limit, offset, wanted)
    return Answer(body, total=total)


async def get_run(server: Server, run_id: str, wait: int = 0) -> Answer:
    """Get one run with the state of each of its jobs; raise NotFound."""

    async def read_run() -> Answer:
        if run_id in server.store.runs and not server.sweep_index.is_rerun_pending(run_id):
            return Answer(server.run_list.get_row(run_id), get_run_age_s(server, run_id))
        return Answer(Body(dump_json(await server.sweep_index.get_run_without_file(run_id))), 0.0)

    def has_ended(answer: Answer) -> bool:
        return load_json(answer.value.data)["status"] in runs.ENDED

    return await server.changes.wait_until(Filter(RUN_KINDS, frozenset([run_id])), wait, read_run, has_ended)


async def find_run(server: Server, run_id: str) -> Run | None:
    """Find the run, which may be in the archive; None while there is none."""
    run: Run | None = None
    if run_id in server.store.runs:
        run = server.store.runs.get(run_id)
    elif ("run", run_id) in server.store.archive:
        run = await server.store.archive.get("run", run_id)
    return run


async def list_run_jobs(server: Server, run_id: str) -> list[dict[str, Any]]:
    """List what the jobs of a run run; raise NotFound."""
    run = await find_run(server, run_id)
    if run is None:
        await server.sweep_index.get_run_without_file(run_id)  # a cell that waits is no unknown run
        return []
    return [srunx.to_planned_job_json(job, batch.mask_references(job.script or "")) for job in run.jobs]


# A cell that waits has no run yet.
RUN_KINDS = frozenset(["run", "cell"])


def get_run_age_s(server: Server, run_id: str) -> float:
    """Get the age of what is known of a run.

    0 when it is over, the time since our start while its cluster has not answered.
    """
    facts = server.store.runs.get_entry(run_id).facts
    cluster = server.clusters.find(facts.cluster) if facts.open else None
    age_s = None if cluster is None else cluster.snapshot.age_s
    return 0.0 if not facts.open else time.monotonic() - server.began if age_s is None else age_s


async def cancel_run(server: Server, run_id: str) -> dict[str, Any]:
    """Cancel a run and all of its jobs; raise NotFound, Conflict.

    A job that SLURM could not be told to end is a warning, and is tried again.
    """
    warnings = await end_run(server, run_id)
    return {"status": "cancelled", "run_id": run_id, **({"warnings": warnings} if warnings else {})}


async def end_run(server: Server, run_id: str) -> list[str]:
    """Cancel the run, which may be a waiting cell; return warnings."""
    if server.sweep_index.is_rerun_pending(run_id):
        await sweep_cells.requeue_cell(server, run_id)
    if run_id not in server.store.runs:
        if ("run", run_id) in server.store.archive:
            raise errors.Conflict(f"Run is already {(await server.store.archive.get('run', run_id)).status}")
        await sweep_cells.cancel_waiting_cell(server, run_id)
        return []
    async with server.locks.hold(Key("run", run_id)):
        run = server.store.runs.get(run_id)
        if run.status in runs.ENDED:
            raise errors.Conflict(f"Run is already {run.status}")
        await server.store.runs.put(run_id, runs.cancel_run(run, time.time()))
    return await advance_run(server, run_id)


async def advance_run(server: Server, run_id: str) -> list[str]:
    """Take the run as far as it can go now; return warnings."""
    return await advance_document(server, RUN_RULES, run_id)


async def advance_document(server: Server, rules: Rules, document_id: str) -> list[str]:
    """Take a document as far as it can go now; return warnings.

    Asks the rules for steps and takes them until there are none. In between, and while something is waited for that may
    take long, the document's lock is free, so that it can be cancelled.
    """
    warnings: list[str] = []
    async with contextlib.AsyncExitStack() as held:
        has_slot = False
        while True:
            try:
                async with server.locks.hold(Key(rules.kind, document_id)):
                    taken = await take_steps(server, rules, document_id, has_slot, warnings)
            except errors.StoreUnavailable as problem:  # what is written already is as it was, and goes on later
                server.open_documents.retry_later(Key(rules.kind, document_id))
                return [*warnings, str(problem)]
            if taken is None:
                return warnings
            document, step = taken
            if step is None:
                continue
            try:
                await rules.wait(server, document, step, held)
            except slurm_errors.SlurmError as problem:
                return [*warnings, str(problem)]
            has_slot = True


async def take_steps(
    server: Server, rules: Rules, document_id: str, has_slot: bool, warnings: list[str]
) -> tuple[Any, Any | None] | None:
    """Take the next steps of a document.

    Returns None when there are none; else the document, and the step that is to be waited for if there is one.
    """
    folder = server.store.by_kind[rules.kind]
    if document_id not in folder:
        return None
    document = folder.get(document_id)
    if server.clusters.find(document.cluster) is None:
        warnings[:] = [f"the jobs are on cluster {document.cluster}; they are told when it can be asked again"]
        return None
    advanced, steps = rules.advance(document, *server.clusters.make_lookups(document.cluster), time.time())
    step = rules.find_wait(document, steps, has_slot)
    if step is not None:
        return document, step
    is_needed_on_disk = not steps or any(type(step) not in rules.repeatable for step in steps)
    if is_needed_on_disk and advanced != document:
        await folder.put(document_id, advanced)
    return (advanced, None) if await perform_steps(server, rules, advanced, steps, warnings) else None


async def perform_steps(server: Server, rules: Rules, document: Any, steps: list[Any], warnings: list[str]) -> bool:
    """Take these steps; return whether the rules are to be asked for more.

    What they changed is written once for all: with many jobs, each writing is as large as the others. An effect that
    fails has written it.
    """
    if not steps:
        return False
    for number, step in enumerate(steps, 1):
        was_ended = document.status in rules.ended
        try:
            document = await rules.effects[type(step)](server, document, step)
        except slurm_errors.SlurmError as problem:
            warnings.append(str(problem))
            server.open_documents.retry_later(Key(rules.kind, document.id))
            await rules.tidy(server, document, steps[: number - 1])
            return False
        if document.status in rules.ended and not was_ended:
            document = rules.withdraw(document, steps[number:])
            break
    folder = server.store.by_kind[rules.kind]
    # What follows without any further step is written with what the steps gave.
    advanced, more = rules.advance(document, *server.clusters.make_lookups(document.cluster), time.time())
    document = document if more else advanced
    if document.id in folder and folder.get(document.id) != document:
        await folder.put(document.id, document)
    await rules.tidy(server, document, steps)
    return bool(more)


def find_wait(run: Run, steps: list[runs.Step], has_slot: bool) -> runs.Step | None:
    """Find the step that the run must wait for, if any.

    Its mount is copied first; a cell waits for a slot before it submits.
    """
    for step in steps:
        if isinstance(step, runs.SyncMount) or (isinstance(step, runs.SubmitJob) and run.sweep_run_id and not has_slot):
            return step
    return None


async def wait_for_step(server: Server, run: Run, step: runs.Step, held: contextlib.AsyncExitStack) -> None:
    """Wait until the mount is copied or a slot is free."""
    if isinstance(step, runs.SyncMount):
        await copy_mount(server, run, step)
    else:
        await held.enter_async_context(server.pace.hold_slot())


async def copy_mount(server: Server, run: Run, step: runs.SyncMount) -> None:
    """Copy the run's mount, and have the run go on or fail.

    Raises SlurmUnreachable while nobody knows yet. All cells of a sweep share one copy.
    """
    cluster = server.clusters.get(run.cluster)
    sweep = server.store.sweeps.get(str(run.sweep_run_id)) if str(run.sweep_run_id) in server.store.sweeps else None
    since = to_epoch((sweep or run).started_at) or time.time()
    error = await copies.copy_mount(server, cluster, step.mount, since)
    async with server.locks.hold(Key("run", run.id)):
        if run.id in server.store.runs:
            run = server.store.runs.get(run.id)
            await server.store.runs.put(run.id, runs.mark_synced(run, error, time.time()))


async def submit_job(server: Server, run: Run, step: runs.SubmitJob) -> Run:
    """Call sbatch for the job's last attempt; return the run after that.

    Only the first job of a run that is no cell, which its request waits for, and what fails is written here.
    """
    job = runs.find_job(run, step.job)
    attempt = job.attempts[-1]
    dependency = runs.build_dependency(run, step.job)
    options = {**job.options, "comment": attempt.tag, "dependency": dependency, "kill_on_invalid_dep": "yes"}
    row = {"name": options["job_name"], "dependency": dependency}
    unreachable: slurm_errors.SlurmUnreachable | None = None
    cluster = server.clusters.get(run.cluster)
    try:
        if run.sweep_run_id:
            await server.pace.wait_for_slot(cluster.has_controller)
        result_dir = job.result_path and str(Path(job.result_path).parent)
        folders = {"work_dir": job.work_dir, "log_dir": job.log_dir, "result folder": result_dir}
        secrets = await planning.load_secrets(server, run, job)
        script, log_dir = job.script or "", job.log_dir or ""
        missing = batch.build_missing_options(script, job.work_dir or "", log_dir)
        submitted_at = time.time()
        wanted = {field: folder for field, folder in folders.items() if folder}
        needs = Needs(wanted, secrets, files=await load_work_files(server, run, job.name))
        job_id = await cluster.sbatch(script, {**options, **missing}, row, needs)
        log_path = batch.find_log_path(script, log_dir, options["job_name"], job_id)
        run = runs.mark_submitted(run, job.name, job_id, {"stdout": log_path, "stderr": log_path}, submitted_at)
        if runs.count_submitted(run) > 1 or run.sweep_run_id:
            return run
    except Exception as problem:  # whatever it is: a run that cannot be submitted has failed, and says why
        unreachable = find_obstacle(problem)
        if unreachable is not None:
            run = runs.mark_unanswered(run, job.name, str(unreachable), time.time())
        else:
            if not isinstance(problem, slurm_errors.SlurmError | errors.StoreError | ValueError):
                log.exception("job %s of run %s could not be submitted", job.name, run.id)
            reason, refusal = str(problem) or repr(problem), getattr(problem, "word", None)
            run = runs.mark_refused(run, job.name, reason, refusal, time.time())
    await server.store.runs.put(run.id, run)
    if unreachable:
        raise unreachable
    if run.error_kind == "refused":
        await workdirs.remove_files(server, cluster, *runs.list_leftovers(run, step.job))
    return run


def find_obstacle(problem: Exception) -> slurm_errors.SlurmUnreachable | None:
    """Find out whether a submission that failed so is to be tried again.

    None for a refusal, and for what no time mends.
    """
    if isinstance(problem, slurm_errors.SlurmUnreachable):
        return problem
    obstacle = errors.explain_starvation(problem)
    is_momentary = isinstance(obstacle, errors.StoreUnavailable) and obstacle.is_momentary
    return slurm_errors.ClusterUnreachable("sbatch", str(obstacle)) if is_momentary else None


async def cancel_jobs(server: Server, run: Run, step: runs.CancelJobs) -> Run:
    """Cancel jobs of the run; what fails is tried again."""
    try:
        await server.clusters.get(run.cluster).scancel(step.job_ids)
    except slurm_errors.SlurmUnreachable:
        await server.store.runs.put(run.id, runs.mark_cancel_unsent(run, step))
        raise
    return run


async def read_result(server: Server, run: Run, step: runs.ReadResult) -> Run:
    """Read what the job left; return the run with it."""
    cluster = server.clusters.get(run.cluster)
    job = runs.find_job(run, step.job)
    folders = [job.work_dir, job.log_dir, *(str(Path(path).parent) for path in step.logs)]
    # Since when does not matter: paths have the job's id in them, and a clock that was set must not lose a result.
    place = workdirs.build_place(server, cluster, folders, None)
    # The folder of results is hidden, also where the job works in the home itself.
    place = replace(place, own=(*place.own, str(Path(step.path).parent)))
    slices, owner = workdirs.make_reader(cluster, place), job.attempts[-1].uid
    try:
        result, problem = await results.read_result(step.path, server.store.config.limits.result_bytes, slices, owner)
        log_end = await results.read_log_end(step.logs, slices, owner)
    except slurm_errors.SlurmError:
        await server.store.runs.put(run.id, run)
        raise
    return runs.record_result(run, step.job, result, problem, log_end)


async def remove_leftovers(server: Server, run: Run, steps: list[runs.Step]) -> None:
    """Remove what jobs have left whose results were read by these steps."""
    names = [step.job for step in steps if isinstance(step, runs.ReadResult)]
    if names:
        files, folders = runs.list_leftovers(run, *names)
        await workdirs.remove_files(server, server.clusters.get(run.cluster), files, folders)


RUN_RULES = Rules(
    kind="run",
    ended=runs.ENDED,
    repeatable=(runs.ReadResult,),
    advance=runs.advance_run,
    effects={runs.SubmitJob: submit_job, runs.CancelJobs: cancel_jobs, runs.ReadResult: read_result},
    withdraw=runs.drop_steps,
    tidy=remove_leftovers,
    find_wait=find_wait,
    wait=wait_for_step,
)
