"""Users of the YAPTIDE family over HTTP: registration, cookies, how a login goes on and ends, and who is kept out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from engine.callers.yaptide import login, password_checks
from store.access.yaptide import users
from tests.app_client import CONFIG, Client, serving
from tests.app_server import Server
from tests.store.rules.simulations.samples import make_simulation
from tests.waiting import eventually

UI, PASSWORD = "http://localhost:3000", "correct horse"
YAPTIDE = f"yaptide: {{registration: true, origins: ['{UI}']}}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server where anybody may register, and one page of another origin may call."""
    store = tmp_path_factory.mktemp("yaptide") / "store"
    store.mkdir()
    (store / "config.yaml").write_text(CONFIG + YAPTIDE)
    with serving(store, "embedded") as client:
        yield client


@pytest.fixture
def client(served: Client) -> Iterator[Client]:
    """The server, without users, cookies and counted tries, its clock right."""
    yield served
    served.http.cookies.clear()
    served.server.logins.now = time.time
    served.server.passwords = password_checks.PasswordChecks()
    served.server.callers.failures.spent.clear()
    for name in list(served.server.store.users.list_names()):
        served.run(served.server.store.users.delete(name))


def register(client: Client, username: str = "ann", password: str = PASSWORD, **more: Any) -> httpx.Response:
    """The answer to a registration."""
    return client.put("/auth/register", {"username": username, "password": password}, token=None, **more)


def log_in(client: Client, username: str = "ann", password: str = PASSWORD, **more: Any) -> httpx.Response:
    """The answer to a login."""
    return client.post("/auth/login", {"username": username, "password": password}, token=None, **more)


def begin(client: Client, username: str = "ann") -> dict[str, dict[str, str]]:
    """The headers with each of the cookies of a new login of a new user."""
    assert register(client, username).status_code == 201
    return begin_again(client, username)


def begin_again(client: Client, username: str = "ann") -> dict[str, dict[str, str]]:
    """The headers with each of the cookies of a new login."""
    answer = log_in(client, username)
    assert answer.status_code == 202, answer.text
    client.http.cookies.clear()
    return {
        cookie.partition("_")[0]: {"cookie": cookie.partition(";")[0]}
        for cookie in answer.headers.get_list("set-cookie")
    }


def say(answer: httpx.Response) -> tuple[int, str]:
    """Status and message."""
    return answer.status_code, answer.json()["message"]


def ask(client: Client, cookie: dict[str, str], path: str = "/auth/status") -> tuple[int, str]:
    """Status and message of a GET with the cookie alone."""
    return say(client.get(path, token=None, headers=cookie))


# --- registration ----------------------------------------------------------------------------------------------------


def test_a_user_registers_and_logs_in(client: Client) -> None:
    now_s = int(time.time())
    client.server.logins.now = lambda: now_s
    assert say(register(client)) == (201, "User created")
    answer = log_in(client)
    found = answer.json()
    assert (answer.status_code, found["message"]) == (202, "Successfully logged in")
    assert (found["access_exp"], found["refresh_exp"]) == ((now_s + 600) * 1000, (now_s + 7200) * 1000)
    assert answer.headers["cache-control"] == "no-store"
    access, refresh = answer.headers.get_list("set-cookie")
    assert access.startswith("access_token=eyJ") and refresh.startswith("refresh_token=eyJ")
    assert all(
        "; Path=/; Expires=" in cookie and "GMT; HttpOnly; SameSite=Lax" in cookie for cookie in (access, refresh)
    )
    assert "Secure" not in access
    # The jar of the client sends them from now on.
    assert client.get("/auth/status", token=None).json() == {"message": "User status", "username": "ann"}
    (user,) = [client.server.store.users.get(name) for name in client.server.store.users.list_names()]
    assert user.password_hash.startswith("$argon2id$") and not user.batch
    assert PASSWORD not in (client.store / "users" / f"{user.id}.json").read_text()


