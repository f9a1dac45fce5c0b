"""What a request to run a workflow comes to, over HTTP or from the inbox: a run, a sweep, or only a look at one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from engine import planning
from engine import runs as driving
from engine import sweeps as sweeping
from engine.server import Here, in_thread
from slurm_shim import errors as slurm_errors
from store import errors
from store.rules import inbox, requests, runs, sweeps, workflows
from store.views import srunx


async def requested(
    server: Here, name: str, mount: str | None, body: dict[str, Any], request_key: str, source: str
) -> dict[str, Any]:
    """What a request to run a workflow comes to, over HTTP or from the inbox: a run, a sweep, or only a look at one."""
    request_hash = requests.digest(name, mount, body)
    before = None if body.get("dry_run") else await made_before(server, request_key, request_hash, body)
    if before is not None:
        return before
    server.notices.check(body)
    folder = server.shelf(mount).folder
    entry = folder.entry(name)
    wanted = body.get("sweep") or workflows.own_sweep(entry.document)
    given = {"mount": mount, "cluster": server.cluster.name, "request_hash": request_hash, "source": source}
    if wanted is None:
        draft = await planning.drafted(server, entry.document, body, request_key, given)
        return srunx.dry_run(draft) if body.get("dry_run") else srunx.run(await driving.start(server, draft, body))
    limit = server.store.config.sweeps.max_cells
    sweep = await in_thread(sweeps.new, entry.document, entry.data.decode(), wanted, body, limit, given, time.time())
    path = folder.path / folder.file_of[name]
    sweep.request_key, sweep.workflow_path = request_key, str(path) if mount else server.store.files.shown(path)
    first = await sweeping.draft(server, sweep, 0)
    if body.get("dry_run"):
        return srunx.dry_sweep(first, server.board.args_of_all(sweep))
    return srunx.started_sweep(await sweeping.start(server, sweep, body))


async def made_before(server: Here, request_key: str, request_hash: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """What the same request came to when it was made before, whatever has become of its workflow since then."""
    run = await driving.started(server, request_key, request_hash)
    if run is not None:
        await server.notices.requested("workflow_run", run.id, body, run.started_at)
        return srunx.run(run)
    sweep = await sweeping.started(server, request_key, request_hash)
    if sweep is not None:
        await server.notices.requested("sweep_run", sweep.id, body, sweep.started_at)
    return None if sweep is None else srunx.started_sweep(sweep)


async def empty_inbox(server: Here) -> None:
    """Nothing; every request that lies ready in the inbox is being carried out, once, and its file moved on.

    One that waits for SLURM holds up no other.
    """
    folder = server.store.path("inbox")
    for one in await in_thread(inbox.ready, folder):
        server.set_going(f"inbox/{one.path.name}", carry_out(server, one))
    if await in_thread(inbox.unsettled, folder):
        await asyncio.sleep(inbox.SETTLED_S)
        server.turned.set()


async def carry_out(server: Here, dropped: inbox.Dropped) -> None:
    """Nothing; what the file asks for was done, or cannot be, and the file is moved on; or it waits for SLURM."""
    if dropped.request is None:
        return await inbox.failed(server.store.files, dropped, dropped.wrong or "")
    try:
        made = await requested(
            server, dropped.request.workflow, dropped.request.mount, dropped.body(), dropped.key, "inbox"
        )
    except slurm_errors.SlurmUnreachable:
        return None
    except (errors.StoreUnavailable, errors.Locked):
        raise
    except (errors.StoreError, slurm_errors.SlurmError, ValueError) as problem:
        return await inbox.failed(server.store.files, dropped, str(problem))
    if (made.get("error") or "").startswith((runs.REFUSED, runs.UNSYNCED)):
        return await inbox.failed(server.store.files, dropped, made["error"])
    kind, number = ("sweep", made["sweep_run_id"]) if "cell_count" in made else ("run", made["id"])
    return await inbox.done(server.store.files, dropped, f"{kind} {number}")
