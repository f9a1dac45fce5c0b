"""The list of workflows: live, with what is wrong in place, new ones, copies, and what cannot be had."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.looks import check_looks
from tests.page.workflows.workflow_pages import (
    TEXT,
    WRONG,
    OpenTab,
    open_workflow,
    put,
    put_caret,
    read_file,
    write_outside,
)

pytestmark = pytest.mark.browser


def find_row(tab: Any, name: str) -> Any:
    """Find the row of a workflow."""
    return tab.get_by_role("row").filter(has=tab.get_by_role("link", name=name, exact=True))


def test_a_file_from_outside_is_there_at_once(site: Server, open_tab: OpenTab) -> None:
    tab = open_tab("#/workflows")
    tab.get_by_role("heading", name="Workflows").wait_for()
    write_outside(site, "fresh", TEXT)
    find_row(tab, "fresh").get_by_text("Two jobs").wait_for()
    write_outside(site, "fresh", WRONG)
    find_row(tab, "fresh").get_by_text("did you mean 'command'").wait_for()
    write_outside(site, "fresh", TEXT.replace("Two jobs", "<b>Two</b> & more"))
    find_row(tab, "fresh").get_by_text("<b>Two</b> & more").wait_for()
    (site.store / "workflows" / "fresh.yaml").unlink()
    expect(find_row(tab, "fresh")).to_have_count(0)


def test_the_last_run_stands_there(site: Server, open_tab: OpenTab) -> None:
    put(site, "ran")
    tab = open_tab("#/workflows")
    find_row(tab, "ran").wait_for()
    site.http.post("/api/workflows/ran/run", json={})
    find_row(tab, "ran").get_by_text("completed").wait_for()


def test_a_new_one_is_written_and_run(site: Server, open_tab: OpenTab) -> None:
    tab = open_tab("#/workflows")
    tab.get_by_role("button", name="New workflow…").click()
    tab.get_by_label("Name", exact=True).fill("a b")
    tab.get_by_role("button", name="Write it").click()
    tab.get_by_text("A name has only letters").wait_for()
    tab.get_by_label("Name", exact=True).fill("made")
    tab.get_by_label("Begins as").select_option("two")
    tab.get_by_role("button", name="Write it").click()
    tab.get_by_role("region", name="Graph").get_by_role("button", name="sum, needs write").wait_for()
    tab.get_by_role("button", name="Save").click()
    expect(tab.locator(".document .bar [role=status]")).to_have_text("Saved.")
    assert "name: made" in read_file(site, "made")
    assert "new=" not in tab.url


def test_copies_new_names_and_the_end(site: Server, open_tab: OpenTab) -> None:
    put(site, "first")
    tab, _field = open_workflow(open_tab, "first")
    save = tab.locator(".document .action")
    save.get_by_role("button", name="Copy as curl").click()
    expect(save.get_by_role("button", name="Copied")).to_be_visible()
    tab.get_by_role("button", name="Duplicate…").click()
    tab.get_by_role("dialog").get_by_role("button", name="Duplicate").click()
    tab.get_by_role("heading", name="first-2").wait_for()
    tab.get_by_role("button", name="Rename…").click()
    tab.get_by_role("dialog").get_by_role("button", name="Copy as curl").click()
    tab.get_by_label("Name", exact=True).press("ControlOrMeta+a")
    tab.get_by_label("Name", exact=True).press("ControlOrMeta+v")
    lines = re.compile("^curl -X POST .*first-2-2.yaml.* ?curl -X DELETE .*/first-2$")
    expect(tab.get_by_label("Name", exact=True)).to_have_value(lines)
    tab.get_by_label("Name", exact=True).fill("second")
    tab.get_by_role("dialog").get_by_role("button", name="Rename").click()
    tab.get_by_role("heading", name="second").wait_for()
    assert read_file(site, "second") == TEXT and not (site.store / "workflows" / "first-2.yaml").exists()
    tab.get_by_role("button", name="Delete").click()
    expect(tab.get_by_role("button", name="Keep")).to_be_focused()
    tab.get_by_role("button", name="Delete").click()
    tab.get_by_role("heading", name="Workflows").wait_for()
    assert not (site.store / "workflows" / "second.yaml").exists()


def test_cells_of_a_sweep_say_which_they_are_and_why_they_failed(site: Server, open_tab: OpenTab) -> None:
    put(site, "cells", "name: cells\nargs: {n: 1}\njobs:\n  - {name: only, command: 'echo no {{ n }}; exit 3'}\n")
    made = site.http.post("/api/workflows/cells/run", json={"sweep": {"matrix": {"n": [1, 2]}}}).json()["sweep_run_id"]
    tab, _field = open_workflow(open_tab, "cells")
    for number in range(2):
        row = tab.get_by_role("row").filter(
            has=tab.get_by_role("link", name=f"sweep {made}, cell {number}", exact=True)
        )
        expect(row.get_by_text("Jobs failed: only", exact=True)).to_be_visible()


def test_none_that_fits_is_not_none_at_all(site: Server, open_tab: OpenTab) -> None:
    put(site, "there")
    tab = open_tab("#/workflows?filter=nothinglikeit")
    tab.get_by_text("fits the filter").wait_for()
    tab.get_by_role("button", name="Clear the filter").click()
    find_row(tab, "there").wait_for()
    assert not re.search("filter=", tab.url)


def test_one_that_is_not_there_says_so(open_tab: OpenTab) -> None:
    tab = open_tab("#/workflows/nowhere")
    tab.get_by_text("There is no workflow nowhere.").wait_for()
    tab.get_by_role("button", name="Write it").click()
    expect(tab.get_by_role("textbox", name="Text of the workflow nowhere")).to_have_value(re.compile("^name: nowhere"))
    tab.troubles.expect("404")


def test_the_dialog_of_a_new_one_has_an_address_and_goes_with_it(site: Server, open_tab: OpenTab) -> None:
    tab = open_tab("#/jobs")
    tab.get_by_role("heading", name="Jobs").wait_for()
    tab.keyboard.press("Control+k")
    tab.get_by_role("combobox", name="Search or command").wait_for()
    tab.keyboard.type("new workflow")
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog", name="New workflow")
    expect(dialog.get_by_label("Name")).to_be_focused()
    tab.go_back()
    expect(dialog).to_have_count(0)


def test_what_was_never_saved_is_found_again(site: Server, open_tab: OpenTab) -> None:
    tab = open_tab("#/workflows/unsaved?new=one")
    field = tab.get_by_role("textbox", name="Text of the workflow unsaved")
    put_caret(field, "Hello")
    tab.keyboard.type(" again")
    tab.goto("/#/workflows")
    find_row(tab, "unsaved").get_by_text("Not saved yet").wait_for()
    find_row(tab, "unsaved").get_by_role("link").click()
    expect(field).to_have_value(re.compile("Hello again"))
    tab.troubles.expect("404")


def test_a_template_is_written_changed_and_taken(site: Server, open_tab: OpenTab) -> None:
    tab = open_tab("#/workflows")
    tab.get_by_role("button", name="New template…").click()
    tab.get_by_label("Name", exact=True).fill("torch")
    tab.get_by_role("button", name="Write it").click()
    tab.get_by_label("What it is").fill("<i>Training</i>")
    tab.get_by_role("button", name="Save").click()
    state = tab.locator(".document .bar [role=status]")
    expect(state).to_have_text("Saved.")
    field = tab.get_by_role("textbox", name="Text of the template torch")
    put_caret(field, "{{ command }}")
    tab.keyboard.type(" --fast")
    tab.keyboard.press("Control+s")
    expect(state).to_have_text("Saved.")
    found = site.http.get("/api/templates/torch").json()
    assert found["description"] == "<i>Training</i>" and "{{ command }} --fast" in found["content"]
    check_looks(tab, 1440)
    tab.get_by_role("button", name="Submit a job…").click()
    expect(tab.get_by_role("dialog").get_by_label("Template", exact=True)).to_have_value("torch")
    tab.goto("/#/templates/base")
    tab.get_by_text("This one is built in; a copy can be changed.").wait_for()
    expect(tab.get_by_role("button", name="Delete")).to_be_hidden()
    tab.goto("/#/workflows")
    tab.get_by_role("region", name="Templates").get_by_text("<i>Training</i>").wait_for()


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_the_list_is_legible(site: Server, open_tab: OpenTab, width: int, dark: bool) -> None:
    put(site, "long-" + "name" * 20)
    write_outside(site, "bent", WRONG)
    tab = open_tab("#/workflows", width=width, dark=dark)
    find_row(tab, "bent").wait_for()
    check_looks(tab, width)
