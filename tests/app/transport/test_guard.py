"""Who may call: hosts, origins, proxies, tokens, the server's own user, and everything that is none of these."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import ROOT
from tests.app_client import Client, furnish
from tests.app_server import Server
from tests.cluster.ordinary_user import PREFIX
from tests.contract_judge import operations
from tests.waiting import eventually

HOST = (b"host", b"localhost")


@pytest.fixture(autouse=True)
def forgiving(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wrong tokens of one test do not count in the next."""
    yield
    if "client" in request.fixturenames:
        request.getfixturevalue("client").server.callers.failures.spent.clear()


def bearer(client: Client, scope: str = "read") -> tuple[bytes, bytes]:
    """The header with a token of this scope."""
    return (b"authorization", b"Bearer " + client.tokens[scope].encode())


# --- Host ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "hosts", "status"),
    [
        ("this machine", [b"localhost"], 200),
        ("with its port", [b"127.0.0.1:8000"], 200),
        ("names have no case", [b"LocalHost:1"], 200),
        ("IPv6", [b"[::1]:8000"], 200),
        ("missing", [], 400),
        ("doubled", [b"localhost", b"localhost"], 400),
        ("doubled, one is foreign", [b"evil.example", b"localhost"], 400),
        ("empty", [b""], 400),
        ("user in front", [b"localhost@evil.example"], 400),
        ("the other way round", [b"evil.example@localhost"], 400),
        ("a path behind", [b"localhost/x"], 400),
        ("a list", [b"localhost, evil.example"], 400),
        ("a blank inside", [b"local host"], 400),
        ("a blank behind, which is none of the value", [b"localhost "], 200),
        ("no port", [b"localhost:"], 400),
        ("a port too long", [b"localhost:1234567"], 400),
        ("not ASCII", [b"l\xf6calhost"], 400),
        ("a line break", [b"localhost\r\nx: y"], 400),
        ("a name that a stranger made to mean this machine", [b"127.0.0.1.nip.io"], 403),
        ("a longer name", [b"localhost.evil.example"], 403),
        ("a shorter one", [b"localhos"], 403),
        ("a trailing dot", [b"localhost."], 403),
        ("another spelling of the address", [b"127.1"], 403),
        ("as a number", [b"2130706433"], 403),
        ("all addresses", [b"0.0.0.0"], 403),
        ("foreign", [b"evil.example:8000"], 403),
    ],
)
def test_host(client: Client, why: str, hosts: list[bytes], status: int) -> None:
    headers = [(b"host", host) for host in hosts]
    for path in ("/api/workflows", "/health"):
        answer = client.bare("GET", path, [*headers, bearer(client)])
        assert answer.status_code == status, f"{why}: {answer.text}"
        assert answer.headers["x-request-id"]
        assert status == 200 or isinstance(answer.json()["detail"], str)


def test_a_host_can_be_allowed(client: Client) -> None:
    path = client.store / "access.yaml"
    before = path.read_text()
    path.write_text(before + "allowed_hosts: [cluster.example]\n")
    try:
        call = lambda: client.bare("GET", "/api/workflows", [(b"host", b"cluster.example"), bearer(client)])  # noqa: E731
        eventually(lambda: call().status_code == 200)
    finally:
        path.write_text(before)
    eventually(lambda: call().status_code == 403)


