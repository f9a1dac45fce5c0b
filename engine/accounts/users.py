"""Users: those of accounting, and those with jobs in the queue."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Iterable
from typing import Any, NamedTuple

from engine import jobs
from engine.clusters import is_ssh
from engine.nodes.node_list import make_list_answer
from engine.queue import job_list, queue_view
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.parse import Job
from slurm_shim.resources import count_jobs
from store.errors import NotFound
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.views import s9s_accounts

RECENT_JOBS = 10


class UserTable(NamedTuple):
    """What is known of all users, by name; `cpu_s` is None without accounting."""

    associations: dict[str, list[dict[str, Any]]]
    jobs: dict[str, list[dict[str, Any]]]
    cpu_s: dict[str, int] | None
    has_accounting: bool

    def list_names(self) -> list[str]:
        """List all names, sorted."""
        return sorted({*self.associations, *self.jobs})

    def to_json(self, name: str) -> dict[str, Any]:
        """Build the user of this name."""
        cpu_s = None if self.cpu_s is None else self.cpu_s.get(name, 0)
        counts = count_jobs(self.jobs.get(name, ()))
        return s9s_accounts.to_user_json(name, self.associations.get(name, []), counts, cpu_s)


async def collect_users(cluster: Cluster) -> UserTable:
    """Collect the users of a cluster; raise SlurmUnreachable.

    Of queue and accounting: where the latter does not answer there is no list, since it would lack users.
    """
    if cluster.snapshot.age_s is None:
        cluster.check_answering()
    inventory = cluster.inventory
    rows, cpu_s = await asyncio.gather(inventory.associations.get(), inventory.cpu_time.get())
    jobs = await asyncio.to_thread(_group_by_user, list(cluster.snapshot.jobs.values()))
    table = UserTable({}, jobs, cpu_s, rows is not None)
    for row in rows or ():
        table.associations.setdefault(row["user"], []).append(row)
    return table


def _group_by_user(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        if job["user"] is not None:
            found.setdefault(job["user"], []).append(job)
    return found


async def list_users(server: Server, limit: int | None, offset: int) -> Answer:
    """List users by name, with their jobs in the queue."""
    table = await collect_users(server.cluster)

    def write_row(name: str) -> bytes:
        return dump_json(table.to_json(name))

    accounting = table.has_accounting
    return make_list_answer(server, "users", table.list_names(), write_row, limit, offset, accounting=accounting)


async def get_user(server: Server, username: str) -> Answer:
    """Get one user with limits and recent jobs.

    Raises NotFound, and SlurmError where accounting does not answer.
    """
    cluster = server.cluster
    table = await collect_users(cluster)
    if username not in table.associations and username not in table.jobs:
        raise NotFound("User", username)
    rows = [row for row in await job_list.list_recent_rows(server, cluster) if row["user"] == username]
    view = queue_view.get_view(server, cluster)
    loads = await view.loads.fetch()
    own = sorted(rows, key=lambda row: (row["submit_time"] or 0, row["raw_id"]), reverse=True)
    uid = next((job["uid"] for job in own if job["uid"] is not None), None)
    row = {
        **table.to_json(username),
        "uid": await find_uid(cluster, username) if uid is None else uid,
        "limits": s9s_accounts.to_limits_json(table.associations.get(username, [])),
        "recent_jobs": [view.to_job_json(server, cluster, row, loads) for row in own[:RECENT_JOBS]],
    }
    return Answer(Body(dump_json(row)), jobs.look_at(server.cluster))


async def find_uid(cluster: Cluster, user: str) -> int | None:
    """Find the number of a user of this machine; None if unknown.

    What another machine says of it is not asked.
    """
    if is_ssh(cluster.name):
        return None
    try:
        entry = await asyncio.to_thread(pwd.getpwnam, user)
    except KeyError:
        return None
    return entry.pw_uid
