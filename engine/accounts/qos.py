"""QOS, which are read and never changed here."""

from __future__ import annotations

import asyncio

from engine.nodes.node_list import make_list_answer
from engine.server import Server
from slurm_shim.resources import count_jobs
from store.errors import NotFound
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.views.s9s_accounts import to_qos_json


async def list_qos(server: Server, limit: int | None, offset: int) -> Answer:
    """List all QOS; none where there is no accounting."""
    rows = await server.cluster.inventory.qos.get() or []
    return make_list_answer(server, "qos", rows, lambda row: dump_json(to_qos_json(row)), limit, offset)


async def get_qos(server: Server, qos_name: str) -> Body:
    """Get one QOS with its jobs in the queue; raise NotFound."""
    rows = await server.cluster.inventory.qos.get() or []
    found = next((row for row in rows if row["name"] == qos_name), None)
    if found is None:
        raise NotFound("QOS", qos_name)
    jobs = list(server.cluster.snapshot.jobs.values())
    counts = await asyncio.to_thread(count_jobs, (job for job in jobs if job["qos"] == qos_name))
    return Body(dump_json({**to_qos_json(found), "jobs_running": counts[0], "jobs_pending": counts[1]}))
