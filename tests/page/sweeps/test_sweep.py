"""One sweep: live to its end, plots without set-up, what is missing, the best cell, the baseline, and its address."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme
from tests.page.sweeps import sweep_pages

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)> & \"quoted\" 'name'"


@pytest.fixture(scope="module")
def swept(site: Server) -> Iterator[int]:
    """A sweep of twelve cells: one failed, two of NaN, nine of a value; the best is lr 0.01, seed 1."""
    number = sweep_pages.start(site, "fit", sweep_pages.MATRIX, max_parallel=4)
    assert sweep_pages.finish(site, number)["cells_failed"] == 1
    yield number


@pytest.fixture
def page(open_tab: Callable[..., Any], swept: int) -> Any:
    """A tab on it."""
    return _open(open_tab, f"#/sweeps/{swept}")


def _open(open_tab: Callable[..., Any], address: str, **options: Any) -> Any:
    tab = open_tab(address, **options)
    tab.locator(".tbody > .tr").first.wait_for()
    return tab


def _matrix(tab: Any) -> Any:
    return tab.get_by_role("region", name="Matrix")


def _list_numbers(tab: Any) -> list[int]:
    """The numbers of the cells in the table, from top to bottom."""
    rows = tab.locator(".tbody > .tr")
    read = "(rows) => rows.map((row) => [parseFloat(row.style.top), row.querySelector('button').textContent])"
    found = rows.evaluate_all(read)
    return [int(number) for _, number in sorted(found)]


def _query(tab: Any) -> str:
    return str(tab.evaluate("decodeURIComponent(location.hash.split('?')[1] ?? '').replaceAll('+', ' ')"))


def _point(tab: Any, lane: int, part: float) -> tuple[float, float]:
    """A place on an axis of the parallel coordinates: 0 is its lower end, 1 its upper one."""
    picture = tab.locator("svg.parallels")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    read = "(band) => ['x', 'y', 'height'].map((name, at) => +band.getAttribute(name) + [14, 8, -16][at])"
    line = tab.locator("svg.parallels .band").nth(lane).evaluate(read)
    return box["x"] + line[0], box["y"] + line[1] + line[2] * (1 - part)


def _draw_limit(tab: Any, lane: int, begin: float, end: float, beyond: int = 0) -> None:
    x, y = _point(tab, lane, begin)
    tab.mouse.move(x, y + beyond)
    tab.mouse.down()
    x, y = _point(tab, lane, end)
    tab.mouse.move(x, (y + 5), steps=2)
    tab.mouse.move(x, y - beyond)
    tab.mouse.up()


# --- what is seen at once ---------------------------------------------------------------------------------------------


def test_a_sweep_live_to_its_end(site: Server, open_tab: Callable[..., Any]) -> None:
    number = sweep_pages.start(site, "fit", {"lr": [0.01, 0.1], "seed": [1, 3]}, max_parallel=1)
    tab = open_tab(f"#/sweeps/{number}")
    tab.get_by_text("4 of 4 ended", exact=True).wait_for()
    expect(tab).to_have_title(re.compile("^✓ 4/4 fit"))
    expect(_matrix(tab).locator(".cell-words text")).to_have_text(["0.1429", "0.4286", "1.143", "1.429"])
    expect(tab.get_by_role("button", name="lr = 0.01, seed = 1 (train.loss 0.14286)")).to_be_visible()
    assert sorted(_list_numbers(tab)) == [0, 1, 2, 3]


def test_it_opens_at_what_failed(page: Any, swept: int) -> None:
    expect(page).to_have_title(re.compile("^✗ 12/12 fit"))
    failure = page.get_by_role("region", name="What failed")
    expect(failure).to_contain_text("lr = 1, seed = 2 failed")
    expect(failure.locator("pre").first).to_have_text(re.compile("^train, exit code 3:\nno room for 1 2"))
    expect(page.get_by_role("button", name="Re-run failed", exact=True)).to_be_enabled()
    failure.get_by_role("button", name="Show its log").click()
    expect(page.get_by_role("complementary")).to_contain_text("Cell 10")
    expect(page.locator(".log")).to_contain_text("no room for 1 2")
    page.set_viewport_size({"width": 400, "height": 900})
    page.evaluate("scrollTo(0, 0)")
    failure.get_by_role("button", name="Show its log").click()
    expect(page.get_by_role("complementary")).to_be_in_viewport()


def test_plots_need_no_set_up(page: Any) -> None:
    expect(page.get_by_label("Metric")).to_have_value("train.loss")
    expect(page.get_by_label("Best is")).to_have_value("min")
    expect(page.get_by_label("Plot against")).to_have_value("lr")
    expect(page.get_by_label("Log across")).to_be_checked()
    names = page.locator("svg.parallels .axis-name").evaluate_all("(all) => all.map((each) => each.firstChild.data)")
    assert names == ["lr (log)", "seed", "train.loss"]
    assert page.get_by_role("region", name="Over two axes").locator(".cell-words text").count() == 9
    expect(page.locator(".plot-best")).to_have_text("best 0.14286")


def test_columns_that_differ_stand_there_and_the_chosen_ones_stay(
    open_tab: Callable[..., Any], page: Any, swept: int
) -> None:
    heads = page.get_by_role("columnheader")
    expect(heads).to_have_text(["Cell", "State", "lr", "seed", re.compile("train.loss"), "train.acc", "Duration"])
    page.get_by_role("button", name="Columns").click()
    page.locator(".menu:popover-open").get_by_label("train.same", exact=True).check()
    page.keyboard.press("Escape")
    page.reload()
    expect(heads).to_contain_text(["Cell", "train.same"])


def test_cells_without_a_value_are_counted_and_found_and_stand_last(page: Any) -> None:
    page.get_by_role("button", name="3 cells not shown: 2 NaN, 1 failed").click()
    expect(page.get_by_text("3 of 12 cells")).to_be_visible()
    assert sorted(_list_numbers(page)) == [9, 10, 11]
    page.get_by_role("button", name="Show all cells").click()
    expect(page.get_by_text("12 cells", exact=True)).to_be_visible()
    head = page.get_by_role("columnheader", name="train.loss")
    for direction, first in (("descending", (2, 8)), ("ascending", (3,))):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", direction)
        numbers = _list_numbers(page)
        assert numbers[0] in first and sorted(numbers[-3:]) == [9, 10, 11], direction


def test_the_best_cell_by_either_goal(page: Any) -> None:
    best = page.locator(".tr.best")
    expect(best).to_contain_text("★ best")
    expect(best.get_by_role("button")).to_have_text("3")
    page.get_by_label("Best is").select_option("max")
    expect(best.get_by_role("button")).to_have_text("2")
    page.get_by_label("Metric").select_option("train.acc")
    expect(page.get_by_label("Best is")).to_have_value("max")
    expect(best.get_by_role("button")).to_have_text("3")


# --- one selection, baseline, address ---------------------------------------------------------------------------------


def test_one_selection_everywhere(page: Any) -> None:
    page.get_by_role("button", name="Select cell 4", exact=True).click()
    expect(page.get_by_role("heading", name="Cell 4")).to_be_visible()
    assert page.locator(".plot-over .ring.selected").count() == 4, "matrix, points, heat map and lines"
    assert "cell=4" in _query(page)
    box = page.locator(".grid svg").first.bounding_box()
    rows = page.locator(".grid .plot-label text")
    assert rows.count() > 4
    place = _matrix(page).locator(".cell-words text").nth(7)
    place.scroll_into_view_if_needed()
    at = place.bounding_box()
    assert box is not None
    page.mouse.click(at["x"] + 2, at["y"] + 5)
    expect(page.get_by_role("heading", name="Cell 7")).to_be_visible()
    expect(page.locator(".tr.chosen").get_by_role("button")).to_have_text("7")
    expect(page.locator(".log")).to_contain_text("loss")
    page.get_by_role("button", name="Close the cell").click()
    expect(page.locator(".ring.selected")).to_have_count(0)


def test_hovering_marks_line_and_row(page: Any) -> None:
    row = page.locator(".tbody > .tr", has=page.get_by_role("button", name="Select cell 5", exact=True))
    row.hover()
    expect(page.locator(".plot-over path.ring.hovered")).to_have_count(1)
    x, y = _point(page, 0, 0)
    other, up = _point(page, 1, 0)
    page.mouse.move((x + other) / 2, (y + up) / 2)
    expect(page.locator(".tr.hovered").get_by_role("button")).to_have_text("0")


def test_the_baseline_and_differences_to_it(open_tab: Callable[..., Any], page: Any, swept: int) -> None:
    page.get_by_role("button", name="Select cell 3", exact=True).click()
    page.get_by_role("button", name="Baseline").click()
    row = page.locator(".tbody > .tr", has=page.get_by_role("button", name="Select cell 4", exact=True))
    expect(row).to_contain_text("+0.14286")
    expect(page.locator(".tr.base")).to_contain_text("⚑ baseline")
    other = _open(open_tab, page.url.partition("/")[2].partition("/")[2].partition("/")[2])
    expect(other.locator(".tr.base").get_by_role("button")).to_have_text("3")


def test_the_address_is_the_view(open_tab: Callable[..., Any], swept: int) -> None:
    address = (
        f"#/sweeps/{swept}?metric=train.acc&goal=min&x=seed&cols=seed&state=done&cell=8&base=3"
        "&sort=-arg:seed&heatx=seed&lanes=%5B%22seed%22%5D&limit=%7B%22seed%22%3A%5B2%2C3%5D%7D"
    )
    tab = _open(open_tab, address)
    for label, value in (("Metric", "train.acc"), ("Best is", "min"), ("Plot against", "seed")):
        expect(tab.get_by_label(label)).to_have_value(value)
    expect(tab.get_by_text("7 of 12 cells")).to_be_visible()
    assert set(_list_numbers(tab)) == {1, 2, 4, 5, 7, 8, 11} and _list_numbers(tab)[0] in (2, 5, 8, 11)
    expect(tab.get_by_role("heading", name="Cell 8")).to_be_visible()
    expect(tab.get_by_label("seed from")).to_have_value("2")
    assert tab.locator("svg.parallels .band").count() == 2


def test_an_address_that_makes_no_sense_breaks_nothing(open_tab: Callable[..., Any], swept: int) -> None:
    words = "metric=gone&goal=best&x=no&cols=0&rows=0&cell=99&base=x&sort=-nothing&limit=%7B&lanes=7&heatx=gone&state="
    tab = _open(open_tab, f"#/sweeps/{swept}?{words}")
    expect(tab.get_by_label("Metric")).to_have_value("train.loss")
    expect(tab.get_by_text("12 cells", exact=True)).to_be_visible()


def test_csv_has_the_filtered_rows_the_chosen_columns_and_all_digits(page: Any, site: Server, swept: int) -> None:
    page.get_by_role("button", name="9 done").or_(page.get_by_role("button", name="11 done")).click()
    with page.expect_download() as found:
        page.get_by_role("button", name="Download CSV").click()
    lines = list(csv.reader(io.StringIO(found.value.path().read_bytes().decode(), newline="")))
    assert lines[0] == ["Cell", "State", "lr", "seed", "train.loss", "train.acc", "Duration"]
    cells = sorted(site.http.get(f"/api/sweep_runs/{swept}/cells").json(), key=lambda cell: cell["id"])
    done = {str(at): cell for at, cell in enumerate(cells) if cell["status"] == "completed"}
    assert {line[0] for line in lines[1:]} == set(done)
    for number, _, lr, seed, loss, acc, _ in lines[1:]:
        cell = done[number]
        assert (float(lr), int(seed)) == (cell["args"]["lr"], cell["args"]["seed"])
        assert (loss, acc) == tuple(str(cell["result"][key]) for key in ("train.loss", "train.acc"))


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits_take_in_the_ends_move_clear_and_survive_updates(page: Any, site: Server, swept: int) -> None:
    _draw_limit(page, 0, 0, 1, beyond=12)
    expect(page.get_by_text("12 of 12 cells").or_(page.get_by_text("12 cells", exact=True))).to_be_visible()
    page.get_by_role("button", name="Clear all limits").click()
    _draw_limit(page, 0, 0.6, 1, beyond=12)
    expect(page.get_by_text("6 of 12 cells")).to_be_visible()
    assert sorted(_list_numbers(page)) == [6, 7, 8, 9, 10, 11], "0.1 and 1, the end"
    x, y = _point(page, 0, 0.8)
    page.mouse.move(x, y)
    page.mouse.down()
    _, down = _point(page, 0, 0.1)
    page.mouse.move(x, down, steps=4)
    page.mouse.up()
    expect(page.get_by_text("6 of 12 cells")).to_be_visible()
    assert sorted(_list_numbers(page)) == [0, 1, 2, 3, 4, 5], "moved down, over the lines"
    site.http.post(f"/api/sweep_runs/{swept}/rerun", json={"cells": "failed"})
    page.get_by_text("11 of 12 ended").first.wait_for()
    sweep_pages.finish(site, swept)
    page.get_by_text("12 of 12 ended, 1 failed", exact=True).wait_for()
    assert sorted(_list_numbers(page)) == [0, 1, 2, 3, 4, 5], "cells that ran again change nothing"
    x, y = _point(page, 0, 0.2)
    page.mouse.click(x, y)
    expect(page.get_by_text("12 cells", exact=True)).to_be_visible()


def test_limits_without_a_mouse(page: Any) -> None:
    page.get_by_label("Limit an axis").select_option("seed")
    expect(page.get_by_label("seed from")).to_have_value("1")
    page.get_by_label("seed from").fill("2")
    page.keyboard.press("Tab")
    expect(page.get_by_text("8 of 12 cells")).to_be_visible()
    page.get_by_role("button", name="Clear the limit of seed").click()
    expect(page.get_by_text("12 cells", exact=True)).to_be_visible()


# --- keyboard, looks, names -------------------------------------------------------------------------------------------


def test_the_matrix_by_keyboard(page: Any) -> None:
    matrix = page.get_by_role("group", name="Matrix of 12 cells")
    matrix.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    expect(_matrix(page).locator(".readout")).to_have_text("lr = 0.01, seed = 2: completed, train.loss = 0.28571")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cell 4")).to_be_visible()
    page.keyboard.press("End")
    expect(_matrix(page).locator(".readout")).to_have_text("lr = 1, seed = 2: failed")


def test_each_state_has_its_shape_and_word(page: Any, swept: int, site: Server, open_tab: Callable[..., Any]) -> None:
    cells = sorted(site.http.get(f"/api/sweep_runs/{swept}/cells").json(), key=lambda cell: cell["id"])
    states = ["completed", "failed", "cancelled", "running", "pending"]
    rows = [{**cell, "status": states[at % 5], "result": {}, "duration_seconds": None} for at, cell in enumerate(cells)]
    tab = open_tab("#/jobs")
    sweep_pages.pretend_cells(tab, swept, rows)
    tab.goto(f"/#/sweeps/{swept}")
    tab.locator(".cell-mark.failed[d]").wait_for(state="attached")
    read = "(all) => all.map((each) => each.getAttribute('d').split('M')[1].replace(/^[^a-z]*/, ''))"
    marks = _matrix(tab).locator(".cell-mark[d]").evaluate_all(read)
    assert len(marks) == len(set(marks)) == 5, "five shapes"
    tones = _matrix(tab).locator(".cell-fill[d]").evaluate_all("(all) => all.map((one) => getComputedStyle(one).fill)")
    assert len(set(tones)) == 5
    words = set(_matrix(tab).locator(".cell-words text").all_text_contents())
    assert words == {"without a …", "failed", "cancelled", "running", "pending"}


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False), (400, True)])
def test_how_it_looks(open_tab: Callable[..., Any], swept: int, width: int, dark: bool) -> None:
    chosen = "cell=10&base=3&limit=%7B%22seed%22%3A%5B1%2C2%5D%7D"
    tab = _open(open_tab, f"#/sweeps/{swept}?{chosen}", width=width, dark=dark)
    pick_theme(tab, dark)
    tab.locator(".log").wait_for()
    check_looks(tab, width)


def test_hostile_values_are_only_text(site: Server, open_tab: Callable[..., Any]) -> None:
    words = ["plain", EVIL, "x" * 300, "</svg><script>alert(1)</script>", "=1+1", "  "]
    number = sweep_pages.start(site, "say", {"word": words}, max_parallel=6)
    sweep_pages.finish(site, number)
    tab = _open(open_tab, f"#/sweeps/{number}", width=400)
    assert tab.locator("main img, main script").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    tab.get_by_role("button", name="Select cell 1", exact=True).click()
    expect(tab.locator(".cell-pane table")).to_contain_text(EVIL)
    with tab.expect_download() as found:
        tab.get_by_role("button", name="Download CSV").click()
    lines = list(csv.reader(io.StringIO(found.value.path().read_bytes().decode(), newline="")))
    assert {line[2] for line in lines[1:]} == {*words[:4], "'=1+1", "  "}


# --- actions and failures ---------------------------------------------------------------------------------------------


def test_cancelling_asks_with_names_and_numbers(site: Server, open_tab: Callable[..., Any]) -> None:
    number = sweep_pages.start(site, "hold", {"lr": [1, 2, 3], "seed": [1, 2]}, max_parallel=2)
    tab = open_tab(f"#/sweeps/{number}")
    tab.get_by_text("2 running").first.wait_for()
    tab.get_by_label("Cells that run at once").fill("3")
    tab.get_by_label("Cells that run at once").press("Enter")
    tab.get_by_text("0 of 6 ended, 3 running").wait_for()
    tab.get_by_role("button", name="Cancel", exact=True).click()
    question = tab.get_by_role("group", name="Cancel 3 running and 3 waiting cells of sweep hold?")
    expect(question.get_by_role("button", name="Keep")).to_be_focused()
    question.get_by_role("button", name="Cancel").click()
    tab.get_by_text("6 of 6 ended", exact=True).wait_for()
    expect(tab).to_have_title(re.compile("^– 6/6 hold"))
    expect(tab.get_by_role("button", name="Re-run failed and cancelled")).to_be_visible()


def test_cells_that_cannot_be_read_leave_the_rest(page: Any, swept: int) -> None:
    page.route("**/cells", lambda route: route.fulfill(status=500, json={"detail": "broken"}))
    page.reload()
    page.get_by_text("The cells of the sweep could not be loaded. broken").wait_for()
    expect(page.get_by_role("heading", name=f"Sweep {swept}: fit")).to_be_visible()
    page.unroute("**/cells")
    page.get_by_role("button", name="Try again").click()
    page.locator(".tbody > .tr").first.wait_for()
    page.troubles.expect("500")


def test_a_sweep_in_the_archive_runs_nothing_again(site: Server, swept: int, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/none")
    row = site.http.get(f"/api/sweep_runs/{swept}").json()
    tab.route(f"**/api/sweep_runs/{swept}", lambda route: route.fulfill(json=row | {"archived": True}))
    tab.goto(f"/#/sweeps/{swept}?cell=0")
    expect(tab.get_by_text("cannot be run again any more")).to_be_visible()
    expect(tab.get_by_role("button", name="Baseline")).to_be_visible()
    expect(tab.get_by_role("button", name=re.compile("Re-run"))).to_have_count(0)
    expect(tab.get_by_role("button", name="Run with other values…")).to_be_visible()


def test_a_sweep_that_is_not_there(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/sweeps/999999")
    tab.get_by_text("Sweep 999999 could not be loaded").wait_for()
    tab.troubles.expect("404")


def test_ten_thousand_cells(site: Server, open_tab: Callable[..., Any]) -> None:
    matrix = {"lr": [at / 8 for at in range(1, 101)], "seed": list(range(100))}
    number = sweep_pages.start(site, "hold", matrix, max_parallel=1)
    site.http.post(f"/api/sweep_runs/{number}/cancel")
    sweep_pages.finish(site, number)
    tab = open_tab(f"#/sweeps/{number}")
    tab.locator(".cell-fill[d]").first.wait_for()
    assert tab.locator(".tbody > .tr").count() == 0, "what is out of sight is not drawn"
    assert _matrix(tab).locator("svg *").count() < 400, "a few paths, not ten thousand nodes"
    tab.get_by_role("group", name="Matrix of 10,000 cells").focus()
    tab.keyboard.press("PageDown")
    expect(_matrix(tab).locator(".readout")).to_contain_text("seed = 10: cancelled")
    tab.get_by_role("region", name="Results").scroll_into_view_if_needed()
    tab.locator(".tbody > .tr").first.wait_for()
    assert tab.locator(".tbody > .tr").count() < 200
    expect(tab.get_by_role("table", name="Results")).to_have_attribute("aria-rowcount", "10001")
    lack = re.compile("[0-9,]{5,6} cells not shown: [0-9,]{5,6} cancelled")
    expect(tab.get_by_role("button", name=lack)).to_be_visible()


def test_nothing_moves_under_the_hand(site: Server, open_tab: Callable[..., Any]) -> None:
    number = sweep_pages.start(site, "fit", {"lr": [1], "seed": [2, 3]}, max_parallel=1)
    sweep_pages.finish(site, number)
    tab = _open(open_tab, f"#/sweeps/{number}?cell=0")
    tab.get_by_role("button", name="Columns").click()
    failure = tab.locator(".cell-failure pre").first
    failure.wait_for()
    failure.evaluate("(pre) => getSelection().selectAllChildren(pre)")
    chosen = tab.evaluate("String(getSelection())")
    log = tab.get_by_role("button", name="Show its log")
    log.evaluate("(button) => button.focus()")
    last = max(cell["id"] for cell in site.http.get(f"/api/sweep_runs/{number}/cells").json())
    site.http.post(f"/api/sweep_runs/{number}/rerun", json={"cells": [last]})
    tab.get_by_text("1 of 2 ended, 1 failed").first.wait_for()
    sweep_pages.finish(site, number)
    tab.get_by_text("2 of 2 ended, 1 failed", exact=True).wait_for()
    expect(log).to_be_focused()
    assert tab.evaluate("String(getSelection())") == chosen != ""
    expect(tab.locator(".menu:popover-open")).to_be_visible()


def test_a_sweep_again_with_other_values(page: Any, swept: int) -> None:
    page.get_by_role("button", name="Run with other values…").click()
    dialog = page.get_by_role("dialog", name="Run fit")
    expect(dialog.get_by_label("lr takes")).to_have_value("0.001, 0.01, 0.1, 1")
    expect(dialog.get_by_label("Cells at once")).to_have_value("4")
    dialog.get_by_label("lr takes").fill("0.01")
    dialog.get_by_label("seed takes").fill("1, 3")
    dialog.get_by_role("button", name="Start the sweep").click()
    page.get_by_text("2 of 2 ended", exact=True).wait_for()
    assert f"#/sweeps/{swept}" not in page.url
