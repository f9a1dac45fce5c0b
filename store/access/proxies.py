"""Headers by which a request says that it came through something else."""

from __future__ import annotations

from collections.abc import Iterable

# Header, or with a dash at the end the beginning of headers, and who sends it. With one of them the process at the
# other end of the connection only passes on what somebody else has sent.
FORWARDING = {
    b"forwarded": "any proxy (RFC 7239)",
    b"via": "any proxy (RFC 9110)",
    b"cdn-loop": "content delivery networks (RFC 8586)",
    b"x-forwarded-": "nearly every proxy: For, Host, Proto, Port, Server, User, Client-Cert …",
    b"x-original-": "ingress-nginx, IIS, Amazon: For, Host, URI, Forwarded-For …",
    b"x-real-ip": "nginx, Traefik, Caddy",
    b"x-client-ip": "Apache, Azure",
    b"client-ip": "older proxies",
    b"x-remote-": "proxies that log in: IP, Addr, User",
    b"x-cluster-client-ip": "Rackspace, Zeus, Riverbed",
    b"x-proxyuser-ip": "Google's proxies",
    b"x-proxycontextpath": "jupyter-server-proxy",
    b"x-nginx-proxy": "nginx",
    b"true-client-ip": "Cloudflare, Akamai",
    b"cf-": "Cloudflare: Connecting-IP, Ray, Visitor, Access-Jwt-Assertion …",
    b"akamai-": "Akamai",
    b"fastly-": "Fastly: Client-IP, FF …",
    b"fly-": "Fly.io: Client-IP, Forwarded-Port …",
    b"cloudfront-": "Amazon CloudFront",
    b"x-amz-cf-": "Amazon CloudFront",
    b"x-amzn-": "Amazon's load balancers",
    b"x-azure-": "Azure Front Door",
    b"x-ms-client-principal": "Azure App Service",
    b"x-appengine-": "Google App Engine",
    b"x-goog-": "Google's Identity-Aware Proxy",
    b"x-envoy-": "Envoy, Istio",
    b"x-auth-request-": "oauth2-proxy",
    b"x-pomerium-": "Pomerium",
    b"x-vercel-": "Vercel",
    b"x-nf-": "Netlify",
    b"tailscale-": "Tailscale Serve: User-Login, User-Name …",
    b"ngrok-": "ngrok",
    b"ssl-client-": "proxies that check client certificates",
    b"x-ssl-": "proxies that check client certificates",
    b"x-client-": "proxies that check client certificates: Cert, Verify, DN …",
}
NAMES = frozenset(name for name in FORWARDING if not name.endswith(b"-"))
BEGINNINGS = tuple(name for name in FORWARDING if name.endswith(b"-"))


def is_forwarded(names: Iterable[bytes]) -> bool:
    """Return whether headers of these names tell of a proxy.

    >>> is_forwarded([b"host", b"cf-connecting-ip"]), is_forwarded([b"host", b"x-request-id"])
    (True, False)
    """
    return any(name in NAMES or name.startswith(BEGINNINGS) for name in names)
