"""Jobs that report of themselves: what they tell is written down at once, what SLURM says of them stands beside it.

No report waits for SLURM. Those whose job SLURM may know are looked at again when the snapshot has news of it; what
left the queue is asked of accounting with everything else that did, and a job that died without its last word is
settled.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

from engine.server import Server
from store import access
from store.documents import JobRecord, Report
from store.errors import NotFound
from store.rules import reports
from store.views import srtslurm

# So many jobs are in question at once; the others wait, so that what SLURM is asked stays small.
AT_ONCE = 500
NEWS = "report "

Rule = Callable[[JobRecord | None, int, float], JobRecord]


async def record_submission(server: Server, body: dict[str, Any], caller: access.Caller) -> dict[str, Any]:
    """The job and its status now, after its submission was told."""
    return await _apply_rule(
        server,
        body["job_id"],
        lambda record, number, now: reports.apply_submission(record, body, number, now, caller.name),
    )


async def record_update(server: Server, job_id: str, body: dict[str, Any], caller: access.Caller) -> dict[str, Any]:
    """The job and its status now, after it has told how it is."""
    return await _apply_rule(
        server, job_id, lambda record, number, now: reports.apply_update(record, job_id, body, number, now, caller.name)
    )


async def _apply_rule(server: Server, job_id: str, rule: Rule) -> dict[str, Any]:
    report = await _change_record(server, job_id, rule)
    return {"job_id": report.job_id, "status": report.status}


async def _change_record(server: Server, job_id: str, rule: Rule) -> Report:
    """The report after the rule was applied to its record, durably; those about one job one after the other."""
    name = reports.to_record_name(job_id)
    async with server.turn(NEWS + name):
        with server.report_index.reserve_number() as number:
            before = server.store.jobs.get(name) if name in server.store.jobs else None
            after = rule(before, number, time.time())
            if after is not before:
                await server.store.jobs.put(name, after)
        return reports.get_report(after, job_id)


async def delete_report(server: Server, job_id: str) -> dict[str, Any]:
    """The answer to a deletion; the report is gone, and what the job sent of its files. NotFound."""
    name = reports.to_record_name(job_id)
    async with server.turn(NEWS + name):
        server.report_index.get_report(job_id)
        # The record last: when this is cut short, it can be asked for again.
        await server.streams.drop(name)
        await server.store.jobs.delete(name)
    return {"deleted": True, "job_id": job_id}


def get_report(server: Server, job_id: str) -> dict[str, Any]:
    """The job as it reported, with SLURM's state and the way to what else SLURM says of it; NotFound."""
    report = server.report_index.get_report(job_id)
    cluster, row = server.cluster.name, server.cluster.snapshot.jobs.get(job_id)
    seen = row["state"] if row is not None and server.report_index.find_for_job(row, cluster) else None
    entry = server.job_index.get(cluster, job_id)
    state = (
        report.slurm_state
        or seen
        or (entry.state if entry and server.report_index.find_for_entry(entry, cluster) else None)
    )
    link = f"{server.settings.root_path}/api/jobs/{job_id}" if state is not None else None
    return {**srtslurm.to_job_json(report), "slurm_state": state, "links": {"slurm": link}}


async def list_events(server: Server, job_id: str, after: int, limit: int) -> dict[str, Any]:
    """The events of one job after a cursor; NotFound."""
    server.report_index.get_report(job_id)
    return {"job_id": job_id, **await server.report_index.list_events(after, limit, job_id)}


# --- what jobs send of their files -----------------------------------------------------------------------------------


async def add_log(server: Server, job_id: str, file: str, offset: int, data: bytes) -> dict[str, Any]:
    """The acknowledgement of a piece of a log; NotFound for a job that never reported."""
    server.report_index.get_report(job_id)
    name = reports.to_record_name(job_id)
    async with server.turn(f"stream {name}"):
        return {"job_id": job_id, "stored": int(await server.streams.add_log(name, file, offset, data))}


async def read_logs(server: Server, job_id: str, file: str | None, offset: int) -> dict[str, Any]:
    """The logs that the job sent, or one of them from an offset on; NotFound."""
    server.report_index.get_report(job_id)
    name = reports.to_record_name(job_id)
    return {
        "job_id": job_id,
        **(
            await server.streams.read_log(name, file, offset)
            if file
            else {"files": await server.streams.list_logs(name)}
        ),
    }


async def add_capture(
    server: Server, job_id: str, file: str, generation: str, offset: int, total: int, data: bytes
) -> dict[str, Any]:
    """The acknowledgement of a piece of a capture, which says where to go on; NotFound."""
    server.report_index.get_report(job_id)
    name = reports.to_record_name(job_id)
    async with server.turn(f"stream {name}"):
        end, whole = await server.streams.add_capture(name, file, generation.lower(), offset, total, data)
    return {"job_id": job_id, "next_offset": end, "complete": whole}


async def list_captures(server: Server, job_id: str) -> dict[str, Any]:
    """The captures that the job sent; NotFound."""
    server.report_index.get_report(job_id)
    return {"job_id": job_id, "files": await server.streams.list_captures(reports.to_record_name(job_id))}


async def read_capture(server: Server, job_id: str, file: str) -> bytes:
    """The bytes of a capture; NotFound."""
    server.report_index.get_report(job_id)
    return await server.streams.read_capture(reports.to_record_name(job_id), file)


# --- what SLURM says -------------------------------------------------------------------------------------------------


def on_jobs_changed(server: Server, job_ids: Iterable[str]) -> None:
    """Nothing; SLURM has news of these jobs, and so of those of them that reported."""
    alive = server.report_index.awaited
    for job_id in job_ids:
        for one in {job_id, job_id.partition("_")[0], job_id.partition("+")[0]}:
            if one in alive:
                server.news.add(NEWS + one)


def settle_ended_jobs(server: Server, news: set[str]) -> list[str]:
    """The ids of jobs that SLURM's accounting is to be asked about; those that it says are over are being settled."""
    questions = server.questions
    questions |= dict.fromkeys(name.removeprefix(NEWS) for name in news if name.startswith(NEWS))
    open_questions = []
    for job_id in list(itertools.islice(questions, AT_ONCE)):
        del questions[job_id]
        one = server.report_index.awaited.get(job_id)
        sight = server.look(job_id) if one is not None else None
        if one is None or sight is None:
            continue
        if sight.knowledge == "unknown":
            questions[job_id] = None  # behind the others
            open_questions.append(job_id)
        elif reports.is_job_over(one, sight.job, server.cluster.name):
            server.set_going(NEWS + job_id, settle_report(server, job_id))
    return open_questions


async def settle_report(server: Server, job_id: str) -> None:
    """Nothing; the report says how SLURM says that the job ended."""

    def rule(record: JobRecord | None, number: int, now: float) -> JobRecord:
        sight, one = server.look(job_id), server.report_index.awaited.get(job_id)
        if record is None or record.report is None:
            raise NotFound("Job", job_id)
        if one is None or sight.job is None or not reports.is_job_over(one, sight.job, server.cluster.name):
            return record  # it has reported since
        return reports.apply_end(record, sight.job, number, now)

    await _change_record(server, job_id, rule)
