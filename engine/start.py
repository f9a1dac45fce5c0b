"""All ways to start a run or a sweep.

Over HTTP, from the inbox, and as a cell of a sweep.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine import planning, runs, sweep_cells
from engine.mounts import copies
from engine.server import Server
from slurm_shim import errors as slurm_errors
from slurm_shim import script as batch
from store import access, errors
from store.documents import Run, Sweep
from store.indexes import sweeps as sweep_index
from store.indexes.bodies import Answer
from store.kinds import Key
from store.rules import fields, inbox, requests, run_drafts, sweeps, workflows
from store.rules import runs as run_rules
from store.rules.changes import Filter
from store.views import srunx
from store.workflow_files import cells, edits, names

# A request for a run is answered after so long at the latest, but not before its first job was submitted; the rest goes
# on meanwhile. Where its mount is copied first, after so long in any case.
ANSWER_S = 1.0
SYNC_WAIT_S = 20.0
# A sweep is answered with what was found doubtful by then.
WARNINGS_S = 10.0
# So many cells are planned together; whoever checks something meanwhile waits no longer than that.
PLANNED_AT_ONCE = 20


# --- requests ---------------------------------------------------------------------------------------------------------


async def start_workflow(
    server: Server,
    name: str,
    mount: str | None,
    body: dict[str, Any],
    idempotency_key: str | None,
    caller: access.Caller,
) -> dict[str, Any]:
    """Start a run or a sweep, or only show what would be started."""
    request_key, source = requests.make_id(caller.name, "run", idempotency_key), "web"
    if body.get("dry_run"):
        return await preview_workflow(server, name, mount, body, request_key, source)
    started = await start_requested(server, name, mount, body, request_key, source)
    if isinstance(started, Run):
        return srunx.to_run_json(started)
    return srunx.to_started_sweep_json(started, await list_warnings(server, started))


async def start_requested(
    server: Server, name: str, mount: str | None, body: dict[str, Any], request_key: str, source: str
) -> Run | Sweep:
    """Start the run or sweep that a request asks for.

    Returns the one that the same request has started before, if any.
    """
    before = await find_started(server, request_key, requests.hash_request(name, mount, body), body)
    if before is not None:
        return before
    planned, _first = await plan_requested(server, name, mount, body, request_key, source)
    return await (start_sweep if isinstance(planned, Sweep) else start_run)(server, planned, body)


async def preview_workflow(
    server: Server, name: str, mount: str | None, body: dict[str, Any], request_key: str, source: str
) -> dict[str, Any]:
    """Build the run or sweep that would be started, with its scripts."""
    planned, first = await plan_requested(server, name, mount, body, request_key, source)
    for job in first.jobs:
        job.script = batch.mask_references(job.script or "")
    if isinstance(planned, Run):
        return srunx.to_dry_run_json(planned)
    return srunx.to_dry_sweep_json(
        first, server.sweep_index.list_args(planned), await list_warnings(server, planned, first)
    )


async def list_warnings(server: Server, sweep: Sweep, first: Run | None = None) -> list[str]:
    """List the folders that cells of the sweep share, as warnings.

    `first` is the first cell where it is planned already.
    """

    async def plan_folders(index: int) -> cells.Folders:
        run = first if first is not None and index == 0 else await plan_cell(server, sweep, index)
        return {job.name: job.work_dir for job in run.jobs}

    try:
        values = server.sweep_index.list_values(sweep)
        own, others, began_s = await plan_folders(0), [], time.monotonic()
        for index in await server.check(cells.list_neighbours, values):
            if time.monotonic() - began_s < WARNINGS_S:
                others.append(await plan_folders(index))
        return cells.describe_shared_folders(own, others)
    except (errors.StoreError, slurm_errors.SlurmError, ValueError):
        return []  # a cell that cannot be planned fails when its turn comes


async def plan_requested(
    server: Server, name: str, mount: str | None, body: dict[str, Any], request_key: str, source: str
) -> tuple[Run | Sweep, Run]:
    """Plan the run or sweep that is asked for, without writing it.

    Also returns the run itself, or that of the sweep's first cell. Raises Invalid and NotFound with what is wrong.
    """
    server.notifications.check_request(body)
    await server.clusters.wait_for_first_answer()
    workflow_folder = await server.workflow_folders.find(mount)
    folder, entry = workflow_folder.folder, workflow_folder.get_entry(name)
    wanted = body.get("sweep") or workflows.to_sweep_request(entry.document)
    fields.refuse_control_characters(body.get("args_override") or {}, ("body", "args_override"))
    await server.check(names.refuse_unused_names, entry.document, body, server.renderer)
    request_hash = requests.hash_request(name, mount, body)
    given = {"mount": mount, "cluster": server.cluster.name, "request_hash": request_hash, "source": source}
    if wanted is None:
        run = await planning.plan_run(server, entry.document, body, request_key, given)
        await check_run(server, run)
        return run, run
    limit, text = server.store.config.sweeps.max_cells, edits.mask_environments(entry.data, entry.document)
    sweep = await server.check(sweeps.build_sweep, entry.document, text, wanted, body, limit, given, time.time())
    path = folder.path / folder.filenames[name]
    sweep.request_key, sweep.workflow_path = request_key, str(path) if mount else server.store.files.display_path(path)
    first = await plan_cell(server, sweep, 0)
    await check_run(server, first)
    return sweep, first


async def check_run(server: Server, run: Run) -> None:
    """Check the scripts of a planned run; raise Invalid for bad ones."""
    await planning.check_scripts(server, {("jobs", job.name, "script"): job.script or "" for job in run.jobs})


async def find_started(server: Server, request_key: str, request_hash: str, body: dict[str, Any]) -> Run | Sweep | None:
    """Find what the same request has started before.

    It does not matter what has become of its workflow since then.
    """
    run = await find_run(server, request_key, request_hash)
    if run is not None:
        await server.notifications.subscribe_requested("workflow_run", run.id, body, run.started_at)
        return run
    sweep = await find_sweep(server, request_key, request_hash)
    if sweep is not None:
        await server.notifications.subscribe_requested("sweep_run", sweep.id, body, sweep.started_at)
    return sweep


async def find_run(server: Server, run_id: str, request_hash: str) -> Run | None:
    """Find the run that this request has started.

    Raises Invalid for another request with the same key.
    """
    run = await runs.find_run(server, run_id)
    if run is not None:
        requests.refuse_other_request(run, request_hash)
    return run


async def find_sweep(server: Server, request_key: str, request_hash: str) -> Sweep | None:
    """Find the sweep that this request has started.

    Raises Invalid for another request with the same key.
    """
    sweep: Sweep | None = server.sweep_index.find_by_request_key(request_key)
    sweep = sweep or await server.store.archive.find_sweep(request_key)
    if sweep is not None:
        requests.refuse_other_request(sweep, request_hash)
    return sweep


# --- runs and sweeps --------------------------------------------------------------------------------------------------


async def start_run(server: Server, planned: Any, body: Mapping[str, Any]) -> Run:
    """Save the planned run and submit its first jobs; return it.

    Returns the run that the same request has started before, if any. Notifies the endpoint that `body` names. A run of
    many jobs, or whose mount takes long to be copied, is returned while that goes on. Raises SlurmRefused when SLURM
    has refused a job of it by then, MountUnsynced when its mount cannot be copied: the run is kept as failed, what it
    submitted is cancelled.
    """
    server.check_ready(server.clusters.get(planned.cluster))
    async with server.locks.hold(Key("start", planned.id)):
        before = await find_run(server, planned.id, planned.request_hash or "")
        if before is not None:
            await server.notifications.subscribe_requested("workflow_run", before.id, body, before.started_at)
            return before
        await server.store.runs.create(planned.id, planned)
        await server.notifications.subscribe_requested("workflow_run", planned.id, body, planned.started_at)
    return await begin_run(server, planned.id)


async def begin_run(server: Server, run_id: str) -> Run:
    """Submit the first jobs of a run that is saved; raise as `start_run`."""
    await advance_for_a_while(server, run_id)
    run: Run = server.store.runs.get(run_id)
    if run.status == "failed" and run.error_kind == "refused":
        raise slurm_errors.restore_refusal(run.refusal, "sbatch", run_rules.get_reason(run))
    if run.status == "failed" and run.error_kind == "unsynced":
        raise copies.MountUnsynced(run_rules.get_reason(run))
    return run


async def rerun_run(
    server: Server, run_id: str, body: dict[str, Any], idempotency_key: str | None, caller: access.Caller
) -> Answer:
    """Run an ended run again, or what of it did not complete; return it.

    Jobs, args and scripts are those that it started with. A cell of a sweep waits for its turn there. Asked for twice
    with one key it runs again once. Raises NotFound, Conflict, and as `start_run`.
    """
    only, names = body["only"], body["jobs"]
    request = requests.make_rerun(caller.name, run_id, idempotency_key, body)
    if run_id not in server.store.runs and (await server.sweep_index.get_run_without_file(run_id)).get("archived"):
        raise errors.Conflict("Run is in the archive, which does not change")
    if server.sweep_index.has_cell(run_id):
        sweep, _index = server.sweep_index.find_cell(run_id)
        if run_id in server.store.runs and not request.is_repeated(sweep):
            run_rules.check_rerun(server.store.runs.get(run_id), only, names)
        await sweep_cells.rerun_cells(server, int(sweep.id), [run_id], request, only == "all", names)
        return await runs.get_run(server, run_id)
    async with server.locks.hold(Key("run", run_id)):
        run = server.store.runs.get(run_id)
        if request.is_repeated(run):
            return await runs.get_run(server, run_id)
        run_rules.check_rerun(run, only, names)
        server.check_ready(server.clusters.get(run.cluster))
        # Whoever watches it still has to hear how it ended.
        await server.notifications.queue_target_events("workflow_run", run_id)
        pending = run_rules.queue_rerun(run, only == "all", names).model_copy(update=request.to_changes())
        await server.store.runs.put(run_id, run_rules.begin_run(pending, time.time()))
    await begin_run(server, run_id)
    return await runs.get_run(server, run_id)


async def advance_for_a_while(server: Server, run_id: str) -> None:
    """Advance the run; return when it has jobs, after ANSWER_S or SYNC_WAIT_S.

    The work goes on, also when the server is started again.
    """
    syncs = server.store.runs.get(run_id).syncs
    task = server.tasks.spawn(Key("run", run_id), functools.partial(runs.advance_run, server, run_id))
    await asyncio.wait({task}, timeout=SYNC_WAIT_S if syncs else ANSWER_S)
    if not task.done() and not syncs:
        first = asyncio.ensure_future(wait_for_first_job(server, run_id))
        await asyncio.wait({task, first}, return_when=asyncio.FIRST_COMPLETED)
        first.cancel()


async def wait_for_first_job(server: Server, run_id: str) -> None:
    """Wait until a job of the run is submitted, or the run has ended."""
    async with server.changes.read(Filter(frozenset(["run"]), frozenset([run_id]))) as reader:
        while run_id in server.store.runs:
            facts = server.store.runs.get_entry(run_id).facts
            if facts.jobs or facts.status in run_rules.ENDED or await anext(reader, None) is None:
                return


async def start_sweep(server: Server, planned: Any, body: Mapping[str, Any]) -> Sweep:
    """Save the planned sweep; return it.

    Returns the sweep that the same request has started before, if any. Notifies the endpoint that `body` names.
    """
    server.check_ready(server.clusters.get(planned.cluster))
    async with server.locks.hold(Key("start", "sweep")):
        before = await find_sweep(server, planned.request_key or "", planned.request_hash or "")
        if before is not None:
            await server.notifications.subscribe_requested("sweep_run", before.id, body, before.started_at)
            return before
        planned.id = str(max(server.sweep_index.get_next_id(), server.store.archive.get_largest_id("sweep") + 1))
        await server.store.sweeps.create(planned.id, planned)
        await server.notifications.subscribe_requested("sweep_run", planned.id, body, planned.started_at)
    sweep: Sweep = planned
    return sweep


async def plan_cell(server: Server, sweep: Sweep, index: int) -> Run:
    """Plan the run of a cell, with the workflow as of the sweep's start."""
    (planned,) = await plan_cells(server, sweep, [index])
    if isinstance(planned, Exception):
        raise planned
    return planned


