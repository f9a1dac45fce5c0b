"""Browsers that sign in: by a token or the printed link, what their cookie may, and how a session ends."""

from __future__ import annotations

import concurrent.futures
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from http_server import websocket
from store.access import sessions
from store.access.tokens import hash_token
from tests.app_client import Client
from tests.app_server import Server
from tests.contract_judge import CONTRACT
from tests.waiting import eventually

LIST = "/api/workflows"


@pytest.fixture(autouse=True)
def forgetful(client: Client) -> Iterator[None]:
    """No cookie and no wrong token of one test counts in the next."""
    yield
    client.http.cookies.clear()
    client.server.callers.failures.spent.clear()


def sign_in(client: Client, **body: Any) -> dict[str, str]:
    """The header with the cookie of a new session; for the token `write` if nothing else is said."""
    answer = client.post("/api/session", body or {"token": client.tokens["write"]}, token=None)
    assert answer.status_code == 201, answer.text
    client.http.cookies.clear()
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


def get(client: Client, cookie: dict[str, str], path: str = LIST) -> int:
    """The status of reading with the cookie alone."""
    return int(client.get(path, token=None, headers=cookie).status_code)


def kept(client: Client) -> list[str]:
    """The ids of all sessions."""
    return list(client.server.store.sessions.list_names())


# --- how it begins ---------------------------------------------------------------------------------------------------


def test_a_token_begins_a_session(client: Client) -> None:
    answer = client.post("/api/session", {"token": client.tokens["read"], "path": "/slurm/"}, token=None)
    found, cookie = answer.json(), answer.headers["set-cookie"]
    assert (found["user"], found["kind"], found["scopes"], found["has_session"]) == ("read", "token", ["read"], True)
    form = r"sluice_session_[0-9a-f]{8}=[\w-]{43}; Path=/slurm/; Max-Age=604800; HttpOnly; SameSite=Strict"
    assert re.fullmatch(form, cookie), cookie
    assert answer.headers["cache-control"] == "no-store"
    assert client.tokens["read"] not in answer.text


def test_who_is_signed_in_is_told(client: Client) -> None:
    cookie = sign_in(client, token=client.tokens["admin"])
    found = client.get("/api/session", token=None, headers=cookie).json()
    assert (found["user"], found["scopes"]) == ("admin", ["admin", "read", "report", "write"])
    assert found["expires_at"] > found["time"] and found["cluster"] == client.server.cluster.name
    by_token = client.get("/api/session", token="read", headers=cookie).json()
    assert (by_token["user"], by_token["has_session"], by_token["expires_at"]) == ("read", False, None)


def test_the_printed_link_signs_in_once_as_the_servers_own_user(client: Client) -> None:
    code = client.server.codes.make()
    cookie = sign_in(client, code=code)
    found = client.get("/api/session", token=None, headers=cookie).json()
    assert (found["user"], found["kind"]) == (client.server.callers.user.name, "user")
    assert "admin" in found["scopes"]
    again = client.post("/api/session", {"code": code}, token=None)
    assert again.status_code == 401 and "used up" in again.json()["detail"]


@pytest.mark.parametrize(
    ("why", "body", "status"),
    [
        ("a wrong token", {"token": "slc_wrong"}, 401),
        ("an expired one", {"token": "expired"}, 401),
        ("a wrong code", {"code": "wrong"}, 401),
        ("nothing", {}, 422),
        ("both", {"token": "read", "code": "x"}, 422),
        ("a path that would end the cookie's", {"token": "read", "path": "/;Domain=evil.example/"}, 422),
        ("a path without its slash", {"token": "read", "path": "/slurm"}, 422),
        ("a line break in the path", {"token": "read", "path": "/\n/"}, 422),
        ("a field that nobody knows", {"token": "read", "domain": "x"}, 422),
    ],
)
def test_what_begins_no_session(client: Client, why: str, body: dict[str, Any], status: int) -> None:
    before = kept(client)
    given = {**body, "token": client.tokens.get(body["token"], body["token"])} if "token" in body else body
    answer = client.post("/api/session", given, token=None)
    assert answer.status_code == status, f"{why}: {answer.text}"
    assert "set-cookie" not in answer.headers and kept(client) == before


def test_guesses_are_limited(client: Client) -> None:
    answers = [client.post("/api/session", {"code": f"guess-{number}"}, token=None) for number in range(15)]
    assert answers[0].status_code == 401 and answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert get(client, sign_in(client)) == 200, "what is right is no guess"


