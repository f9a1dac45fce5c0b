"""Status reports: live, failed first, with stages, events and logs; and how a job reports, where none has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)> & \"quoted\" 'name'"


def report(site: Server, job_id: str, **body: Any) -> None:
    """Report something of a job."""
    answer = site.http.put(f"/srtslurm/api/jobs/{job_id}", json=body)
    assert answer.status_code < 300, answer.text


def report_log(site: Server, job_id: str, file: str, text: bytes) -> None:
    """Send a log of a job."""
    octets = {"Content-Type": "application/octet-stream"}
    query = {"file": file, "offset": 0}
    sent = site.http.post(f"/srtslurm/api/jobs/{job_id}/logs", params=query, content=text, headers=octets)
    assert sent.status_code < 300, sent.text


@pytest.fixture(scope="module")
def reported(site: Server) -> Iterator[Server]:
    """A server whose jobs have reported: one that failed, one that goes on."""
    for status, message in (("starting", "begins"), ("workers", "loading"), ("failed", EVIL)):
        report(site, "lost-1", status=status, message=message, metadata={"tags": ["nightly"], "cluster": "gpu-1"})
    report(site, "zz-9", status="workers", message="goes well")
    text = b"first line\n" + b"another line\n" * 9000 + b"last line\n"
    report_log(site, "lost-1", "logs/w0.out", text)
    yield site


# First, since the jobs of the others stay.
def test_what_it_is_and_how_a_job_reports(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/reports")
    tab.get_by_text("No job has reported yet").wait_for()
    line = tab.locator("pre").inner_text()
    assert line.startswith("curl -X PUT ") and f"{site.url}/srtslurm/api/jobs/$SLURM_JOB_ID" in line
    tab.get_by_role("button", name="Copy the line").click()
    tab.get_by_role("button", name="Copied").wait_for()
    report(site, "early", status="starting")
    tab.get_by_role("link", name="early").wait_for()
    assert site.http.delete("/srtslurm/api/jobs/early").status_code == 200
    tab.get_by_text("No job has reported yet").wait_for()


def test_the_list_is_live_and_what_failed_stands_first(reported: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/reports")
    rows = tab.get_by_role("table", name="Status reports").locator(".tbody [role=row]")
    rows.nth(1).wait_for()
    assert "lost-1" in rows.nth(0).inner_text() and EVIL in rows.nth(0).inner_text()
    assert tab.title().startswith("✗ 1 Status reports")
    report(reported, "zz-9", status="benchmark", message="half of it")
    rows.nth(1).get_by_text("half of it").wait_for()
    tab.get_by_label("Status", exact=True).select_option("failed")
    tab.get_by_text("1 job: 1 failed").wait_for()
    assert "status=failed" in tab.url
    tab.get_by_label("Tag").fill("none such")
    tab.get_by_text("No job fits the filter").wait_for()
    tab.get_by_role("button", name="Clear the filter").click()
    tab.get_by_text("2 jobs").wait_for()


def test_one_report_with_its_stages_and_log(reported: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/reports/lost-1")
    tab.get_by_role("heading", name="/ lost-1").wait_for()
    tab.locator(".timeline li").nth(2).wait_for()
    assert tab.locator("p.told").inner_text() == EVIL
    log = tab.get_by_role("region", name="Log of log logs/w0.out")
    log.get_by_text("last line").wait_for()
    assert "first line" not in log.inner_text(), "its end comes first"
    tab.get_by_role("button", name="Start", exact=True).click()
    log.get_by_text("first line").wait_for()
    report_log(reported, "lost-1", "logs/w1.out", b"only one line\n")
    tab.get_by_role("button", name="logs/w1.out").click()
    tab.get_by_role("region", name="Log of log logs/w1.out").get_by_text("only one line").wait_for()
    assert "log=logs%2Fw1.out" in tab.url
    tab.reload()
    tab.get_by_text("only one line").wait_for()
    report(reported, "lost-1", status="failed", message="still so")
    tab.locator("p.told").get_by_text("still so").wait_for()


def test_a_report_is_deleted_only_after_a_question(reported: Server, open_tab: Callable[..., Any]) -> None:
    report(reported, "gone", status="workers")
    tab = open_tab("#/reports/gone")
    tab.get_by_role("button", name="Delete the report").click()
    tab.keyboard.press("Enter")  # what has the focus keeps it
    tab.get_by_role("button", name="Delete the report").click()
    tab.get_by_role("group").get_by_role("button", name="Delete the report").click()
    tab.get_by_text("The report of job gone is deleted").wait_for()
    tab.get_by_role("link", name="Status reports").click()
    tab.get_by_role("heading", name="Status reports").wait_for()


def test_who_may_only_look_is_not_offered_what_changes_it(reported: Server, open_tab: Callable[..., Any]) -> None:
    headers = {"Authorization": f"Bearer {reported.tokens['read']}"}
    tab = open_tab("#/reports", extra_http_headers=headers)
    tab.get_by_role("link", name="lost-1").click()
    tab.get_by_role("region", name="Log of log").get_by_text("line").first.wait_for()
    remove = tab.get_by_role("button", name="Delete the report")
    assert remove.is_disabled() and "needs the scope write" in remove.get_attribute("title")


def test_ten_thousand_of_them(reported: Server, open_tab: Callable[..., Any]) -> None:
    """The newest two thousand are read; how many there are, and how to see the others, is said."""
    row = reported.http.get("/srtslurm/api/jobs").json()["jobs"][0]

    def answer(route: Any) -> None:
        page = int(parse_qs(urlsplit(route.request.url).query)["page"][0])
        rows = [row | {"job_id": f"many-{page}-{number}", "status": "completed"} for number in range(100)]
        body = json.dumps({"jobs": rows, "total": 10_000, "page": page, "per_page": 100})
        route.fulfill(body=body, headers={"content-type": "application/json", "x-change": "zz-1"})

    tab = open_tab("#/settings/page")
    tab.get_by_role("heading", name="Times").wait_for()
    tab.route("**/srtslurm/api/jobs?*", answer)
    tab.goto("/#/reports")
    tab.get_by_text("2,000 jobs (the newest of 10,000; filter to see older ones)").wait_for()
    assert tab.locator(".tbody [role=row]").count() < 100
    table = tab.get_by_role("table", name="Status reports")
    assert table.get_attribute("aria-rowcount") == "2001"
    table.focus()
    tab.keyboard.press("End")
    tab.locator(".tbody [aria-rowindex='2001']").wait_for()


def test_one_that_is_not_there(reported: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/reports/nothing")
    tab.get_by_role("button", name="Try again").wait_for()
    tab.troubles.expect("404")


def test_keys_alone(reported: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/reports")
    link = tab.get_by_role("link", name="lost-1")
    link.wait_for()
    link.focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name="/ lost-1").wait_for()
    tab.go_back()
    tab.get_by_role("heading", name="Status reports").wait_for()


@pytest.mark.parametrize("address", ["#/reports", "#/reports/lost-1"])
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_how_it_looks(reported: Server, open_tab: Callable[..., Any], address: str, width: int, dark: bool) -> None:
    tab = open_tab(address, width=width, dark=dark)
    tab.get_by_text("lost-1").first.wait_for()
    pick_theme(tab, dark)
    check_looks(tab, width)
