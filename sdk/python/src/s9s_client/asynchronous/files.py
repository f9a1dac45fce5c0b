"""Files that the server makes in the background: exports and reports."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx

from s9s_client.asynchronous.paging import iterate_pages
from s9s_client.errors import ConnectionFailed, WaitTimeout
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

Made = TypeVar("Made", Export, Report)
PAUSE_S = 0.5


class MadeFiles(ABC, Generic[Made]):
    """What exports and reports have in common: wait, download.

    `path` is where they are listed, `id_name` the field that has their id.
    """

    path = id_name = ""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    @abstractmethod
    async def list(self, *, limit: int | None = None, offset: int | None = None) -> Page[Made]:
        """Return one page of them, newest first."""

    @abstractmethod
    async def get(self, made: str | Made) -> Made:
        """Return the state of one."""

    async def iterate(self, *, limit: int = 500) -> AsyncIterator[Made]:
        """Yield all of them, page by page."""
        async for made in iterate_pages(self.list, self.id_name, limit):
            yield made

    async def wait(self, made: str | Made, *, timeout: float = 600.0) -> Made:
        """Wait until one is made or has failed; WaitTimeout after so many seconds."""
        until = time.monotonic() + timeout
        while True:
            now = await self.get(made)
            if now.status != "processing":
                return now
            if time.monotonic() > until:
                raise WaitTimeout(f"{type(now).__name__} {self.get_id(now)} is not made after {timeout} s")
            await pause_async(PAUSE_S)

    async def download(self, made: str | Made, path: str | Path) -> Path:
        """Write the file of one to this path."""
        return await save_file(self.low, f"{self.path}/{self.get_id(made)}/download", Path(path))

    def get_id(self, made: str | Made) -> str:
        """Return the id of one: of its row, or as it is."""
        return made if isinstance(made, str) else str(getattr(made, self.id_name))


class Exports(MadeFiles[Export]):
    """Exports: begin, wait, download, delete."""

    path, id_name = "/exports", "export_id"

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

    async def get(self, made: str | Export) -> Export:
        """Return the state of an export."""
        return expect(Export, await get_export.asyncio(self.get_id(made), client=self.low))

    async def delete(self, made: str | Export) -> None:
        """Cancel an export, or delete it with its file."""
        await delete_export.asyncio_detailed(self.get_id(made), client=self.low)


class Reports(MadeFiles[Report]):
    """Reports: begin, wait, download, delete."""

    path, id_name = "/reports", "report_id"

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

    async def get(self, made: str | Report) -> Report:
        """Return the state of a report."""
        return expect(Report, await get_report.asyncio(self.get_id(made), client=self.low))

    async def delete(self, made: str | Report) -> None:
        """Cancel a report, or delete it with its file."""
        await delete_report.asyncio_detailed(self.get_id(made), client=self.low)


async def save_file(low: AuthenticatedClient, address: str, path: Path) -> Path:
    """Write what is at this address of the API to a file."""
    http = low.get_async_httpx_client()
    async with http.stream("GET", address, headers={"accept": "application/octet-stream, */*;q=0.9"}) as answer:
        try:
            with path.open("wb") as file:
                async for piece in answer.aiter_bytes():
                    file.write(piece)
        except httpx.TransportError as problem:
            raise ConnectionFailed(f"The file did not come whole: {problem}") from problem
    return path
