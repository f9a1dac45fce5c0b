"""Below a prefix, behind nginx with its default buffering: events come at once, and nothing leaves the prefix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.app_server import Server
from tests.page.conftest import watching
from tests.page.programs import serving_nginx

pytestmark = [pytest.mark.browser, pytest.mark.proxy]
PREFIX = "/x/y/"
HELD = {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}
LOCATION = "location {prefix} {{ proxy_pass http://127.0.0.1:{behind}/; }}"


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
    location = LOCATION.format(behind=site.port, prefix=PREFIX)
    with serving_nginx(tmp_path_factory.mktemp("nginx"), location, PREFIX) as url:
        yield url


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