@pytest.mark.parametrize(
    ("why", "body", "status", "message"),
    [
        ("a name that is taken", {"username": "ann"}, 403, "User existing"),
        ("however it is written", {"username": "ＡNN"}, 403, "User existing"),
        ("another caller's", {"username": "token:ci"}, 400, "colon"),
        ("too long", {"username": "a" * 65}, 400, "64 characters"),
        ("no name", {"username": ""}, 400, "username"),
        ("no text", {"username": 7}, 400, "username"),
        ("no password", {"password": ""}, 400, "password"),
        ("a password that is too long", {"password": "x" * 1001}, 400, "password"),
        ("a field that nobody knows", {"batch": True}, 400, "batch"),
    ],
)
def test_who_does_not_register(client: Client, why: str, body: dict[str, Any], status: int, message: str) -> None:
    register(client)
    answer = client.put("/auth/register", {"username": "bob", "password": PASSWORD, **body}, token=None)
    assert answer.status_code == status and message in answer.json()["message"], f"{why}: {answer.text}"
    assert len(client.server.store.users) == 1


@pytest.mark.parametrize("body", [{}, {"username": "ann"}, {"password": "x"}, [], "x", None])
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
def test_what_is_missing_is_named(client: Client, path: str, body: Any) -> None:
    method = "PUT" if path == "/auth/register" else "POST"
    answer = client.request(method, path, content=orjson.dumps(body), token=None)
    assert answer.status_code == 400 and answer.json()["message"]


def test_of_two_at_once_one_gets_the_name(client: Client) -> None:
    answers = client.together([lambda name=name: register(client, name) for name in ("ann", "Ann", "ANN")])
    assert sorted(answer.status_code for answer in answers) == [201, 403, 403]


def test_nobody_inherits_simulations_by_their_owners_name(client: Client) -> None:
    simulation = make_simulation(settled_at="2026-11-21T16:39:17Z")
    client.run(client.server.store.simulations.create(simulation.id, simulation))
    assert say(register(client)) == (403, "User existing")
    client.run(client.server.store.simulations.delete(simulation.id))
    assert register(client).status_code == 201


def test_there_is_an_end_to_users(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "MOST_USERS", 2)
    assert [register(client, name).status_code for name in ("a", "b", "c")] == [201, 201, 403]


def test_registrations_are_limited(client: Client) -> None:
    answers = [register(client, f"user {number}") for number in range(21)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("why", "said", "environment", "headers", "status"),
    [
        ("the server's own user, over loopback", "null", {}, {}, 201),
        ("not through a proxy", "null", {}, {"x-forwarded-for": "192.0.2.1"}, 403),
        ("nor where everybody is asked", "null", {"SLUICE_ALWAYS_ASK": "yes"}, {}, 403),
        ("nor where others could call", "null", {"SLUICE_HOST": "0.0.0.0"}, {}, 403),
        ("unless config.yaml says so", "true", {"SLUICE_HOST": "0.0.0.0"}, {"x-forwarded-for": "192.0.2.1"}, 201),
        ("or says otherwise", "false", {}, {}, 403),
    ],
)
def test_where_strangers_register(
    tmp_path: Path, why: str, said: str, environment: dict[str, str], headers: dict[str, str], status: int
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "config.yaml").write_text(f"{CONFIG}yaptide: {{registration: {said}}}\n")
    server = Server(store, "embedded", **environment)
    try:
        server.start()
        answer = server.http.put("/auth/register", json={"username": "ann", "password": "x"}, headers=headers)
        assert answer.status_code == status, f"{why}: {answer.text}"
        if status == 403:
            assert "`yaptide: {registration: true}` in config.yaml" in answer.json()["message"]
    finally:
        server.end()
        server.http.close()


# --- logins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "username", "password", "status"),
    [
        ("the name is written as he likes", "ANN", PASSWORD, 202),
        ("a wrong password", "ann", "wrong", 401),
        ("another case", "ann", PASSWORD.upper(), 401),
        ("nobody", "bob", PASSWORD, 401),
        ("no name that there could be", "a:b\n", PASSWORD, 401),
    ],
)
def test_who_logs_in(client: Client, why: str, username: str, password: str, status: int) -> None:
    register(client)
    answer = log_in(client, username, password)
    assert answer.status_code == status, f"{why}: {answer.text}"
    if status == 401:
        assert answer.json() == {"message": "Invalid login or password"}
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("why", "cookie", "path", "said"),
    [
        ("nothing", None, "/auth/status", (401, "No token provided")),
        ("nothing to refresh", None, "/auth/refresh", (401, "No token provided")),
        ("the access token", "access", "/auth/status", (200, "User status")),
        ("it refreshes nothing", "access", "/auth/refresh", (401, "No token provided")),
        ("the refresh token", "refresh", "/auth/refresh", (200, "User refreshed")),
        ("it lets nobody in", "refresh", "/auth/status", (401, "No token provided")),
        ("under the other's name", "as access", "/auth/status", (403, "Refresh access token. Invalid token.")),
        ("the other way round", "as refresh", "/auth/refresh", (403, "Log in again. Invalid token.")),
    ],
)
def test_which_cookie_is_for_what(
    client: Client, why: str, cookie: str | None, path: str, said: tuple[int, str]
) -> None:
    cookies = begin(client)
    cookies["as access"] = {"cookie": cookies["refresh"]["cookie"].replace("refresh_token", "access_token")}
    cookies["as refresh"] = {"cookie": cookies["access"]["cookie"].replace("access_token", "refresh_token")}
    assert ask(client, {} if cookie is None else cookies[cookie], path) == said, why