async def plan_cells(server: Server, sweep: Sweep, indices: Sequence[int]) -> list[Run | Exception]:
    """Plan the runs of cells; one that cannot be planned gives the error."""
    given = {"mount": sweep.mount, "cluster": sweep.cluster, "source": sweep.submission_source, "sweep": int(sweep.id)}
    wanted = [
        (
            sweeps.make_cell_id(sweep.uid, index),
            {**sweep.part, "args_override": server.sweep_index.build_args(sweep, index)},
            index,
        )
        for index in indices
    ]
    return await planning.plan_runs(server, sweep_index.parse_workflow(sweep.workflow_text), given, wanted)


async def start_cells(server: Server, sweep: Sweep, indices: Sequence[int]) -> None:
    """Save the cells as runs; failed ones where they cannot be planned.

    In their order; many are written together, but one by one where none may start after one has failed.
    """
    for at in range(0, len(indices), PLANNED_AT_ONCE):
        chosen = indices[at : at + PLANNED_AT_ONCE]
        new = [index for index in chosen if sweeps.make_cell_id(sweep.uid, index) not in server.store.runs]
        try:
            found = await plan_cells(server, sweep, new) if new else []
        except errors.StoreUnavailable:
            raise
        except (errors.StoreError, ValueError) as problem:  # what is wrong with all of them
            found = [problem] * len(new)
        planned = dict(zip(new, found, strict=True))
        together = 1 if sweep.fail_fast else len(chosen)
        for first in range(0, len(chosen), together):
            if sweeps.is_stopping(sweep, server.sweep_index.get_states(sweep)):
                return
            group = chosen[first : first + together]
            begun = (start_cell(server, sweep, index, planned.get(index)) for index in group)
            for failure in await asyncio.gather(*begun, return_exceptions=True):
                if failure is not None:
                    raise failure


