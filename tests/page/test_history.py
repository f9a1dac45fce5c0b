"""History: what ended in a range of time, what it used, and exports and reports of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme
from tests.waiting import eventually

pytestmark = pytest.mark.browser
EVIL = "<b>bold</b> & 'more'"


@pytest.fixture(scope="module")
def ended(site: Server) -> Iterator[Server]:
    """A server with three jobs that have ended, one of them badly, and one that waits."""
    for name, script in ((EVIL, "exit 3"), ("good", "true"), ("fine", "true"), ("held", "#SBATCH -H\ntrue")):
        made = site.http.post("/api/v1/jobs", json={"job_name": name, "script": f"#!/bin/bash\n{script}\n"})
        assert made.status_code == 201, made.text
    query = {"start_time": "now-1d", "state": "COMPLETED,FAILED"}
    eventually(lambda: site.http.get("/api/v1/jobs", params=query).json()["total"] == 3)
    yield site


def test_jobs_of_a_time_their_sums_and_a_filter(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history")
    tab.get_by_text("3 jobs: 1 failed, 1 more not ended yet").wait_for()
    tab.get_by_role("table", name="Jobs that ended").get_by_text(EVIL).wait_for()
    tab.get_by_label("Sums by").select_option("state")
    tab.get_by_role("rowheader", name="FAILED").wait_for()
    assert "by=state" in tab.url
    total = tab.get_by_role("row").filter(has=tab.get_by_role("rowheader", name="All"))
    assert total.get_by_role("cell").all_inner_texts()[:2] == ["3", "1"]
    tab.get_by_label("Filter").fill("state = COMPLETED")
    tab.get_by_text("2 jobs", exact=True).wait_for()
    tab.reload()
    tab.get_by_text("2 jobs", exact=True).wait_for()
    tab.get_by_label("Filter").fill("state = NODE_FAIL")
    tab.get_by_text("No job that ended in this time fits the filter").wait_for()
    tab.get_by_role("button", name="Clear the filter").click()
    tab.get_by_text("3 jobs: 1 failed").wait_for()


def test_a_filter_is_completed(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history")
    tab.get_by_text("3 jobs: 1 failed").wait_for()
    tab.get_by_label("Filter").fill("state=COMPLETE")
    tab.get_by_role("option", name="COMPLETED").wait_for()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    tab.get_by_text("2 jobs", exact=True).wait_for()
    # What was typed before names no state; whether that was asked depends on how fast it was completed.
    tab.troubles[:] = [trouble for trouble in tab.troubles if "status of 400" not in trouble]


def test_a_filter_that_says_nothing_is_told_beside_it(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history")
    tab.get_by_text("3 jobs: 1 failed").wait_for()
    tab.get_by_label("Filter").fill("state = ")
    tab.get_by_label("Filter").press("Enter")
    tab.locator(".refusal").filter(has_text="value").wait_for()
    tab.get_by_role("table", name="Jobs that ended").get_by_text(EVIL).wait_for()


def test_the_range_stands_in_the_address_and_follows_the_zone(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history?from=2020-01-01T10:00:00.000Z&to=2020-01-02T10:00:00.000Z", timezone_id="Asia/Tokyo")
    tab.get_by_text("No job ended in this time").wait_for()
    assert tab.get_by_label("From").input_value().startswith("2020-01-01T19:00")
    tab.get_by_label("Time zone").select_option("UTC")
    assert tab.get_by_label("From").input_value().startswith("2020-01-01T10:00")
    tab.get_by_label("From").fill("2020-01-01T11:30:15")
    tab.wait_for_url("**from=2020-01-01T11%3A30%3A15.000Z**")
    tab.get_by_label("Time", exact=True).select_option("7d")
    tab.get_by_text("3 jobs: 1 failed").wait_for()
    assert "last=7d" in tab.url and "from=" not in tab.url


def test_an_export_is_made_watched_fetched_and_deleted(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history?tab=files")
    tab.get_by_text("There are no exports or reports").wait_for()
    tab.get_by_role("button", name="Export…").click()
    tab.get_by_label("Columns").fill("job_id, nonsense")
    tab.get_by_role("button", name="Make", exact=True).click()
    tab.locator(".field.wrong, .refusal p").filter(has_text="nonsense").wait_for()
    assert tab.get_by_label("Columns").input_value() == "job_id, nonsense", "what is typed stays"
    tab.get_by_label("Columns").fill("job_id, job_name")
    tab.get_by_role("button", name="Make", exact=True).click()
    row = tab.get_by_role("row").filter(has_text="export: jobs as csv")
    row.get_by_text("completed").wait_for()
    with tab.expect_download() as downloading:
        row.get_by_role("link", name="Download").click()
    assert Path(downloading.value.path()).read_text().splitlines()[0] == "job_id,job_name"
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("group").get_by_role("button", name="Delete").click()
    tab.get_by_text("There are no exports or reports").wait_for()
    tab.troubles.expect("status of 400")


def test_a_report_on_efficiency(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history")
    tab.get_by_role("button", name="Report…").click()
    tab.get_by_label("Format").select_option("md")
    tab.get_by_role("button", name="Make", exact=True).click()
    row = tab.get_by_role("row").filter(has_text="report: efficiency as md")
    row.get_by_text("completed").wait_for()
    with tab.expect_download() as downloading:
        row.get_by_role("link", name="Download").click()
    assert Path(downloading.value.path()).read_text().startswith("# ")


def test_keys_alone(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history")
    tab.get_by_text("3 jobs: 1 failed").wait_for()
    tab.get_by_role("tab", name="Jobs").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.get_by_role("tab", name="Exports and reports").get_attribute("aria-selected") == "true"
    tab.get_by_role("button", name="Export…").focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("dialog").wait_for()
    tab.keyboard.press("Escape")
    tab.get_by_role("dialog").wait_for(state="detached")


def test_who_may_only_look_is_not_offered_to_make_files(ended: Server, open_tab: Callable[..., Any]) -> None:
    headers = {"Authorization": f"Bearer {ended.tokens['read']}"}
    tab = open_tab("#/history", extra_http_headers=headers)
    tab.get_by_text("3 jobs: 1 failed").wait_for()
    for name in ("Export…", "Report…"):
        button = tab.get_by_role("button", name=name)
        assert button.is_disabled() and "needs the scope write" in button.get_attribute("title")
    tab.get_by_role("tab", name="Exports and reports").click()
    tab.get_by_text("There are no exports or reports").or_(tab.get_by_role("table")).first.wait_for()


def test_ten_thousand_jobs_and_their_sums(ended: Server, open_tab: Callable[..., Any]) -> None:
    query = {"start_time": "now-1d", "state": "COMPLETED"}
    row = ended.http.get("/api/v1/jobs", params=query).json()["jobs"][0]

    def make_row(number: int) -> dict[str, Any]:
        name = {"job_id": str(90_000 + number), "job_name": f"many-{number}", "user": f"user{number % 40}"}
        return row | name | {"elapsed_time": "1:00:00", "cpu_count": 2, "gpus": number % 2}

    def answer(route: Any) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        offset, limit = (int(asked.get(name, ["0"])[0]) for name in ("offset", "limit"))
        rows = [make_row(number) for number in range(offset, min(offset + limit, 12_000))]
        body = {"jobs": rows, "total": 12_000, "has_more": offset + limit < 12_000}
        route.fulfill(body=json.dumps(body), headers={"content-type": "application/json", "x-change": "zz-1"})

    tab = open_tab("#/settings/page")
    tab.get_by_role("heading", name="Times").wait_for()
    tab.route("**/api/v1/jobs?*", answer)
    tab.goto("/#/history")
    count = tab.get_by_text("(the newest of 12,000; filter to see older ones)")
    count.wait_for()
    read = int(count.inner_text().split()[0].replace(",", ""))
    assert read >= 10_000
    total = tab.get_by_role("row").filter(has=tab.get_by_role("rowheader", name="All"))
    assert total.get_by_role("cell").all_inner_texts() == [f"{read:,}", "0", f"{2 * read:,}", f"{read // 2:,}"]
    assert tab.get_by_role("columnheader", name="User").first.inner_text() == "User"
    assert tab.locator(".tbody [role=row]").count() < 100
    table = tab.get_by_role("table", name="Jobs that ended")
    assert table.get_attribute("aria-rowcount") == str(read + 1)


# Last of those that count, since there is one job more after it.
def test_a_job_that_ends_now_comes_in(ended: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/history")
    tab.get_by_text("3 jobs: 1 failed").wait_for()
    made = ended.http.post("/api/v1/jobs", json={"job_name": "late", "script": "#!/bin/bash\ntrue\n"})
    tab.get_by_role("table", name="Jobs that ended").get_by_text("late", exact=True).wait_for()
    assert ended.http.delete(f"/api/v1/jobs/{made.json()['job_id']}").status_code < 500, "it stays in accounting"


@pytest.mark.parametrize("address", ["#/history", "#/history?tab=files", "#/history?from=2020-01-01&to=2020-01-02"])
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_how_it_looks(ended: Server, open_tab: Callable[..., Any], address: str, width: int, dark: bool) -> None:
    tab = open_tab(address, width=width, dark=dark)
    tab.locator(".table, table, .empty").first.wait_for()
    pick_theme(tab, dark)
    check_looks(tab, width)