def test_a_login_goes_on_and_ends(client: Client) -> None:
    now_s = time.time()
    client.server.logins.now = lambda: now_s
    cookies = begin(client)
    now_s += 599
    assert ask(client, cookies["access"]) == (200, "User status")
    now_s += 1
    assert ask(client, cookies["access"]) == (403, "Refresh access token. Signature expired.")
    assert ask(client, cookies["access"], "/jobs?job_id=x") == (403, "Refresh access token. Signature expired.")
    answer = client.get("/auth/refresh", token=None, headers=cookies["refresh"])
    assert answer.json()["access_exp"] == (int(now_s) + 600) * 1000 and "refresh_exp" not in answer.json()
    (cookie,) = answer.headers.get_list("set-cookie")
    client.http.cookies.clear()
    fresh = {"cookie": cookie.partition(";")[0]}
    assert ask(client, fresh) == (200, "User status")
    now_s += 6600
    assert ask(client, cookies["refresh"], "/auth/refresh") == (403, "Log in again. Signature expired.")
    client.server.logins.now = time.time
    cookies = begin_again(client)
    assert ask(client, cookies["access"]) == (200, "User status")


def test_logging_out_ends_one_login_at_once(client: Client) -> None:
    first, second = begin(client), begin_again(client)
    for cookies, which in ((first, "access"), (second, "refresh")):
        answer = client.delete("/auth/logout", token=None, headers=cookies[which])
        assert say(answer) == (200, "User logged out")
        gone = answer.headers.get_list("set-cookie")
        assert [cookie.partition(";")[0] for cookie in gone] == ["access_token=", "refresh_token="]
        assert all("Expires=Thu, 01 Jan 1970 00:00:00 GMT" in cookie for cookie in gone)
        assert ask(client, cookies["access"]) == (403, "Refresh access token. Invalid token.")
        assert ask(client, cookies["refresh"], "/auth/refresh") == (403, "Log in again. Invalid token.")
        if which == "access":
            assert ask(client, second["access"]) == (200, "User status"), "another browser stays"


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/keycloak"])
@pytest.mark.parametrize("cookie", [{}, {"cookie": "access_token=x; refresh_token=y"}, {"authorization": "Bearer x"}])
def test_logging_out_never_fails(client: Client, path: str, cookie: dict[str, str]) -> None:
    assert say(client.delete(path, token=None, headers=cookie)) == (200, "User logged out")


@pytest.mark.parametrize(
    ("why", "change", "said"),
    [
        ("his logins were taken out", {"logins": []}, (403, "Refresh access token. Invalid token.")),
        ("he has no password any more", {"password_hash": None}, (403, "Refresh access token. Invalid token.")),
        ("he may more", {"batch": True}, (200, "User status")),
        ("his file was removed", None, (403, "User not found")),
    ],
)
def test_his_file_is_edited_by_hand(
    client: Client, why: str, change: dict[str, Any] | None, said: tuple[int, str]
) -> None:
    cookies = begin(client)
    (path,) = (client.store / "users").glob("*.json")
    if change is None:
        path.unlink()
    else:
        path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | change))
    batch = (change or {}).get("batch", False)
    eventually(
        lambda: (
            ask(client, cookies["access"]) == said
            and (change is None or client.server.find_user(path.stem).batch is batch)
        )  # type: ignore[union-attr]
    )
    if change == {"batch": True}:
        assert log_in(client).status_code == 202
        assert client.server.find_user(path.stem).batch, "a login leaves it as it is"  # type: ignore[union-attr]
    if change is None:
        assert log_in(client).status_code == 401 and not path.exists()


