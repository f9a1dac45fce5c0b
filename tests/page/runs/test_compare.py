"""Two runs beside each other: what differs, line by line in scripts, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.looks import check_looks
from tests.page.runs.run_pages import QUICK, Runs

pytestmark = pytest.mark.browser

COMPARE = """async ([left, right]) => {
  const source = document.querySelector("script[type=module]").src;
  const { compareTexts } = await import(new URL("editor/diff.js", source));
  const name = (isSame) => (isSame ? "same" : "changed");
  return compareTexts(left, right).map(({ isSame, left, right }) => [name(isSame), left.join(" "), right.join(" ")]);
}"""


@pytest.fixture(scope="module")
def pair(site: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two runs of a workflow that differ in one arg."""
    runs = Runs(site, tmp_path_factory.mktemp("pair"), "pair", QUICK)
    ids = (runs.start(lr=0.1), runs.start(lr=0.2))
    for run_id in ids:
        assert runs.await_end(run_id)["status"] == "completed"
    return ids


def test_lines_are_compared(tab: Any) -> None:
    for why, left, right, parts in (
        ("the same", "a\nb", "a\nb", [["same", "a b", "a b"]]),
        ("one line", "a\nb\nc", "a\nx\nc", [["same", "a", "a"], ["changed", "b", "x"], ["same", "c", "c"]]),
        ("one more", "a\nc", "a\nb\nc", [["same", "a", "a"], ["changed", "", "b"], ["same", "c", "c"]]),
        ("two places", "a\nb\nc\nd\ne", "a\nx\nc\ny\ne", [["same", "a", "a"], ["changed", "b", "x"],
         ["same", "c", "c"], ["changed", "d", "y"], ["same", "e", "e"]]),
    ):  # fmt: skip
        assert tab.evaluate(COMPARE, [left, right]) == parts, why


def test_only_what_differs(tab: Any, pair: tuple[str, str]) -> None:
    tab.goto(f"/#/compare?a={pair[0]}&b={pair[1]}")
    args = tab.get_by_role("table", name="Args")
    expect(args.get_by_role("row")).to_have_count(1)
    expect(args).to_contain_text("0.1")
    expect(tab.get_by_role("table", name="Environment")).to_contain_text("train: RATE")
    expect(tab.get_by_role("table", name="Results")).to_contain_text("train: accuracy")
    script = tab.get_by_role("group", name="Scripts of train")
    expect(script.locator(".removed").first).to_contain_text("0.1")
    expect(script.locator(".added").first).to_contain_text("0.2")
    expect(script).not_to_contain_text(pair[0])  # the folders of the runs are no difference
    tab.get_by_label("only what differs").uncheck()
    expect(args.get_by_role("row")).to_have_count(2)
    expect(args).to_contain_text("<b>&amp;")
    expect(tab).to_have_url(f"{tab.url.partition('#')[0]}#/compare?a={pair[0]}&b={pair[1]}&all=yes")
    tab.get_by_role("link", name="Swap").click()
    expect(tab.get_by_role("table", name="Args").get_by_role("cell").first).to_have_text("0.2")


def test_the_other_run_is_chosen_here(tab: Any, pair: tuple[str, str]) -> None:
    tab.goto(f"/#/compare?a={pair[0]}")
    tab.get_by_label("Second run").select_option(pair[1])
    tab.get_by_role("button", name="Compare").click()
    expect(tab.get_by_role("table", name="Args")).to_contain_text("0.2")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_how_it_looks(open_tab: Callable[..., Any], pair: tuple[str, str], width: int, dark: bool) -> None:
    tab = open_tab(f"#/compare?a={pair[0]}&b={pair[1]}&all=yes", width=width, dark=dark)
    expect(tab.get_by_role("table", name="Args")).to_be_visible()
    check_looks(tab, width)