# --- Origin ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "headers", "passes"),
    [
        ("no browser", {}, True),
        ("our own page", {"origin": "http://localhost", "sec-fetch-site": "same-origin"}, True),
        ("behind a proxy that changes the Host", {"origin": "https://ours", "sec-fetch-site": "same-origin"}, True),
        ("typed by a person", {"sec-fetch-site": "none"}, True),
        ("another site", {"sec-fetch-site": "cross-site"}, False),
        ("another port of this machine", {"sec-fetch-site": "same-site"}, False),
        ("a word of later browsers", {"sec-fetch-site": "near-site"}, False),
        ("another site, an old browser", {"origin": "https://evil.example"}, False),
        ("another port", {"origin": "http://localhost:3000"}, False),
        ("ours in front", {"origin": "http://localhost.evil.example"}, False),
        ("ours as a user", {"origin": "http://localhost@evil.example"}, False),
        ("ours behind", {"origin": "http://evil.example/localhost"}, False),
        ("a sandboxed frame", {"origin": "null"}, False),
        ("a file", {"origin": "file://localhost"}, False),
        ("empty", {"origin": ""}, False),
        ("broken", {"origin": "http://["}, False),
    ],
)
def test_origin(client: Client, why: str, headers: dict[str, str], passes: bool) -> None:
    for method, path in (("POST", "/api/workflows/validate"), ("DELETE", "/api/workflows/nine")):
        more = {"json": {"yaml": "x"}} if method == "POST" else {}
        answer = client.request(method, path, headers=headers, **more)
        assert (answer.status_code != 403) is passes, f"{why}: {method} {answer.text}"
        assert answer.status_code < 500
    answer = client.get("/api/workflows", headers=headers)
    assert answer.status_code == (200 if passes else 403), f"{why}: reading, which may cost SLURM a question"
    assert "access-control-allow-origin" not in answer.headers


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "scope", "reads", "writes"),
    [
        ("may look", "read", 200, 403),
        ("may change", "write", 200, 200),
        ("may everything", "admin", 200, 200),
        ("was valid once", "expired", 401, 401),
    ],
)
def test_scopes(client: Client, why: str, scope: str, reads: int, writes: int) -> None:
    assert client.get("/api/workflows", token=scope).status_code == reads, why
    answer = client.post("/api/workflows/validate", {"yaml": "x"}, token=scope)
    assert answer.status_code == writes, why


@pytest.mark.parametrize(
    ("why", "header", "status"),
    [
        ("schemes have no case", "bearer {}", 200),
        ("loud", "BEARER {}", 200),
        ("blanks around", "Bearer   {}  ", 200),
        ("half of it", "Bearer {:.20}", 401),
        ("too much of it", "Bearer {}x", 401),
        ("another scheme", "Basic {}", 401),
        ("no scheme", "{}", 401),
        ("empty", "Bearer ", 401),
        ("nothing", "", 401),
        ("its hash is no token", "Bearer " + "0" * 64, 401),
        ("not ASCII", "Bearer t\u00f6ken", 401),
    ],
)
def test_tokens(client: Client, why: str, header: str, status: int) -> None:
    value = header.format(client.tokens["read"]).encode("latin-1")
    answer = client.bare("GET", "/api/workflows", [HOST, (b"authorization", value)])
    assert answer.status_code == status, why
    if status == 401:
        wrong = ', error="invalid_token", error_description="The token is wrong or has expired"'
        error = wrong if header.lower().startswith("bearer ") else ""
        assert answer.headers["www-authenticate"] == f'Bearer realm="Sluice"{error}'
        assert client.tokens["read"] not in answer.text


def test_guessing_is_slowed_down_and_locks_nobody_else_out(client: Client) -> None:
    answers = [client.get("/api/workflows", token=f"guess-{i}", judged=False) for i in range(15)]
    codes = [answer.status_code for answer in answers]
    assert codes[:10] == [401] * 10 and codes[-1] == 429
    wait_s = client.server.callers.failures.refill_s
    assert 0 < int(answers[-1].headers["retry-after"]) <= wait_s and "detail" in answers[-1].json()
    assert client.get("/api/workflows").status_code == 200, "a right token is no guess"


def test_a_token_that_is_taken_out_of_the_file_is_refused(client: Client) -> None:
    path = client.store / "access.yaml"
    before = path.read_text()
    path.write_text("\n".join(line for line in before.splitlines() if "name: read" not in line) + "\n")
    try:
        eventually(lambda: client.get("/api/workflows", token="read").status_code == 401)
        assert client.get("/api/workflows", token="write").status_code == 200
    finally:
        path.write_text(before)
    eventually(lambda: client.get("/api/workflows", token="read").status_code == 200)


