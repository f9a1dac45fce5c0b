"""The timeline of jobs: what its bars and its axis say, run in the page as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CALL = """async ({ name, given }) => {
  const source = document.querySelector("script[type=module]").src;
  const { listBars, listTicks } = await import(new URL("parts/gantt.js", source));
  if (name === "listTicks") return listTicks(...given);
  const [job, run, ends, now] = given;
  const at = (each) => each && Date.parse(each);
  const made = listBars(job, run, new Map(Object.entries(ends).map(([key, value]) => [key, at(value)])), at(now));
  const since = (moment, other) => (moment - other) / 1000;
  const start = at("2026-01-01T00:00:00Z");
  return made.map((bar) => [bar.kind, since(bar.from, start), since(bar.to, bar.from), bar.isOpen]);
}"""
DRAW = """async ({ run }) => {
  const source = document.querySelector("script[type=module]").src;
  const { makeGantt } = await import(new URL("parts/gantt.js", source));
  const chart = makeGantt({ label: "Timeline", whenSelected: (name) => (window.chosen = name) });
  document.querySelector("main").replaceChildren(chart.node);
  chart.setRun(run);
  window.chart = chart;
}"""


def at(seconds: int) -> str:
    """So many seconds after the beginning."""
    return f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


def attempt(number: int = 1, sent: int = 0, began: int | None = None, ended: int | None = None, **more: Any) -> Any:
    """One try of a job."""
    times = {"started_at": began, "ended_at": ended}
    written = {key: None if value is None else at(value) for key, value in times.items()}
    state = "PENDING" if began is None else "RUNNING" if ended is None else "COMPLETED"
    return {"number": number, "job_id": str(number), "submitted_at": at(sent), "slurm_state": state, **written, **more}


def job_of(*attempts: Any, name: str = "a", needs: tuple[str, ...] = ()) -> Any:
    """A job with these tries."""
    last = attempts[-1] if attempts else {"ended_at": None, "slurm_state": None}
    return {
        "name": name,
        "depends_on": list(needs),
        "status": last["slurm_state"] or "UNKNOWN",
        "slurm_state": last["slurm_state"],
        "ended_at": last["ended_at"],
        "attempts": list(attempts),
    }


def open_empty(open_tab: Callable[..., Any], **options: Any) -> Any:
    """Open a tab that shows no view."""
    tab = open_tab("#/none", **options)
    tab.get_by_text("There is nothing at").wait_for()
    return tab


@pytest.fixture
def page(open_tab: Callable[..., Any]) -> Any:
    """A tab that shows no view."""
    return open_empty(open_tab)


OPEN = {"started_at": at(0), "completed_at": None}


def test_what_bars_say(page: Any) -> None:
    table: list[tuple[str, Any, dict[str, str | None], list[Any]]] = [
        ("not submitted yet: it waits from the start", job_of(), {}, [["blocked", 0, 60, True]]),
        ("it waits in the queue", job_of(attempt(sent=5)), {}, [["queued", 5, 55, True]]),
        (
            "it waited, and runs",
            job_of(attempt(sent=5, began=20)),
            {},
            [["queued", 5, 15, False], ["ran", 20, 40, True]],
        ),
        (
            "first for another job, then in the queue",
            job_of(attempt(sent=5, began=40), needs=("afterany:b",)),
            {"b": at(30)},
            [["blocked", 5, 25, False], ["queued", 30, 10, False], ["ran", 40, 20, True]],
        ),
        (
            "for a job that goes on",
            job_of(attempt(sent=5), needs=("b",)),
            {"b": None},
            [["blocked", 5, 55, True]],
        ),
        (
            "every attempt has its bar",
            job_of(attempt(1, 0, 0, 10), attempt(2, 15, 20, 30)),
            {},
            [["ran", 0, 10, False], ["queued", 15, 5, False], ["ran", 20, 10, False]],
        ),
        ("a clock that is behind makes no bar of less than nothing", job_of(attempt(1, 0, 10, 9)), {}, [
            ["queued", 0, 10, False], ["ran", 10, 0, False]]),
    ]  # fmt: skip
    for why, job, ends, bars in table:
        found = page.evaluate(CALL, {"name": "listBars", "given": [job, OPEN, ends, at(60)]})
        assert found == bars, why


def test_each_state_has_its_shape(page: Any) -> None:
    """Without colour too, the mark in front of the name tells it."""
    states = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "WHATEVER"]
    jobs = [{**job_of(attempt(1, 0, 1, 2)), "name": state, "slurm_state": state} for state in states]
    page.evaluate(DRAW, {"run": {"started_at": at(0), "completed_at": at(9), "status": "failed", "jobs": jobs}})
    assert page.locator(".gantt .label .mark").all_text_contents() == ["○", "▶", "✓", "✗", "–", "?"]


def test_the_axis_chooses_its_unit(page: Any) -> None:
    day_ms = 86_400_000
    for why, length_ms, step_ms in (
        ("seconds", 10_000, 2000),
        ("minutes", 600_000, 120_000),
        ("hours", 6 * 3_600_000, 3_600_000),
        ("days", 6 * day_ms, day_ms),
    ):
        found = page.evaluate(CALL, {"name": "listTicks", "given": [0, length_ms, 600]})
        assert found["step"] == step_ms, why
        assert 2 <= len(found["ticks"]) <= 8, why


def test_time_alone_is_zoomed_and_follows_the_zone(open_tab: Callable[..., Any]) -> None:
    page = open_empty(open_tab, timezone_id="Asia/Kolkata")
    jobs = [job_of(attempt(1, 0, 600 * n, 600 * n + 500), name=f"job {n}") for n in range(60)]
    page.evaluate(DRAW, {"run": {"started_at": at(0), "completed_at": at(36_000), "jobs": jobs}})
    axis = page.locator(".gantt .axis text")
    expect(axis.first).to_have_text("06:00")
    page.get_by_label("Time zone").select_option("UTC")
    expect(axis.first).to_have_text("01-01")
    rows = page.locator(".gantt .row").count()
    assert rows < 60, "only rows in sight are drawn"
    height = page.locator(".chart").get_attribute("height")
    page.get_by_role("button", name="Less time").click()
    page.get_by_role("button", name="Less time").click()
    expect(axis.first).not_to_have_text("01-01")
    assert page.locator(".chart").get_attribute("height") == height
    page.get_by_role("button", name="All of the time").click()
    expect(axis.first).to_have_text("01-01")
    label = page.locator(".gantt .row[data-key='job 2'] .label")
    label.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("chosen") == "job 2"
    expect(page.locator(".gantt .row.selected")).to_have_count(1)
    page.evaluate("chart.select('job 59')")
    expect(page.locator(".gantt .row[data-key='job 59']")).to_be_in_viewport()


def test_a_job_that_began_before_its_run_has_its_bar_and_paper_has_all_rows(page: Any) -> None:
    """SLURM's times are whole seconds: a short job seems to begin before its run, and to end at once."""
    short = {**attempt(began=0, ended=0), "submitted_at": "2026-01-01T00:00:00.7Z"}
    jobs = [job_of(short, name=f"job {number}") for number in range(60)]
    page.evaluate(DRAW, {"run": {"started_at": "2026-01-01T00:00:00.5Z", "completed_at": at(2), "jobs": jobs}})
    bars = page.locator(".gantt .bars .ran")
    assert all(float(width) >= 2 for width in bars.evaluate_all("(all) => all.map((one) => one.getAttribute('width'))"))
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(bars).to_have_count(60)
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator(".gantt .row")).not_to_have_count(60)
