"""The way to the server: retries, and refusals as exceptions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import httpx

from s9s_client.credentials import ClientCredentials
from s9s_client.errors import ConnectionFailed, InvalidRequest, UnexpectedAnswer, explain_refusal
from s9s_client.retries import LOST, Retries, add_key


class RetryingTransport(httpx.AsyncBaseTransport):
    """Sends a request again while the server is busy or out of reach.

    Also where a token has ended.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        retries: Retries,
        pause: Callable[[float], Any],
        credentials: ClientCredentials | None = None,
    ) -> None:
        self.inner, self.retries, self.pause, self.credentials = inner, retries, pause, credentials

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer; an OAuth client gets its token before."""
        if request.url.path.endswith("/") or "//" in request.url.path:
            raise InvalidRequest("An id is empty")  # the path would be that of a list
        add_key(request)
        if self.credentials is None:
            return await self.send(request)
        if self.credentials.is_due:
            await self.renew(self.credentials, request)
        self.credentials.sign(request)
        response = await self.send(request)
        if response.status_code == 401:
            await response.aclose()
            await self.renew(self.credentials, request)
            self.credentials.sign(request)
            response = await self.send(request)
        return response

    async def renew(self, credentials: ClientCredentials, request: httpx.Request) -> None:
        """Get a token."""
        response = await self.send(credentials.make_request(request))
        await response.aread()
        credentials.take(response)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to the last attempt."""
        for attempt in count(1):
            response: httpx.Response | None = None
            lost: httpx.TransportError | None = None
            try:
                response = await self.inner.handle_async_request(request)
                if not is_streamed(request):
                    await response.aread()
            except httpx.TransportError as problem:
                lost = problem
            pause_s = self.retries.find_pause(attempt, response) if lost is None or isinstance(lost, LOST) else None
            if lost is not None and pause_s is None:
                raise ConnectionFailed(f"{request.method} {request.url}: {lost or type(lost).__name__}") from lost
            if response is not None and lost is None and pause_s is None:
                return response
            if response is not None:
                await response.aclose()
            assert pause_s is not None
            await self.pause(pause_s)
        raise AssertionError("there is always a last attempt")

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()


def is_streamed(request: httpx.Request) -> bool:
    """Tell whether the answer is read piece by piece by whoever asked."""
    return request.headers.get("accept", "*/*") not in ("*/*", "application/json")


async def raise_refusal(response: httpx.Response) -> None:
    """Raise what a refusal says; a page comes from something else than the API."""
    if response.status_code >= 400:
        await response.aread()
        raise explain_refusal(response)
    if response.headers.get("content-type", "").startswith("text/html") and not is_streamed(response.request):
        raise UnexpectedAnswer(f"{response.url} answered with a page, not as the API does")
