"""One HTTPS request to a webhook, to a checked address only.

The name is resolved once and all its addresses are checked; the connection goes to one of them, and the certificate is
checked against the name. Redirects are not followed, proxies of the environment not used, connections not kept. All of
it takes at most five seconds, and only the beginning of the answer is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore

from slurm_shim.threads import Pool
from store import addresses
from store.rules import endpoints

TIMEOUT_S = 5.0
ANSWER_BYTES = 4096
# What Slack answers when it refuses; nothing else that a receiver says is ever shown.
WORDS = frozenset(
    (
        *("invalid_payload", "no_text", "no_service", "no_service_id", "no_team", "no_active_hooks", "invalid_token"),
        *("channel_not_found", "channel_is_archived", "user_not_found", "action_prohibited", "team_disabled"),
        *("posting_to_general_channel_denied", "too_many_attachments", "rollup_error", "internal_error"),
    )
)

Resolve = Callable[[str, int], Iterable[str]]


class NotSent(Exception):
    """The request was not sent; the text says why."""


class NoAnswer(Exception):
    """The request may have arrived; the text says why this is unknown."""


@dataclass(frozen=True)
class Answer:
    """The receiver's answer.

    Status, how long to wait, and Slack's word for what is wrong.
    """

    status: int
    wait_s: float = 0.0
    word: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver accepted the message."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        what = "; redirects are not followed" if 300 <= self.status < 400 else f" ({self.word})" if self.word else ""
        return f"the receiver answered {self.status}{what}"


def resolve_host(host: str, port: int) -> Iterable[str]:
    """Resolve a host to its addresses with the system's resolver. Blocks.

    Raises OSError.
    """
    found = socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Sender:
    """Sends requests, one connection each.

    `resolve` gives the addresses of a name and may block.
    """

    def __init__(self, resolve: Resolve = resolve_host, timeout_s: float = TIMEOUT_S) -> None:
        self.resolve, self.timeout_s = resolve, timeout_s
        # A name server that hangs must hold up only webhooks.
        self._names = Pool(4, thread_name_prefix="webhook-names")
        self._context: ssl.SSLContext | None = None

    def close(self) -> None:
        """Close the sender without waiting for its threads."""
        self._names.shutdown(wait=False, cancel_futures=True)

    async def post(
        self,
        url: str,
        headers: dict[str, str],
        body: bytes,
        allow_hosts: Collection[str],
        handed: Callable[[], Awaitable[Any]],
    ) -> Answer:
        """Send a request; return the answer.

        `handed` is awaited before the first byte of the request leaves. `allow_hosts` are those that may have addresses
        which are not public. Raises NotSent, NoAnswer.
        """
        return await self._perform(_Request(url, headers, body, handed), allow_hosts)

    async def _perform(self, request: _Request, allow_hosts: Collection[str]) -> Answer:
        """Send a request; return the answer. Raises NotSent, NoAnswer."""
        try:
            async with asyncio.timeout(self.timeout_s):
                found = await self._resolve_host(request.host, request.port, allow_hosts)
                await request.send(found, await self._make_context())
        except TimeoutError:
            request.problem = f"no answer within {self.timeout_s:g} s"
        except httpcore.ConnectError as error:
            request.problem = _describe_failure(error)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            request.problem = f"the connection broke ({type(error).__name__})"
        if request.answer is not None:
            return request.answer
        raise (NoAnswer if request.left else NotSent)(request.problem)

    async def get(self, url: str, limit_bytes: int) -> bytes:
        """Get what an address of config.yaml has, of at most so many bytes.

        Its host may have any address, since who writes that file runs the server. Raises NotSent, NoAnswer.
        """
        request = _Request(url, {"Accept": "application/json"}, b"", _do_nothing, limit_bytes)
        answer = await self._perform(request, [request.host])
        if not answer.is_accepted:
            raise NoAnswer(str(answer))
        if request.document is None:
            raise NoAnswer(request.problem or f"the answer has more than {limit_bytes} bytes")
        return request.document

    async def _resolve_host(self, host: str, port: int, allow_hosts: Collection[str]) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = list(await loop.run_in_executor(self._names, self.resolve, host, port))
        except (OSError, UnicodeError):
            raise NotSent(f"the name {host} cannot be resolved") from None
        if why := addresses.explain_refusal(found, host, port, allow_hosts):
            raise NotSent(why)
        return found

    async def _make_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = await asyncio.to_thread(ssl.create_default_context)
        return self._context


class _Request:
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
        """Send the request and read the answer. Raises what httpcore raises."""
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


async def _do_nothing() -> None:
    """Do nothing: nobody waits for the request to leave."""


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
