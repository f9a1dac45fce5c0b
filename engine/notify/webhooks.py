"""One HTTPS request to a webhook, to a checked address only.

The name is resolved once and all its addresses are checked; the connection goes to one of them, and the certificate is
checked against the name. Redirects are not followed, proxies of the environment not used, connections not kept. All of
it takes at most five seconds, and only the beginning of the answer is read.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from slurm_shim.threads import Pool
from store import addresses

TIMEOUT_S = 5.0
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
        library = await _load_library()
        answer: Answer = await self._perform(library.Request(url, headers, body, handed), allow_hosts)
        return answer

    async def _perform(self, request: Any, allow_hosts: Collection[str]) -> Any:
        """Send a request; return the answer. Raises NotSent, NoAnswer."""
        try:
            async with asyncio.timeout(self.timeout_s):
                found = await self._resolve_host(request.host, request.port, allow_hosts)
                await request.send(found, await self._make_context())
        except TimeoutError:
            request.problem = f"no answer within {self.timeout_s:g} s"
        if request.answer is not None:
            return request.answer
        raise (NoAnswer if request.left else NotSent)(request.problem)

    async def get(self, url: str, limit_bytes: int) -> bytes:
        """Get what an address of config.yaml has, of at most so many bytes.

        Its host may have any address, since who writes that file runs the server. Raises NotSent, NoAnswer.
        """
        library = await _load_library()
        request = library.Request(url, {"Accept": "application/json"}, b"", _do_nothing, limit_bytes)
        answer = await self._perform(request, [request.host])
        if not answer.is_accepted:
            raise NoAnswer(str(answer))
        document: bytes | None = request.document
        if document is None:
            raise NoAnswer(request.problem or f"the answer has more than {limit_bytes} bytes")
        return document

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


async def _load_library() -> Any:
    """Load what speaks HTTP: only for who sends any, off the event loop."""
    return await asyncio.to_thread(importlib.import_module, "engine.notify.https_requests")


async def _do_nothing() -> None:
    """Do nothing: nobody waits for the request to leave."""
