"""What is done to jobs in the queue."""

from __future__ import annotations

from typing import Any

from engine import jobs
from engine.server import Server
from slurm_shim.errors import JobFinished
from store import access
from store.indexes.jobs import JobEntry
from store.rules import states


async def cancel_job(server: Server, job_id: str, caller: access.Caller) -> dict[str, Any]:
    """Cancel a job; raise JobFinished for one that has ended."""
    found = await jobs.find_trace(server, job_id, server.cluster)
    state = found.state if isinstance(found, JobEntry) else found["state"]
    if state in states.TERMINAL:
        raise JobFinished(job_id)
    await jobs.cancel_job(server, job_id, caller)
    return {"job_id": job_id, "state": "CANCELLED", "message": "Job cancelled successfully"}
