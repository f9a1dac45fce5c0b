"""What is asked of one simulation: its state, its end, its removal."""

from __future__ import annotations

import time
from typing import Any

from engine.callers.yaptide.batch import check_batch_allowed
from engine.server import Server
from engine.simulations import owners, removal, task_reports
from store.access import Caller
from store.errors import Denied
from store.jsons import dump_json
from store.kinds import Key
from store.rules.simulations import advance
from store.rules.simulations.states import ENDED
from store.views import yaptide

# What is kept of an answer beside its bytes.
KEPT_BYTES = 500


def get_job(server: Server, job_id: str, caller: Caller) -> bytes:
    """Get the state of a simulation; raise NotFound and Denied."""
    return _get_status(server, job_id, caller, None)


def get_direct(server: Server, job_id: str, caller: Caller) -> bytes:
    """Get the state of a simulation on this machine; raise as `get_job`."""
    return _get_status(server, job_id, caller, "DIRECT")


def get_batch(server: Server, job_id: str, caller: Caller) -> bytes:
    """Get the state of a simulation on a cluster; raise as `get_job`."""
    check_batch_allowed(server, caller)
    return _get_status(server, job_id, caller, "BATCH")


def _get_status(server: Server, job_id: str, caller: Caller, platform: str | None) -> bytes:
    """Return the state as JSON, which is made once per change."""
    entry = owners.get_owned_entry(server, job_id, caller, platform)
    kept = server.simulation_states.get(job_id)
    if kept is None or kept[0] is not entry:
        kept = (entry, dump_json(yaptide.to_status_json(entry.document)))
        server.simulation_states.put(job_id, kept, len(kept[1]) + KEPT_BYTES)
    task_reports.note_viewer(server, job_id)
    return bytes(kept[1])


async def cancel_direct(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """Cancel a simulation on this machine; raise NotFound and Denied."""
    return await _cancel_simulation(server, job_id, caller, "DIRECT")


async def cancel_batch(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """Cancel a simulation on a cluster; raise NotFound and Denied."""
    check_batch_allowed(server, caller)
    return await _cancel_simulation(server, job_id, caller, "BATCH")


async def _cancel_simulation(server: Server, job_id: str, caller: Caller, platform: str) -> dict[str, Any]:
    """Record that the simulation is cancelled; its jobs are by the loop."""
    owners.get_owned(server, job_id, caller, platform)
    async with server.locks.hold(Key("simulation", job_id)):
        simulation = owners.get_owned(server, job_id, caller, platform)
        if simulation.state in ENDED:
            return yaptide.to_uncancelled_json(simulation)
        await server.store.simulations.put(job_id, advance.cancel_simulation(simulation, time.time()))
    return yaptide.to_message_json(yaptide.CANCELLED)


async def delete_simulation(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """Delete a simulation that has ended.

    Raises NotFound, and Denied for one of somebody else or that has not ended.
    """
    simulation = owners.get_owned(server, job_id, caller)
    if simulation.state not in ENDED:
        raise Denied(f"Job is in {simulation.state} state: cancel it first")
    await removal.delete_simulation(server, job_id)
    return yaptide.to_message_json(yaptide.DELETED)