ASKS = {  # ask for credentials themselves
    ("/oauth/token", "POST"): 400,
    ("/api/session", "POST"): 422,
    ("/auth/register", "PUT"): 400,
    ("/auth/login", "POST"): 400,
    ("/auth/keycloak", "POST"): 400,
}
ASKS |= {(path, "POST"): 400 for path in ("/jobs", "/tasks", "/results", "/logfiles")}
OPEN = {(path, method) for path, method, spec in operations() if spec.get("security") == [{}]} - set(ASKS)


@pytest.mark.parametrize(
    ("path", "method", "spec"), [pytest.param(*operation, id=operation[2]["operationId"]) for operation in operations()]
)
def test_every_operation_needs_credentials(client: Client, path: str, method: str, spec: dict[str, Any]) -> None:
    where = path.replace("{job_id}", "1").replace("{run_id}", "x").replace("{name}", "x")
    more = {"json": {}} if "requestBody" in spec else {}
    answer = client.request(method, where, token=None, **more)
    assert answer.status_code == (200 if (path, method) in OPEN else ASKS.get((path, method), 401))
    if method == "GET":
        assert client.request("HEAD", where, token=None).status_code == answer.status_code


def test_only_what_tells_nothing_is_open() -> None:
    assert {path for path, _ in OPEN} == {
        *("/", "/health", "/srtslurm/api/health", "/api/v1/health", "/openapi.json", "/openapi.yaml"),
        *("/api/v1/openapi.json", "/api/v1/openapi.yaml"),
        *("/auth/logout", "/auth/keycloak"),  # end what the cookies name
    }
    assert all(spec["security"] for _, _, spec in operations()), "none is left open by saying nothing"