def test_a_login_survives_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "store"
    server = Server(store, "embedded")
    user = {"username": "ann", "password": PASSWORD}
    try:
        server.start()
        assert server.http.put("/auth/register", json=user).status_code == 201
        assert server.http.post("/auth/login", json=user).status_code == 202
        server.end()
        server.start()
        assert server.http.get("/auth/status").json()["username"] == "ann"
        assert server.http.get("/auth/refresh").status_code == 200
        assert (store / "oauth.key").stat().st_mode & 0o077 == 0
        assert server.http.delete("/auth/logout").status_code == 200
        assert server.http.get("/auth/status").status_code == 401, "the jar has thrown them away"
    finally:
        server.end()
        server.http.close()


# --- cookies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "scheme", "headers", "is_secure"),
    [
        ("over HTTP", "http", {}, False),
        ("over HTTPS", "https", {}, True),
        ("over HTTPS that a proxy ends", "http", {"x-forwarded-proto": "https"}, True),
    ],
)
def test_over_https_the_cookies_are_for_https(
    client: Client, why: str, scheme: str, headers: dict[str, str], is_secure: bool
) -> None:
    register(client)
    body = {"username": "ann", "password": PASSWORD}
    answer = client.post(f"{scheme}://localhost/auth/login", body, token=None, headers=headers)
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) == 2 and all(cookie.endswith("; Secure") is is_secure for cookie in cookies), why


def test_behind_a_prefix_the_cookies_are_for_what_is_below_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "config.yaml").write_text(CONFIG + YAPTIDE)
    with serving(store, "embedded", SLUICE_ROOT_PATH="/slurm") as client:
        assert register(client).status_code == 201
        answer = log_in(client)
        assert all("; Path=/slurm;" in cookie for cookie in answer.headers.get_list("set-cookie"))
        assert client.get("/slurm/auth/status", token=None, judged=False).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/jobs", "/srtslurm/api/jobs", "/api/v1/jobs", "/api/store/problems", "/metrics", "/api/tokens"]
)
def test_elsewhere_the_cookie_counts_for_nothing(client: Client, path: str) -> None:
    assert client.get(path, token=None, headers=begin(client)["access"]).status_code == 401


def test_other_credentials_go_first(client: Client) -> None:
    cookies = begin(client)
    found = client.get("/user/simulations", token="wrong", headers=cookies["access"])
    assert found.status_code == 401
    assert client.get("/user/simulations", token="read", headers={"cookie": "access_token=x"}).status_code == 200


def test_updating_oneself_changes_nothing(client: Client) -> None:
    cookies = begin(client)
    before = [path.read_bytes() for path in (client.store / "users").glob("*.json")]
    for body in ({}, {"anything": 1}):
        answer = client.post("/user/update", body, token=None, headers=cookies["access"])
        assert say(answer) == (202, "User updated")
    assert say(client.post("/user/update", {}, token=None)) == (401, "No token provided")
    assert before == [path.read_bytes() for path in (client.store / "users").glob("*.json")]


# --- pages of other origins ------------------------------------------------------------------------------------------

FROM_UI = {"origin": UI, "sec-fetch-site": "same-site"}
FROM_EVIL = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}


