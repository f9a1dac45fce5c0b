"""The reverse proxies of docs/operating.md, as they stand there, in front of a server."""

from __future__ import annotations

import configparser
import contextlib
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

from tests import ROOT
from tests.app_server import Server, free_port
from tests.waiting import eventually

PAGE = (ROOT / "docs" / "operating.md").read_text()
HOST = "sluice.example.org"


def read_block(kind: str) -> str:
    """The block of the page in this language."""
    (block,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


def replace(text: str, changes: dict[str, str]) -> str:
    """The text with what is different here; each place is there once."""
    for given, real in changes.items():
        assert text.count(given) == 1, given
        text = text.replace(given, real)
    return text


def write_nginx(folder: Path, port: int, behind: int) -> list[str]:
    """Write nginx.conf around the page's block; the command that starts it."""
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
        f"http {{\naccess_log off;\n{temporary}{replace(read_block('nginx'), given)}}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def write_caddy(folder: Path, port: int, behind: int) -> list[str]:
    """Write a Caddyfile of the page's block, with a certificate of our own; the command that starts it."""
    site = f"https://{HOST}:{port} {{\n    tls {folder}/sluice.pem {folder}/sluice.key"
    given = {"127.0.0.1:8000": f"127.0.0.1:{behind}", f"{HOST} {{": site}
    options = "{\n    admin off\n    auto_https disable_redirects\n    skip_install_trust\n}\n"
    (folder / "Caddyfile").write_text(options + replace(read_block("caddy"), given))
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES = {"nginx": write_nginx, "caddy": write_caddy}


class Proxy:
    """A proxy in front of a server; `http` calls through it, over TLS, by the name of the host."""

    def __init__(self, server: Server, port: int, trust: ssl.SSLContext) -> None:
        self.server, self.port, self.trust = server, port, trust
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


@pytest.fixture(params=sorted(PROXIES))
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    """Each proxy, started as the page says."""
    if shutil.which(request.param, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        assert os.environ.get("CI") != "true", f"{request.param} is missing"
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path / "proxy"
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    certificate.private_key_pem.write_to_path(folder / "sluice.key")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "sluice.pem", append=True)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    server = Server(tmp_path / "store", "embedded", SLUICE_ALLOWED_HOSTS=HOST)
    with contextlib.ExitStack() as undo:
        undo.callback(server.close)
        server.start()
        port = free_port()
        command = PROXIES[request.param](folder, port, server.port)
        undo.enter_context(running(command, folder))
        made = Proxy(server, port, trust)
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


def test_the_unit_is_one() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(read_block("ini"))
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["KillMode"] == "process"
    settings = re.findall(r"SLUICE_(\w+)=", unit["Service"]["Environment"])
    import app

    assert {name.lower() for name in settings} <= set(app.Settings.__dataclass_fields__)
