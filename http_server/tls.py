"""TLS of the server itself, with client certificates.

granian could end TLS, but does not say whose certificate it has checked, and would serve WebSockets itself, without our
bounds and pings. So TLS is ended here: bytes go on to granian over a connection of this process, and the app is told
who is at the other end, as the ASGI specification has it (its extension `tls`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]

INNER_ADDRESS = "127.0.0.1"
HANDSHAKE_S = 10
PIECE_BYTES = 64 * 1024
# The short names of RFC 4514; all others stand as OpenSSL calls them.
SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


@dataclass(frozen=True)
class Tls:
    """The files that TLS is made with.

    `client_ca` signs the certificates of clients.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


def make_tls(cert: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """Return the files, once they have been looked into; None without them.

    Raises ValueError for files that are none.
    """
    if cert is None or key is None:
        return None
    tls = Tls(cert, key, client_ca)
    make_context(tls)
    return tls


def make_context(tls: Tls) -> ssl.SSLContext:
    """Make what ends TLS. Raises ValueError for files that are none.

    A client may show a certificate, which is checked then, or say otherwise who it is. Nothing is resumed: each
    connection shows its certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.cert, tls.key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as problem:
        raise ValueError(f"TLS cannot be made with {tls.cert}, {tls.key}, {tls.client_ca}: {problem}") from None
    return context


def format_subject(certificate: dict[str, Any]) -> str:
    r"""Format the subject of a certificate as RFC 4514 has it.

    >>> format_subject({"subject": ((("organizationName", "A, B"),), (("commonName", "ann"),))})
    'CN=ann,O=A\\, B'
    """
    names = reversed(certificate.get("subject", ()))
    return ",".join("+".join(f"{SHORT_NAMES.get(key, key)}={_escape(value)}" for key, value in name) for name in names)


def _escape(value: str) -> str:
    text = "".join(f"\\{char}" if char in ',+"\\<>;' else char for char in value).replace("\0", "\\00")
    if text.endswith(" "):
        text = text[:-1] + "\\ "
    return f"\\{text}" if text[:1] in (" ", "#") else text


@dataclass(frozen=True)
class Client:
    """Who is at the other end of a connection: both ends, and the subject."""

    client: tuple[str, int]
    server: tuple[str, int]
    subject: str | None


class Front:
    """Ends TLS, and passes bytes on to a plain server in this process.

    Requests that the plain server gets from elsewhere are nobody's.
    """

    def __init__(self, context: ssl.SSLContext, address: str, port: int, inner_port: int, most: int) -> None:
        self.context, self.address, self.port, self.inner_port = context, address, port, inner_port
        self.most = most
        self.clients: dict[int, Client] = {}  # by our port of the connection to the plain server
        self.tasks: set[asyncio.Task[None]] = set()
        self.server: asyncio.Server | None = None

    async def start(self, backlog: int) -> None:
        """Listen for connections."""
        self.server = await asyncio.start_server(
            self.accept, self.address, self.port, ssl=self.context, ssl_handshake_timeout=HANDSHAKE_S, backlog=backlog
        )

    def stop(self) -> None:
        """Stop listening; connections go on."""
        if self.server is not None:
            self.server.close()

    async def end(self) -> None:
        """End all connections."""
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            if len(self.tasks) <= self.most:
                with contextlib.suppress(OSError, asyncio.CancelledError):  # either end is gone, or the server ends
                    await self.pass_on(reader, writer)
        finally:
            self.tasks.discard(task)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on in both directions until one of them ends."""
        certificate, peer = writer.get_extra_info("peercert"), writer.get_extra_info("peername")
        if peer is None:
            return  # it has left
        inner_reader, inner_writer = await asyncio.open_connection(INNER_ADDRESS, self.inner_port)
        port = inner_writer.get_extra_info("sockname")[1]
        self.clients[port] = Client(
            peer[:2],
            writer.get_extra_info("sockname")[:2],
            format_subject(certificate) if certificate else None,
        )
        ways = [
            asyncio.ensure_future(copy_bytes(reader, inner_writer)),
            asyncio.ensure_future(copy_bytes(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self.clients[port]
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            inner_writer.close()

    def describe_client(self, scope: Scope) -> dict[str, Any]:
        """Return what of a request's scope is to be replaced."""
        own = scope.get("client") or ("", 0)
        found = self.clients.get(int(own[1] or 0)) if own[0] == INNER_ADDRESS else None
        if found is None:
            return {"client": None, "extensions": {}}
        tls: dict[str, Any] = {"server_cert": None, "client_cert_chain": [], "client_cert_name": found.subject}
        return {"client": found.client, "server": found.server, "scheme": "https", "extensions": {"tls": tls}}


async def copy_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy all that comes, as fast as it is taken."""
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
