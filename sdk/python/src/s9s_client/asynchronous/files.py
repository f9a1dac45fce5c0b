"""Files that the server makes in the background: exports and reports."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s9s_client.asynchronous.paging import iterate_pages
from s9s_client.errors import WaitTimeout
from s9s_client.low.api.export import create_export
from s9s_client.low.api.exports import delete_export, get_export, list_exports
from s9s_client.low.api.reports import create_report, delete_report, get_report, list_reports
from s9s_client.low.client import AuthenticatedClient
from s9s_client.low.models.create_export_body import CreateExportBody
from s9s_client.low.models.create_report_body import CreateReportBody
from s9s_client.low.models.export import Export
from s9s_client.low.models.list_exports_response_200 import ListExportsResponse200
from s9s_client.low.models.list_reports_response_200 import ListReportsResponse200
from s9s_client.low.models.report import Report
from s9s_client.pages import Page
from s9s_client.retries import pause_async
from s9s_client.values import drop_none, expect, make_body

AnyExport = str | Export
AnyReport = str | Report
PAUSE_S = 0.5


class Exports:
    """Exports: begin, wait, download, delete."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def create(
        self,
        type: str,
        format: str,
        *,
        filter: Mapping[str, Any] | None = None,
        fields: Sequence[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Export:
        """Begin to export rows as a file."""
        body = make_body(CreateExportBody, type=type, format=format, filter=filter, fields=fields, options=options)
        made = await create_export.asyncio(client=self.low, body=body)
        return expect(Export, made)

    async def list(self, *, limit: int | None = None, offset: int | None = None) -> Page[Export]:
        """Return one page of the exports, newest first."""
        asked = drop_none(limit=limit, offset=offset)
        found = expect(ListExportsResponse200, await list_exports.asyncio(client=self.low, **asked))
        return Page(found.exports, found.total, found.offset, found.has_more)

    async def iterate(self, *, limit: int = 500) -> AsyncIterator[Export]:
        """Yield all exports, page by page."""
        async for export in iterate_pages(self.list, "export_id", limit):
            yield export

    async def get(self, export: AnyExport) -> Export:
        """Return the state of an export."""
        return expect(Export, await get_export.asyncio(name_export(export), client=self.low))

    async def wait(self, export: AnyExport, *, timeout: float = 600.0) -> Export:
        """Wait until an export is made or has failed; WaitTimeout after so many seconds."""
        until = time.monotonic() + timeout
        while True:
            now = await self.get(export)
            if now.status != "processing":
                return now
            if time.monotonic() > until:
                raise WaitTimeout(f"Export {now.export_id} is not made after {timeout} s")
            await pause_async(PAUSE_S)

    async def download(self, export: AnyExport, path: str | Path) -> Path:
        """Write the file of an export to this path."""
        return await save_file(self.low, f"/exports/{name_export(export)}/download", Path(path))

    async def delete(self, export: AnyExport) -> None:
        """Cancel an export, or delete it with its file."""
        await delete_export.asyncio_detailed(name_export(export), client=self.low)


class Reports:
    """Reports: begin, wait, download, delete."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def create(
        self,
        type: str,
        format: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        delivery: Mapping[str, Any] | None = None,
    ) -> Report:
        """Begin to make a report."""
        body = make_body(CreateReportBody, type=type, format=format, parameters=parameters, delivery=delivery)
        made = await create_report.asyncio(client=self.low, body=body)
        return expect(Report, made)

    async def list(self, *, limit: int | None = None, offset: int | None = None) -> Page[Report]:
        """Return one page of the reports, newest first."""
        asked = drop_none(limit=limit, offset=offset)
        found = expect(ListReportsResponse200, await list_reports.asyncio(client=self.low, **asked))
        return Page(found.reports, found.total, found.offset, found.has_more)

    async def iterate(self, *, limit: int = 500) -> AsyncIterator[Report]:
        """Yield all reports, page by page."""
        async for report in iterate_pages(self.list, "report_id", limit):
            yield report

    async def get(self, report: AnyReport) -> Report:
        """Return the state of a report."""
        return expect(Report, await get_report.asyncio(name_report(report), client=self.low))

    async def wait(self, report: AnyReport, *, timeout: float = 600.0) -> Report:
        """Wait until a report is made or has failed; WaitTimeout after so many seconds."""
        until = time.monotonic() + timeout
        while True:
            now = await self.get(report)
            if now.status != "processing":
                return now
            if time.monotonic() > until:
                raise WaitTimeout(f"Report {now.report_id} is not made after {timeout} s")
            await pause_async(PAUSE_S)

    async def download(self, report: AnyReport, path: str | Path) -> Path:
        """Write the file of a report to this path."""
        return await save_file(self.low, f"/reports/{name_report(report)}/download", Path(path))

    async def delete(self, report: AnyReport) -> None:
        """Cancel a report, or delete it with its file."""
        await delete_report.asyncio_detailed(name_report(report), client=self.low)


async def save_file(low: AuthenticatedClient, address: str, path: Path) -> Path:
    """Write what is at this address of the API to a file."""
    http = low.get_async_httpx_client()
    async with http.stream("GET", address, headers={"accept": "application/octet-stream, */*;q=0.9"}) as answer:
        with path.open("wb") as file:
            async for piece in answer.aiter_bytes():
                file.write(piece)
    return path


def name_report(report: AnyReport) -> str:
    """Return the id of a report: of its row, or as it is."""
    return report if isinstance(report, str) else report.report_id


def name_export(export: AnyExport) -> str:
    """Return the id of an export: of its row, or as it is."""
    return export if isinstance(export, str) else export.export_id
