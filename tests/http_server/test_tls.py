"""TLS of the server itself, with and without certificates of clients."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from cryptography import x509
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from http_server.tls import Client, Front, Tls, format_subject, make_context, make_tls
from tests.app_server import Server

SUBJECTS = [  # why, what Python tells of a certificate, as RFC 4514 has it
    ("the usual", ((("countryName", "DE"),), (("organizationName", "B"),), (("commonName", "a"),)), "CN=a,O=B,C=DE"),
    ("characters that mean something", ((("commonName", 'a,b+c"d\\e<f>;g'),),), 'CN=a\\,b\\+c\\"d\\\\e\\<f\\>\\;g'),
    ("blanks at its ends", ((("commonName", " a "),),), "CN=\\ a\\ "),
    ("a number sign in front", ((("commonName", "#a"),),), "CN=\\#a"),
    ("two values in one", ((("commonName", "a"), ("userId", "7")),), "CN=a+UID=7"),
    ("a name without a short one", ((("emailAddress", "a@b"),),), "emailAddress=a@b"),
    ("another alphabet", ((("commonName", "Änne"),),), "CN=Änne"),
    ("somebody who would be two", ((("commonName", "x,CN=ann"),),), "CN=x\\,CN=ann"),
    ("nothing", (), ""),
]  # fmt: skip


@pytest.mark.parametrize(("why", "subject", "text"), SUBJECTS, ids=[row[0] for row in SUBJECTS])
def test_subjects(why: str, subject: Any, text: str) -> None:
    assert format_subject({"subject": subject}) == text


class Files:
    """Certificates of a test's own: the server's, a client's, and one that another authority has signed."""

    def __init__(self, folder: Path) -> None:
        ca, other = trustme.CA(), trustme.CA()
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        self.client, self.foreign = folder / "client.pem", folder / "foreign.pem"
        ca.cert_pem.write_to_path(str(self.ca))
        server = ca.issue_cert("localhost", "127.0.0.1")
        self.cert.write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
        server.private_key_pem.write_to_path(str(self.key))
        self.authority = ca
        for path, authority in ((self.client, ca), (self.foreign, other)):
            self.issue(path, authority)
        for path in folder.glob("*.pem"):
            path.chmod(0o644)  # for the other user, who calls with them

    def issue(self, path: Path, authority: trustme.CA, common_name: str | None = "ann", **more: Any) -> None:
        """A certificate of a client, with its key and those between it and the authority."""
        subject = {"organization_name": "Lab, A", "organization_unit_name": "x"}
        made = authority.issue_cert("ann@lab.example", common_name=common_name, **subject, **more)
        path.write_bytes(b"".join(part.bytes() for part in (made.private_key_pem, *made.cert_chain_pems)))

    def call(self, url: str, cert: Path | None = None, **headers: str) -> httpx.Response:
        """The answer over TLS."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if cert is not None:
            context.load_cert_chain(cert)
        return httpx.get(url, verify=context, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates."""
    return Files(tmp_path_factory.mktemp("certificates"))


WRONG = [
    ("a key of another certificate", "cert", "other key", None),
    ("no certificate", "key", "key", None),
    ("no authority", "cert", "key", "key"),
]


@pytest.mark.parametrize(("why", "cert", "key", "ca"), WRONG, ids=[row[0] for row in WRONG])
def test_files_that_are_none(files: Files, tmp_path: Path, why: str, cert: str, key: str, ca: str | None) -> None:
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(str(tmp_path / "other"))
    paths = {"cert": files.cert, "key": files.key, "other key": tmp_path / "other"}
    with pytest.raises(ValueError, match="TLS cannot be made"):
        make_tls(paths[cert], paths[key], paths[ca] if ca else None)
    assert make_tls(None, None, None) is None


