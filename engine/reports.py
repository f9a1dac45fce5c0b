"""Jobs that report their progress over the Status API.

Reports are written down at once; what SLURM says stands beside them.

No report waits for SLURM. When a job that reported changes in the snapshot its report is looked at again; accounting is
asked about jobs that left the queue, and the report of a job that died without its last word is settled.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

from engine.server import Server
from store import access
from store.disk.audit import MakeLine
from store.disk.turns import Turn
from store.documents import JobRecord, Report
from store.errors import NotFound
from store.indexes.bodies import Answer, Body
from store.kinds import Key
from store.operations import RAW
from store.rules import reports
from store.rules.jobs.views import JobView
from store.views import srtslurm

# So many jobs are looked at in one pass; the others wait, so that what SLURM is asked stays small.
AT_ONCE = 500

Rule = Callable[[JobRecord | None, int, float], JobRecord]


async def record_submission(
    server: Server, body: dict[str, Any], caller: access.Caller, make_line: MakeLine | None = None
) -> dict[str, Any]:
    """Record that the job was submitted; return its id and status."""
    return await _apply_rule(
        server,
        body["job_id"],
        lambda record, number, now: reports.apply_submission(record, body, number, now, caller.name),
        make_line,
    )


async def record_update(
    server: Server, job_id: str, body: dict[str, Any], caller: access.Caller, make_line: MakeLine | None = None
) -> dict[str, Any]:
    """Record how the job says it is; return its id and status."""
    return await _apply_rule(
        server,
        job_id,
        lambda record, number, now: reports.apply_update(record, job_id, body, number, now, caller.name),
        make_line,
    )


async def _apply_rule(server: Server, job_id: str, rule: Rule, make_line: MakeLine | None) -> dict[str, Any]:
    report = await _change_record(server, job_id, rule, make_line)
    return {"job_id": report.job_id, "status": report.status}


async def _change_record(server: Server, job_id: str, rule: Rule, make_line: MakeLine | None = None) -> Report:
    """Apply the rule to a job's record, durably; return its report.

    Changes of one job are made one after the other. The line of the audit is in the commit of the record.
    """
    name = reports.to_record_name(job_id)
    async with server.locks.hold(Key("report", name)):
        with server.report_index.reserve_number() as number:
            before = server.store.jobs.get(name) if name in server.store.jobs else None
            after = rule(before, number, time.time())
            if after is not before:
                await server.store.jobs.put(name, after, line=make_line(job_id) if make_line else None)
        return reports.get_report(after, job_id)


async def delete_report(server: Server, job_id: str) -> dict[str, Any]:
    """Delete the report and what the job sent of its files; raises NotFound."""
    name = reports.to_record_name(job_id)
    async with server.locks.hold(Key("report", name)):
        server.report_index.get_report(job_id)
        # The record last: when this is cut short, it can be asked for again.
        await server.streams.drop(name)
        await server.store.jobs.delete(name)
    return {"deleted": True, "job_id": job_id}


def get_report(server: Server, job_id: str) -> dict[str, Any]:
    """Get a job's report with SLURM's state; raises NotFound."""
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


def list_reports(
    server: Server, status: str | None, cluster: str | None, tag: str | None, page: int, per_page: int
) -> Body:
    """List the jobs that reported, last submitted first."""
    return server.report_index.build_page(status, cluster, tag, page, per_page)


async def list_all_events(server: Server, after: int, limit: int, job_id: str | None) -> dict[str, Any]:
    """List the events of all jobs after a cursor."""
    return await server.report_index.list_events(after, limit, job_id)


async def list_events(server: Server, job_id: str, after: int, limit: int) -> dict[str, Any]:
    """List the events of one job after a cursor; raises NotFound."""
    server.report_index.get_report(job_id)
    return {"job_id": job_id, **await server.report_index.list_events(after, limit, job_id)}


# --- what jobs send of their files -----------------------------------------------------------------------------------


async def add_log(server: Server, job_id: str, file: str, offset: int, body: bytes) -> dict[str, Any]:
    """Keep a piece of a log; raises NotFound for a job that never reported."""
    server.report_index.get_report(job_id)
    name = reports.to_record_name(job_id)
    async with server.locks.hold(Key("stream", name)):
        return {"job_id": job_id, "stored": int(await server.streams.add_log(name, file, offset, body))}


async def read_logs(server: Server, job_id: str, file: str | None, offset: int) -> dict[str, Any]:
    """List a job's logs, or read one from an offset; raises NotFound."""
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
    server: Server, job_id: str, file: str, generation: str, offset: int, total: int, body: bytes
) -> dict[str, Any]:
    """Keep a piece of a capture; return where to go on. Raises NotFound."""
    server.report_index.get_report(job_id)
    name = reports.to_record_name(job_id)
    async with server.locks.hold(Key("stream", name)):
        end, whole = await server.streams.add_capture(name, file, generation.lower(), offset, total, body)
    return {"job_id": job_id, "next_offset": end, "complete": whole}


async def read_captures(server: Server, job_id: str, file: str | None) -> Any:
    """List the captures of a job, or download one; raises NotFound."""
    server.report_index.get_report(job_id)
    name = reports.to_record_name(job_id)
    if not file:
        return {"job_id": job_id, "files": await server.streams.list_captures(name)}
    return Answer(await server.streams.read_capture(name, file), media_type=RAW, download=True)


# --- what SLURM says -------------------------------------------------------------------------------------------------


def on_jobs_changed(server: Server, job_ids: Iterable[str]) -> None:
    """Have those of these jobs looked at that reported."""
    alive = server.report_index.awaited
    for job_id in job_ids:
        for name in {job_id, job_id.partition("_")[0], job_id.partition("+")[0]}:
            if name in alive:
                server.report_index.open_questions[name] = None


async def settle_ended_jobs(server: Server) -> list[str]:
    """Begin to settle reports of jobs that are over.

    Returns the ids that accounting is to be asked about.
    """
    questions, unknown, turn = server.report_index.open_questions, [], Turn()
    cluster = server.cluster
    for job_id in list(itertools.islice(questions, AT_ONCE)):
        await turn.yield_in_time()
        questions.pop(job_id, None)
        report = server.report_index.awaited.get(job_id)
        if report is None:
            continue
        view = JobView(*cluster.snapshot.by_id(job_id))
        if view.job is None:
            questions[job_id] = None  # behind the others: also a job that is nowhere now may turn up
            unknown.append(job_id)
        elif is_job_over(server, report, view):
            questions[job_id] = None  # until it is settled
            server.tasks.spawn(Key("report", job_id), functools.partial(settle_report, server, job_id))
    return unknown


async def settle_report(server: Server, job_id: str) -> None:
    """Write into the report how SLURM says that the job ended."""

    def settle(record: JobRecord | None, number: int, now: float) -> JobRecord:
        view, report = view_job(server, job_id), server.report_index.awaited.get(job_id)
        if record is None or record.report is None:
            raise NotFound("Job", job_id)
        if report is None or view.job is None or not is_job_over(server, report, view):
            return record  # it has reported since
        return reports.apply_end(record, view.job, number, now)

    await _change_record(server, job_id, settle)


def is_job_over(server: Server, report: reports.ReportSummary, view: JobView) -> bool:
    """Return whether SLURM says that the job that reported has ended."""
    return reports.is_job_over(report, view.job, server.cluster.name, server.report_index.find_ahead_s())


def view_job(server: Server, job_id: str) -> JobView:
    """View the job of this id as the cluster in force knows it."""
    return server.clusters.view_job(server.cluster.name, job_id)
