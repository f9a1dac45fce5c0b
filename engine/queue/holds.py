"""Why jobs are held: kept by us, since SLURM has no place for it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable

from engine.server import Server
from slurm_shim.cluster import Cluster
from store.documents import Hold
from store.kinds import Key
from store.rules.jobs import actions
from store.times import to_rfc3339


def find_reason(server: Server, cluster: Cluster, job_id: str) -> str | None:
    """Find why somebody holds the job; None where nobody said so."""
    known = [hold for hold in _list_holds(server, cluster) if job_id in hold.job_ids]
    return max(known, key=lambda hold: hold.held_at).reason if known else None


async def keep_reason(server: Server, cluster: Cluster, job_ids: Collection[str], reason: str, user: str) -> None:
    """Keep why these jobs are held."""
    if not job_ids:
        return
    await forget_reasons(server, cluster, {*job_ids, *list_free_jobs(server, cluster)})
    hold = Hold(
        id=str(uuid.uuid4()),
        cluster=cluster.name,
        job_ids=sorted(job_ids),
        reason=reason,
        user=user,
        held_at=to_rfc3339(time.time()) or "",
    )
    await server.store.holds.create(hold.id, hold)


async def forget_reasons(server: Server, cluster: Cluster, job_ids: Collection[str]) -> None:
    """Forget why these jobs were held."""
    for hold in _list_holds(server, cluster):
        if not set(hold.job_ids).isdisjoint(job_ids):
            async with server.locks.hold(Key("hold", hold.id)):
                await _remove_jobs(server, hold.id, job_ids)


async def _remove_jobs(server: Server, hold_id: str, job_ids: Collection[str]) -> None:
    if hold_id not in server.store.holds:
        return
    hold: Hold = server.store.holds.get(hold_id)
    left = [job_id for job_id in hold.job_ids if job_id not in job_ids]
    if left:
        await server.store.holds.put(hold_id, hold.model_copy(update={"job_ids": left}))
    else:
        await server.store.holds.delete(hold_id)


def list_free_jobs(server: Server, cluster: Cluster) -> list[str]:
    """List jobs with a reason that, as far as is known, nobody holds."""
    if not cluster.is_answering:
        return []
    known = [job_id for hold in _list_holds(server, cluster) for job_id in hold.job_ids]
    rows = {job_id: cluster.snapshot.find(job_id) for job_id in known}
    return [job_id for job_id, row in rows.items() if row is None or not actions.is_held(row["state"], row["reason"])]


def _list_holds(server: Server, cluster: Cluster) -> list[Hold]:
    entries: Iterable[Hold] = (server.store.holds.get(name) for name in server.store.holds.list_names())
    return [hold for hold in entries if hold.cluster == cluster.name]