def test_who_does_not_come_through_the_front_is_nobody(files: Files) -> None:
    front = Front(make_context(Tls(files.cert, files.key, files.ca)), "127.0.0.1", 1, 2, 10)
    front.clients[5] = Client(("192.0.2.7", 6), ("192.0.2.1", 443), "CN=ann")
    known = front.describe_client({"client": ("127.0.0.1", 5)})
    assert known["client"] == ("192.0.2.7", 6) and known["server"] == ("192.0.2.1", 443) and known["scheme"] == "https"
    assert known["extensions"]["tls"]["client_cert_name"] == "CN=ann"
    for scope in ({"client": ("127.0.0.1", 6)}, {"client": ("127.0.0.2", 5)}, {"client": None}, {}):
        assert front.describe_client(scope) == {"client": None, "extensions": {}}


class LeftWriter:
    """The writer of a client that has left: nothing is known of it."""

    def get_extra_info(self, _name: str) -> None:
        return None


def test_a_client_that_has_left_costs_no_connection_to_the_plain_server(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = Front(make_context(Tls(files.cert, files.key, files.ca)), "127.0.0.1", 1, 2, 10)
    monkeypatch.setattr(asyncio, "open_connection", lambda *_: pytest.fail("a connection"))
    asyncio.run(front.pass_on(None, LeftWriter()))  # type: ignore[arg-type] # no more of them is needed
    assert front.clients == {}


def serve(tmp_path: Path, **environment: str) -> Iterator[Server]:
    """A server over TLS, and its URL."""
    made = Server(tmp_path / "store", "embedded", **environment)
    made.url = made.url.replace("http:", "https:")
    try:
        yield made
    finally:
        made.end()
        made.http.close()


def wait_until_ready(server: Server, files: Files) -> Server:
    """The server, once it answers over TLS."""
    server.http.close()
    server.http = httpx.Client(base_url=server.url, verify=ssl.create_default_context(cafile=str(files.ca)), timeout=60)
    return server.start()


def test_tls_without_certificates_of_clients(files: Files, tmp_path: Path) -> None:
    given = {"SLUICE_TLS_CERT": str(files.cert), "SLUICE_TLS_KEY": str(files.key)}
    for server in serve(tmp_path, **given):
        wait_until_ready(server, files)
        assert server.http.get("/api/v1/status").json()["user"]["scopes"] == ["admin", "read", "report", "write"]
        assert f"https://127.0.0.1:{server.port}" in server.log()
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https:", "http:") + "/health", timeout=60)
        trust = ssl.create_default_context(cafile=str(files.ca))
        url = server.url.replace("https:", "wss:")
        with connect(f"{url}/api/v1/ws", ssl=trust, open_timeout=60) as socket:
            with pytest.raises(ConnectionClosed) as closed:  # the library that serves HTTP would gather all of it
                for _ in range(3):
                    socket.send(["x" * 40_000] * 2)
                    socket.recv(60)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


@pytest.fixture(scope="module")
def guarded(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that looks at certificates of clients, and asks everybody who they are."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "store").mkdir()
    given = {
        "SLUICE_TLS_CERT": str(files.cert),
        "SLUICE_TLS_KEY": str(files.key),
        "SLUICE_TLS_CLIENT_CA": str(files.ca),
    }
    for server in serve(folder, **given, SLUICE_ALWAYS_ASK="yes"):
        path = server.store / "access.yaml"
        path.write_text(
            path.read_text() + "certificates: [{subject: 'CN=ann,OU=x,O=Lab\\, A', name: ann, scopes: [read]}]\n"
        )
        yield wait_until_ready(server, files)


def test_the_subject_of_a_certificate_says_who_calls(guarded: Server, files: Files) -> None:
    subject = x509.load_pem_x509_certificate(files.client.read_bytes()).subject.rfc4514_string()
    assert subject == "CN=ann,OU=x,O=Lab\\, A", "as openssl shows it with -nameopt RFC2253"
    url, token = f"{guarded.url}/api/v1/status", f"Bearer {guarded.tokens['write']}"
    assert files.call(url, files.client).json()["user"] == {"name": "ann", "scopes": ["read"]}
    assert files.call(url, files.client, Authorization=token).json()["user"]["name"] == "write", "a token goes first"
    assert files.call(url, files.client, Authorization="Bearer no").status_code == 401
    assert files.call(url, None, Authorization=token).status_code == 200, "a certificate may be missing"
    assert files.call(url).status_code == 401
    assert files.call(f"{guarded.url}/api/workflows", files.client).status_code == 401, "this API alone"
    with pytest.raises(httpx.TransportError):
        files.call(url, files.foreign)


YESTERDAY, TOMORROW = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days) for days in (-1, 1))
CERTIFICATES: list[tuple[str, dict[str, Any], int | None]] = [
    ("as it should be", {}, 200),
    ("it has expired", {"not_after": YESTERDAY}, None),
    ("it counts from tomorrow", {"not_before": TOMORROW}, None),
    ("no name in it", {"common_name": None}, 401),
    ("another name", {"common_name": "bob"}, 401),
    ("a name that holds more", {"common_name": "ann,OU=x"}, 401),
]


