"""Who may call the S9S API: keys, OAuth clients, MUNGE, certificates by a proxy; and how much."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.access import MungeIdentity, issued, make_token, token_file
from store.access.rates import RateLimits, Rates
from tests.app_client import Client, serving
from tests.cluster.munged import run_munged
from tests.contract_judge import operations
from tests.waiting import eventually

JOBS, STATUS, TOKEN = "/api/v1/jobs", "/api/v1/status", "/oauth/token"
RATE_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-window")
SUBJECT = "CN=ann,OU=x,O=Lab\\, A"
SECRETS = {name: make_token(kind) for name, kind in (("key", "api-key"), ("app", "client"), ("few", "token"))}
PROXY, PROXY_HASH = make_token("token")
MORE = f"""\
  - {{name: few, sha256: '{SECRETS["few"][1]}', scopes: [read], tier: few}}
api_keys:
  - {{name: key, sha256: '{SECRETS["key"][1]}', scopes: [read]}}
oauth_clients:
  - {{name: app, sha256: '{SECRETS["app"][1]}', scopes: [write]}}
certificates:
  - {{subject: '{SUBJECT}', name: ann, scopes: [read]}}
proxies:
  - {{address: 127.0.0.1, sha256: '{PROXY_HASH}'}}
munge: {{users: [{{user: 54321, scopes: [read]}}]}}
rate_limits: {{tiers: {{few: 3/hour}}}}
"""
KEY, APP = SECRETS["key"][0], SECRETS["app"][0]


class Clock:
    """A clock that a test sets."""

    now = 1_640_991_600.0

    def __call__(self) -> float:
        return self.now


def grant(store: Path, more: str) -> None:
    """Add to access.yaml."""
    path = store / "access.yaml"
    path.write_text(path.read_text() + more)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app, with credentials of each kind."""
    with serving(tmp_path_factory.mktemp("s9s"), "embedded") as made:
        grant(made.store, MORE)
        eventually(lambda: made.server.store.access.api_keys)
        made.tokens["few"] = SECRETS["few"][0]
        yield made


@pytest.fixture(autouse=True)
def fresh(client: Client) -> None:
    """Nothing has been counted yet."""
    client.server.callers.failures.spent.clear()
    client.server.callers.rates = Rates(Clock())


