"""The list of jobs, page by page, and one of them."""

from __future__ import annotations

from typing import Any

from engine import jobs
from engine.server import Server
from slurm_shim.ids import expand_hosts
from store.indexes.bodies import Answer, Body
from store.indexes.jobs import JobEntry
from store.jsons import dump_json
from store.views import s9s

MOST_ROWS = 1000


def list_jobs(server: Server, limit: int, offset: int) -> Answer:
    """List a page of the jobs that SLURM shows."""
    asked, limit = server.cluster, min(limit, MOST_ROWS)
    if asked.snapshot.age_s is None:
        asked.check_answering()
    rows = list(asked.snapshot.jobs.values())
    page = [to_job_json(row) for row in rows[offset : offset + limit]]
    body = Body(dump_json(s9s.to_page_json("jobs", page, len(rows), limit, offset)))
    return Answer(body, jobs.get_age_s(server, None))


async def get_job(server: Server, job_id: str) -> Answer:
    """Get one job; raise NotFound."""
    found = await jobs.find_trace(server, job_id, server.cluster)
    row = s9s.to_past_job_json(found) if isinstance(found, JobEntry) else to_job_json(found)
    return Answer(Body(dump_json(row)), jobs.get_age_s(server, None))


def to_job_json(row: dict[str, Any]) -> dict[str, Any]:
    """Build a job of the list from a row of SLURM."""
    return s9s.to_job_json(row, expand_hosts(row["nodes"]))
