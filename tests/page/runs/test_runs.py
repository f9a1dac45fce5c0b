"""The list of runs: live, filtered by its address, two chosen to compare, many cancelled at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.looks import check_looks
from tests.page.runs.run_pages import QUICK, Runs

pytestmark = pytest.mark.browser


def rows_of(tab: Any) -> Any:
    """The runs that are shown."""
    return tab.locator(".tbody .tr")


def test_none_yet_then_a_run_comes_and_ends(site: Server, tab: Any, tmp_path: Path) -> None:
    tab.goto("/#/runs")
    expect(tab.get_by_text("There are no runs yet.")).to_be_visible()
    expect(tab.get_by_role("link", name="Start a workflow")).to_be_visible()
    runs = Runs(site, tmp_path, "coming")
    run_id = runs.start(note="<i>x</i>")
    expect(rows_of(tab)).to_have_count(1)
    row = rows_of(tab).first
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("note=<i>x</i>")
    runs.let_end()
    expect(row).to_contain_text("completed")
    expect(row).to_contain_text("3/3")
    row.get_by_role("link", name="coming").click()
    expect(tab).to_have_url(re.compile(run_id))
    tab.go_back()
    expect(rows_of(tab)).to_have_count(1)


def test_the_address_is_the_filter(site: Server, tab: Any, tmp_path: Path) -> None:
    good = Runs(site, tmp_path, "good", QUICK)
    bad = Runs(site, tmp_path, "bad", QUICK.replace("echo", "false; echo", 1))
    for runs in (good, bad):
        runs.await_end(runs.start())
    tab.goto("/#/runs?status=failed")
    expect(rows_of(tab)).to_have_count(1)
    expect(rows_of(tab).first).to_contain_text("Jobs failed: train")
    heights = tab.locator(".tools :is(select, input[type=search], button)").evaluate_all(
        "(all) => all.map((each) => each.offsetHeight)"
    )
    assert len(set(heights)) == 1
    tab.get_by_label("State").select_option("")
    tab.get_by_label("Find runs").fill("good 0.1")
    expect(rows_of(tab)).to_have_count(1)
    expect(tab).to_have_url(re.compile("q=good"))
    tab.get_by_label("hide finished").check()
    expect(tab.get_by_text("fits the filter.")).to_be_visible()
    tab.get_by_role("button", name="Clear the filter").click()
    expect(rows_of(tab).nth(1)).to_be_visible()
    expect(tab.get_by_label("Find runs")).to_have_value("")


def test_two_are_compared_and_the_open_ones_cancelled(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "many")
    ids = [runs.start(), runs.start()]
    tab.goto("/#/runs?workflow=many")
    expect(rows_of(tab)).to_have_count(2)
    for box in rows_of(tab).get_by_role("checkbox").all():
        box.check()
    expect(tab.get_by_text("2 runs chosen")).to_be_visible()
    expect(tab.get_by_role("button", name="Compare")).to_be_enabled()
    tab.get_by_role("button", name="Cancel (2)").click()
    expect(tab.get_by_text(re.compile("Cancel 2 runs with . running and . waiting jobs"))).to_be_visible()
    tab.get_by_role("button", name="Cancel", exact=True).click()
    expect(tab.get_by_text("Cancel: done for 2 of 2")).to_be_visible()
    assert [runs.await_end(run_id)["status"] for run_id in ids] == ["cancelled", "cancelled"]
    tab.get_by_role("button", name="Compare").click()
    expect(tab).to_have_url(re.compile("compare"))
    expect(tab.get_by_role("heading", name="Two runs")).to_be_visible()


def test_csv_has_the_rows_and_columns_that_are_shown(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "exported", QUICK)
    runs.await_end(runs.start(word="=1+1"))
    tab.goto("/#/runs?workflow=exported")
    expect(rows_of(tab)).to_have_count(1)
    with tab.expect_download() as download:
        tab.get_by_role("button", name="CSV").click()
    text = Path(download.value.path()).read_text()
    assert text.splitlines()[0].startswith("Workflow,State,Jobs,Started,Duration,Args,What failed")
    assert "exported,completed," in text and text.count("\n") == 2


def test_of_very_many_it_says_that_there_are_older_ones(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "very-many", QUICK)
    ended = runs.await_end(runs.start())

    def answer(route: Any) -> None:
        at = int(parse_qs(urlsplit(route.request.url).query)["offset"][0])
        page = [{**ended, "id": f"run-{at + number}"} for number in range(500)]
        route.fulfill(json=page, headers={"x-total-count": "2345", "x-change": "1-1"})

    tab.route("**/api/workflows/runs?**", answer)
    tab.goto("/#/runs")
    said = "2,000 runs (the newest of 2,345; filter to see older ones)"
    expect(tab.get_by_text(said)).to_be_visible()


def test_it_says_what_could_not_be_loaded(tab: Any) -> None:
    tab.route("**/api/workflows/runs?**", lambda route: route.fulfill(status=500, json={"detail": "the disk is away"}))
    tab.goto("/#/runs")
    expect(tab.get_by_text("The runs could not be loaded. the disk is away")).to_be_visible()
    tab.unroute("**/api/workflows/runs?**")
    tab.get_by_role("button", name="Try again").click()
    expect(tab.get_by_text("could not be loaded")).to_have_count(0)
    tab.troubles.expect("500")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_how_it_looks(site: Server, open_tab: Callable[..., Any], tmp_path: Path, width: int, dark: bool) -> None:
    runs = Runs(site, tmp_path, "a-very-long-name-" * 3 + f"{width}-{dark}".lower(), QUICK)
    runs.await_end(runs.start())
    tab = open_tab("#/runs", width=width, dark=dark)
    expect(rows_of(tab).first).to_be_visible()
    check_looks(tab, width)
