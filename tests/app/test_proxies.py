"""The reverse proxies of docs/operating.md, as they stand there, in front of a server."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
import yaml
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests import ROOT
from tests.app_server import Server, free_port
from tests.waiting import eventually

PAGE = (ROOT / "docs" / "operating.md").read_text()
CACHE_PAGE = (ROOT / "docs" / "performance.md").read_text()
HOST = "sluice.example.org"
LAB = {"organization_name": "Lab, A", "organization_unit_name": "x"}


def read_blocks(kind: str) -> list[str]:
    """The blocks of the page in this language."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def read_block(kind: str) -> str:
    """The only block of the page in this language."""
    (block,) = read_blocks(kind)
    return block


def replace(text: str, changes: dict[str, str]) -> str:
    """The text with what is different here; each place is there once."""
    for given, real in changes.items():
        assert text.count(given) == 1, given
        text = text.replace(given, real)
    return text


def write_nginx(folder: Path, port: int, behind: int, certificates: bool) -> list[str]:
    """Write nginx.conf around the page's block, with what it adds for certificates; the command that starts it."""
    site, more = read_blocks("nginx")
    if certificates:
        added, headers = re.findall(r"^ +(?:ssl_.*\n +)+|^ +(?:proxy_set_header .*\n +)+", more, re.MULTILINE)
        site = replace(site, {"    location / {\n": f"{added.rstrip(' ')}    location / {{\n{headers.rstrip(' ')}"})
        site = replace(site, {"/etc/ssl/certs/lab-ca.pem": f"{folder}/lab-ca.pem"})
    given = {
        "127.0.0.1:8000": f"127.0.0.1:{behind}", "443": f"127.0.0.1:{port}",
        "/etc/ssl/certs/sluice.pem": f"{folder}/sluice.pem", "/etc/ssl/private/sluice.key": f"{folder}/sluice.key",
    }  # fmt: skip
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off;\n{user}pid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{replace(site, given)}}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def write_caddy(folder: Path, port: int, behind: int, certificates: bool) -> list[str]:
    """Write a Caddyfile of the page's block, with a certificate of our own; the command that starts it."""
    site, tls = f"https://{HOST}:{port} {{\n", f"    tls {folder}/sluice.pem {folder}/sluice.key"
    given = {"127.0.0.1:8000": f"127.0.0.1:{behind}", f"{HOST} {{\n": site if certificates else f"{site}{tls}\n"}
    if certificates:
        given |= {"    tls {": f"{tls} {{", "/etc/ssl/certs/lab-ca.pem": f"{folder}/lab-ca.pem"}
    options = "{\n    admin off\n    auto_https disable_redirects\n    skip_install_trust\n}\n"
    (folder / "Caddyfile").write_text(options + replace(read_blocks("caddy")[certificates], given))
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES = {"nginx": write_nginx, "caddy": write_caddy}


class Proxy:
    """A proxy in front of a server; `http` calls through it, over TLS, by the name of the host."""

    def __init__(self, server: Server, port: int, authority: trustme.CA) -> None:
        self.server, self.port, self.authority = server, port, authority
        self.trust = trust = ssl.create_default_context()
        authority.configure_trust(trust)
        self.http = httpx.Client(
            base_url=f"https://127.0.0.1:{port}", verify=trust, timeout=60, headers={"host": f"{HOST}:{port}"}
        )

    def request(self, method: str, path: str, token: str | None = "write", **more: object) -> httpx.Response:
        """The answer; `token` names one of the server's."""
        return self.http.send(self.build(method, path, token, **more))

    def build(self, method: str, path: str, token: str | None = "write", **more: object) -> httpx.Request:
        """The request, with a token and the name of the host for TLS."""
        headers = {"authorization": f"Bearer {self.server.tokens[token]}"} if token else {}
        return self.http.build_request(method, path, headers=headers, extensions={"sni_hostname": HOST}, **more)

    def connect(self, url: str, headers: dict[str, str]) -> ClientConnection:
        """A WebSocket through the proxy; the host's name leads to it."""
        return connect(
            url, address=("127.0.0.1", self.port), ssl=self.trust, server_hostname=HOST, additional_headers=headers,
            proxy=None, open_timeout=60,
        )  # fmt: skip


@pytest.fixture(params=sorted(PROXIES))
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    """Each proxy, started as the page says."""
    with starting(request.param, tmp_path) as made:
        yield made


