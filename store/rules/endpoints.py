"""endpoints/ID.yaml: where notifications go. Pure.

The address of a webhook is a password: it is never shown whole. A file is a mapping with `kind`, `name` and
`webhook_url`; `alerts`, `created_at` and `disabled_at` (RFC 3339) are optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from store.documents import VERSION, UserFileModel, from_yaml
from store.errors import Exists, Invalid, NotFound, make_problem
from store.times import to_rfc3339
from store.yaml import reader, writer

KINDS = ("slack_webhook", "webhook")
SLACK = re.compile(r"https://hooks\.slack\.com/services/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
# A host name (RFC 1123) or an address in brackets, a port, and what may stand in a path and a query (RFC 3986).
HTTPS = re.compile(r"https://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]*)?")
HIDDEN = "***"
NUMBER = re.compile(r"[1-9][0-9]{0,15}")
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$"

Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
Url = Annotated[str, Field(max_length=2000)]
Time = Annotated[str, Field(pattern=TIME)]


class Endpoint(UserFileModel):
    """One receiver of notifications."""

    version: int = VERSION
    kind: Literal["slack_webhook", "webhook"]
    name: Name
    webhook_url: Url
    alerts: Literal["none", "warning", "critical"] = "none"  # the least severity that it is told of
    created_at: Time = to_rfc3339(0) or ""
    disabled_at: Time | None = None


def parse_endpoint(data: bytes, name: str) -> Endpoint:
    """Parse the endpoint in a file named by its number.

    Raises Invalid with line and column, and never with the address.
    """
    refuse_file_name(name)
    endpoint = from_yaml(Endpoint, data, name)
    if reason := find_url_problem(endpoint.kind, endpoint.webhook_url):
        line, column = reader.load_yaml(data).locate(("webhook_url",))
        raise Invalid([make_problem(reason, ["webhook_url"], line=line, column=column)])
    return endpoint


def refuse_file_name(name: str) -> None:
    """Raise Invalid unless the file is named by a number."""
    if not NUMBER.fullmatch(name):
        raise Invalid(
            [make_problem("files here are called by a number, such as 1", ["name"], line=1, column=1, input=name)]
        )


def find_url_problem(kind: str, url: str) -> str | None:
    """Return why this kind of endpoint cannot have this address, or None.

    >>> find_url_problem("webhook", "http://example.org/")
    'webhook_url must be https://HOST[:PORT][/PATH], without a user, blanks or a fragment'
    """
    if kind == "slack_webhook":
        return None if SLACK.fullmatch(url) else "webhook_url must be https://hooks.slack.com/services/T…/B…/…"
    if url.endswith("/" + HIDDEN):
        return "webhook_url is a mask, not an address"
    if not HTTPS.fullmatch(url) or "#" in url or not 0 < parse_host(url)[1] < 65536:
        return "webhook_url must be https://HOST[:PORT][/PATH], without a user, blanks or a fragment"
    return None


def parse_host(url: str) -> tuple[str, int]:
    """Split an address into host and port.

    The host is in lower case and without brackets; the port is 0 for an address that cannot be parsed.

    >>> parse_host("https://Example.org/x"), parse_host("https://[::1]:8443/"), parse_host("https://a:99999/")
    (('example.org', 443), ('::1', 8443), ('', 0))
    """
    try:
        parts = urlsplit(url)
        usual = 80 if parts.scheme == "http" else 443
        return (parts.hostname or "").rstrip("."), usual if parts.port is None else parts.port
    except ValueError:
        return "", 0


def parse_request_target(url: str) -> str:
    """Return the path and query of an address, as a request line has them.

    >>> parse_request_target("https://example.org"), parse_request_target("https://example.org/a?b=c")
    ('/', '/a?b=c')
    """
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def mask_url(kind: str, url: str) -> str:
    """Mask the address: show its host, and nothing that grants access.

    >>> mask_url("slack_webhook", "https://hooks.slack.com/services/T1/B2/secret")
    'https://hooks.slack.com/services/***'
    >>> mask_url("webhook", "https://example.org:8443/in/secret?key=1")
    'https://example.org:8443/***'
    """
    base = f"https://{urlsplit(url).netloc}"
    return f"{base}/services/{HIDDEN}" if kind == "slack_webhook" else f"{base}/{HIDDEN}"


def to_json(number: str, endpoint: Endpoint) -> dict[str, Any]:
    """Build the endpoint as answers show it."""
    return {
        "id": int(number),
        "kind": endpoint.kind,
        "name": endpoint.name,
        "config": {"webhook_url": mask_url(endpoint.kind, endpoint.webhook_url)},
        "alerts": endpoint.alerts,
        "created_at": endpoint.created_at,
        "disabled_at": endpoint.disabled_at,
    }


def build_endpoint(body: dict[str, Any], endpoints: Iterable[Endpoint], now: float) -> bytes:
    """Build the file of a new endpoint.

    Raises Invalid for its address, Exists when there is one of that kind and name.
    """
    kind, name, url = body["kind"], body["name"], body["config"]["webhook_url"]
    _refuse_url(kind, url)
    _refuse_taken_name(kind, name, endpoints)
    fields = {"kind": kind, "name": name, "webhook_url": url, "alerts": body.get("alerts")}
    given = {key: value for key, value in fields.items() if value is not None}
    return writer.dump_yaml(given | {"created_at": to_rfc3339(int(now))})


def edit_endpoint(data: bytes, body: dict[str, Any], others: Iterable[Endpoint]) -> bytes:
    """Change name, address or alerts in the file, keeping comments.

    The mask in place of an address keeps the old one.
    """
    old = from_yaml(Endpoint, data)
    changes: dict[str, Any] = {}
    if body.get("name") is not None:
        _refuse_taken_name(old.kind, body["name"], others)
        changes["name"] = body["name"]
    if body.get("alerts") is not None:
        changes["alerts"] = body["alerts"]
    url = (body.get("config") or {}).get("webhook_url")
    if url is not None and url != mask_url(old.kind, old.webhook_url):
        _refuse_url(old.kind, url)
        changes["webhook_url"] = url
    return writer.edit_yaml(data, changes) if changes else data


def switch_endpoint(data: bytes, on: bool, now: float) -> bytes:
    """Enable or disable the endpoint in the file, keeping comments."""
    old = from_yaml(Endpoint, data)
    if on == (old.disabled_at is None):
        return data
    return writer.edit_yaml(data, {"disabled_at": None if on else to_rfc3339(int(now))})


class UnknownNumber(NotFound):
    """There is no endpoint, watch, subscription or delivery of this number."""

    def __init__(self, kind: str, number: int, named: bool = False) -> None:
        super().__init__(kind, str(number))
        self.args = (f"{kind} {number} not found" if named else f"{kind} not found",)


def refuse_disabled(number: int, endpoint: Endpoint) -> None:
    """Raise Invalid if the endpoint is disabled."""
    if endpoint.disabled_at is not None:
        raise Invalid([make_problem(f"endpoint {number} is disabled", ["body", "endpoint_id"], input=number)])


def _refuse_url(kind: str, url: str) -> None:
    if reason := find_url_problem(kind, url):
        raise Invalid([make_problem(reason, ["body", "config", "webhook_url"], type="value_error")])


def _refuse_taken_name(kind: str, name: str, endpoints: Iterable[Endpoint]) -> None:
    if any(endpoint.kind == kind and endpoint.name == name for endpoint in endpoints):
        raise Exists(f"Endpoint of kind {kind}", name)