@pytest.mark.parametrize(("why", "more", "status"), CERTIFICATES, ids=[row[0] for row in CERTIFICATES])
def test_which_certificates_count(
    guarded: Server, files: Files, tmp_path: Path, why: str, more: dict[str, Any], status: int | None
) -> None:
    files.issue(tmp_path / "client.pem", files.authority, **more)
    url = f"{guarded.url}/api/v1/status"
    if status is None:
        with pytest.raises(httpx.TransportError):
            files.call(url, tmp_path / "client.pem")
    else:
        assert files.call(url, tmp_path / "client.pem").status_code == status


def test_a_certificate_may_be_signed_by_an_authority_below(guarded: Server, files: Files, tmp_path: Path) -> None:
    files.issue(tmp_path / "client.pem", files.authority.create_child_ca())
    assert files.call(f"{guarded.url}/api/v1/status", tmp_path / "client.pem").json()["user"]["name"] == "ann"


def test_a_certificate_that_nobody_named_is_told(guarded: Server, files: Files, tmp_path: Path) -> None:
    files.issue(tmp_path / "client.pem", files.authority, common_name="bob")
    refused = files.call(f"{guarded.url}/api/v1/status", tmp_path / "client.pem").json()["error"]
    assert refused["message"].endswith("with the subject CN=bob,OU=x,O=Lab\\, A")


def test_a_websocket_knows_the_certificate_too(guarded: Server, files: Files) -> None:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.client)
    url = f"{guarded.url.replace('https:', 'wss:')}/api/v1/jobs/424242/output?follow=true"
    with pytest.raises(InvalidStatus) as refused, connect(url, ssl=context, open_timeout=60):
        pass
    assert refused.value.response.status_code == 404, "the job is missing: the caller is known"


def test_large_answers_and_bodies_and_many_calls_go_through(guarded: Server, files: Files) -> None:
    guarded.http.headers["authorization"] = f"Bearer {guarded.tokens['write']}"
    contract = guarded.http.get("/openapi.json")
    assert contract.status_code == 200 and len(contract.content) > 200_000
    assert guarded.http.post("/api/workflows/validate", json={"yaml": "x" * 500_000}).status_code == 200

    async def call_often() -> list[int]:
        context = ssl.create_default_context(cafile=str(files.ca))
        async with httpx.AsyncClient(base_url=guarded.url, verify=context, timeout=120) as client:
            answers = await asyncio.gather(*(client.get("/health") for _ in range(60)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(call_often()) == [200] * 60


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens where")
def test_behind_the_front_nobody_is_the_servers_user(guarded: Server) -> None:
    assert guarded.process is not None
    inodes = set()
    for path in Path(f"/proc/{guarded.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.update(re.findall(r"socket:\[(\d+)\]", str(path.readlink())))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}
    (inner,) = ports - {guarded.port}
    assert httpx.get(f"http://127.0.0.1:{inner}/api/v1/status", timeout=60).status_code == 401
    assert httpx.get(f"http://127.0.0.1:{inner}/api/workflows", timeout=60).status_code == 401
