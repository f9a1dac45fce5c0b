"""The frame of the page: it opens, is live, and says when it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.app_server import Server

pytestmark = pytest.mark.browser
HOLD = {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}


def test_a_job_that_is_submitted_stands_there_at_once(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    tab.get_by_role("heading", name="Jobs").wait_for()
    made = site.http.post("/api/v1/jobs", json=HOLD).json()
    row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name=made["job_id"], exact=True))
    row.get_by_text("pending").wait_for()
    site.http.delete(f"/api/v1/jobs/{made['job_id']}")
    row.get_by_text("cancelled").wait_for()


@pytest.mark.parametrize("host", ["127.0.0.1", "sluice.test"])
def test_nine_tabs_have_one_stream(site: Server, open_tab: Callable[..., Any], host: str) -> None:
    """Also on a host name over plain http, where browsers have no locks."""
    first = open_tab("#/jobs", url=site.url.replace("127.0.0.1", host))
    first.get_by_role("heading", name="Jobs").wait_for()
    tabs = [first, *(first.context.new_page() for _ in range(8))]
    for tab in tabs[1:]:
        tab.goto("/#/jobs")
        tab.get_by_role("heading", name="Jobs").wait_for()
    made = site.http.post("/api/v1/jobs", json=HOLD).json()
    for tab in tabs:
        tab.get_by_role("link", name=made["job_id"], exact=True).wait_for()
    counted = [line for line in site.http.get("/metrics").text.splitlines() if line.startswith("sluice_event_readers")]
    assert [float(line.split()[-1]) for line in counted] == [1.0]
    site.http.delete(f"/api/v1/jobs/{made['job_id']}")
