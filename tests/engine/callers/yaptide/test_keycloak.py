"""Users of Keycloak log in with a token of their realm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from engine.callers.yaptide.batch import check_batch_allowed
from engine.callers.yaptide.realm_keys import RealmKeys
from store.access.yaptide import logins
from store.access.yaptide.users import make_user_id
from store.errors import Denied
from tests.app_client import CONFIG, Client, serving
from tests.engine.callers.yaptide.oidc_server import CLIENT, REALM, OidcServer
from tests.waiting import eventually

OTHER_REALM = 403, f"Invalid token. It is not of the issuer {{base_url}}/realms/{REALM}."
OTHER_NAME = 403, "The user name is not that of the token"


@pytest.fixture(scope="module")
def listening() -> Iterator[OidcServer]:
    """A realm that listens."""
    made = OidcServer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(listening: OidcServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that knows the realm."""
    store = tmp_path_factory.mktemp("keycloak") / "store"
    store.mkdir()
    keycloak = f"keycloak: {{base_url: '{listening.base_url}', realm: {REALM}, client_id: {CLIENT}}}"
    (store / "config.yaml").write_text(f"{CONFIG}yaptide: {{registration: true, {keycloak}}}\n")
    with serving(store, "embedded") as client:
        yield client


@pytest.fixture
def oidc(listening: OidcServer) -> OidcServer:
    """The realm in a good mood, never asked yet."""
    listening.mood, listening.asked = "right", 0
    return listening


@pytest.fixture
def client(served: Client, oidc: OidcServer) -> Iterator[Client]:
    """The server, without users, cookies and known keys, its clock right."""
    served.server.realm_keys = RealmKeys(served.server.web.get)
    yield served
    served.http.cookies.clear()
    served.server.logins.now = time.time
    for name in list(served.server.store.users.list_names()):
        served.run(served.server.store.users.delete(name))


