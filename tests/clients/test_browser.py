"""What a person sees in a browser: the documentation page renders the contract, from this server alone."""

from __future__ import annotations

import contextlib
import html
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.app_server import Server
from tests.contract_judge import operations

pytestmark = pytest.mark.browser
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
OFFLINE = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def cluster() -> str:
    """The pages are the same on every cluster."""
    return "embedded"


def show(url: str, profile: Path) -> str:
    """What the page has become after its scripts are done."""
    return run_browser(url, profile, "--dump-dom").stdout


def run_browser(url: str, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What the browser prints when the page's scripts are done."""
    if BROWSER is None:
        assert os.environ.get("CI") != "true", "Chromium is missing"
        pytest.skip("Chromium is not installed")
    command = [BROWSER, *OFFLINE, f"--user-data-dir={profile}", "--virtual-time-budget=15000", *options, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def list_s9s_paths() -> list[str]:
    """The paths of the S9S API, relative to its roots."""
    family = [path for path, _, spec in operations() if spec["tags"] == ["s9s"]]
    return [path.removeprefix("/api/v1") for path in family]


def test_the_documentation_shows_every_operation(server: Server, tmp_path: Path) -> None:
    page = show(f"{server.url}/docs", tmp_path / "profile")
    for path, method, _ in operations():
        assert f'data-path="{path}"' in page, f"{method} {path} is not on the page"
    assert "cannot be shown" not in page and "No operations defined" not in page


def test_the_documentation_shows_one_api_alone(server: Server, tmp_path: Path) -> None:
    page = show(f"{server.url}/docs?api=s9s", tmp_path / "profile")
    paths = re.findall(r'data-path="([^"]*)"', page)
    assert set(paths) == set(list_s9s_paths())
    assert ">OAS 3.0<" in page and 'href="docs?api=s9s" aria-current="page"' in page


def test_redoc_shows_the_api(server: Server, tmp_path: Path) -> None:
    done = run_browser(f"{server.url}/redoc", tmp_path / "profile", "--dump-dom", "--enable-logging=stderr")
    text = html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]*>", "", done.stdout, flags=re.DOTALL))
    assert "cannot be shown" not in text
    # Operations are drawn when they come into sight; the menu has their subjects.
    for subject in {path.split("/")[1].partition(".")[0] for path in list_s9s_paths()}:
        assert subject in text, f"{subject} is not on the page"
    asked = set(re.findall(r"(?:Connecting to|Loading the \w+) '(https?://[^']*)'", done.stderr))
    assert {url for url in asked if server.url not in url} <= {LOGO}, "nothing is asked for elsewhere"


# ReDoc shows who made it; the policy of the page refuses that, and an empty place stays.
LOGO = "https://cdn.redoc.ly/redoc/logo-mini-full.svg"


# What a person does to call an operation: log in with the token, open the operation, try it out.
PERSON = """
const find = (selector, text = "") => new Promise((resolve) => {
  const look = setInterval(() => {
    const found = [...document.querySelectorAll(selector)].find((each) => each.textContent.includes(text));
    if (found) { clearInterval(look); resolve(found); }
  }, 50);
});
const press = async (selector, text) => (await find(selector, text)).click();
(async () => {
  await press(".scheme-container button.authorize", "Authorize");
  const field = await find(".modal-ux .auth-container input");
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, "TOKEN");
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await press(".modal-ux .auth-btn-wrapper button", "Authorize");
  await press(".modal-ux button.btn-done", "Close");
  await press("#operations-srunx-srunx_submit_job button.opblock-summary-control");
  await press("#operations-srunx-srunx_submit_job button.try-out__btn");
  await press("#operations-srunx-srunx_submit_job button.execute");
  document.title = "answered " + (await find(".live-responses-table .response-col_status", "201")).textContent;
})();
"""


@contextlib.contextmanager
def proxying(server: Server, script: str) -> Iterator[str]:
    """The address of a proxy that shows the server below /sluice/, as nginx does, with the person's script."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/sluice")
            if path == self.path:
                return self.send_error(404)
            if path == "/person.js":
                return self.reply(httpx.Response(200, headers={"content-type": "text/javascript"}, text=script))
            kept = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "accept-encoding")}
            length = int(self.headers.get("content-length", 0))
            answer = server.http.request(
                self.command, path, headers={**kept, "X-Forwarded-For": "192.0.2.1", "Accept-Encoding": "identity"},
                content=self.rfile.read(length) if length else None,
            )  # fmt: skip
            if path == "/docs":
                text = answer.text.replace("</body>", '<script src="person.js"></script></body>')
                answer = httpx.Response(200, headers={"content-type": "text/html"}, text=text)
            return self.reply(answer)

        do_POST = do_GET

        def reply(self, answer: httpx.Response) -> None:
            self.send_response(answer.status_code)
            for key in ("content-type", "content-security-policy"):
                if key in answer.headers:
                    self.send_header(key, answer.headers[key])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_line: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}/sluice"
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


def test_a_person_can_log_in_below_a_prefix(server: Server, tmp_path: Path) -> None:
    script = PERSON.replace("TOKEN", server.tokens["write"])
    with proxying(server, script) as url:
        assert httpx.get(f"{url}/api/jobs").status_code == 401, "who comes through a proxy needs a token"
        page = show(f"{url}/docs", tmp_path / "profile")
    said = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert "<title>answered 201" in page, said[-3000:]
    assert f"{url}/api/jobs" in said
