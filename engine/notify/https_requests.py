"""One request of webhooks, with the library that speaks HTTP."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore

from engine.notify.webhooks import Answer
from store.rules import endpoints

ANSWER_BYTES = 4096
# What Slack answers when it refuses; nothing else that a receiver says is ever shown.
WORDS = frozenset(
    (
        *("invalid_payload", "no_text", "no_service", "no_service_id", "no_team", "no_active_hooks", "invalid_token"),
        *("channel_not_found", "channel_is_archived", "user_not_found", "action_prohibited", "team_disabled"),
        *("posting_to_general_channel_denied", "too_many_attachments", "rollup_error", "internal_error"),
    )
)


class Request:
    """One request, and how far it has come.

    `left` is set once it may have arrived, `answer` once there is one. With `limit_bytes` it asks for a document, which
    `document` is once it is here whole.
    """

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        body: bytes,
        handed: Callable[[], Awaitable[Any]],
        limit_bytes: int | None = None,
    ) -> None:
        self.host, self.port = endpoints.parse_host(url)
        scheme, usual_port = ("http", 80) if url.startswith("http:") else ("https", 443)
        self.method, self.limit_bytes = "POST" if limit_bytes is None else "GET", limit_bytes
        self.document: bytes | None = None
        # Given in parts, so that no second parser decides where the request goes.
        self.url = httpcore.URL(
            scheme=scheme, host=self.host, port=self.port, target=endpoints.parse_request_target(url)
        )
        name = f"[{self.host}]" if ":" in self.host else self.host
        host = name if self.port == usual_port else f"{name}:{self.port}"
        self.headers, self.body, self.handed = {"Host": host, **headers, "Connection": "close"}, body, handed
        self.left = False
        self.answer: Answer | None = None
        self.problem = ""

    async def send(self, found: Sequence[str], context: ssl.SSLContext) -> None:
        """Send the request and read the answer, or note the problem."""
        try:
            await self._exchange(found, context)
        except httpcore.ConnectError as error:
            self.problem = _describe_failure(error)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            self.problem = f"the connection broke ({type(error).__name__})"

    async def _exchange(self, found: Sequence[str], context: ssl.SSLContext) -> None:
        network = _Pinned(found)
        pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=network, max_connections=1)
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        async with (
            contextlib.aclosing(network),
            pool,
            pool.stream(
                self.method, self.url, headers=headers, content=self.body, extensions={"trace": self._trace}
            ) as got,
        ):
            self.answer = Answer(got.status, _parse_wait_s(got.headers))
            if not self.answer.is_accepted:
                self.answer = Answer(got.status, self.answer.wait_s, await _read_word(got))
            elif self.limit_bytes is not None:
                data = await _read_beginning(got, self.limit_bytes + 1)
                self.document = data if len(data) <= self.limit_bytes else None

    async def _trace(self, event: str, _info: dict[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            await self.handed()
            self.left = True


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to these addresses only, whatever the name resolves to by now.

    httpcore forgets a connection whose TLS handshake is cut short, so they are closed here.
    """

    def __init__(self, found: Sequence[str]) -> None:
        self._found, self._inner = found, httpcore.AnyIOBackend()
        self._streams: list[httpcore.AsyncNetworkStream] = []

    async def connect_tcp(self, host: str, port: int, *more: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        last: Exception = httpcore.ConnectError("no address")
        for address in self._found:
            try:
                self._streams.append(await self._inner.connect_tcp(address, port, *more, **options))
                return self._streams[-1]
            except httpcore.ConnectError as error:
                last = error
        raise last

    async def aclose(self) -> None:
        """Close all connections."""
        for stream in self._streams:
            await stream.aclose()


async def _read_beginning(got: httpcore.Response, enough_bytes: int) -> bytes:
    """Read the answer's body until there are so many bytes, or a few more."""
    data = b""
    async for piece in got.aiter_stream():
        data += piece
        if len(data) >= enough_bytes:
            break
    return data


async def _read_word(got: httpcore.Response) -> str:
    """Read Slack's word from the answer, if there is one."""
    word = (await _read_beginning(got, ANSWER_BYTES)).decode("latin-1").strip()
    return word if word in WORDS else ""


def _parse_wait_s(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Parse the seconds of Retry-After (RFC 9110, 10.2.3).

    0 for none or a date.
    """
    given = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    return float(given) if re.fullmatch(rb"[0-9]{1,6}", given) else 0.0


def _describe_failure(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not valid: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "the TLS handshake failed"
        cause = cause.__cause__ or cause.__context__
    return "the receiver cannot be reached"
