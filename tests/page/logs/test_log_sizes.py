"""Logs of any size: their end at once, lines by number, search, while the tab stays small."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.logs.log_pages import LogJob, find_first, number_lines, show_log
from tests.waiting import eventually

pytestmark = pytest.mark.browser
GIB = 2_000_000_000
HEAP_BYTES = 100_000_000


@pytest.fixture(scope="module")
def job(site: Server, tmp_path_factory: pytest.TempPathFactory) -> LogJob:
    """A job that has ended."""
    return LogJob(site, tmp_path_factory.mktemp("logs"))


def measure_heap(tab: Any) -> int:
    """How many bytes the page's objects take, after what is not needed is gone."""
    session = tab.context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


def line(tab: Any, text: str) -> Any:
    """The line with just this text."""
    return tab.locator(".log-text").get_by_text(text, exact=True)


def test_a_sparse_file_of_2_gb(tab: Any, job: LogJob) -> None:
    with job.stdout.open("wb") as file:
        file.write(number_lines(1, 1000).encode())
        file.truncate(GIB)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + number_lines(1002, 3000).encode())
    log = show_log(tab, job)
    expect(line(tab, "line 3000")).to_be_in_viewport()
    expect(tab.locator(".log-bar .count")).to_contain_text("3,000 lines", timeout=60_000)
    expect(line(tab, "line 3000")).to_be_in_viewport()
    log.focus()
    tab.keyboard.press("Home")
    expect(line(tab, "line 1")).to_be_in_viewport()
    tab.keyboard.press("/")
    tab.keyboard.type("line 2999")
    expect(tab.locator(".log-search .count")).to_have_text("1 of 1", timeout=60_000)
    expect(line(tab, "line 2999")).to_be_in_viewport()
    assert measure_heap(tab) < HEAP_BYTES
    job.write("")


def test_ten_million_lines(tab: Any, job: LogJob) -> None:
    count = 10_000_000
    with job.stdout.open("wb") as file:
        for million in range(10):
            first = million * 1_000_000 + 1
            file.write(b"\n".join(b"line %d" % number for number in range(first, first + 1_000_000)) + b"\n")
    log = show_log(tab, job)
    expect(line(tab, f"line {count}")).to_be_in_viewport()
    expect(tab.locator(".log-bar .count")).to_contain_text("10,000,000 lines", timeout=60_000)
    log.hover()
    tab.mouse.wheel(0, -180)
    expect(line(tab, f"line {count - 15}")).to_be_in_viewport()
    expect(line(tab, f"line {count}")).not_to_be_in_viewport()
    number = tab.locator(".log-row", has=line(tab, f"line {count - 15}")).locator(".log-number")
    expect(number).to_have_text(str(count - 15))
    # The scroll bar reaches everything: its middle is the middle of the log.
    log.evaluate("(log) => { log.scrollTop = (log.scrollHeight - log.clientHeight) / 2; }")
    expect(tab.locator(".log-text").get_by_text(re.compile("^line (4999|5000)9?"))).not_to_have_count(0)
    # A step of a wheel or a finger moves by its lines there too, and then the scroll bar stands where it should.
    number = find_first(log)
    box = log.bounding_box()
    tab.mouse.move(box["x"] + 50, box["y"] + 50)
    for _ in range(5):
        tab.mouse.wheel(0, 180)
    eventually(lambda: find_first(log) == number + 50)
    share = "(log) => log.scrollTop / (log.scrollHeight - log.clientHeight)"
    eventually(lambda: abs(log.evaluate(share) - 0.5) < 0.00001)
    log.focus()
    for _ in range(40):
        tab.keyboard.press("PageUp")
    tab.keyboard.press("End")
    expect(line(tab, f"line {count}")).to_be_in_viewport()
    tab.evaluate("viewer.showLines(7654321, 7654330)")
    expect(line(tab, "line 7654321")).to_be_in_viewport()
    expect(tab.locator(".log-chosen")).to_have_count(10)
    assert measure_heap(tab) < HEAP_BYTES
    job.write("")


def test_scrolling_through_many_lines_keeps_few(tab: Any, job: LogJob) -> None:
    job.write(number_lines(1, 200_000, " " + "x" * 200))
    log = show_log(tab, job)
    expect(tab.locator(".log-bar .count")).to_contain_text("200,000 lines")
    log.focus()
    tab.keyboard.press("Home")
    for at in range(0, 200_000, 4000):
        log.evaluate("(log, px) => { log.scrollTop = px; }", at * 18)
        expect(tab.locator(".log-text").get_by_text(f"line {at + 10} ")).to_be_in_viewport()
    assert tab.locator(".log-row").count() < 200
    assert measure_heap(tab) < HEAP_BYTES
    job.write("")