@pytest.fixture
def others_have_few(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not said who it is may ask three times."""
    monkeypatch.setattr(client.server.callers, "rate_limits", RateLimits(tiers={"few": "3/hour"}, others="few"))


def ask(
    client: Client, headers: dict[str, str], path: str = STATUS, method: str = "GET", **more: Any
) -> httpx.Response:
    """The answer to a call with exactly these credentials."""
    answer: httpx.Response = client.request(method, path, token=None, headers=headers, **more)
    return answer


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def issue(client: Client, **more: str) -> dict[str, Any]:
    """What the client app gets for its secret."""
    body = {"grant_type": "client_credentials", "client_id": "app", "client_secret": APP, **more}
    answer = client.post(TOKEN, body, token=None)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- keys, and both headers ------------------------------------------------------------------------------------------


def test_who_is_let_in(client: Client) -> None:
    good = client.tokens["read"]
    rows: list[tuple[str, dict[str, str], str | None]] = [
        ("a key", {"x-api-key": KEY}, "key"),
        ("a key with blanks around it", {"x-api-key": f" {KEY} "}, "key"),
        ("a wrong key", {"x-api-key": "slk_no"}, None),
        ("an empty key", {"x-api-key": ""}, None),
        ("a token as a key", {"x-api-key": good}, None),
        ("a key as a token", bearer(KEY), None),
        ("a client's secret as a token", bearer(APP), None),
        ("both, both right: the token counts", {**bearer(good), "x-api-key": KEY}, "read"),
        ("both, a wrong token: no way around it", {**bearer("slc_no"), "x-api-key": KEY}, None),
        ("both, a wrong key", {**bearer(good), "x-api-key": "slk_no"}, "read"),
        ("an unknown scheme and a right key", {"authorization": "Digest x", "x-api-key": KEY}, None),
        ("a token as a password", {"authorization": "Basic " + base64.b64encode(f"u:{good}".encode()).decode()}, None),
        ("nothing", {}, None),
    ]
    for why, headers, name in rows:
        answer = ask(client, headers)
        assert answer.status_code == (200 if name else 401), why
        if name:
            assert answer.json()["user"]["name"] == name, why
        else:
            assert answer.json()["error"]["code"] == "AUTHENTICATION_FAILED", why
            wrong = ', error="invalid_token", error_description="The token is wrong or has expired"'
            error = wrong if headers.get("authorization", "").startswith("Bearer ") else ""
            assert answer.headers.get_list("www-authenticate") == [f'Bearer realm="Sluice"{error}', "MUNGE"], why


def test_a_key_does_what_its_scope_says_in_this_api_alone(client: Client) -> None:
    assert ask(client, {"x-api-key": KEY}, f"{JOBS}/1", "DELETE").status_code == 403
    assert ask(client, {"x-api-key": KEY}, "/api/workflows").status_code == 401


def test_two_keys_in_one_request_are_refused(client: Client) -> None:
    headers = [(b"host", b"localhost"), (b"x-api-key", KEY.encode()), (b"x-api-key", b"slk_no")]
    assert client.bare("GET", STATUS, headers).status_code == 400


OPEN = {"s9s_create_token", "s9s_get_health", "s9s_get_openapi_json", "s9s_get_openapi_yaml"}
ADMIN = {"s9s_drain_node", "s9s_resume_node", "s9s_set_node_state"}
OPERATIONS = [(method, path, spec) for path, method, spec in operations() if spec["tags"] == ["s9s"]]
SCHEMES = ("bearer", "s9s_oauth", "s9s_api_key", "s9s_munge", "s9s_certificate", "session")


def find_scope(method: str, name: str) -> str:
    """The scope that an operation has to need: changes write, what concerns everybody is for administrators."""
    return "admin" if name in ADMIN else "read" if method == "GET" or name == "s9s_make_ticket" else "write"


@pytest.mark.parametrize(("method", "path", "spec"), OPERATIONS, ids=[row[2]["operationId"] for row in OPERATIONS])
def test_every_operation_says_who_may_call_it(client: Client, method: str, path: str, spec: dict[str, Any]) -> None:
    name = spec["operationId"]
    if name in OPEN:
        assert spec["security"] == [{}]
        return
    scope = find_scope(method, name)
    assert spec["security"] == [*({scheme: [scope]} for scheme in SCHEMES), {}]
    where = re.sub(r"\{(\w+)\}", "1", path)
    nobody = client.bare(method, where, [(b"host", b"localhost")])
    assert nobody.status_code == 401 and nobody.headers["www-authenticate"] == 'Bearer realm="Sluice", MUNGE'
    too_few = {"read": "report", "write": "read", "admin": "write"}[scope]
    given = (b"authorization", f"Bearer {client.tokens[too_few]}".encode())
    refused = client.bare(method, where, [(b"host", b"localhost"), given])
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    challenge = f'Bearer realm="Sluice", error="insufficient_scope", scope="{scope}"'
    assert refused.headers["www-authenticate"] == challenge


HEADERS = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"Bearer ", b"bearer", b"MUNGE ", b"Basic ", b"Bearer eyJ", b"MUNGE MUNGE:"]).flatmap(
        lambda start: st.binary(max_size=80).map(lambda rest: start + rest)
    ),
    st.sampled_from([b"Bearer eyJ.eyJ.x", b"Bearer eyJhbGciOiJub25lIn0.e30.", b"Basic Og==", b"MUNGE MUNGE:AwQ=:"]),
)


@given(name=st.sampled_from([b"authorization", b"x-api-key"]), value=HEADERS)
def test_hostile_credentials_let_nobody_in_and_break_nothing(client: Client, name: bytes, value: bytes) -> None:
    client.server.callers.failures.spent.clear()
    client.server.callers.rates = Rates(Clock())
    for path, own in ((STATUS, os.getuid()), (TOKEN, None)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("store.access.peers.Peers.find_uid", lambda *_given, own=own: own)
            answer = client.bare("POST" if path == TOKEN else "GET", path, [(b"host", b"localhost"), (name, value)])
        assert answer.status_code == (400 if path == TOKEN else 401), (path, value)


# --- OAuth -----------------------------------------------------------------------------------------------------------


def test_a_client_gets_a_token_and_uses_it(client: Client) -> None:
    body = {"client_id": "app", "client_secret": APP, "grant_type": "client_credentials"}
    as_json = client.post(TOKEN, body, token=None)
    basic = "Basic " + base64.b64encode(f"app:{APP}".encode()).decode()
    as_form = client.request(
        "POST", TOKEN, token=None, data={"grant_type": "client_credentials", "scope": "read", "other": "x"},
        headers={"authorization": basic},
    )  # fmt: skip
    for answer, scope in ((as_json, "write"), (as_form, "read")):
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store" and answer.headers["pragma"] == "no-cache"
        found = answer.json()
        assert (found["token_type"], found["expires_in"], found["scope"]) == ("Bearer", 3600, scope)
        user = ask(client, bearer(found["access_token"])).json()["user"]
        assert user["name"] == "app" and ("write" in user["scopes"]) == (scope == "write")
    assert ask(client, bearer(as_form.json()["access_token"]), f"{JOBS}/1", "DELETE").status_code == 403
    assert ask(client, bearer(as_json.json()["access_token"]), "/api/workflows").status_code == 401, "this API alone"


def test_the_audit_names_the_client_and_never_the_secret(client: Client) -> None:
    issue(client)
    wrong = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "slo_no"}
    assert client.post(TOKEN, wrong, token=None).status_code == 401
    found: list[dict[str, Any]] = []

    def read_audit() -> bool:
        lines = [line for path in client.store.glob("audit/*.jsonl") for line in path.read_text().splitlines()]
        assert not any(APP in line for line in lines)
        found[:] = [row for row in map(json.loads, lines) if row["what"] == "s9s_create_token"]
        return [row["status"] for row in found[-2:]] == [200, 401]

    eventually(read_audit, 30)
    assert [row["who"] for row in found[-2:]] == ["app", None], "who it is has not been shown by a wrong secret"


REFUSED = [  # why, body, more, status, error
    ("another grant", {"grant_type": "password"}, {}, 400, "unsupported_grant_type"),
    ("no grant", {"grant_type": ""}, {}, 400, "invalid_request"),
    ("an unknown scope", {"scope": "reed"}, {}, 400, "invalid_scope"),
    ("more than it has", {"scope": "admin"}, {}, 400, "invalid_scope"),
    ("another secret", {"client_secret": "slo_no"}, {}, 401, "invalid_client"),
    ("a client that is none", {"client_id": "nobody"}, {}, 401, "invalid_client"),
    ("a number", {"client_id": 7}, {}, 400, "invalid_request"),
    ("a scope in another alphabet", {"scope": 'r"ä\\'}, {}, 400, "invalid_scope"),
    ("no JSON", None, {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "invalid_request"),
    ("no form", None, {"content": b"a", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400,
     "invalid_request"),
    ("a field twice", None, {"content": b"grant_type=a&grant_type=b",
                             "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400, "invalid_request"),
    ("another media type", None, {"content": b"a", "headers": {"content-type": "text/plain"}}, 415, "invalid_request"),
    ("a page of another site", {}, {"headers": {"origin": "https://evil.example"}}, 403, "invalid_request"),
    ("a header that does not count here", {}, {"headers": {"authorization": "Bearer x"}}, 401, "invalid_client"),
    ("too much", None, {"content": b'{"a": "' + b"x" * 8_000 + b'"}',
                        "headers": {"content-type": "application/json"}}, 413, "invalid_request"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "body", "more", "status", "error"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_of_a_token_have_the_shape_of_rfc_6749(
    client: Client, why: str, body: dict[str, Any] | None, more: dict[str, Any], status: int, error: str
) -> None:
    usual = {"grant_type": "client_credentials", "client_id": "app", "client_secret": APP}
    given = {"json": {**usual, **body}} if body is not None else {}
    answer = client.request("POST", TOKEN, token=None, **given, **more)
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert APP not in answer.text and re.fullmatch(r"[ !#-\[\]-~]+", answer.json()["error_description"])
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Basic realm="Sluice"'


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", TOKEN, 405), ("POST", "/oauth/other", 404), ("GET", "/oauth", 404)]
)
def test_everything_else_below_oauth_has_the_envelope(client: Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, token="read")
    assert answer.status_code == status and answer.json()["error"]["request_id"]


def test_forms_are_for_tokens_alone(client: Client) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.request("DELETE", f"{JOBS}/1", token="write", content=b"a=b", headers=form).status_code == 415
    assert client.request("POST", "/api/jobs", token="write", content=b"a=b", headers=form).status_code == 415


def test_guesses_of_a_secret_are_limited(client: Client) -> None:
    body = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "slo_no"}
    client.server.callers.rates = Rates(Clock(), most=0)
    answers = [client.post(TOKEN, body, token=None) for _ in range(12)]
    assert [answer.status_code for answer in answers[:10]] == [401] * 10 and answers[-1].status_code == 429
    assert answers[-1].json()["error"] == "temporarily_unavailable" and answers[-1].headers["retry-after"]


def test_a_token_that_has_expired_is_no_guess(client: Client) -> None:
    issue(client)  # makes the key
    server = client.server
    token = issued.issue_token(server.signing_key.value, server.store.access.oauth_clients[0], ["read"], 0)
    for _ in range(15):
        answer = ask(client, bearer(token))
        assert answer.status_code == 401 and 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert answer.json()["error"]["message"] == "The token has expired"


def test_a_token_outlives_a_restart_but_not_its_client(tmp_path: Path) -> None:
    with serving(tmp_path, "embedded") as first:
        grant(first.store, MORE)
        eventually(lambda: first.server.store.access.oauth_clients)
        token = issue(first)["access_token"]
    with serving(tmp_path, "embedded") as second:
        grant(second.store, MORE)
        eventually(lambda: ask(second, bearer(token)).status_code == 200)
        token_file.revoke_entries(second.store, "app")
        eventually(lambda: ask(second, bearer(token), judged=False).status_code == 401)


# --- MUNGE -----------------------------------------------------------------------------------------------------------

MUNGE = [  # why, what munged says, status, who it is
    ("the server's own user", MungeIdentity(os.getuid(), ""), 200, None),
    ("a user of access.yaml", MungeIdentity(54321, ""), 200, "54321"),
    ("anybody else", MungeIdentity(54322, ""), 403, None),
    ("used before", MungeIdentity(None, "it was used before"), 401, None),
]


@pytest.mark.parametrize(("why", "found", "status", "name"), MUNGE, ids=[row[0] for row in MUNGE])
def test_munge(
    client: Client, monkeypatch: pytest.MonkeyPatch, why: str, found: MungeIdentity, status: int, name: str | None
) -> None:
    asked: list[str] = []

    async def read_credential(credential: str, _socket: str | None) -> MungeIdentity:
        asked.append(credential)
        return found

    monkeypatch.setattr(client.server.munge, "read_credential", read_credential)
    answer = ask(client, {"authorization": "MUNGE MUNGE:x:", "x-api-key": KEY})
    assert answer.status_code == status and asked == ["MUNGE:x:"], answer.text
    if status == 200:
        assert answer.json()["user"]["name"] == (name or client.server.callers.user.name)
        assert ("admin" in answer.json()["user"]["scopes"]) == (name is None)
    assert ask(client, {"authorization": "MUNGE x"}, "/api/workflows").status_code == 401, "this API alone"
    assert ask(client, bearer(client.tokens["read"])).status_code == 200 and len(asked) == 1, "only where one is sent"


@pytest.mark.slurm
def test_munge_for_real(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_munged() as munged:
        known = client.server.store.access
        there = known.model_copy(update={"munge": known.munge.model_copy(update={"socket": str(munged.socket)})})
        monkeypatch.setattr(type(client.server.store), "access", property(lambda _store: there))
        for uid, status in ((0, 200), (54321, 200), (54322, 403)):
            header = {"authorization": f"MUNGE {munged.make_credential(uid=uid)}"}
            assert ask(client, header).status_code == status
            again = ask(client, header)
            assert again.status_code == 401 and "used before" in again.text
        old = munged.make_credential()
        assert ask(client, {"authorization": f"MUNGE {old}"}).status_code == 200
        munged.end()
        down = ask(client, {"authorization": f"MUNGE {munged.make_credential() or old}"})
        assert down.status_code == 503 and "munged does not answer" in down.text and down.headers["retry-after"]


# --- certificates ----------------------------------------------------------------------------------------------------

PROXIED = [  # why, headers, address, status
    ("a proxy that is known", {"x-proxy-secret": PROXY}, "127.0.0.1", 200),
    ("one that says that it has looked", {"x-proxy-secret": PROXY, "x-ssl-client-verify": "SUCCESS"}, "127.0.0.1", 200),
    ("one that says that it was wrong", {"x-proxy-secret": PROXY, "x-ssl-client-verify": "FAILED:expired"},
     "127.0.0.1", 401),
    ("no secret", {}, "127.0.0.1", 401),
    ("another secret", {"x-proxy-secret": "slc_no"}, "127.0.0.1", 401),
    ("another address", {"x-proxy-secret": PROXY}, "192.0.2.7", 401),
    ("another subject", {"x-proxy-secret": PROXY, "x-ssl-client-s-dn": "CN=bob"}, "127.0.0.1", 401),
    ("a part of it", {"x-proxy-secret": PROXY, "x-ssl-client-s-dn": "CN=ann"}, "127.0.0.1", 401),
    ("no certificate", {"x-proxy-secret": PROXY, "x-ssl-client-s-dn": ""}, "127.0.0.1", 401),
    ("a wrong token beside it", {"x-proxy-secret": PROXY, "authorization": "Bearer no"}, "127.0.0.1", 401),
]  # fmt: skip


@pytest.mark.parametrize(("why", "more", "address", "status"), PROXIED, ids=[row[0] for row in PROXIED])
def test_a_certificate_that_a_proxy_has_checked(
    client: Client, why: str, more: dict[str, str], address: str, status: int
) -> None:
    headers = {"host": "localhost", "x-ssl-client-s-dn": SUBJECT, **more}
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = client.bare("GET", STATUS, given, client=(address, 5))
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["user"] == {"name": "ann", "scopes": ["read"]}
    elif why == "another subject":
        assert "the subject CN=bob" in answer.json()["error"]["message"]


def test_a_certificate_that_the_server_has_checked(client: Client) -> None:
    for subject, status in ((SUBJECT, 200), ("CN=bob", 401), (None, 401)):
        tls = {"extensions": {"tls": {"client_cert_name": subject}}}
        answer = client.bare("GET", STATUS, [(b"host", b"localhost")], **tls)
        assert answer.status_code == status and (subject in (SUBJECT, None) or str(subject) in answer.text)
        assert client.bare("GET", "/api/workflows", [(b"host", b"localhost")], **tls).status_code == 401


# --- rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("others_have_few")
def test_every_answer_tells_what_is_left(client: Client) -> None:
    calls: list[tuple[str, str, str | None, int]] = [
        ("GET", STATUS, "read", 200),
        ("GET", "/v1/status", "read", 200),
        ("GET", f"{JOBS}/4242", "read", 404),
        ("GET", "/api/v1/nothing", "read", 404),
        ("PATCH", JOBS, "read", 405),
        ("DELETE", f"{JOBS}/4242", "read", 403),
        ("GET", f"{JOBS}?limit=x", "read", 400),
    ]
    for number, (method, path, token, status) in enumerate(calls, 1):
        answer = client.request(method, path, token=token)
        assert answer.status_code == status
        values = [int(answer.headers[name]) for name in RATE_HEADERS]
        assert values == [10_000, 10_000 - number, 1_640_995_200, 3600], (method, path)
    refused = [ask(client, {}), ask(client, bearer("no")), ask(client, {"host": "evil.example"})]
    assert [answer.status_code for answer in refused] == [401, 401, 403]
    assert [[int(answer.headers[name]) for name in RATE_HEADERS[:2]] for answer in refused] == [[3, 2], [3, 1], [3, 0]]


def test_what_everybody_may_read_is_not_counted(client: Client) -> None:
    for path in ("/api/v1/health", "/api/workflows", "/health"):
        assert not set(RATE_HEADERS) & set(client.get(path).headers)


def test_one_too_many_waits_for_the_next_window(client: Client) -> None:
    clock = Clock()
    client.server.callers.rates = Rates(clock)
    answers = [client.get(STATUS, token="few") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    late = answers[-1]
    assert late.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert [late.headers[name] for name in RATE_HEADERS] == ["3", "0", "1640995200", "3600"]
    assert late.headers["retry-after"] == "3600"
    assert client.get(STATUS, token="read").status_code == 200, "others go on"
    assert client.get("/api/workflows", token="few").status_code == 200, "the other APIs have no such rate"
    clock.now += 3599
    assert client.get(STATUS, token="few").headers["retry-after"] == "1"
    clock.now += 1
    assert client.get(STATUS, token="few").headers["x-ratelimit-remaining"] == "2"


@pytest.mark.usefixtures("others_have_few")
def test_who_is_unknown_has_a_rate_too(client: Client) -> None:
    codes = [ask(client, {}).status_code for _ in range(4)]
    assert codes == [401, 401, 401, 429]
    assert client.get(STATUS, token="read").status_code == 200, "a right token from the same address"
    assert ask(client, bearer("no")).status_code == 429


def test_the_servers_own_user_has_no_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.access.peers.Peers.find_uid", lambda *_given: os.getuid())
    answers = [ask(client, {}) for _ in range(5)]
    assert all(answer.status_code == 200 and not set(RATE_HEADERS) & set(answer.headers) for answer in answers)
