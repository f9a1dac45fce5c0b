"""Reports on the cluster: made in the background, and sent by e-mail."""

from __future__ import annotations

import asyncio
import functools
import time
from pathlib import Path
from typing import Any

from engine.exports import made_files, report_numbers
from engine.server import Server
from store import access
from store.exports.children import REPORT_WORKER, Bounds, Work, make_file
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules import deliveries, requests
from store.rules.exports import files, periods, tables
from store.rules.exports.files import ClusterReport
from store.times import to_rfc3339
from store.views import s9s_exports
from store.views.s9s import to_page_json

KIND = "cluster_report"
# Drawing takes memory that is the same for every report, and some seconds.
MEMORY_MB, CPU_S, WALL_S = 1500, 120, 600.0
CACHE = ".cache"


async def create_report(
    server: Server, body: dict[str, Any], idempotency_key: str | None, caller: access.Caller, base_url: str
) -> Answer:
    """Begin a report; raise Invalid, Conflict."""
    kind, form, now = body["type"], body["format"], time.time()
    periods.check_format(form)
    parameters = {key: value for key, value in (body.get("parameters") or {}).items() if value is not None}
    since, until = periods.choose_period(parameters, now)
    smtp = server.store.config.smtp
    made = ClusterReport(
        id=made_files.make_id("rep", KIND, idempotency_key, caller),
        request_hash=requests.hash_request(body),
        owner=caller.name,
        cluster=server.cluster.name,
        type=kind,
        format=form,
        filename=tables.name_file(kind, form, now),
        created_at=to_rfc3339(int(now)) or "",
        created_s=now,
        expires_at=to_rfc3339(int(now + server.store.config.exports.keep_hours * files.HOUR_S)) or "",
        parameters=parameters,
        since=since,
        until=until,
        email=periods.read_recipient(body.get("delivery") or {}, None if smtp is None else smtp.recipients),
    )
    made = await made_files.begin_file(server, KIND, made, caller)
    return Answer(_build_row(server, made, base_url), location=f"{base_url}/reports/{made.id}")


def list_reports(server: Server, limit: int, offset: int, caller: access.Caller, base_url: str) -> Body:
    """List the caller's reports, newest first."""
    found = made_files.list_newest(server, KIND, caller)
    page = to_page_json("reports", found, limit, offset, lambda made: _build_row(server, made, base_url))
    return Body(dump_json(page))


def get_report(server: Server, report_id: str, caller: access.Caller, base_url: str) -> Body:
    """Get the state of a report; raise NotFound."""
    return Body(dump_json(_build_row(server, made_files.find_file(server, KIND, report_id, caller), base_url)))


async def download_report(server: Server, report_id: str, caller: access.Caller) -> Answer:
    """Get the file; raise NotFound, and Conflict while it is made."""
    return await made_files.download_file(server, KIND, made_files.find_file(server, KIND, report_id, caller))


async def delete_report(server: Server, report_id: str, caller: access.Caller) -> None:
    """Cancel a report that is being made, or delete it with its file."""
    made = made_files.find_file(server, KIND, report_id, caller)
    await made_files.delete_file(server, KIND, made.id)


def _build_row(server: Server, made: ClusterReport, base_url: str) -> dict[str, Any]:
    sent = server.notifications.outbox.find(made.delivery_id)
    return s9s_exports.to_report_json(made, None if sent is None else sent.status, base_url, time.time())


# --- between requests


async def carry_out_report(server: Server, report_id: str) -> None:
    """Make the file of a report, from its beginning, and have it sent."""
    await made_files.carry_out(server, KIND, report_id, functools.partial(_make_report, server))


async def _make_report(server: Server, made: ClusterReport, path: Path, most_bytes: int) -> dict[str, Any]:
    await made_files.try_often(functools.partial(_fill_report, server, made, path, most_bytes))
    if made.email is None:
        return {}
    # Before the report counts as complete: what was begun anew after a kill is not sent twice, since its key is there.
    return {"delivery_id": await server.notifications.outbox.add(deliveries.build_mail(made, time.time()))}


async def _fill_report(server: Server, made: ClusterReport, path: Path, most_bytes: int) -> None:
    wants_charts = made.parameters.get("include_charts", True) and made.format in ("html", "pdf")
    with_charts = wants_charts and periods.has_charts()
    sum_up = report_numbers.open_numbers(server, made, with_charts)
    cache = server.store.join_path(CACHE, "matplotlib")
    await asyncio.to_thread(server.store.files.make_dirs, cache)

    def fill(fd: int, bounds: Bounds, work: Work) -> None:
        report = sum_up()
        if wants_charts and not with_charts:
            report["notes"].append(periods.GET_CHARTS.replace("pdf needs", "Charts need"))
        wanted = {"format": made.format, "cache": str(cache), "report": report}
        make_file(REPORT_WORKER, wanted, (), fd, bounds, work)

    await made_files.fill_file(server, made.id, path, Bounds(MEMORY_MB, CPU_S, WALL_S, most_bytes), fill)
