"""What a request to run a workflow comes to, over HTTP or from the inbox: a run, a sweep, or only a look at one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from clockwork import drafts, driving, sweeping
from clockwork.here import Here, in_thread
from slurm_shim import errors as slurm_errors
from store import errors, inbox, requests, runs, sweeps, views, workflows


async def requested(
    here: Here, name: str, mount: str | None, body: dict[str, Any], request_key: str, source: str
) -> dict[str, Any]:
    """What a request to run a workflow comes to, over HTTP or from the inbox: a run, a sweep, or only a look at one."""
    request_hash = requests.digest(name, mount, body)
    before = None if body.get("dry_run") else await made_before(here, request_key, request_hash, body)
    if before is not None:
        return before
    here.notices.check(body)
    folder = here.shelf(mount).folder
    entry = folder.entry(name)
    wanted = body.get("sweep") or workflows.own_sweep(entry.document)
    given = {"mount": mount, "cluster": here.cluster.name, "request_hash": request_hash, "source": source}
    if wanted is None:
        draft = await drafts.drafted(here, entry.document, body, request_key, given)
        return views.dry_run(draft) if body.get("dry_run") else views.run(await driving.start(here, draft, body))
    limit = here.store.config.sweeps.max_cells
    sweep = await in_thread(sweeps.new, entry.document, entry.data.decode(), wanted, body, limit, given, time.time())
    path = folder.path / folder.file_of[name]
    sweep.request_key, sweep.workflow_path = request_key, str(path) if mount else here.store.files.shown(path)
    first = await sweeping.draft(here, sweep, 0)
    if body.get("dry_run"):
        return views.dry_sweep(first, here.board.args_of_all(sweep))
    return views.started_sweep(await sweeping.start(here, sweep, body))


async def made_before(here: Here, request_key: str, request_hash: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """What the same request came to when it was made before, whatever has become of its workflow since then."""
    run = await driving.started(here, request_key, request_hash)
    if run is not None:
        await here.notices.requested("workflow_run", run.id, body, run.started_at)
        return views.run(run)
    sweep = await sweeping.started(here, request_key, request_hash)
    if sweep is not None:
        await here.notices.requested("sweep_run", sweep.id, body, sweep.started_at)
    return None if sweep is None else views.started_sweep(sweep)


async def empty_inbox(here: Here) -> None:
    """Nothing; every request that lies ready in the inbox is being carried out, once, and its file moved on.

    One that waits for SLURM holds up no other.
    """
    folder = here.store.path("inbox")
    for one in await in_thread(inbox.ready, folder):
        here.set_going(f"inbox/{one.path.name}", carry_out(here, one))
    if await in_thread(inbox.unsettled, folder):
        await asyncio.sleep(inbox.SETTLED_S)
        here.turned.set()


async def carry_out(here: Here, dropped: inbox.Dropped) -> None:
    """Nothing; what the file asks for was done, or cannot be, and the file is moved on; or it waits for SLURM."""
    if dropped.request is None:
        return await inbox.failed(here.store.files, dropped, dropped.wrong or "")
    try:
        made = await requested(
            here, dropped.request.workflow, dropped.request.mount, dropped.body(), dropped.key, "inbox"
        )
    except slurm_errors.SlurmUnreachable:
        return None
    except (errors.StoreUnavailable, errors.Locked):
        raise
    except (errors.StoreError, slurm_errors.SlurmError, ValueError) as problem:
        return await inbox.failed(here.store.files, dropped, str(problem))
    if (made.get("error") or "").startswith((runs.REFUSED, runs.UNSYNCED)):
        return await inbox.failed(here.store.files, dropped, made["error"])
    kind, number = ("sweep", made["sweep_run_id"]) if "cell_count" in made else ("run", made["id"])
    return await inbox.done(here.store.files, dropped, f"{kind} {number}")
