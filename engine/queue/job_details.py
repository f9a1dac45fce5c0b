"""One job: all that is known of it, and its script."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from engine import jobs
from engine.queue import holds, queue_view
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmError
from slurm_shim.parse import parse_tres
from store import access
from store.documents import JobRecord
from store.indexes.bodies import Answer, Body
from store.indexes.jobs import JobEntry
from store.jsons import dump_json
from store.rules import states
from store.rules.jobs import actions
from store.rules.queue import waiting
from store.views import s9s_job_details as details

Row = Mapping[str, Any]
PLAIN = "text/plain; charset=utf-8"
OF_TASKS = "each task or component has resources of its own: ask for one of them"
NOT_YET = "the job has not begun"
KEPT_BYTES = 500  # that a job that is kept takes beside its bytes


async def get_job(server: Server, job_id: str, caller: access.Caller, cluster: str | None = None) -> Answer:
    """Get one job with what it used and depends on; keep a plain one.

    Raises NotFound.
    """
    asked = server.clusters.resolve(cluster)
    used = await asked.usage.find(job_id) if jobs.is_plain(asked, job_id) else None
    row = asked.snapshot.jobs.get(job_id)
    if used is None or row is None:
        return Answer(await _build_detail(server, job_id, caller, asked), jobs.look_at(asked))
    kept, key = jobs.get_kept(server, asked), (job_id, is_owner(caller, asked, row), server.store.holds.version)
    known: tuple[Any, Body] | None = kept.bodies.get(key)
    if known is None or known[0] is not used:
        known = used, await _build_detail(server, job_id, caller, asked)
        if jobs.get_kept(server, asked) is kept:
            kept.bodies.put(key, known, len(known[1].data) + KEPT_BYTES)
    return Answer(known[1], jobs.look_at(asked))


async def _build_detail(server: Server, job_id: str, caller: access.Caller, asked: Cluster) -> Body:
    """Build the detail of a job, as far as the caller may see it."""
    row = await find_row(server, job_id, asked)
    usage, unknown = await _find_usage(asked, row)
    view = queue_view.get_view(server, asked)
    loads = await view.loads.fetch() if row["state"] in waiting.WAITING else None
    job = view.to_job_json(server, asked, row, loads)
    own = _find_submission(server, asked, row)
    made = details.to_detail_json(
        row | {"command": row["command"] or _find_command(own)},
        job,
        environment=_find_environment(own) if is_owner(caller, asked, row) else {},
        resources=details.to_resources_json(None if unknown else usage, unknown),
        dependencies=queue_view.list_dependencies(asked, row),
        tres=parse_tres(row["tres"] or ""),
        submit_line=usage["submit_line"] if usage else None,
        hold_reason=holds.find_reason(server, asked, row["job_id"]) if row["state"] in actions.WAITING else None,
    )
    return Body(dump_json(made))


async def read_script(
    server: Server, job_id: str, caller: access.Caller, accept: str, cluster: str | None = None
) -> Answer:
    """Read the script of a job, which its owner and administrators may.

    Ours as it was submitted, else what SLURM keeps. Raises NotFound, Denied, SlurmDenied, JobUnknown.
    """
    asked = server.clusters.resolve(cluster)
    row = await find_row(server, job_id, asked)
    if not is_owner(caller, asked, row):
        access.require_admin(caller, f"the script belongs to user {row['user']}")
    own = _find_submission(server, asked, row)
    if own is not None and own.script:
        script, source = own.script, "sluice"
    else:
        script, source = await asked.read_script(str(row["raw_id"])), "slurm"
    if "text/plain" in accept and "json" not in accept:
        return Answer(Body(script.encode("utf-8", "replace")), media_type=PLAIN, download=True)
    return Answer(Body(dump_json(details.to_script_json(row["job_id"], script, source))))


def is_owner(caller: access.Caller, asked: Cluster, row: Row) -> bool:
    """Return whether a caller may see what only a job's owner may.

    Who may submit jobs here acts as the server's own user, whose jobs could read all that is his. MUNGE says for sure
    which user of the cluster somebody is.
    """
    if "admin" in caller.scopes or (caller.kind == "munge" and row["user"] == caller.name):
        return True
    return "write" in caller.scopes and row["user"] in (None, asked.slurm.get_user())


async def find_row(server: Server, job_id: str, asked: Cluster) -> dict[str, Any]:
    """Find the row of a job, with all that queue, accounting and we know.

    Raises NotFound, Invalid, SlurmUnreachable.
    """
    found = await jobs.find_trace(server, job_id, asked)
    if not isinstance(found, JobEntry):
        row, entry = found, jobs.find_entry(server, asked, found["job_id"])
    else:
        row, entry = queue_view.build_past_row(found), found
        if found.state in states.TERMINAL:
            accounted = None
            with contextlib.suppress(SlurmError):  # what we remember is told all the same
                accounted = await asked.look_up_job(job_id)
            if accounted is not None and not jobs.is_replaced(server, asked, accounted):
                row = accounted
    if row["source"] == "squeue" or jobs.is_replaced(server, asked, row):
        return row
    own: dict[str, Any] = dict(jobs.build_submitted_paths(server, asked, row)) if row["source"] == "sacct" else {}
    if entry is not None:
        own |= {"command": entry.command}
        own |= {name: path for name in ("stdout", "stderr") if (path := getattr(entry, name))}
    return row | {name: value for name, value in own.items() if row[name] is None}


def _find_submission(server: Server, asked: Cluster, row: Row) -> Any:
    """Find what was submitted as this job through us; None if nothing was."""
    if row["source"] != "sluice" and jobs.is_replaced(server, asked, dict(row)):
        return None
    return server.job_index.find_submission(asked.name, row["job_id"])


def _find_environment(own: Any) -> dict[str, str]:
    """Find the variables that a job was submitted with through us.

    SLURM does not tell those of others.
    """
    return dict(own.environment) if isinstance(own, JobRecord) else {}


def _find_command(own: Any) -> str | None:
    """Find the command that was given to us in place of a script."""
    return own.command if isinstance(own, JobRecord) else None


def _has_begun(row: Row) -> bool:
    return row["state"] not in waiting.WAITING or row["restarts"] > 0


async def _find_usage(asked: Cluster, row: Row) -> tuple[Mapping[str, Any] | None, str | None]:
    """Find what a job used and how it was submitted; and what is not known."""
    usage, unknown = await asked.usage.find(row["job_id"])
    if row.get("tasks") and row["job_id"].isdigit():
        return usage, OF_TASKS
    return usage, unknown if _has_begun(row) else NOT_YET
