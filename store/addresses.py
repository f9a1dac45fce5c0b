"""Which addresses a webhook may lead to. Pure.

Those that the whole Internet can reach, and what config.yaml allows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# RFC 6052: IPv4 behind a translator; the last 32 bits are the IPv4 address.
NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


def unwrap_ipv4(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 one, else the address itself.

    Such are mapped, 6to4 and NAT64 addresses.

    >>> [str(unwrap_ipv4(ipaddress.ip_address(text))) for text in ("::ffff:127.0.0.1", "64:ff9b::a00:1")]
    ['127.0.0.1', '10.0.0.1']
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(text: str) -> bool:
    """Tell whether the address is one of the public Internet.

    Private, loopback, link-local (where clouds keep their metadata), shared, multicast and reserved ones are not.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False  # a zone such as fe80::1%eth0 among them
    real = unwrap_ipv4(address)
    if isinstance(address, ipaddress.IPv6Address) and (address.teredo is not None or address.is_site_local):
        return False
    return real.is_global and not real.is_multicast and not real.is_reserved and not real.is_unspecified


def is_allowed(host: str, port: int, hosts: Collection[str]) -> bool:
    """Tell whether config.yaml allows webhooks to this host.

    Hosts are listed by name, or by name and port.

    >>> is_allowed("hooks.lan", 8443, ["hooks.lan:8443"]), is_allowed("hooks.lan", 443, ["hooks.lan:8443"])
    (True, False)
    """
    return host in hosts or f"{host}:{port}" in hosts or (":" in host and f"[{host}]:{port}" in hosts)


def explain_refusal(addresses: Sequence[str], host: str, port: int, hosts: Collection[str]) -> str | None:
    """Return why a host's addresses must not be called; None if they may.

    One address that is not allowed rules out the host.
    """
    if not addresses:
        return f"{host} has no address"
    if is_allowed(host, port, hosts) or all(is_public(address) for address in addresses):
        return None
    return f"{host} is not in the public Internet; name it in config.yaml (webhooks: allow_hosts) if it may be called"