def log_in(client: Client, token: str | None, username: str = "ann") -> httpx.Response:
    """The answer to a login with a token."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return client.post("/auth/keycloak", {"username": username}, token=None, headers=headers)


def say(answer: httpx.Response) -> tuple[int, str]:
    """Status and message."""
    return answer.status_code, answer.json()["message"]


def test_a_token_begins_a_login_for_half_an_hour(client: Client, oidc: OidcServer) -> None:
    now_s = time.time()
    client.server.logins.now = lambda: now_s
    answer = log_in(client, oidc.sign())
    assert say(answer) == (202, "Successfully logged in")
    assert set(answer.json()) == {"message", "access_exp"}
    assert answer.json()["access_exp"] == (int(now_s) + 1800) * 1000
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("access_token=eyJ") and "HttpOnly; SameSite=Lax" in cookie
    assert client.get("/auth/status", token=None).json()["username"] == "ann"
    assert client.get("/user/simulations", token=None).status_code == 200
    given = {"cookie": cookie.partition(";")[0]}
    now_s += 1800
    expired = client.get("/auth/status", token=None, headers=given)
    assert say(expired) == (403, "Refresh access token. Signature expired.")
    assert oidc.asked == 1


def test_it_ends_with_a_logout(client: Client, oidc: OidcServer) -> None:
    given = {"cookie": log_in(client, oidc.sign()).headers["set-cookie"].partition(";")[0]}
    client.http.cookies.clear()
    assert client.delete("/auth/keycloak", token=None, headers=given).status_code == 200
    assert client.get("/auth/status", token=None, headers=given).status_code == 403


@pytest.mark.parametrize(
    ("why", "username", "claims", "said"),
    [
        ("somebody else's name", "bob", {}, OTHER_NAME),
        ("written otherwise", "Ann", {}, OTHER_NAME),
        ("a name that is no text", "ann", {"preferred_username": ["ann"]}, OTHER_NAME),
        ("without access", "ann", {"plgridAccessServices": []}, (403, "User ann has no access to our service")),
        ("expired", "ann", {"exp": 1_700_000_000}, (403, "Signature expired.")),
        ("for another client", "ann", {"azp": "wiki"}, (403, f"Invalid token. It is not for the client {CLIENT}.")),
        ("of another realm", "ann", {"iss": "https://evil.example/realms/lab"}, OTHER_REALM),
    ],
)  # fmt: skip
def test_who_does_not_log_in(
    client: Client, oidc: OidcServer, why: str, username: str, claims: dict[str, Any], said: tuple[int, str]
) -> None:
    answer = log_in(client, oidc.sign(**claims), username)
    assert say(answer) == (said[0], said[1].replace("{base_url}", oidc.base_url)), why
    assert "set-cookie" not in answer.headers and len(client.server.store.users) == 0


def test_a_name_that_no_user_may_have(client: Client, oidc: OidcServer) -> None:
    status, message = say(log_in(client, oidc.sign("token:ci"), "token:ci"))
    assert status == 403 and "no access to our service: a user name has no colon" in message


@pytest.mark.parametrize(
    ("why", "headers", "said"),
    [
        ("nothing", {}, (401, "No token provided")),
        ("a password", {"authorization": "Basic YW5uOng="}, (401, "No token provided")),
        ("nonsense", {"authorization": "Bearer x"}, (403, "Invalid token.")),
        ("a token of ours", {"authorization": "Bearer slc_x"}, (403, "Invalid token.")),
    ],
)
def test_what_is_no_token(client: Client, why: str, headers: dict[str, str], said: tuple[int, str]) -> None:
    assert say(client.post("/auth/keycloak", {"username": "ann"}, token=None, headers=headers)) == said, why


def test_keys_are_rotated(client: Client, oidc: OidcServer) -> None:
    now_s = 0.0
    client.server.realm_keys.now = lambda: now_s
    before = oidc.sign()
    assert log_in(client, before).status_code == 202
    oidc.rotate("next")
    assert log_in(client, before).status_code == 202, "it is still known"
    now_s += 10
    assert log_in(client, oidc.sign()).status_code == 202
    assert say(log_in(client, before)) == (403, "Invalid token."), "its key was withdrawn"
    assert oidc.asked == 2


@pytest.mark.parametrize("mood", ["down", 500, b"<html>"])
def test_keycloak_does_not_answer(client: Client, oidc: OidcServer, mood: str | int | bytes) -> None:
    oidc.mood = mood
    answer = log_in(client, oidc.sign())
    assert answer.status_code == 503 and "Keycloak does not tell its keys" in answer.json()["message"]
    assert int(answer.headers["retry-after"]) > 0


def test_its_users_may_run_on_clusters_and_are_no_local_ones(client: Client, oidc: OidcServer) -> None:
    local = {"username": "ann", "password": "x"}
    assert client.put("/auth/register", local, token=None).status_code == 201
    assert log_in(client, oidc.sign()).status_code == 202
    assert client.get("/clusters", token=None).status_code == 200
    client.http.cookies.clear()
    assert client.post("/auth/login", local, token=None).status_code == 202
    answer = client.get("/clusters", token=None)
    status, message = say(answer)
    assert status == 403 and message.startswith(
        "User is not allowed to use this endpoint: &quot;batch&quot; is not true"
    )
    assert len(client.server.store.users) == 2


def test_a_user_of_keycloak_has_no_password(client: Client, oidc: OidcServer) -> None:
    log_in(client, oidc.sign())
    for password in ("", "x"):
        answer = client.post("/auth/login", {"username": "ann", "password": password}, token=None)
        assert answer.status_code in (400, 401)


def test_what_his_file_says_stays(client: Client, oidc: OidcServer) -> None:
    log_in(client, oidc.sign())
    user_id = make_user_id("keycloak", "ann")
    path = client.store / "users" / f"{user_id}.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"batch": False}))
    eventually(lambda: client.server.find_user(user_id).batch is False)  # type: ignore[union-attr]
    client.http.cookies.clear()
    answer = log_in(client, oidc.sign())
    given = {b"cookie": answer.headers["set-cookie"].partition(";")[0].encode()}
    caller = client.server.logins.find_caller(given, "access")
    assert caller is not None and caller.kind == logins.KINDS["keycloak"]
    with pytest.raises(Denied):
        check_batch_allowed(client.server, caller)


def test_without_a_realm_there_is_no_such_service(client: Client, oidc: OidcServer) -> None:
    path = client.store / "config.yaml"
    before = path.read_text()
    path.write_text(CONFIG)
    try:
        eventually(lambda: client.server.store.config.yaptide.keycloak is None)
        assert say(log_in(client, oidc.sign())) == (
            403,
            "Service is not available: config.yaml names no realm (yaptide.keycloak)",
        )
    finally:
        path.write_text(before)
        eventually(lambda: client.server.store.config.yaptide.keycloak is not None)