@pytest.mark.parametrize(
    ("why", "scheme", "said", "is_secure"),
    [
        ("over HTTP", "http", False, False),
        ("over HTTPS", "https", False, True),
        ("over HTTPS that a proxy ends, as the page sees it", "http", True, True),
    ],
)
def test_over_https_the_cookie_is_for_https(client: Client, why: str, scheme: str, said: bool, is_secure: bool) -> None:
    answer = client.post(
        f"{scheme}://localhost/api/session", {"token": client.tokens["read"], "secure": said}, token=None
    )
    assert answer.headers["set-cookie"].endswith("; Secure") is is_secure, why


# --- what it may -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/jobs", "/srtslurm/api/jobs", "/api/v1/jobs", "/v1/jobs", "/api/store/problems", "/metrics"]
)
def test_every_family_takes_the_cookie(client: Client, path: str) -> None:
    assert get(client, {}, path) == 401
    assert get(client, sign_in(client), path) == 200


def test_it_may_what_its_token_may(client: Client) -> None:
    cookie = sign_in(client, token=client.tokens["read"])
    answer = client.post("/api/workflows/validate", {"yaml": "x"}, token=None, headers=cookie)
    assert answer.status_code == 403 and "write" in answer.json()["detail"]


def test_jobs_do_not_report_by_it() -> None:
    security = CONTRACT["paths"]["/srtslurm/api/jobs/{job_id}"]["put"]["security"]
    assert {"session": ["report"]} not in security


