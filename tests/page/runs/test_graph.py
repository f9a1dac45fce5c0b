"""The graph of jobs: large ones are placed in time, equal siblings fold, and nothing moves under the hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.waiting import eventually

pytestmark = pytest.mark.browser

MAKE = """async ({ jobs, width }) => {
  const source = document.querySelector("script[type=module]").src;
  const { makeGraph } = await import(new URL("parts/graph.js", source));
  const graph = makeGraph({ label: "Jobs", whenSelected: (name) => (window.chosen = name) });
  const place = document.querySelector("main");
  const box = document.createElement("div");
  box.className = "view";
  place.replaceChildren(box);
  if (width) box.style.width = `${width}px`;
  box.append(graph.node);
  window.graph = graph;
  await graph.setJobs(jobs);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
# How light the fills are, 0 to 255, as a grey printer sees them.
GREYS = """(all) => all.map((one) => {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = getComputedStyle(one).fill;
  pen.fillRect(0, 0, 1, 1);
  const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data;
  return Math.round(0.2126 * red + 0.7152 * green + 0.0722 * blue);
})"""
SET = "(jobs) => graph.setJobs(jobs)"
DIAMOND = [
    {"name": "prepare", "status": "COMPLETED"},
    {"name": "train", "depends_on": ["prepare"], "status": "RUNNING"},
    {"name": "check", "depends_on": ["afterany:prepare"], "status": "FAILED"},
    {"name": "report <b>&amp;", "depends_on": ["train", "check"], "status": "PENDING"},
]


def _wide(count: int, status: str = "PENDING") -> list[dict[str, Any]]:
    fold = [{"name": f"fold_{number}", "depends_on": ["split"], "status": status} for number in range(count)]
    names = [job["name"] for job in fold]
    return [{"name": "split", "status": "COMPLETED"}, *fold, {"name": "join", "depends_on": names}]


def _list_needs(at: int) -> list[str]:
    return [f"job_{max(0, at - 1 - (at * step) % 40)}" for step in (7, 11) if at > 0]


@pytest.fixture
def page(open_tab: Callable[..., Any]) -> Any:
    """A tab that shows no view."""
    tab = open_tab("#/none")
    tab.get_by_text("There is nothing at").wait_for()
    return tab


def test_every_job_tells_its_state_in_fill_shape_and_word(page: Any) -> None:
    page.evaluate(MAKE, {"jobs": DIAMOND})
    nodes = page.locator(".canvas .node")
    assert nodes.count() == 4
    assert page.get_by_role("button", name="train, running, needs prepare").count() == 1
    assert page.get_by_role("button", name="report <b>&amp;, pending, needs train, check").count() == 1
    fills = nodes.evaluate_all("(all) => all.map((one) => getComputedStyle(one.querySelector('rect')).fill)")
    assert len(set(fills)) == 4
    marks = nodes.evaluate_all("(all) => all.map((one) => one.querySelector('.mark').textContent)")
    assert marks == ["✓", "▶", "✗", "○"]


def test_at_the_smallest_zoom_state_is_told_by_the_fill(page: Any) -> None:
    states = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "WHATEVER"]
    page.evaluate(MAKE, {"jobs": [{"name": state, "status": state} for state in states]})
    for _ in range(3):
        page.get_by_role("button", name="Smaller").click()
    page.locator(".canvas.small").wait_for()
    expect(page.locator(".canvas .name").first).to_be_visible()  # as long as it can be read
    for _ in range(3):
        page.get_by_role("button", name="Smaller").click()
    page.locator(".canvas.tiny").wait_for()
    expect(page.locator(".canvas .name").first).not_to_be_visible()
    fills = page.locator(".canvas .node").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one.querySelector('rect')).fill)"
    )
    assert len(set(fills)) == len(states)


def test_a_change_of_state_moves_nothing(page: Any) -> None:
    page.evaluate(MAKE, {"jobs": DIAMOND})
    page.get_by_role("button", name="Larger").click()
    page.get_by_role("button", name="Larger").click()
    page.mouse.move(700, 200)
    before = page.locator(".canvas > g").get_attribute("transform")
    held = page.locator(".canvas .node").first.element_handle()
    page.evaluate(SET, [{**job, "status": "COMPLETED"} for job in DIAMOND])
    page.get_by_role("button", name="train, completed").wait_for()
    assert page.locator(".canvas > g").get_attribute("transform") == before
    assert held.evaluate("(node) => node.isConnected")


