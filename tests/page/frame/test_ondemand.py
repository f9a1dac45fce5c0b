"""Behind Open OnDemand: below `/node/HOST/PORT/`, which it leaves, and `/rnode/…`, which it takes away; in a frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.app_server import Server
from tests.page.conftest import watching
from tests.page.programs import serving_nginx
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.proxy]
HELD = {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}
# The portal is Apache; what its configuration does to requests and cookies is said here in words of nginx.
LOCATIONS = """
    location /node/{place}/ {{
      proxy_pass http://127.0.0.1:{behind};
      proxy_cookie_path ~.* /node/{place};
    }}
    location /rnode/{place}/ {{
      proxy_pass http://127.0.0.1:{behind}/;
      proxy_cookie_path ~.* /rnode/{place};
    }}
    location = /dashboard {{
      default_type text/html;
      return 200 '<title>Dashboard</title><link rel="icon" href="data:,"><iframe src="/node/{place}/#/jobs"></iframe>';
    }}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that was told where the portal serves it."""
    made = Server(tmp_path_factory.mktemp("site") / "store", "embedded")
    made.environment["SLUICE_ROOT_PATH"] = f"/node/n1/{made.port}"
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def portal(site: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the portal."""
    place = f"n1/{site.port}"
    locations = LOCATIONS.format(behind=site.port, place=place)
    with serving_nginx(tmp_path_factory.mktemp("portal"), locations, f"/node/{place}/") as url:
        yield url


def sign_in(place: Any, site: Server) -> None:
    """Sign in with a token, in a tab or a frame."""
    place.get_by_label("Token").fill(site.tokens["write"])
    place.get_by_label("Token").press("Enter")
    place.get_by_role("heading", name="Jobs", exact=True).wait_for()


@pytest.mark.parametrize("kind", ["node", "rnode"])
def test_a_path_that_is_left_and_one_that_is_taken_away(browser: Any, site: Server, portal: str, kind: str) -> None:
    folder = f"/{kind}/n1/{site.port}"
    with watching(browser, portal) as tab:
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(urlsplit(request.url).path))
        tab.goto(f"{folder}/#/jobs")
        sign_in(tab, site)
        (cookie,) = tab.context.cookies()
        assert (cookie["path"], cookie["httpOnly"]) == (folder, True)
        made = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
        tab.get_by_role("link", name=made, exact=True).click()
        tab.get_by_role("heading", name="held").wait_for()
        tab.reload()
        tab.get_by_role("heading", name="held").wait_for()
        assert [path for path in asked if not path.startswith(f"{folder}/")] == []
        tab.get_by_role("button", name="Sign out").click()
        tab.get_by_role("dialog", name="Sign in").wait_for()
        assert tab.context.cookies() == []
        tab.troubles.expect("401")


def read_policy(url: str) -> str:
    """Read what the page at a URL may do."""
    return httpx.get(url, headers={"accept": "text/html"}).headers["content-security-policy"]


def test_it_stands_in_a_frame_only_where_the_settings_say_so(browser: Any, site: Server, portal: str) -> None:
    file = site.store / "access.yaml"
    before = file.read_text()
    with watching(browser, portal) as tab:
        tab.goto("/dashboard")
        eventually(lambda: any("frame-ancestors" in trouble for trouble in tab.troubles), 20)
        tab.troubles[:] = []
        file.write_text(f'{before}frame_ancestors: ["{portal}"]\n')
        eventually(lambda: "frame-ancestors 'self'" in read_policy(f"{portal}/node/n1/{site.port}/"), 20)
        tab.goto("/dashboard")
        frame = tab.frame_locator("iframe")
        sign_in(frame, site)
        frame.get_by_role("link", name="Overview").click()
        frame.get_by_role("heading", name="Queue").wait_for()
        tab.troubles.expect("401")
    file.write_text(before)