def test_other_credentials_go_first(client: Client) -> None:
    cookie = sign_in(client)
    assert client.get(LIST, token="wrong", headers=cookie).status_code == 401
    assert client.get("/api/v1/jobs", token=None, headers={**cookie, "x-api-key": "wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("why", "headers", "passes"),
    [
        ("our own page", {"origin": "http://localhost", "sec-fetch-site": "same-origin"}, True),
        ("another site", {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, False),
        ("another port of this machine", {"sec-fetch-site": "same-site"}, False),
        ("an old browser", {"origin": "https://evil.example"}, False),
        ("a name that was made to mean this machine", {"host": "evil.example"}, False),
    ],
)
def test_pages_of_other_sites_change_nothing_with_it(
    client: Client, why: str, headers: dict[str, str], passes: bool
) -> None:
    given = {**sign_in(client), **headers}
    answer = client.post("/api/workflows/validate", {"yaml": "x"}, token=None, headers=given)
    assert (answer.status_code == 200) is passes and (passes or answer.status_code == 403), why
    assert (client.get(LIST, token=None, headers=given).status_code == 200) is passes, f"{why}: nor do they read"
    answer = client.delete("/api/session", token=None, headers=given)
    assert (answer.status_code == 204) is passes, f"{why}: nor do they sign anybody out"
    given.pop("cookie")
    answer = client.post("/api/session", {"token": client.tokens["read"]}, token=None, headers=given)
    assert (answer.status_code == 201) is passes, f"{why}: nor do they sign anybody in"


@pytest.mark.parametrize("value", ["", "x", "\xff", "sluice_session", "a" * 5000, "../../access", "%2e%2e/x"])
def test_a_cookie_of_ours_alone_counts(client: Client, value: str) -> None:
    answer = client.bare(
        "GET", LIST, [(b"host", b"localhost"), (b"cookie", f"sluice_session={value}".encode("latin-1"))]
    )
    assert answer.status_code == 401


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_signing_out_ends_it(client: Client) -> None:
    cookie = sign_in(client, token=client.tokens["read"], path="/slurm/")
    answer = client.delete("/api/session", token=None, headers=cookie)
    assert answer.status_code == 204
    ended = r"sluice_session_[0-9a-f]{8}=; Path=/slurm/; Max-Age=0; HttpOnly; SameSite=Strict"
    assert re.fullmatch(ended, answer.headers["set-cookie"])
    assert get(client, cookie) == 401
    assert client.delete("/api/session", token=None, headers=cookie).status_code == 401
    assert client.delete("/api/session").status_code == 404, "who calls with a token has none"


def test_it_ends_after_its_hours(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = client.store / "access.yaml"
    before = path.read_text()
    path.write_text(before + "session_hours: 2\n")
    eventually(lambda: client.server.store.access.session_hours == 2)
    try:
        cookie, now_s = sign_in(client), time.time()
        assert get(client, cookie) == 200
        monkeypatch.setattr(time, "time", lambda: now_s + 2 * 3600)
        assert get(client, cookie) == 401
        ended = sessions.make_session_id(cookie["cookie"].partition("=")[2])
        assert ended in kept(client)
        sign_in(client)
        assert ended not in kept(client), "the next one that begins removes it"
    finally:
        path.write_text(before)
        eventually(lambda: client.server.store.access.session_hours != 2)


def test_a_revoked_token_ends_its_sessions(client: Client) -> None:
    mine, others = sign_in(client, token=client.tokens["read"]), sign_in(client, token=client.tokens["write"])
    path = client.store / "access.yaml"
    before = path.read_text()
    # Another secret under the same name is another token.
    path.write_text(before.replace(hash_token(client.tokens["read"]), hash_token("slc_rotated")))
    try:
        eventually(lambda: get(client, mine) == 401)
        assert get(client, others) == 200
    finally:
        path.write_text(before)
        eventually(lambda: client.get(LIST, token="read").status_code == 200)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_outlives_the_server_and_its_token_does_not(tmp_path: Path, how: int) -> None:
    server = Server(tmp_path / "store", "embedded", SLUICE_ALWAYS_ASK="yes")

    def begin(**body: str) -> dict[str, str]:
        answer = server.http.post("/api/session", json=body)
        server.http.cookies.clear()
        assert answer.status_code == 201, answer.text
        return {"cookie": answer.headers["set-cookie"].partition(";")[0]}

    def read(cookie: dict[str, str]) -> int:
        return server.http.get(LIST, headers=cookie).status_code

    try:
        (link,) = re.findall(r"^sign in, once and within an hour: (\S+)$", server.start().log(), re.MULTILINE)
        assert link.startswith(f"{server.url}/#/?code="), "one line, that can be copied whole"
        by_link, lasting, ended = (
            begin(code=link.partition("=")[2]),
            begin(token=server.tokens["read"]),
            begin(token=server.tokens["admin"]),
        )
        signed_out = begin(token=server.tokens["read"])
        assert server.http.delete("/api/session", headers=signed_out).status_code == 204
        server.end(how)
        path = server.store / "access.yaml"
        path.write_text(path.read_text().replace(hash_token(server.tokens["admin"]), hash_token("slc_rotated")))
        server.start()
        assert read(lasting) == read(by_link) == 200
        assert read(ended) == read(signed_out) == read({}) == 401
        assert len(server.log().split(link)) == 2, "a code does not outlive the server: there is another link"
    finally:
        server.end()
        server.http.close()


def test_there_is_an_end_to_their_number(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    cookies = [sign_in(client) for _ in range(5)]
    assert len(kept(client)) == 3
    assert [get(client, cookie) for cookie in cookies] == [401, 401, 200, 200, 200]


def test_a_stream_ends_with_its_session(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CHECK_S", 0.05)
    cookies = sign_in(client), sign_in(client)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        mine, other = (
            pool.submit(client.get, "/api/events?kinds=problem", token=None, headers=cookie) for cookie in cookies
        )
        eventually(lambda: len(client.server.changes.readers) == 2)
        assert client.delete("/api/session", token=None, headers=cookies[0]).status_code == 204
        assert mine.result(60).status_code == 200, "it was"
        assert not other.done()
        client.delete("/api/session", token=None, headers=cookies[1])
        other.result(60)


# --- what is written down --------------------------------------------------------------------------------------------


def test_neither_cookie_nor_code_nor_token_is_written_down(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    code = client.server.codes.make()
    cookie = sign_in(client, code=code)["cookie"].partition("=")[2]
    sign_in(client, token=client.tokens["write"])
    client.post("/api/session", {"code": "wrong-code"}, token=None)
    client.delete("/api/session", token=None, headers={"cookie": f"sluice_session={cookie}"})
    eventually(lambda: "sluice_delete_session" in _read_all(client))
    written = _read_all(client) + caplog.text
    assert "sluice_create_session" in written
    for secret in (code, cookie, client.tokens["write"], "wrong-code"):
        assert secret not in written


def _read_all(client: Client) -> str:
    """Everything in the store and beside it that is text."""
    paths = [path for path in client.store.rglob("*") if path.is_file() and "cluster" not in path.parts]
    return "\n".join(path.read_text("latin-1") for path in paths)
