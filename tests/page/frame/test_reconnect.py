"""A stream that ends: the page says since when, keeps what it shows, and misses nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.app_server import Server

pytestmark = pytest.mark.browser
HELD = {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that a test may end."""
    made = Server(tmp_path_factory.mktemp("site") / "store", "embedded")
    try:
        yield made.start()
    finally:
        made.close()


def test_a_restart_is_told_and_nothing_is_missed(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=first, exact=True).wait_for()
    site.end()
    tab.get_by_text("Not live since ").wait_for(timeout=20_000)
    assert tab.get_by_role("link", name=first, exact=True).is_visible(), "what was known stays"
    tab.get_by_role("button", name="Try now").click()
    site.start()
    second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]  # before the page is there again
    tab.get_by_role("link", name=second, exact=True).wait_for()
    tab.get_by_text("Not live since ").wait_for(state="hidden")
    site.http.delete(f"/api/v1/jobs/{first}")
    row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name=first, exact=True))
    row.get_by_text("cancelled").wait_for()
    tab.troubles[:] = [trouble for trouble in tab.troubles if "ERR_" not in trouble]  # one may have been under way


def test_what_came_while_the_machine_slept_is_there_after_it(site: Server, open_tab: Callable[..., Any]) -> None:
    """A server that is stopped, and goes on later, is to the browser what its own sleep is: silence."""
    assert site.process is not None
    tab = open_tab("#/jobs")
    first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=first, exact=True).wait_for()
    site.process.send_signal(signal.SIGSTOP)
    try:
        tab.get_by_text("Not live since ").wait_for(timeout=25_000)
    finally:
        site.process.send_signal(signal.SIGCONT)
    second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=second, exact=True).wait_for()
    tab.get_by_text("Not live since ").wait_for(state="hidden")


def test_a_frozen_tab_has_missed_nothing(site: Server, open_tab: Callable[..., Any]) -> None:
    """Browsers freeze tabs that nobody looks at."""
    tab = open_tab("#/jobs")
    first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=first, exact=True).wait_for()
    state = tab.context.new_cdp_session(tab)
    state.send("Page.setWebLifecycleState", {"state": "frozen"})
    second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    state.send("Page.setWebLifecycleState", {"state": "active"})
    tab.get_by_role("link", name=second, exact=True).wait_for()


def test_a_form_that_is_open_outlives_a_restart(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/config")
    tab.get_by_role("button", name="Change resources.time_limit").click()
    field = tab.get_by_role("dialog").get_by_label("resources.time_limit")
    field.fill("3:00:00")
    site.end()
    tab.get_by_role("button", name="Save").click()
    tab.get_by_role("alert").get_by_text("The server gave no answer").wait_for()
    assert field.input_value() == "3:00:00"
    site.start()
    tab.get_by_role("button", name="Save").click()
    tab.get_by_role("row").filter(has_text="resources.time_limit").get_by_text("config.yaml").wait_for()
    tab.troubles.expect("ERR_")
