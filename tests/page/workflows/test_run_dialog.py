"""Starting runs: values of their kind, parts, axes, the scripts first, and once for all clicks."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from playwright.sync_api import expect

from tests import ROOT
from tests.app_server import Server
from tests.page.looks import check_looks
from tests.page.programs import find_program
from tests.page.workflows.workflow_pages import TEXT, OpenTab, open_workflow, put
from tests.waiting import eventually

BROWSER = pytest.mark.browser
BODY = ROOT / "web" / "ui" / "workflows" / "run_body.js"


def open_dialog(
    site: Server, open_tab: OpenTab, name: str, query: str = "?run=1", text: str = TEXT, **options: Any
) -> Any:
    """Open the dialog of a workflow; return the tab."""
    put(site, name, text)
    tab = open_tab(f"#/workflows/{name}{query}", **options)
    tab.get_by_role("dialog").wait_for()
    return tab


def list_runs(site: Server, name: str) -> list[Any]:
    """List the runs of a workflow."""
    return list(site.http.get("/api/workflows/runs", params={"name": name}).json())


@BROWSER
def test_a_run_is_started_once(site: Server, open_tab: OpenTab) -> None:
    tab = open_dialog(site, open_tab, "once")
    tab.get_by_label("count").fill("7")
    tab.get_by_text("Changed; the workflow says 3").wait_for()
    tab.get_by_label("fast").select_option("false")
    tab.get_by_role("button", name="Start", exact=True).dblclick()
    tab.wait_for_url(re.compile("#/runs/"))
    (run,) = list_runs(site, "once")
    assert run["args"] == {"count": 7, "word": "hello", "fast": False}


@BROWSER
def test_a_double_click_opens_one_dialog_and_leaving_opens_none(site: Server, open_tab: OpenTab) -> None:
    put(site, "opened")
    tab = open_tab("#/workflows/opened")
    button, dialogs = tab.get_by_role("button", name="Run…"), tab.get_by_role("dialog")
    button.wait_for()
    held: list[Any] = []
    tab.route("**/api/workflows/opened", lambda route: held.append(route))
    button.dblclick()
    eventually(lambda: tab.evaluate("1") and len(held) == 2)
    # The first answer opens none, neither before the second nor after its dialog is closed.
    held[1].continue_()
    dialogs.wait_for()
    tab.keyboard.press("Escape")
    expect(dialogs).to_have_count(0)
    with tab.expect_response("**/api/workflows/opened"):
        held[0].continue_()
    tab.evaluate("new Promise(requestAnimationFrame)")
    expect(dialogs).to_have_count(0)
    button.click()
    tab.get_by_role("link", name="Runs", exact=True).click()
    tab.get_by_role("heading", name="Runs").wait_for()
    with tab.expect_response("**/api/workflows/opened"):
        held[-1].continue_()
    tab.evaluate("new Promise(requestAnimationFrame)")
    expect(dialogs).to_have_count(0)


@BROWSER
def test_the_scripts_come_first(site: Server, open_tab: OpenTab) -> None:
    tab = open_dialog(site, open_tab, "looked", "?run=1&arg.word=<b>hi</b>&single=write")
    expect(tab.get_by_label("word")).to_have_value("<b>hi</b>")
    tab.get_by_role("button", name="Show the scripts").click()
    tab.get_by_text("1 script would be submitted").wait_for()
    expect(tab.locator(".preview pre")).to_contain_text("echo <b>hi</b> 3")
    assert list_runs(site, "looked") == []


@BROWSER
def test_form_and_json_agree(site: Server, open_tab: OpenTab) -> None:
    tab = open_dialog(site, open_tab, "agreed")
    tab.get_by_text("As JSON", exact=True).click()
    raw = tab.get_by_label("The same as JSON")
    tab.get_by_label("count").fill("x")
    expect(tab.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    tab.get_by_text("This is a number").wait_for()
    tab.get_by_label("count").fill("5")
    assert json.loads(raw.input_value()) == {"args_override": {"count": 5}}
    raw.fill('{"args_override": {"word": "typed"}, "single_job": "read"}')
    expect(tab.get_by_label("word")).to_have_value("typed")
    expect(tab.get_by_label("count")).to_have_value("3")
    expect(tab.get_by_label("Run only")).to_have_value("read")
    raw.fill("{")
    expect(tab.get_by_role("button", name="Start", exact=True)).to_be_disabled()


@BROWSER
def test_a_refusal_stands_at_its_field(site: Server, open_tab: OpenTab) -> None:
    tab = open_dialog(site, open_tab, "refused", "?run=1&from=read&to=write")
    tab.get_by_role("button", name="Start", exact=True).click()
    expect(tab.locator(".field.wrong")).to_contain_text("must appear before")
    assert list_runs(site, "refused") == []
    tab.troubles.expect("422")


@BROWSER
def test_a_sweep_tells_how_many_cells(site: Server, open_tab: OpenTab) -> None:
    tab = open_dialog(site, open_tab, "swept")
    tab.get_by_label("Add an axis").select_option("count")
    tab.get_by_label("count takes").fill("range(0, 300, 1)")
    tab.get_by_text("300 cells, 4 at once. That is a lot").wait_for()
    tab.get_by_label("count takes").fill("1, 2")
    tab.get_by_label("Add an axis").select_option("word")
    tab.get_by_label("word takes").fill("a, b c")
    tab.get_by_text("4 cells, 4 at once.").wait_for()
    tab.get_by_role("button", name="Start the sweep").click()
    tab.wait_for_url(re.compile("#/sweeps/"))
    sweep = site.http.get(f"/api/sweep_runs/{tab.url.split('/')[-1]}").json()
    assert sweep["matrix"] == {"count": [1, 2], "word": ["a", "b c"]} and sweep["cell_count"] == 4


@BROWSER
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_it_is_legible(site: Server, open_tab: OpenTab, width: int, dark: bool) -> None:
    tab = open_dialog(site, open_tab, "seen", width=width, dark=dark)
    tab.get_by_label("Add an axis").select_option("count")
    tab.get_by_role("button", name="Show the scripts").click()
    tab.locator(".preview h3").wait_for()
    check_looks(tab, width)


@BROWSER
def test_what_is_not_saved_is_not_run(site: Server, open_tab: OpenTab) -> None:
    put(site, "unsaved")
    tab, field = open_workflow(open_tab, "unsaved")
    field.press("Control+End")
    tab.keyboard.type("# more")
    tab.get_by_role("button", name="Run…").click()
    tab.get_by_text("What you typed is not saved: the saved workflow is run.").wait_for()


@BROWSER
def test_what_was_typed_into_the_dialog_stays(site: Server, open_tab: OpenTab) -> None:
    tab = open_dialog(site, open_tab, "drafted")
    tab.get_by_label("count").fill("7")
    tab.get_by_label("Add an axis").select_option("word")
    tab.get_by_label("word takes").fill("a, b")
    tab.reload()
    expect(tab.get_by_label("count")).to_have_value("7")
    expect(tab.get_by_label("word takes")).to_have_value("a, b")
    expect(tab.get_by_label("word", exact=True)).to_have_count(0)  # the sweep gives its value
    tab.get_by_text("This is your draft of").wait_for()
    tab.get_by_role("button", name="Begin anew").click()
    expect(tab.get_by_label("count")).to_have_value("3")
    tab.reload()
    tab.get_by_label("count").wait_for()
    expect(tab.get_by_text("This is your draft of")).to_have_count(0)


@BROWSER
def test_an_endpoint_is_told(site: Server, open_tab: OpenTab) -> None:
    config = {"webhook_url": "https://hooks.example.org/sluice"}
    answer = site.http.post("/api/endpoints", json={"kind": "webhook", "name": "lab", "config": config})
    assert answer.status_code == 201, answer.text
    tab = open_dialog(site, open_tab, "told")
    tab.get_by_label("Tell").select_option("lab")
    tab.get_by_label("When").select_option("at each change")
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.wait_for_url(re.compile("#/runs/"))
    subscriptions = site.http.get("/api/subscriptions").json()
    assert [each["preset"] for each in subscriptions if each["endpoint_id"] == answer.json()["id"]] == ["all"]


AXES = [
    ("1, 2, 3", [1, 2, 3]),
    ("0.1, 1e-3", [0.1, 0.001]),
    ("a, b c, true, null", ["a", "b c", True, None]),
    ("007, 1.2.3", ["007", "1.2.3"]),
    ("range(0, 10, 2)", {"range": [0, 10, 2]}),
    ('["a, b", 1]', ["a, b", 1]),
]


@BROWSER
def test_axes_are_read_as_they_are_written() -> None:
    code = f"""
        const {{ readAxis, writeAxis, countCells: size }} = await import({json.dumps(BODY.as_uri())});
        const texts = {json.dumps([text for text, _value in AXES])};
        const values = texts.map((text) => readAxis(text).value);
        const again = values.map((value) => readAxis(writeAxis(value)).value);
        const matrix = {{ a: [1, 2], b: {{ range: [0, 1, 0.1] }}, c: {{ logspace: [1, 2, 5] }} }};
        const {{ count }} = size({{ matrix }});
        console.log(JSON.stringify([values, again, count, readAxis("[1,").wrong, readAxis("").wrong]));
    """
    done = subprocess.run(
        [find_program("node"), "--input-type=module", "-e", code], capture_output=True, text=True, check=True
    )
    values, again, count, *wrong = json.loads(done.stdout)
    assert values == again == [value for _text, value in AXES]
    assert count == 100 and all(wrong)
