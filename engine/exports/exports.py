"""Exports: lists as files, made in the background."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from engine.exports import made_files, rows
from engine.server import Server
from store import access
from store.exports.children import TABLE_WORKER, Bounds, Work, make_file
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules import requests
from store.rules.exports import files, filters, tables
from store.rules.exports.files import Export
from store.times import to_rfc3339
from store.views import s9s_exports
from store.views.s9s import to_page_json

KIND = "export"
MEMORY_MB, CPU_S, WALL_S = 1000, 1800, 3600.0


async def create_export(
    server: Server, body: dict[str, Any], idempotency_key: str | None, caller: access.Caller, base_url: str
) -> Answer:
    """Begin an export; raise Invalid, Conflict."""
    kind, form, options, now = body["type"], body["format"], body.get("options") or {}, time.time()
    tables.check_format(form)
    given = tables.check_filter(kind, body.get("filter") or {})
    filters.make_filter(kind, given)
    made = Export(
        id=made_files.make_id("exp", KIND, idempotency_key, caller),
        request_hash=requests.hash_request(body),
        owner=caller.name,
        cluster=server.cluster.name,
        type=kind,
        format=form,
        filename=files.clean_filename(options.get("filename"), tables.name_file(kind, form, now)),
        created_at=to_rfc3339(int(now)) or "",
        created_s=now,
        expires_at=to_rfc3339(int(now + server.store.config.exports.keep_hours * files.HOUR_S)) or "",
        fields=tables.resolve_fields(kind, body.get("fields")),
        filter=given,
        include_headers=options.get("include_headers", True),
        delimiter=tables.check_delimiter(options.get("delimiter", ",")),
    )
    made = await made_files.begin_file(server, KIND, made, caller)
    return Answer(_build_row(server, made, base_url), location=f"{base_url}/exports/{made.id}")


def list_exports(server: Server, limit: int, offset: int, caller: access.Caller, base_url: str) -> Body:
    """List the caller's exports, newest first."""
    found = made_files.list_newest(server, KIND, caller)
    page = to_page_json("exports", found, limit, offset, lambda made: _build_row(server, made, base_url))
    return Body(dump_json(page))


def get_export(server: Server, export_id: str, caller: access.Caller, base_url: str) -> Body:
    """Get the state of an export; raise NotFound."""
    return Body(dump_json(_build_row(server, made_files.find_file(server, KIND, export_id, caller), base_url)))


async def download_export(server: Server, export_id: str, caller: access.Caller) -> Answer:
    """Get the file; raise NotFound, and Conflict while it is made."""
    return await made_files.download_file(server, KIND, made_files.find_file(server, KIND, export_id, caller))


async def delete_export(server: Server, export_id: str, caller: access.Caller) -> None:
    """Cancel an export that is being made, or delete it with its file."""
    made = made_files.find_file(server, KIND, export_id, caller)
    await made_files.delete_file(server, KIND, made.id)


def _build_row(server: Server, made: Export, base_url: str) -> dict[str, Any]:
    return s9s_exports.to_export_json(made, server.file_work.count_rows(made.id), base_url, time.time())


# --- between requests


async def carry_out_export(server: Server, export_id: str) -> None:
    """Make the file of an export, from its beginning."""
    await made_files.carry_out(server, KIND, export_id, functools.partial(_make_export, server))


async def _make_export(server: Server, made: Export, path: Path, most_bytes: int) -> dict[str, Any]:
    return {"record_count": await made_files.try_often(functools.partial(_fill_export, server, made, path, most_bytes))}


async def _fill_export(server: Server, made: Export, path: Path, most_bytes: int) -> int:
    lots = await rows.open_rows(server, made.type, made.cluster, made.filter)
    kinds = tables.COLUMNS[made.type]
    wanted = {
        "format": made.format,
        "title": f"{made.type} of {made.cluster}, {made.created_at}",
        "columns": [[name, kinds[name]] for name in made.fields],
        "headers": made.include_headers,
        "delimiter": made.delimiter,
        "scratch": str(path.parent),
    }

    def fill(fd: int, bounds: Bounds, work: Work) -> None:
        batches = ([[row.get(name) for name in made.fields] for row in lot] for lot in lots)
        make_file(TABLE_WORKER, wanted, batches, fd, bounds, work)

    return await made_files.fill_file(server, made.id, path, Bounds(MEMORY_MB, CPU_S, WALL_S, most_bytes), fill)