@pytest.mark.parametrize(
    "path",
    ["/docs/nothing", "/ui/nothing", "/nowhere", "//health", "/api/jobs/", "/api/health", "/HEALTH", "/openapi.json/x"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"])
def test_every_other_path_and_method_needs_credentials(client: Client, path: str, method: str) -> None:
    assert client.bare(method, path, [HOST]).status_code == 401


@pytest.mark.parametrize("method", ["PUT", "PATCH", "PROPFIND", "get"])
def test_an_unusual_method_is_none_of_the_path(client: Client, method: str) -> None:
    assert client.bare(method, "/api/jobs", [HOST, bearer(client, "read")]).status_code == 405


@pytest.mark.parametrize("path", ["/", "/api/jobs", "/live", "/health"])
@pytest.mark.parametrize(
    ("why", "headers", "scope", "code"),
    [
        ("nobody", [], None, 4401),
        ("a foreign page, whoever asks", [(b"origin", b"https://evil.example")], None, 4403),
        ("there is no socket yet", [], "write", 4403),
    ],
)
def test_websockets(
    client: Client, path: str, why: str, headers: list[tuple[bytes, bytes]], scope: str | None, code: int
) -> None:
    said: list[dict[str, Any]] = []

    async def connect() -> None:
        received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        await received.put({"type": "websocket.connect"})

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        given = [HOST, *headers, *([bearer(client, scope)] if scope else [])]
        more = {"query_string": b"", "root_path": "", "scheme": "ws", "subprotocols": [], "client": ("127.0.0.1", 4)}
        socket_scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "headers": given, **more}
        await client.serve({**socket_scope, "server": ("127.0.0.1", 8000)}, received.get, send)

    client.run(connect())
    assert [message["type"] for message in said] == ["websocket.close"], f"{why}: never accepted"
    assert said[0]["code"] == code, why


# --- the server's own user -------------------------------------------------------------------------------------------


def test_the_servers_own_user_needs_no_token(server: Server) -> None:
    assert server.http.get("/api/workflows").status_code == 200
    assert server.http.post("/api/workflows/validate", json={"yaml": "x"}).status_code == 200
    for name, value in (
        ("Forwarded", "for=1.2.3.4"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Anything", ""),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
    ):
        answer = server.http.get("/api/workflows", headers={name: value})
        assert answer.status_code == 401, f"{name}: who is behind a proxy is nobody's own user"
        token = {"Authorization": f"Bearer {server.tokens['read']}", name: value}
        assert server.http.get("/api/workflows", headers=token).status_code == 200
    assert server.http.get("/api/workflows", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert server.http.get("/api/workflows", headers={"Host": "evil.example"}).status_code == 403
    assert server.http.post("/api/workflows/validate", json={}, headers={"Origin": server.url}).status_code == 200
    not_from_here(server)
    broken_requests(server)


def not_from_here(server: Server) -> None:
    """Nothing; a connection of another user is refused, and the next of our own from anywhere is not."""
    if os.geteuid() != 0:
        return
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        # The kernel tells the owner of the socket, which is what it would be in a process of that user.
        os.fchown(connection.fileno(), 65534, -1)
        for _ in range(2):
            connection.sendall(b"GET /api/workflows HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = b""
            while not said.endswith(b"}"):  # head and body may come apart
                said += connection.recv(65536)
            assert said.startswith(b"HTTP/1.1 401 ")
    assert server.http.get("/api/workflows").status_code == 200


def broken_requests(server: Server) -> None:
    """Nothing; whatever is thrown at the port, the server lives and answers in its own way."""
    for data in (
        b"\0\1\2\3\r\n\r\n",
        b"GET /api/jobs HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET  /api/jobs\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
    ):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(120)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            assert not answer or head.split(b" ")[1][:1] == b"4", data[:60]
            # What is no HTTP at all never reaches the app: the server itself refuses it, without a word.
            if body:
                assert "detail" in json.loads(body) and b"\r\nx-request-id: " in head, data[:60]
    assert server.http.get("/health").status_code == 200
    assert "Traceback" not in server.log()


# --- starting --------------------------------------------------------------------------------------------------------


def run_app(store: Any, *words: str, as_root: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python app.py` where it is to end at once."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    given = {"SLUICE_STORE": str(store), "SLUICE_CLUSTER": "embedded", **environment}
    command = [*([] if as_root else PREFIX), sys.executable, str(ROOT / "app.py"), *words]
    return subprocess.run(command, env={**kept, **given}, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.long
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_needs_a_token(tmp_path: Any, host: str) -> None:
    done = run_app(tmp_path / "store", "--host", host)
    assert done.returncode != 0 and "needs a token" in done.stderr
    assert not (tmp_path / "store").exists(), "nothing was begun"


@pytest.mark.long
@pytest.mark.parametrize(
    ("why", "path"),
    [("a file", "file"), ("below a file", "file/store"), ("not ours to make", "/proc/sluice")],
)
def test_a_store_that_can_be_none_is_named(tmp_path: Any, why: str, path: str) -> None:
    (tmp_path / "file").touch()
    done = run_app(tmp_path / path, "--port", "0")
    assert done.returncode != 0 and "Traceback" not in done.stderr, why
    assert str(tmp_path / "file" if "file" in path else path) in done.stderr, why


@pytest.mark.long
@pytest.mark.parametrize(
    ("why", "environment", "said"),
    [
        ("no number", {"SLUICE_PORT": "http"}, "SLUICE_PORT"),
        ("no port", {"SLUICE_PORT": "65536"}, "SLUICE_PORT"),
        ("unknown word", {"SLUICE_WATCH": "often"}, "SLUICE_WATCH"),
        ("no path", {"SLUICE_ROOT_PATH": "slurm/"}, "SLUICE_ROOT_PATH"),
        ("unknown level", {"SLUICE_LOG_LEVEL": "loud"}, "SLUICE_LOG_LEVEL"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Any, why: str, environment: dict[str, str], said: str) -> None:
    done = run_app(tmp_path / "store", **environment)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr, why


def test_a_taken_port_is_told_before_a_store_is_made(server: Server, tmp_path: Any) -> None:
    done = run_app(tmp_path / "other", "--port", str(server.port))
    assert done.returncode != 0 and not (tmp_path / "other").exists()
    (line,) = done.stderr.splitlines()
    assert str(server.port) in line and f"--port {server.port + 1}" in line


def test_two_servers_on_one_store(server: Server) -> None:
    second = run_app(server.store, "--port", "0")
    assert second.returncode != 0
    assert "another server" in second.stderr and str(server.store) in second.stderr
    assert "Traceback" not in second.stderr, "a clear message, nothing else"
    assert server.http.get("/health").status_code == 200


def test_a_new_token_works_until_it_is_revoked(client: Client) -> None:
    before = (client.store / "access.yaml").read_text()
    done = run_app(client.store, "token", "create", "new", "--scope", "read")
    assert done.returncode == 0, done.stderr
    (client.tokens["new"],) = re.findall(r"slc_\S+", done.stdout)
    eventually(lambda: client.get("/api/workflows", token="new").status_code == 200)
    assert run_app(client.store, "token", "revoke", "new").returncode == 0
    eventually(lambda: client.get("/api/workflows", token="new").status_code == 401)
    assert (client.store / "access.yaml").read_text() == before


def test_secrets_stay_with_their_owner(server: Server) -> None:
    server.http.post("/api/workflows/validate", json={"yaml": "x"})
    lines = eventually(lambda: list((server.store / "audit").glob("*.jsonl")))
    assert not any(path.stat().st_mode & 0o077 for path in (server.store, server.store / "audit", *lines))
    furnished = dict[str, str]()
    furnish(server.store, furnished)
    assert all(token not in (server.store / "access.yaml").read_text() for token in furnished.values())


@pytest.mark.parametrize(
    ("page", "assets"),
    [
        ("docs", ["swagger-ui-bundle.js", "swagger-ui.css", "start.js"]),
        ("redoc", ["redoc.standalone.js", "start.js"]),
    ],
)
def test_answers_keep_browsers_strict(client: Client, page: str, assets: list[str]) -> None:
    answer: httpx.Response = client.get(f"/{page}", judged=False)
    assert client.get(f"/{page}/", judged=False).headers["location"] == f"../{page}"
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "DENY"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "script-src 'unsafe" not in policy and "http" not in policy
    assert "http" not in answer.text.replace("http-equiv", ""), "nothing is fetched from elsewhere"
    for name in assets:
        assert client.get(f"/{page}/{name}", judged=False).status_code == 200
    for name in ("..%2f..%2fapp.py", "%2e%2e", "app.py", "index.html", "../images/redoc.svg"):
        assert client.get(f"/{page}/{name}", judged=False).status_code == 404


def test_the_documentation_is_open_to_everybody(client: Client) -> None:
    for path in ("/", "/docs", "/docs/start.js", "/docs/swagger-ui.css", "/redoc", "/redoc/start.js"):
        for method in ("GET", "HEAD"):
            assert client.request(method, path, token=None, judged=False).status_code == 200
        assert client.bare("POST", path, [HOST]).status_code == 401
    assert client.bare("GET", "/docs", [(b"host", b"evil.example")]).status_code == 403


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js"])
def test_what_lies_beside_the_contract_refuses_as_it_does(client: Client, path: str) -> None:
    answer = client.request("POST", path, json={}, judged=False)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["x-request-id"] and "GET" in answer.headers["allow"]
    assert client.get(path, headers={"Range": "bytes=none"}, judged=False).status_code == 200, "always whole"
