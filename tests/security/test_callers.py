"""Who is let in: pages of other sites, calls through proxies, tokens and how much they may ask."""

from __future__ import annotations

import asyncio
import base64
import re
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app import Degraded
from store.access.credentials import OWN_UID
from store.access.limits import Buckets, Lines
from store.access.proxies import FORWARDING
from store.config.log_format import Throttle
from tests.app_client import Client
from tests.contract_judge import operations
from tests.waiting import eventually

PAGE = "http://localhost:3000"
CROSS, SAME_SITE = {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}
OPENED = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
FRAMED = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
IS_JSON = {"content-type": "application/json"}
OLD = {"origin": "https://evil.example"}


@pytest.fixture
def allowed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cors:` of access.yaml names an origin for one family."""
    known = client.server.store.access.model_copy(update={"cors": {"srtslurm": [PAGE]}})
    monkeypatch.setattr(type(client.server.store), "access", property(lambda _store: known))


READS = [  # why, path, headers, whether it is answered
    ("no browser", "/api/jobs", {}, True),
    ("our own page", "/api/jobs", {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
    ("an image of another site", "/api/jobs/424242", {**CROSS, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
     False),
    ("another port of this machine", "/api/jobs/424242", SAME_SITE, False),
    ("an old browser", "/api/jobs/424242", OLD, False),
    ("what is open to everybody", "/health", CROSS, False),
    ("the contract as a script", "/openapi.json", {**CROSS, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
     False),
    ("an unknown path", "/nowhere", CROSS, False),
    ("a link to the documentation", "/docs", {**CROSS, **OPENED}, True),
    ("the same link, joined with a slash", "/docs/", {**CROSS, **OPENED}, True),
    ("the documentation in a frame", "/docs", {**CROSS, **FRAMED}, False),
    ("its script in another page", "/docs/start.js", {**CROSS, "sec-fetch-mode": "no-cors"}, False),
    ("a link to data", "/api/jobs", {**CROSS, **OPENED}, False),
    ("an allowed page", "/srtslurm/api/jobs", {"origin": PAGE, **SAME_SITE}, True),
    ("an allowed page, another family", "/api/jobs", {"origin": PAGE, **SAME_SITE}, False),
    ("what only looks like it", "/srtslurm/api/jobs", {"origin": PAGE + ".evil.example", **CROSS}, False),
    ("an allowed page's image, without its origin", "/srtslurm/api/jobs", SAME_SITE, False),
]  # fmt: skip


@pytest.mark.parametrize(("why", "path", "headers", "passes"), READS, ids=[row[0] for row in READS])
def test_other_sites_do_not_read(
    client: Client, allowed: None, why: str, path: str, headers: dict[str, str], passes: bool
) -> None:
    for method in ("GET", "HEAD"):
        answer = client.request(method, path, headers=headers, judged=False)
        assert (answer.status_code != 403) is passes, f"{why}: {method} {answer.text}"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("name", [name.decode() for name in FORWARDING])
def test_who_comes_through_a_proxy_is_not_the_servers_user(client: Client, name: str) -> None:
    whole = ("x" if name.startswith("-") else "") + name + ("a" if name.endswith("-") else "")
    as_own_user(client, {whole: "127.0.0.1"}, 401)
    as_own_user(client, {"x-request-id": "a", "accept": "*/*", "cookie": "a=b", "user-agent": "via"}, 200)


def as_own_user(client: Client, headers: dict[str, str], status: int, path: str = "/api/workflows") -> None:
    """Nothing; a process of the server's user gets this status when it sends these headers."""
    assert as_user(client, OWN_UID, path, headers) == status, headers


def as_user(client: Client, uid: int, path: str, headers: dict[str, str]) -> int:
    """The status that a process of this user gets without a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("store.access.peers.Peers.find_uid", lambda *_given: uid)
        status: int = client.request("GET", path, token=None, headers=headers, judged=path != "/docs").status_code
        return status


DOUBLES = [
    ("the first is wrong", "authorization", [b"Bearer slc_wrong", b"Bearer {}"]),
    ("the second is wrong", "authorization", [b"Bearer {}", b"Bearer slc_wrong"]),
    ("both are right", "authorization", [b"Bearer {}", b"Bearer {}"]),
    ("another site, which says that it is none", "sec-fetch-site", [b"cross-site", b"same-origin"]),
    ("another origin, and ours", "origin", [b"https://evil.example", b"http://localhost"]),
    ("a form, and JSON", "content-type", [b"text/plain", b"application/json"]),
]


@pytest.mark.parametrize(("why", "name", "values"), DOUBLES, ids=[row[0] for row in DOUBLES])
def test_what_decides_stands_there_once(client: Client, why: str, name: str, values: list[bytes]) -> None:
    token = client.tokens["read"].encode()
    headers = [(b"host", b"localhost"), *((name.encode(), value.replace(b"{}", token)) for value in values)]
    answer = client.bare("GET", "/api/workflows", headers)
    assert (answer.status_code, answer.json()["detail"]) == (400, f"There is more than one header {name}")


# --- what a token is for ---------------------------------------------------------------------------------------------

MAY = {
    "report": {"report"},
    "read": {"read"},
    "write": {"report", "read", "write"},
    "admin": {"report", "read", "write", "admin"},
    "expired": set[str](),
}


@pytest.mark.parametrize("token", MAY)
def test_each_operation_asks_for_the_scope_of_the_contract(
    client: Client, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    async def let_in(*_given: Any) -> None:
        raise Degraded("let in")

    monkeypatch.setattr("app.Endpoint.call_function", let_in)
    monkeypatch.setattr(client.server.callers, "failures", Buckets(1000))
    for path, method, spec in operations():
        needed = {scope for way in spec["security"] for scopes in way.values() for scope in scopes}
        answer = client.request(method, re.sub(r"{\w+}", "1", path), token=token, judged=False)
        if spec["security"][-1] != {}:  # it asks for a cookie alone
            assert answer.status_code == 401
            continue
        expected = 503 if needed <= MAY[token] else 401 if token == "expired" else 403
        assert answer.status_code == expected, f"{method} {path}: {answer.text}"
        assert len(needed) <= 1 and (expected != 403 or f"needs the scope {needed.pop()}" in answer.text)


# --- how much one may ask --------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token may ask three times, then once a minute."""
    monkeypatch.setattr(client.server.callers, "requests", Buckets(3, 60.0))


def test_a_token_that_asks_too_often_waits(client: Client, narrow: None) -> None:
    answers = [client.get("/api/workflows", token="read") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60 and "Too many requests" in answers[-1].json()["detail"]
    assert client.get("/api/workflows", token="write").status_code == 200, "others are not concerned"
    assert client.post("/srtslurm/api/jobs", {}, token="read").status_code == 403, "who may not, is told so"
    for _ in range(5):
        as_own_user(client, {}, 200)
        as_own_user(client, {}, 200, "/health")


def test_an_address_that_asks_too_often_waits(client: Client, narrow: None) -> None:
    def ask(address: str) -> int:
        far = {"client": (address, 40000), "server": ("192.0.2.1", 8000)}
        return client.bare("GET", "/health", [(b"host", b"localhost")], **far).status_code

    assert [ask("192.0.2.7") for _ in range(4)] == [200, 200, 200, 429]
    assert [ask(f"2001:db8::{number}") for number in range(1, 5)] == [200, 200, 200, 429], "one network, one client"
    assert ask("192.0.2.8") == 200


def test_another_user_who_asks_too_often_waits(client: Client, narrow: None) -> None:
    for path in ("/health", "/docs"):
        client.server.callers.requests.spent.clear()
        assert [as_user(client, OWN_UID + 1, path, {}) for _ in range(4)] == [200, 200, 200, 429], path
        assert as_user(client, OWN_UID + 2, path, {}) == 200, path


class Body(httpx.AsyncByteStream):
    """A body that counts how often it was begun to be read."""

    count = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.count += 1
        yield b"{}"


def test_who_is_refused_all_the_time_waits_for_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    turn, body, before = threading.Event(), Body(), count_refused(client)
    lines = Lines(2, 1000.0, pause=lambda _wait_s: asyncio.to_thread(turn.wait))
    monkeypatch.setattr(client.server.callers, "refusals", lines)

    def submit(token: str) -> int:
        status: int = client.post("/api/jobs", token=token, content=body, headers=IS_JSON).status_code
        return status

    with ThreadPoolExecutor() as pool:
        try:
            assert [submit("guess") for _ in range(2)] == [401, 401]
            assert (body.count, count_refused(client) - before) == (2, 2)
            late = pool.submit(submit, "guess")
            eventually(lambda: lines.waiting == 1)
            assert submit("write") == 422, "who has a token there is not concerned"
            far = {"client": ("192.0.2.8", 4)}
            assert client.bare("GET", "/api/jobs", [(b"host", b"localhost")], **far).status_code == 401
            assert not late.done()
        finally:
            turn.set()
        assert late.result() == 401
    assert (body.count, count_refused(client) - before) == (3, 2), "nobody reads what it sent, or writes it down"


def count_refused(client: Client) -> int:
    """How many refused submissions the audit has."""
    text = "".join(path.read_text() for path in (client.store / "audit").glob("*.jsonl"))
    return len([line for line in text.splitlines() if '"srunx_submit_job"' in line and '"status":401' in line])


def test_wrong_tokens_have_a_bucket_of_their_own(client: Client, narrow: None) -> None:
    client.server.callers.failures.spent.clear()
    statuses = [client.get("/api/workflows", token=f"guess-{number}").status_code for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert client.get("/api/workflows", token="read").status_code == 200
    client.server.callers.failures.spent.clear()


# --- what is written down --------------------------------------------------------------------------------------------


def test_no_token_gets_into_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for token in ("read", "slc_guessed"):
        sent = client.tokens.get(token, token)
        client.get("/api/workflows", token=token)
        client.get(f"/api/workflows/runs/x?token={sent}", judged=False)
        basic = base64.b64encode(f"job:{sent}".encode()).decode()
        client.get("/srtslurm/api/jobs", headers={"authorization": f"Basic {basic}"}, judged=False)
        said = [record.getMessage() for record in caplog.records if record.name.startswith("sluice")]
        assert said and not [line for line in said if sent in line or basic in line]
    client.server.callers.failures.spent.clear()


def test_refusals_fill_no_log(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.refused_callers", Throttle())
    for number in range(1, 40):
        far = {"client": (f"127.0.0.{number}", 40000)}
        assert client.bare("GET", "/api/jobs", [(b"host", b"localhost")], **far).status_code == 401
    assert len([record for record in caplog.records if "refused GET" in record.message]) == 1
