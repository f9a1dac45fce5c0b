"""The names of this server, and where a request comes from."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence

from store.errors import Denied, WrongKind

HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@functools.lru_cache(maxsize=256)
def parse_host_name(given: bytes) -> str | None:
    """Parse a Host header: the name without port, in small letters.

    None for a malformed one.
    """
    match = HOST.fullmatch(given.decode("latin-1"))
    return match["name"].lower() if match else None


def list_host_names(bound: str, more: Iterable[str]) -> frozenset[str]:
    """List the names of a server that listens on this address."""
    far = () if is_loopback(bound) else (socket.gethostname(), socket.getfqdn())
    return LOOPBACK_NAMES | {name.lower() for name in (bound, f"[{bound}]", *far, *more)}


# What decisions rest on: of two, whoever stands before this server may have looked at the other one.
SINGLE = frozenset(
    {b"host", b"authorization", b"origin", b"sec-fetch-site", b"content-type", b"content-encoding"}
    | {b"x-api-key", b"x-ssl-client-s-dn", b"x-ssl-client-verify", b"x-proxy-secret"}
)


def check_doubles(given: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse a request with two headers where only one can count."""
    names = [name for name, _ in given if name in SINGLE]
    if len(names) != len(set(names)):
        doubled = max(names, key=names.count).decode()
        raise WrongKind(f"There is more than one header {doubled}")


def check_host(headers: Mapping[bytes, bytes], hosts: Collection[str]) -> None:
    """Refuse a Host header that does not name this server.

    Raises WrongKind when it is missing or malformed, and Denied for another name.
    """
    name = parse_host_name(headers.get(b"host", b""))
    if name is None:
        raise WrongKind("A single well-formed Host header is needed")
    if name not in hosts:
        raise Denied("Host header not allowed; name it in SLUICE_ALLOWED_HOSTS or in access.yaml (allowed_hosts)")


def check_origin(headers: Mapping[bytes, bytes], allowed: Collection[str] = ()) -> None:
    """Refuse what a browser sends from another site's page.

    `allowed` are origins whose pages may all the same, `*` stands for every one.
    """
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if origin is not None and ("*" in allowed or origin.decode("latin-1") in allowed):
        return
    if site is not None and site not in (b"same-origin", b"none"):
        raise Denied("Requests from other sites are not allowed")
    own = headers.get(b"host", b"").lower()
    # A proxy may have put another Host; then browsers of today have said already that it is the same site.
    if site is None and origin is not None and origin.lower() not in (b"http://" + own, b"https://" + own):
        raise Denied("Origin not allowed")


def is_navigation(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a person opens a page: the browser shows it in a tab.

    Then no other site's page gets to see the answer.
    """
    return headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"


@functools.lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Return whether the address is this machine's own.

    IPv4, IPv6 or IPv4 within IPv6.
    """
    try:
        parsed = ipaddress.ip_address(address)
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return (mapped or parsed).is_loopback
    except ValueError:
        return address == "localhost"
