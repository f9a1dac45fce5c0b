"""The first visit: what this is, and a run from its beginning to its end by one button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks

pytestmark = pytest.mark.browser


def test_one_button_shows_a_run_to_its_end(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    tab.get_by_role("heading", name="Welcome to Sluice").wait_for()
    check_looks(tab, 1440)
    narrow = open_tab(width=400, dark=True)
    narrow.get_by_role("heading", name="Welcome to Sluice").wait_for()
    check_looks(narrow, 400)
    tab.get_by_role("button", name="Run the example").dblclick()
    tab.get_by_text("that was a run").wait_for()
    tab.locator(".log").get_by_text("3 greetings.txt").wait_for()
    tab.get_by_text("greetings.txt").first.wait_for()
    check_looks(tab, 1440)
    runs = site.http.get("/api/workflows/runs").json()
    assert [run["status"] for run in runs] == ["completed"]
    assert tab.get_by_role("link", name="Look at the run").get_attribute("href") == f"#/runs/{runs[0]['id']}"
    # From now on the usual view stands there.
    later = open_tab()
    later.get_by_role("heading", level=1).first.wait_for()
    assert later.get_by_role("heading", name="Welcome to Sluice").count() == 0
