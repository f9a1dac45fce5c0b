"""Browsers, addresses and answers that are not as they should be: the page says so, and works as far as it can."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.conftest import make_context, watching_tab

pytestmark = pytest.mark.browser
HELD = {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}
STORAGES = {
    "forbidden": """for (const name of ["localStorage", "sessionStorage"]) {
        Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });
    }""",
    "full": 'Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };',
    "spoiled": """if (location.protocol === "http:") for (const storage of [localStorage, sessionStorage]) {
        for (const key of ["columns:jobs", "notify", "zone", "keys", "draft:submit"]) storage.setItem(key, "{no");
    }""",
}


@pytest.fixture
def open_changed(browser: Any, site: Server) -> Iterator[Callable[..., Any]]:
    """Open a tab in a browser of its own, in which a script runs before the page does."""
    with ExitStack() as ending:

        def open_one(script: str, address: str) -> Any:
            context = make_context(browser, site.url)
            ending.callback(context.close)
            context.add_init_script(script)
            tab = ending.enter_context(watching_tab(context.new_page(), site.url))
            tab.goto(f"/{address}")
            return tab

        yield open_one


@pytest.mark.parametrize("storage", STORAGES)
def test_the_page_works_without_storage(storage: str, site: Server, open_changed: Callable[..., Any]) -> None:
    job = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab = open_changed(STORAGES[storage], "#/jobs")
    tab.get_by_role("link", name=job, exact=True).wait_for()
    tab.get_by_label("Time zone").select_option("UTC")
    tab.get_by_role("button", name="Submit a job").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("Script").press_sequentially("x")
    dialog.get_by_role("button", name="Close").click()
    tab.get_by_role("link", name="Settings").click()
    tab.get_by_role("tab", name="This browser").click()
    tab.get_by_text("All times are in UTC").wait_for()


def test_a_clock_that_is_an_hour_off_makes_no_job_older(site: Server, open_changed: Callable[..., Any]) -> None:
    site.http.post("/api/v1/jobs", json={"job_name": "young", "script": "#!/bin/bash\nsleep 300\n"})
    tab = open_changed("const right = Date.now; Date.now = () => right() + 3_600_000;", "#/jobs")
    row = tab.get_by_role("row").filter(has_text="young")
    row.get_by_text("running").wait_for()
    assert re.search(r"\b\d+ s\b", row.inner_text()), row.inner_text()


def test_an_address_that_is_no_text_is_told(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    tab.get_by_role("heading", name="Jobs").wait_for()
    tab.evaluate("location.hash = '#/jobs/100%'")
    tab.get_by_text("“100%” is no id of a job").wait_for()
    tab.go_back()
    tab.get_by_role("heading", name="Jobs", exact=True).wait_for()
    tab.troubles.expect("400")


@pytest.mark.parametrize("name", ["..", "."])
def test_a_name_that_is_a_step_asks_for_no_other_operation(name: str, open_tab: Callable[..., Any]) -> None:
    tab = open_tab(f"#/runs/{name}")
    tab.get_by_text("There is no run with this id.").wait_for()


ANSWERS = {
    "half": ('{"runs": [{"id"', "application/json", "The answer was cut off"),
    "proxy": ("<html>Sign in to the proxy", "text/html", "Something between this browser and the server has answered"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_none_is_told(answer: str, open_tab: Callable[..., Any]) -> None:
    body, kind, words = ANSWERS[answer]
    tab = open_tab("#/overview")
    tab.route("**/api/workflows/runs*", lambda route: route.fulfill(body=body, content_type=kind))
    tab.get_by_role("link", name="Runs", exact=True).click()
    tab.get_by_role("alert").get_by_text(words).wait_for()
    tab.unroute("**/api/workflows/runs*")
    tab.get_by_text("There are no runs yet").wait_for()  # it is asked for again by itself


def test_a_server_that_does_not_answer_at_the_start_is_asked_again(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("empty")
    tab.route("**/api/session", lambda route: route.fulfill(status=503, json={"detail": "starting"}), times=1)
    tab.goto("/#/jobs")
    tab.get_by_text("The page could not be loaded. Starting.").wait_for()
    tab.get_by_role("heading", name="Jobs", exact=True).wait_for()
    tab.troubles.expect("503")


def test_a_list_that_cannot_be_read_again_says_so_and_loses_nothing(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    tab.get_by_role("heading", name="Jobs", exact=True).wait_for()
    first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=first, exact=True).wait_for()
    tab.route("**/api/v1/jobs?*", lambda route: route.fulfill(status=503, json={"detail": "starting"}))
    site.end()
    site.start()
    second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_text("Rows may be missing or old").wait_for()
    tab.unroute("**/api/v1/jobs?*")
    tab.get_by_role("link", name=second, exact=True).wait_for()
    expect(tab.get_by_text("Rows may be missing or old")).to_have_count(0)
    tab.troubles.expect("503")
    tab.troubles[:] = [trouble for trouble in tab.troubles if "ERR_" not in trouble]


@pytest.mark.parametrize(
    ("view", "paths", "heading"),
    [
        ("overview", "**/api/v1/metrics/**", "Queue"),
        ("nodes", "**/api/{v1/partitions,overview}", "Nodes and partitions"),
        ("settings/notifications", "**/api/deliveries**", "Deliveries"),
    ],
)
def test_leaving_while_all_is_being_read_is_no_trouble(
    view: str, paths: str, heading: str, open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/runs")
    tab.get_by_text("There are no runs yet").wait_for()
    tab.route(paths, lambda route: None)  # never answered
    tab.evaluate(f"location.hash = '#/{view}'")
    tab.get_by_role("heading", name=heading).first.wait_for()
    tab.get_by_role("link", name="Runs", exact=True).click()
    tab.get_by_text("There are no runs yet").wait_for()
