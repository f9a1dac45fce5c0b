"""Headers by which a request says that it came through something else."""

from __future__ import annotations

import functools
from collections.abc import Iterable

# Header, or with a dash at the end the beginning of headers, with one at the start their end; and who sends it. With
# one of them the process at the other end of the connection only passes on what somebody else has sent.
FORWARDING = {
    b"-ip": "nearly every proxy: X-Real, X-Client, CF-Connecting, True-Client, X-Cluster-Client …",
    b"-clientip": "Azure, Sucuri",
    b"forwarded": "any proxy (RFC 7239)",
    b"via": "any proxy (RFC 9110)",
    b"proxy-": "what is meant for a proxy alone: Authorization, Connection",
    b"cdn-loop": "content delivery networks (RFC 8586)",
    b"x-forwarded": "older proxies",
    b"x-forwarded-": "nearly every proxy: For, Host, Proto, Port, Server, User, Client-Cert …",
    b"-forwarded-for": "proxies with a name of their own for it",
    b"forwarded-": "older proxies: For, Host …",
    b"x-original-": "ingress-nginx, IIS, Amazon: For, Host, URI, Forwarded-For …",
    b"x-rewrite-url": "IIS",
    b"x-arr-": "IIS: LOG-ID, ClientCert, SSL",
    b"x-host": "older proxies",
    b"x-scheme": "ingress-nginx",
    b"front-end-https": "Microsoft's gateways",
    b"x-remote-": "proxies that log in: Addr, User",
    b"remote-": "Authelia and others that log in: User, Groups, Email …",
    b"x-webauth-": "proxies that log in, as Grafana expects it: USER …",
    b"x-authentik-": "authentik",
    b"x-proxycontextpath": "jupyter-server-proxy",
    b"x-nginx-proxy": "nginx",
    b"x-haproxy-": "HAProxy",
    b"x-varnish": "Varnish",
    b"x-traefik-": "Traefik",
    b"cf-": "Cloudflare: Ray, Visitor, Access-Jwt-Assertion …",
    b"akamai-": "Akamai",
    b"fastly-": "Fastly: SSL, FF …",
    b"fly-": "Fly.io: Forwarded-Port, Region …",
    b"cloudfront-": "Amazon CloudFront",
    b"x-amz-cf-": "Amazon CloudFront",
    b"x-amzn-": "Amazon's load balancers",
    b"x-azure-": "Azure Front Door",
    b"x-ms-client-": "Azure App Service: Principal …",
    b"x-appengine-": "Google App Engine",
    b"x-goog-": "Google's Identity-Aware Proxy",
    b"x-cloud-trace-context": "Google's load balancers",
    b"x-envoy-": "Envoy, Istio",
    b"x-auth-request-": "oauth2-proxy",
    b"x-pomerium-": "Pomerium",
    b"x-vercel-": "Vercel",
    b"x-nf-": "Netlify",
    b"tailscale-": "Tailscale Serve: User-Login, User-Name …",
    b"ngrok-": "ngrok",
    b"x-ngrok-": "ngrok",
    b"x-codespaces-": "GitHub Codespaces",
    b"ssl-client-": "proxies that check client certificates",
    b"x-ssl-": "proxies that check client certificates",
    b"x-client-": "proxies that check client certificates: Cert, Verify, DN …",
}
NAMES = frozenset(name for name in FORWARDING if b"-" not in (name[:1], name[-1:]))
BEGINNINGS = tuple(name for name in FORWARDING if name.endswith(b"-"))
ENDINGS = tuple(name for name in FORWARDING if name.startswith(b"-"))


def is_forwarded(names: Iterable[bytes]) -> bool:
    """Return whether headers of these names tell of a proxy.

    >>> is_forwarded([b"host", b"cf-connecting-ip"]), is_forwarded([b"host", b"x-request-id"])
    (True, False)
    """
    return _has_forwarding(tuple(names))


@functools.lru_cache(maxsize=256)
def _has_forwarding(names: tuple[bytes, ...]) -> bool:
    return any(name in NAMES or name.startswith(BEGINNINGS) or name.endswith(ENDINGS) for name in names)