@contextlib.contextmanager
def starting(name: str, tmp_path: Path, authority: trustme.CA | None = None) -> Iterator[Proxy]:
    """A proxy in front of a server until the end of the block; it looks at certificates of the authority."""
    if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        assert os.environ.get("CI") != "true", f"{name} is missing"
        pytest.skip(f"{name} is not installed")
    folder = tmp_path / "proxy"
    folder.mkdir()
    if authority is not None:
        authority.cert_pem.write_to_path(folder / "lab-ca.pem")
    own = trustme.CA()
    certificate = own.issue_cert(HOST)
    certificate.private_key_pem.write_to_path(folder / "sluice.key")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "sluice.pem", append=True)
    server = Server(tmp_path / "store", "embedded", SLUICE_ALLOWED_HOSTS=HOST)
    with contextlib.ExitStack() as undo:
        undo.callback(server.close)
        server.start()
        port = free_port()
        command = PROXIES[name](folder, port, server.port, authority is not None)
        undo.enter_context(running(command, folder))
        made = Proxy(server, port, own)
        undo.callback(made.http.close)
        eventually(lambda: made.request("GET", "/health", None).status_code == 200, 30, (folder / "log").read_text())
        yield made


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    """Run the program until the end of the block."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    environment = {"PATH": path, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.proxy
def test_who_comes_through_the_proxy_needs_a_token(proxy: Proxy) -> None:
    assert proxy.server.http.get("/api/jobs").status_code == 200, "the server's own user, without the proxy"
    for path in ("/api/jobs", "/v1/jobs"):
        refused = proxy.request("GET", path, None)
        assert refused.status_code == 401 and refused.headers["x-request-id"], path
        assert proxy.request("GET", path, "read").status_code == 200, path
    assert proxy.request("GET", "/docs", None).status_code == 200
    assert proxy.request("GET", "/docs/", None).headers["location"] == "../docs"
    large = proxy.request("POST", "/api/jobs", json={"name": "x" * 8_000_000})
    assert large.status_code == 413 and large.json()["detail"], "Sluice itself says how much it takes"


@pytest.mark.proxy
def test_events_come_through_the_proxy_as_they_happen(proxy: Proxy) -> None:
    since = proxy.request("GET", "/api/workflows/runs").headers["x-change"]
    request = proxy.build("GET", "/api/events", params={"after": since, "kinds": "workflow"})
    answer = proxy.http.send(request, stream=True)
    try:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        (proxy.server.store / "workflows" / "seen.yaml").write_text("jobs: [{name: a, command: hostname}]\n")
        assert "event: workflow" in lines, "the stream goes on, and what has happened is there already"
    finally:
        answer.close()


@pytest.mark.proxy
def test_websockets_come_through_the_proxy(proxy: Proxy) -> None:
    """Updates of the S9S API, with a token in the header, and with a ticket as a page has it."""
    url, headers = f"wss://{HOST}:{proxy.port}/v1/ws", {"authorization": f"Bearer {proxy.server.tokens['read']}"}
    with pytest.raises(InvalidStatus) as refused, proxy.connect(url, headers={"authorization": "Bearer wrong"}):
        pass
    assert refused.value.response.status_code == 401
    ticket = proxy.request("POST", "/v1/ws/ticket", "read").json()["ticket"]
    job = proxy.request("POST", "/v1/jobs", json={"job_name": "seen", "script": "/bin/sleep 600"}).json()["job_id"]
    for address, given in ((url, headers), (f"{url}?ticket={ticket}", {})):
        with proxy.connect(address, headers=given) as socket:
            socket.send('{"action": "subscribe", "channel": "jobs", "filter": {"job_name": "seen"}, "snapshot": true}')
            assert json.loads(socket.recv(60))["action"] == "subscribed"
            heard = json.loads(socket.recv(60))
            rows = heard["data"]["jobs"] if heard["action"] == "snapshot" else [heard["data"]]
            assert [row["job_id"] for row in rows] == [job]
    with proxy.connect(f"wss://{HOST}:{proxy.port}/v1/jobs/{job}/output?follow=true", headers=headers) as socket:
        proxy.request("DELETE", f"/v1/jobs/{job}")
        assert json.loads(list(socket)[-1])["type"] == "end"


@pytest.mark.proxy
@pytest.mark.parametrize("name", sorted(PROXIES))
def test_the_proxy_tells_whose_certificate_it_has_checked(name: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    with starting(name, tmp_path, authority) as proxy:
        path = proxy.server.store / "access.yaml"
        secret = hashlib.sha256(b"the secret").hexdigest()
        path.write_text(
            f"{path.read_text()}certificates: [{{subject: 'CN=ann,OU=x,O=Lab\\, A', name: ann, scopes: [read]}}]\n"
            f"proxies: [{{address: 127.0.0.1, sha256: {secret}}}]\n"
        )

        def call(who: str | None, signed_by: trustme.CA = authority, **headers: str) -> httpx.Response:
            """The answer to a client with a certificate of this name."""
            trust = ssl.create_default_context()
            proxy.authority.configure_trust(trust)
            if who is not None:
                issued = signed_by.issue_cert("x@lab.example", common_name=who, **LAB)
                issued.configure_cert(trust)
            with httpx.Client(base_url=proxy.http.base_url, verify=trust, timeout=60) as client:
                request = proxy.build("GET", "/v1/status", None)
                request.headers.update(headers)
                return client.send(request)

        eventually(lambda: call("ann").status_code == 200, 30)
        assert call("ann").json()["user"] == {"name": "ann", "scopes": ["read"]}
        unknown = call("bob")
        assert unknown.status_code == 401 and "CN=bob,OU=x,O=Lab\\, A" in unknown.json()["error"]["message"]
        pretended = {"x-ssl-client-s-dn": "CN=ann,OU=x,O=Lab\\, A", "x-ssl-client-verify": "SUCCESS"}
        assert call(None, **pretended).status_code == 401, "what the client itself says is not passed on"
        token = f"Bearer {proxy.server.tokens['write']}"
        assert call(None, authorization=token).json()["user"]["name"] == "write", "a certificate may be missing"
        with contextlib.suppress(httpx.TransportError):  # of Caddy; nginx answers
            assert call("ann", trustme.CA()).status_code == 400


@pytest.mark.proxy
def test_prometheus_finds_what_it_is_told(proxy: Proxy) -> None:
    """The page's configuration names the proxy's host, whose metrics a token with the scope read may have."""
    (job,) = yaml.safe_load(next(text for text in read_blocks("yaml") if "scrape_configs" in text))["scrape_configs"]
    assert (job["scheme"], job["static_configs"]) == ("https", [{"targets": [HOST]}])
    assert set(job) == {"job_name", "scheme", "authorization", "static_configs"}, "all else is as Prometheus has it"
    assert proxy.request("GET", "/metrics", None).status_code == 401
    answer = proxy.request("GET", "/metrics", "read")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "\nsluice_" in answer.text


def test_settings_of_the_page_are_some() -> None:
    import app

    named = {name.lower() for name in re.findall(r"SLUICE_([A-Z_]+)=", PAGE)}
    assert {"tls_cert", "tls_key", "tls_client_ca", "allowed_hosts"} <= named <= set(app.Settings.__dataclass_fields__)


def test_the_unit_is_one(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(read_block("ini"))
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["KillMode"] == "process"
    if analyze := shutil.which("systemd-analyze"):
        path = tmp_path / "sluice@.service"
        path.write_text(replace(read_block("ini"), {"/opt/sluice/bin/sluice": "/bin/true"}))
        done = subprocess.run([analyze, "verify", path], capture_output=True, text=True, timeout=60)
        assert "sluice@.service" not in done.stderr, "what systemd does not know it tells and ignores"


# --- a cache of lists, as docs/performance.md says --------------------------------------------------------------------


def write_caching_nginx(folder: Path, port: int, behind: int, certificates: bool) -> list[str]:
    """Write nginx.conf as for the proxy alone, with what the page on performance adds; answers are kept for an hour."""
    command = write_nginx(folder, port, behind, certificates)
    (block,) = re.findall(r"^```nginx\n(.*?)^```", CACHE_PAGE, re.MULTILINE | re.DOTALL)
    before, _, location = block.partition("server {\n")
    config = folder / "nginx.conf"
    text = replace(
        config.read_text(), {"server {\n    listen": f"{before}server {{\n{location.rpartition('}')[0]}    listen"}
    )
    text = replace(
        text, {"/var/cache/nginx/sluice": f"{folder}/cache", "proxy_cache_valid 200 2s": "proxy_cache_valid 200 1h"}
    )
    config.write_text(text)
    return command


@pytest.mark.proxy
def test_a_cache_of_lists_is_for_each_token_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROXIES, "nginx", write_caching_nginx)
    with starting("nginx", tmp_path) as proxy:

        def ask(path: str, token: str | None, **more: str) -> tuple[int, str | None]:
            request = proxy.build("GET", path, token)
            request.headers.update(more)
            answer = proxy.http.send(request)
            return answer.status_code, answer.headers.get("x-cache")

        for path in ("/api/jobs", "/v1/jobs?limit=10", "/api/v1/nodes"):
            assert [ask(path, "read") for _ in range(2)] == [(200, "MISS"), (200, "HIT")], path
            assert ask(path, "write") == (200, "MISS"), "another token"
            assert ask(path, None)[0] == 401, "none"
            assert [ask(path, None, authorization="Bearer wrong")[0] for _ in range(2)] == [401, 401]
        etag = proxy.request("GET", "/api/jobs", "read").headers["etag"]
        assert ask("/api/jobs", "read", **{"if-none-match": etag}) == (304, "HIT")
        made = proxy.request("POST", "/api/jobs", json={"name": "cached", "script_content": "#!/bin/sh\ntrue\n"})
        assert (made.status_code, made.headers.get("x-cache")) == (201, None)
        assert ask(f"/api/jobs/{made.json()['job_id']}", "read") == (200, None), "all else is not cached"
