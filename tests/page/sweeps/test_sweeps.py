"""The list of sweeps: live, failed first at hand, several at once, and what it says when there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme
from tests.page.sweeps import sweep_pages

pytestmark = pytest.mark.browser


# First, since the sweeps of the others stay.
def test_none_yet_and_then_the_first(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/sweeps")
    tab.get_by_text("There are no sweeps yet.").wait_for()
    expect(tab.get_by_role("link", name="Choose a workflow")).to_be_visible()
    number = sweep_pages.start(site, "fit", {"lr": [0.01, 1], "seed": [1, 2]}, max_parallel=4)
    row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name=str(number), exact=True))
    row.get_by_text("4 of 4 ended, 1 failed").wait_for()
    expect(row).to_contain_text("lr (2) × seed (2)")
    expect(row).to_contain_text("train.loss 0.14286 (lr = 0.01, seed = 1)")
    expect(tab.get_by_role("status").filter(has_text="1 sweep: 1 failed")).to_be_visible()


@pytest.fixture(scope="module")
def ended_sweep(site: Server) -> int:
    """A sweep that has ended."""
    number = sweep_pages.start(site, "fit", {"lr": [0.01, 1], "seed": [1, 2]}, max_parallel=4)
    sweep_pages.finish(site, number)
    return number


def test_filters_stand_in_the_address(site: Server, ended_sweep: int, open_tab: Callable[..., Any]) -> None:
    number = sweep_pages.start(site, "fit", {"lr": [0.01], "seed": [1, 3]}, max_parallel=4)
    sweep_pages.finish(site, number)
    tab = open_tab("#/sweeps?state=failed")
    link = tab.get_by_role("link", name=str(number), exact=True)
    tab.get_by_role("link", name=str(ended_sweep), exact=True).wait_for()
    expect(link).to_have_count(0)
    tab.get_by_label("Show").select_option("open")
    tab.get_by_text("fits the filter.").wait_for()
    tab.get_by_role("button", name="Clear the filter").click()
    expect(link).to_be_visible()


def test_several_are_cancelled_after_a_question(site: Server, open_tab: Callable[..., Any]) -> None:
    numbers = [sweep_pages.start(site, "hold", {"lr": [1, 2], "seed": [1]}, max_parallel=1) for _ in range(2)]
    tab = open_tab("#/sweeps")
    for number in numbers:
        tab.get_by_role("checkbox", name=f"Select {number}", exact=True).check()
    tab.get_by_role("button", name="Cancel (2)").click()
    question = tab.get_by_role("group", name="Cancel 4 cells of 2 sweeps?")
    expect(question.get_by_role("button", name="Keep")).to_be_focused()
    question.get_by_role("button", name="Cancel", exact=True).click()
    for number in numbers:
        sweep_pages.finish(site, number)
        row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name=str(number), exact=True))
        expect(row).to_contain_text("cancelled")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False), (400, True)])
def test_how_they_look(ended_sweep: int, open_tab: Callable[..., Any], width: int, dark: bool) -> None:
    tab = open_tab("#/sweeps", width=width, dark=dark)
    pick_theme(tab, dark)
    tab.get_by_role("row").nth(1).wait_for()
    check_looks(tab, width)


def test_the_keyboard_opens_a_sweep(ended_sweep: int, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/sweeps")
    link = tab.get_by_role("link", name=str(ended_sweep), exact=True)
    link.focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name=f"Sweep {ended_sweep}: fit").wait_for()


def test_a_list_that_cannot_be_read_says_so(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    denied = {"detail": "This needs the scope read"}
    tab.route("**/api/sweep_runs", lambda route: route.fulfill(status=403, json=denied))
    tab.goto("/#/sweeps")
    tab.get_by_text("You may not see the sweeps. This needs the scope read").wait_for()
    tab.troubles.expect("403")