async def start_cell(server: Server, sweep: Sweep, index: int, planned: Run | Exception | None) -> None:
    """Save the cell as planned, as a failed run if it cannot be planned.

    Without a plan it has a run, which begins again.
    """
    run_id = sweeps.make_cell_id(sweep.uid, index)
    if planned is None:
        async with server.locks.hold(Key("run", run_id)):
            await server.store.runs.put(run_id, run_rules.begin_run(server.store.runs.get(run_id), time.time()))
        return
    if isinstance(planned, errors.StoreUnavailable):
        raise planned
    if isinstance(planned, Exception):
        args = server.sweep_index.build_args(sweep, index)
        planned = run_drafts.build_unstarted_run(run_id, sweep, args, str(planned), time.time())
    await create_run(server, planned)


async def create_run(server: Server, run: Run) -> None:
    """Save a run of the server's own, unless it is there; the loop begins it."""
    with contextlib.suppress(errors.Exists):
        await server.store.runs.create(run.id, run)


# --- the inbox --------------------------------------------------------------------------------------------------------


async def empty_inbox(server: Server) -> None:
    """Begin to carry out every request in the inbox.

    One that waits for SLURM holds up no other.
    """
    for dropped in await asyncio.to_thread(server.inbox.list_ready):
        key = Key("request", dropped.path.name)
        server.tasks.spawn(key, functools.partial(carry_out_request, server, dropped))
    reason = "somebody still has it open for writing; it starts when it is closed"
    server.store.note_problems("inbox", {f"inbox/{name}": reason for name in server.inbox.held})


async def carry_out_request(server: Server, dropped: inbox.DroppedFile) -> None:
    """Carry out what the file asks for, and move it on.

    It is moved to done/ or failed/; while SLURM does not answer it stays.
    """
    request = dropped.request
    if request is None:
        return await inbox.move_to_failed(server.store.files, dropped, dropped.error or "")
    try:
        body = dropped.to_body()
        started = await start_requested(server, request.workflow, request.mount, body, dropped.key, "inbox")
    except slurm_errors.SlurmUnreachable:
        return None
    except (errors.StoreUnavailable, errors.Locked):
        raise
    except (errors.StoreError, slurm_errors.SlurmError, ValueError) as problem:
        return await inbox.move_to_failed(server.store.files, dropped, str(problem))
    if isinstance(started, Run) and started.error_kind is not None:
        return await inbox.move_to_failed(server.store.files, dropped, started.error or "")
    kind = "run" if isinstance(started, Run) else "sweep"
    return await inbox.move_to_done(server.store.files, dropped, f"{kind} {started.id}")
