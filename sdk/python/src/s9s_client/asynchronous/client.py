"""The client itself: where the server is, who calls, and what there is to call."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, cast

import httpx

from s9s_client.asynchronous.cluster import Nodes, Partitions, QualitiesOfService, Reservations, Users
from s9s_client.asynchronous.files import Exports, Reports
from s9s_client.asynchronous.jobs import Jobs
from s9s_client.asynchronous.monitoring import Alerts, Metrics
from s9s_client.asynchronous.transport import RetryingTransport, raise_refusal
from s9s_client.asynchronous.updates import Updates
from s9s_client.credentials import ClientCredentials
from s9s_client.low.api.search import search_everything
from s9s_client.low.api.status import get_status
from s9s_client.low.client import AuthenticatedClient, Client
from s9s_client.low.models.search_everything_response_200 import SearchEverythingResponse200
from s9s_client.low.models.status import Status
from s9s_client.retries import Retries, pause_async
from s9s_client.updates import Update
from s9s_client.values import complete_address, drop_none, expect, find_root


class AsyncS9SClient:
    """A client of one server.

    `base_url` may end with /v1, /api/v1, or before that. The caller is a bearer token, an API key, an OAuth client
    (`client_id`, `client_secret`), or, over loopback, the user of this process. `verify` is a context of ssl where the
    server's certificate is from an authority of your own, or where the caller shows a certificate.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        scope: str | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        address, limit, patience = complete_address(base_url), httpx.Timeout(timeout), retries or Retries()
        exchange = None
        if client_id is not None:
            exchange = ClientCredentials(f"{find_root(address)}/oauth/token", client_id, client_secret or "", scope)
        inner = transport or httpx.AsyncHTTPTransport(verify=verify)
        options = {
            "transport": RetryingTransport(inner, patience, pause_async, exchange),
            "event_hooks": {"response": [raise_refusal]},
        }
        if token is not None:
            self.low = AuthenticatedClient(base_url=address, token=token, timeout=limit, httpx_args=options)
        elif api_key is not None:
            self.low = AuthenticatedClient(
                base_url=address,
                token=api_key,
                prefix="",
                auth_header_name="X-API-Key",
                timeout=limit,
                httpx_args=options,
            )
        else:
            self.low = cast(AuthenticatedClient, Client(base_url=address, timeout=limit, httpx_args=options))
        self.jobs = Jobs(self.low, patience)
        self.nodes = Nodes(self.low)
        self.users = Users(self.low)
        self.partitions = Partitions(self.low)
        self.reservations = Reservations(self.low)
        self.qos = QualitiesOfService(self.low)
        self.exports = Exports(self.low)
        self.reports = Reports(self.low)
        self.metrics = Metrics(self.low)
        self.alerts = Alerts(self.low)
        self._updates = Updates(self.low, address, patience, verify, timeout)

    async def status(self) -> Status:
        """Return the state of server and cluster, and who calls."""
        return expect(Status, await get_status.asyncio(client=self.low))

    async def search(self, q: str, *, type: str | None = None, limit: int | None = None) -> SearchEverythingResponse200:
        """Search jobs, nodes, users, partitions, workflows and runs; the best come first."""
        asked = drop_none(type_=type, limit=limit)
        return expect(SearchEverythingResponse200, await search_everything.asyncio(client=self.low, q=q, **asked))

    def updates(
        self, channel: str, *, filter: Mapping[str, Any] | None = None, snapshot: bool = False
    ) -> AsyncIterator[Update]:
        """Yield what happens in a channel, as it happens, until the caller leaves.

        Channels are jobs, nodes, metrics, alerts and queue. With `snapshot` it begins with what there is. A lost
        connection is made again; what happened meanwhile is told by the snapshot, where there is one.
        """
        return self._updates.follow(channel, filter, snapshot)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.low.get_async_httpx_client().aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
