"""What a request to run a workflow comes to, over HTTP or from the inbox: a run, a sweep, or only a look at one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from engine import planning
from engine import runs as driving
from engine import sweeps as sweeping
from engine.server import Server, run_in_thread
from slurm_shim import errors as slurm_errors
from store import errors
from store.rules import inbox, requests, runs, sweeps, workflows
from store.views import srunx


async def start_workflow(
    server: Server, name: str, mount: str | None, body: dict[str, Any], request_key: str, source: str
) -> dict[str, Any]:
    """What a request to run a workflow comes to, over HTTP or from the inbox: a run, a sweep, or only a look at one."""
    request_hash = requests.hash_request(name, mount, body)
    before = None if body.get("dry_run") else await find_started(server, request_key, request_hash, body)
    if before is not None:
        return before
    server.notifications.check_request(body)
    folder = server.find_shelf(mount).folder
    entry = folder.get_entry(name)
    wanted = body.get("sweep") or workflows.to_sweep_request(entry.document)
    given = {"mount": mount, "cluster": server.cluster.name, "request_hash": request_hash, "source": source}
    if wanted is None:
        draft = await planning.plan_run(server, entry.document, body, request_key, given)
        return (
            srunx.to_dry_run_json(draft)
            if body.get("dry_run")
            else srunx.to_run_json(await driving.start(server, draft, body))
        )
    limit = server.store.config.sweeps.max_cells
    sweep = await run_in_thread(
        sweeps.build_sweep, entry.document, entry.data.decode(), wanted, body, limit, given, time.time()
    )
    path = folder.path / folder.filenames[name]
    sweep.request_key, sweep.workflow_path = request_key, str(path) if mount else server.store.files.display_path(path)
    first = await sweeping.draft(server, sweep, 0)
    if body.get("dry_run"):
        return srunx.to_dry_sweep_json(first, server.sweep_index.list_args(sweep))
    return srunx.to_started_sweep_json(await sweeping.start(server, sweep, body))


async def find_started(
    server: Server, request_key: str, request_hash: str, body: dict[str, Any]
) -> dict[str, Any] | None:
    """What the same request came to when it was made before, whatever has become of its workflow since then."""
    run = await driving.started(server, request_key, request_hash)
    if run is not None:
        await server.notifications.subscribe_requested("workflow_run", run.id, body, run.started_at)
        return srunx.to_run_json(run)
    sweep = await sweeping.started(server, request_key, request_hash)
    if sweep is not None:
        await server.notifications.subscribe_requested("sweep_run", sweep.id, body, sweep.started_at)
    return None if sweep is None else srunx.to_started_sweep_json(sweep)


async def empty_inbox(server: Server) -> None:
    """Nothing; every request that lies ready in the inbox is being carried out, once, and its file moved on.

    One that waits for SLURM holds up no other.
    """
    folder = server.store.join_path("inbox")
    for one in await run_in_thread(inbox.list_ready, folder):
        server.set_going(f"inbox/{one.path.name}", carry_out_request(server, one))
    if await run_in_thread(inbox.has_unsettled, folder):
        await asyncio.sleep(inbox.SETTLED_S)
        server.wake.set()


async def carry_out_request(server: Server, dropped: inbox.DroppedFile) -> None:
    """Nothing; what the file asks for was done, or cannot be, and the file is moved on; or it waits for SLURM."""
    if dropped.request is None:
        return await inbox.move_to_failed(server.store.files, dropped, dropped.error or "")
    try:
        made = await start_workflow(
            server, dropped.request.workflow, dropped.request.mount, dropped.to_body(), dropped.key, "inbox"
        )
    except slurm_errors.SlurmUnreachable:
        return None
    except (errors.StoreUnavailable, errors.Locked):
        raise
    except (errors.StoreError, slurm_errors.SlurmError, ValueError) as problem:
        return await inbox.move_to_failed(server.store.files, dropped, str(problem))
    if (made.get("error") or "").startswith((runs.REFUSED, runs.UNSYNCED)):
        return await inbox.move_to_failed(server.store.files, dropped, made["error"])
    kind, number = ("sweep", made["sweep_run_id"]) if "cell_count" in made else ("run", made["id"])
    return await inbox.move_to_done(server.store.files, dropped, f"{kind} {number}")
