"""Overview: each pane by itself, live, with what failed and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)> & \"q\" 'n'"
FAILS = "#!/bin/bash\necho 'No module named torch' >&2\nexit 3\n"
HELD = "#!/bin/bash\n#SBATCH -H\ntrue\n"


def submit(site: Server, name: str, script: str) -> str:
    """Submit a job; return its id."""
    return str(site.http.post("/api/v1/jobs", json={"job_name": name, "script": script}).json()["job_id"])


def pane(tab: Any, title: str) -> Any:
    """A pane by its heading."""
    return tab.get_by_role("region", name=title, exact=True)


def test_nothing_yet_is_told_pane_by_pane(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/page")
    tab.get_by_role("heading", name="Times").wait_for()
    tab.route("**/api/v1/jobs?*", lambda route: route.fulfill(json={"jobs": [], "total": 0}))
    tab.route("**/api/workflows/runs?*", lambda route: route.fulfill(json=[]))
    tab.goto("/#/overview")
    pane(tab, "My jobs now").get_by_text("No job of ").wait_for()
    pane(tab, "Failed lately").get_by_text("Nothing has failed").wait_for()
    pane(tab, "Alerts").get_by_text("Nothing is wrong").wait_for()
    pane(tab, "Store problems").get_by_text("Every file of the store is as it should be").wait_for()
    pane(tab, "Queue").get_by_role("link", name="main").wait_for()
    cluster = pane(tab, "Cluster")
    cluster.get_by_text("embedded in this server").wait_for()
    cluster.get_by_text(" free").wait_for()
    pane(tab, "Load").get_by_role("img", name="CPUs allocated, the last 24 hours").wait_for()


def test_jobs_come_and_fail_before_the_eyes(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/overview")
    pane(tab, "Queue").get_by_role("link", name="main").wait_for()
    held, failed = submit(site, "waits", HELD), submit(site, EVIL, FAILS)
    mine = pane(tab, "My jobs now")
    mine.get_by_role("link", name="waits").wait_for()
    mine.get_by_text("held").first.wait_for()
    link = tab.locator(f"a[href='#/jobs/{failed}']")
    row = pane(tab, "Failed lately").get_by_role("listitem").filter(has=link)
    row.get_by_text("exit code 3").wait_for()
    row.get_by_text("No module named torch").wait_for()
    assert row.get_by_role("link").inner_text() == f"job {EVIL}"
    pane(tab, "Queue").get_by_role("cell", name="1", exact=True).wait_for()
    site.http.delete(f"/api/v1/jobs/{held}")
    mine.get_by_text("No job of ").wait_for()


def test_a_broken_file_is_told_with_its_place(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/overview")
    pane(tab, "Store problems").get_by_text("Every file").wait_for()
    broken = site.store / "workflows" / "broken.yaml"
    broken.write_text("name: broken\njobs: [\n")
    problems = pane(tab, "Store problems")
    problems.get_by_role("link", name="workflows/broken.yaml").wait_for()
    broken.unlink()
    problems.get_by_text("Every file").wait_for()


def test_a_pane_that_fails_leaves_the_others_alone(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/page")
    tab.get_by_role("heading", name="Times").wait_for()
    tab.route("**/api/v1/alerts*", lambda route: route.fulfill(status=500, json={"error": {"message": "no memory"}}))
    tab.goto("/#/overview")
    alerts = pane(tab, "Alerts")
    alerts.get_by_text("Alerts could not be loaded. no memory").wait_for()
    pane(tab, "Queue").get_by_role("link", name="main").wait_for()
    tab.unroute("**/api/v1/alerts*")
    alerts.get_by_role("button", name="Try again").click()
    alerts.get_by_text("Nothing is wrong").wait_for()
    tab.troubles.expect("500")


def test_one_switch_turns_all_times(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/overview", timezone_id="Asia/Tokyo")
    up = pane(tab, "Cluster").locator("dd").nth(4)
    up.wait_for()
    before = up.inner_text()
    tab.get_by_label("Time zone").select_option("UTC")
    assert up.inner_text() != before


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 400])
def test_it_looks_right(site: Server, open_tab: Callable[..., Any], width: int, dark: bool) -> None:
    submit(site, EVIL, FAILS)
    tab = open_tab("#/overview", width=width, dark=dark)
    pane(tab, "Failed lately").get_by_text(EVIL).first.wait_for()
    pane(tab, "Load").get_by_role("img").first.wait_for()
    pick_theme(tab, dark)
    check_looks(tab, width)
