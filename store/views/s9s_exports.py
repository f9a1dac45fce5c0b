"""Exports and reports as the S9S API shows them: pure functions."""

from __future__ import annotations

from typing import Any

from store.rules.exports.files import ClusterReport, Export, MadeFile, find_status


def to_export_json(made: Export, written_rows: int, base_url: str, now: float) -> dict[str, Any]:
    """Build an export; `written_rows` counts while it is being made."""
    common = _build_common("exports", made, base_url, now)
    count = made.record_count if made.status == "completed" else None
    return {
        "export_id": made.id,
        "status": common["status"],
        "download_url": common["download_url"],
        "type": made.type,
        "format": made.format,
        "fields": made.fields,
        "filter": made.filter,
        "filename": made.filename,
        "file_size": common["file_size"],
        "record_count": count,
        "rows_written": written_rows if count is None else count,
        "created_at": made.created_at,
        "completed_at": common["completed_at"],
        "expires_at": made.expires_at,
        "error": made.error,
    }


def to_report_json(made: ClusterReport, delivery_status: str | None, base_url: str, now: float) -> dict[str, Any]:
    """Build a report; `delivery_status` is that of its e-mail."""
    common = _build_common("reports", made, base_url, now)
    method = "none" if made.email is None else "email"
    return {
        "report_id": made.id,
        "type": made.type,
        "format": made.format,
        "status": common["status"],
        "download_url": common["download_url"],
        "parameters": made.parameters,
        "delivery": {"method": method, "email": made.email, "status": delivery_status, "delivery_id": made.delivery_id},
        "filename": made.filename,
        "file_size": common["file_size"],
        "created_at": made.created_at,
        "completed_at": common["completed_at"],
        "expires_at": made.expires_at,
        "error": made.error,
    }


def _build_common(folder: str, made: MadeFile, base_url: str, now: float) -> dict[str, Any]:
    status = find_status(made, now)
    is_there = status == "completed"
    return {
        "status": status,
        "download_url": f"{base_url}/{folder}/{made.id}/download" if is_there else None,
        "file_size": made.file_size if is_there else None,
        "completed_at": made.completed_at if made.status == "completed" else None,
    }