def test_equal_siblings_are_one_group_that_opens_in_place(page: Any) -> None:
    page.evaluate(MAKE, {"jobs": [*_wide(20), {"name": "alone"}]})
    assert page.locator(".canvas .node").count() == 23  # twenty are not many yet
    jobs = _wide(60)
    jobs[5]["status"], jobs[6]["status"] = "FAILED", "COMPLETED"
    page.evaluate(SET, jobs)
    group = page.get_by_role("button", name="60 jobs, fold_0 to fold_59, 1 failed, 58 waiting, 1 done")
    group.wait_for()
    assert page.locator(".canvas .node").count() == 3
    before = group.bounding_box()
    group.click()
    page.locator(".canvas .node[data-key=fold_3]").wait_for(state="attached")
    after = group.bounding_box()
    assert (abs(before["x"] - after["x"]) < 1, abs(before["y"] - after["y"]) < 1) == (True, True)
    assert group.get_attribute("aria-expanded") == "true"
    page.evaluate(SET, [{**job, "status": "RUNNING"} for job in jobs])
    page.get_by_role("button", name="fold_0, running, needs split").wait_for()  # it stays open
    page.get_by_role("button", name="60 jobs, fold_0 to fold_59").click()
    page.locator(".canvas .node[data-key=fold_3]").wait_for(state="detached")


def test_two_thousand_jobs_are_placed_by_a_worker_and_only_those_in_sight_drawn(page: Any) -> None:
    jobs = [{"name": f"job_{at}", "status": "PENDING", "depends_on": _list_needs(at)} for at in range(2000)]
    with page.expect_worker(lambda worker: "workers/layout.js" in worker.url):
        page.evaluate(MAKE, {"jobs": jobs})
    assert page.locator(".graph[data-nodes='2000']").count() == 1
    page.get_by_role("button", name="As large as text").click()
    nodes = page.locator(".canvas .node")
    eventually(lambda: 0 < nodes.count() < 400)
    page.get_by_role("button", name="Fit all of it").click()
    eventually(lambda: nodes.count() == 2000)
    assert page.locator(".canvas.small").count() == 1


def test_keys_go_from_job_to_job(page: Any) -> None:
    page.evaluate(MAKE, {"jobs": DIAMOND})
    page.locator(".canvas .node[data-key=prepare]").focus()
    for key, name in (("ArrowRight", "train"), ("ArrowDown", "check"), ("ArrowUp", "train"), ("ArrowLeft", "prepare")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.key") == name, key
    page.keyboard.press("Enter")
    assert page.evaluate("chosen") == "prepare"
    assert page.locator(".node.selected").get_attribute("data-key") == "prepare"


def test_a_drag_moves_the_graph_and_selects_nothing(page: Any) -> None:
    page.evaluate(MAKE, {"jobs": DIAMOND})
    box = page.locator(".canvas .node[data-key=train]").bounding_box()
    x, y = box["x"] + 20, box["y"] + 10
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 20, steps=3)
    page.mouse.up()
    eventually(lambda: abs(page.locator(".canvas .node[data-key=train]").bounding_box()["x"] - box["x"] - 60) < 1)
    assert page.evaluate("window.chosen") is None
    page.mouse.click(x + 60, y + 20)
    assert page.evaluate("chosen") == "train"


def test_a_workflow_without_states_is_plain_and_a_circle_does_no_harm(page: Any) -> None:
    circle = [{"name": "a", "depends_on": ["b"], "note": "2 GPUs"}, {"name": "b", "depends_on": ["a"]}, {"name": "c"}]
    page.evaluate(MAKE, {"jobs": circle})
    assert page.locator(".node.plain").count() == 3
    assert page.get_by_role("button", name="a, 2 GPUs, needs b").count() == 1
    above = "(all) => all.map((one) => Number(one.querySelector('.name').getAttribute('y')))"
    assert page.locator(".canvas .node").evaluate_all(above) == [16, 23, 23], "a name alone stands in the middle"
    page.evaluate(SET, [])
    page.locator(".canvas .node").first.wait_for(state="detached")


def test_without_colour_no_two_families_have_the_same_fill(open_tab: Callable[..., Any]) -> None:
    """At the smallest zoom the fill alone tells the state, also on grey paper; what was cancelled is hatched."""
    states = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "WHATEVER"]
    for dark in (False, True):
        tab = open_tab("#/none", dark=dark)
        tab.get_by_text("There is nothing at").wait_for()
        tab.evaluate(MAKE, {"jobs": [{"name": state, "status": state} for state in states]})
        for _ in range(3):
            tab.get_by_role("button", name="Smaller").click()
        tab.locator(".canvas.small").wait_for()
        greys = sorted(tab.locator(".canvas .node rect").evaluate_all(GREYS))
        assert min(lighter - darker for darker, lighter in pairwise(greys)) > 12, (dark, greys)
