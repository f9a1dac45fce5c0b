"""Below a prefix, behind nginx with its default buffering: events come at once, and nothing leaves the prefix."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.app_server import Server, free_port
from tests.page.conftest import watching
from tests.page.programs import find_program
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.proxy]
PREFIX = "/x/y/"
HELD = {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}
CONFIGURATION = """
daemon off; pid {folder}/pid; error_log stderr; {user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {prefix} {{
      proxy_pass http://127.0.0.1:{behind}/;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that everybody needs a token for, who comes through the proxy."""
    made = Server(tmp_path_factory.mktemp("site") / "store", "embedded")
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def address(site: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of nginx in front of it."""
    find_program("nginx")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    user = "user root;" if Path("/root").owner() == "root" and Path.home() == Path("/root") else ""
    text = CONFIGURATION.format(folder=folder, port=port, behind=site.port, prefix=PREFIX, user=user)
    (folder / "nginx.conf").write_text(text)
    nginx = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{url}{PREFIX}health").status_code == 200, 20)
        yield url
    finally:
        nginx.terminate()
        nginx.wait(20)


def test_the_page_lives_below_a_prefix(browser: Any, site: Server, address: str) -> None:
    with watching(browser, address) as tab:
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(urlsplit(request.url).path))
        tab.goto(f"{PREFIX}#/jobs")
        tab.get_by_label("Token").fill(site.tokens["write"])
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name="Jobs").wait_for()
        (cookie,) = tab.context.cookies()
        assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == (PREFIX, True, "Strict")
        first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
        tab.get_by_role("link", name=first, exact=True).wait_for()
        second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
        # Nothing on the way gathers events: a proxy that did would wait for more of them.
        tab.get_by_role("link", name=second, exact=True).wait_for()
        tab.goto(f"{PREFIX}#/settings/about")
        tab.get_by_role("link", name="/docs").click()
        tab.wait_for_url(f"**{PREFIX}docs")
        assert [path for path in asked if not path.startswith(PREFIX)] == []
        tab.troubles[:] = [trouble for trouble in tab.troubles if "401" not in trouble]