def test_the_page_of_another_origin_uses_it_with_cookies(client: Client) -> None:
    register(client)
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = client.request("OPTIONS", "/jobs/direct", token=None, headers={**FROM_UI, **asked}, judged=False)
    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"]
    cookie = log_in(client, headers=FROM_UI).headers.get_list("set-cookie")[0].partition(";")[0]
    client.http.cookies.clear()
    answers = [
        answer,
        client.get("/auth/status", token=None, headers={**FROM_UI, "cookie": cookie}),
        client.get("/auth/status", token=None, headers=FROM_UI),
        client.delete("/user/simulations?job_id=x", token=None, headers={**FROM_UI, "cookie": cookie}),
        client.get("/jobs/nowhere", token=None, headers={**FROM_UI, "cookie": cookie}),
    ]
    assert [answer.status_code for answer in answers] == [204, 200, 401, 404, 404]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == UI
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("why", "method", "path", "headers"),
    [
        ("another page", "POST", "/jobs/direct", FROM_EVIL),
        ("does not read", "GET", "/auth/status", FROM_EVIL),
        ("nor sign in", "POST", "/auth/login", FROM_EVIL),
        ("nor out", "DELETE", "/auth/logout", FROM_EVIL),
        ("nor in an old browser", "POST", "/user/update", {"origin": "https://evil.example"}),
        ("nor from another port", "POST", "/user/update", {"origin": "http://localhost:3001"}),
        ("nor by a picture", "GET", "/auth/refresh", {"sec-fetch-site": "same-site"}),
        ("nor one without a name", "POST", "/user/update", {"origin": "null", "sec-fetch-site": "cross-site"}),
    ],
)
def test_pages_of_other_sites_do_nothing(
    client: Client, why: str, method: str, path: str, headers: dict[str, str]
) -> None:
    cookies = begin(client)
    given = {"cookie": f"{cookies['access']['cookie']}; {cookies['refresh']['cookie']}", **headers}
    body = {"username": "ann", "password": PASSWORD} if path == "/auth/login" else {}
    answer = client.request(method, path, token=None, headers=given, **({"json": body} if method == "POST" else {}))
    assert answer.status_code == 403 and "not allowed" in answer.json()["message"], f"{why}: {answer.text}"
    assert "access-control-allow-origin" not in answer.headers and "set-cookie" not in answer.headers
    assert ask(client, cookies["access"]) == (200, "User status"), "nobody was logged out"


@pytest.mark.parametrize("path", ["/api/jobs", "/api/v1/jobs", "/health"])
def test_the_page_of_another_origin_may_nothing_elsewhere(client: Client, path: str) -> None:
    answer = client.get(path, token="read", headers=FROM_UI)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_the_page_of_another_origin_is_not_the_servers_own_user(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "config.yaml").write_text(CONFIG + YAPTIDE)
    server = Server(store, "embedded")
    try:
        server.start()
        assert server.http.get("/user/simulations").status_code == 200, "he needs no token"
        answer = server.http.get("/user/simulations", headers=FROM_UI)
        assert (answer.status_code, answer.json()) == (401, {"message": "No token provided"})
        session = server.http.post("/api/session", json={"token": server.tokens["admin"]})
        assert session.status_code == 201
        assert server.http.get("/user/simulations", headers=FROM_UI).status_code == 401, "nor whoever has signed in"
        token = {"authorization": f"Bearer {server.tokens['read']}"}
        assert server.http.get("/user/simulations", headers=FROM_UI | token).status_code == 200, "but who has a token"
    finally:
        server.end()
        server.http.close()


# --- guessing --------------------------------------------------------------------------------------------------------


def test_guesses_are_limited_for_each_name(client: Client) -> None:
    for name in ("ann", "bob"):
        register(client, name)
    answers = [log_in(client, "ann", f"guess {number}") for number in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
    assert log_in(client, "ann").status_code == 429, "also the right one, or guessing would go on"
    assert log_in(client, "bob").status_code == 202, "nobody else is locked out"


def test_who_is_right_is_not_counted(client: Client) -> None:
    register(client)
    assert {log_in(client).status_code for _ in range(15)} == {202}


def test_more_than_can_be_checked_are_sent_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    register(client)
    monkeypatch.setattr(client.server.passwords, "waiting", password_checks.MOST_RUNNING + password_checks.MOST_WAITING)
    answer = log_in(client)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0


def test_a_user_is_removed_while_his_password_is_checked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    register(client)
    (name,) = client.server.store.users.list_names()

    async def remove(*_given: Any) -> bool:
        await client.server.store.users.delete(name)
        return True

    monkeypatch.setattr(client.server.passwords, "is_password", remove)
    assert log_in(client).status_code == 401
    assert users.make_user_id("local", "ann") not in client.server.store.users


def test_nothing_secret_is_written_down(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    cookies = begin(client)
    log_in(client, "ann", "my other password")
    client.delete("/auth/logout", token=None, headers=cookies["access"])
    audit = client.store / "audit"
    eventually(lambda: "yaptide_log_out" in "".join(path.read_text() for path in audit.iterdir()))
    paths = [path for path in client.store.rglob("*") if path.is_file() and "cluster" not in path.parts]
    written = "\n".join(path.read_text("latin-1") for path in paths) + caplog.text
    assert '"who":"ann"' in written.replace(" ", "")
    for secret in (PASSWORD, "my other password", *(cookie["cookie"].partition("=")[2] for cookie in cookies.values())):
        assert secret not in written
