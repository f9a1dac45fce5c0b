"""The editor of texts: typed, completed, undone, checked, kept, and changed outside at the same time."""

from __future__ import annotations

import json
import re
import signal
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
CONTAINER = "jobs:\n- name: a\n  command: [x]\n  environment:\n    container:\n      runtime: "
STATUS = ".document .bar [role=status]"


# --- typing ----------------------------------------------------------------------------------------------------------


def test_a_wrong_file_is_mended(site: Server, open_tab: OpenTab) -> None:
    write_outside(site, "bent", WRONG)
    tab = open_tab("#/workflows")
    row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name="bent", exact=True))
    row.get_by_text("did you mean 'command'").wait_for()
    row.get_by_role("link", name="bent", exact=True).click()
    field = tab.get_by_role("textbox", name="Text of the workflow bent")
    problem = tab.get_by_role("list", name="Problems").get_by_text("unknown key 'comand'")
    problem.wait_for()
    tab.get_by_role("button", name="Line 11, column 5").click()
    assert field.evaluate("field => field.value.slice(field.selectionStart)").startswith("comand: [echo")
    for _ in "com":
        tab.keyboard.press("ArrowRight")
    tab.keyboard.type("m")
    expect(problem).to_have_count(0)
    tab.get_by_role("button", name="Save").click()
    expect(tab.locator(STATUS)).to_have_text("Saved.")
    assert read_file(site, "bent") == TEXT
    tab.get_by_role("button", name="Run…").click()
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.wait_for_url("**/#/runs/*")


def test_what_is_no_yaml_is_told_where_it_is_mended(site: Server, open_tab: OpenTab) -> None:
    put(site, "torn")
    tab, field = open_workflow(open_tab, "torn")
    field.fill(TEXT.replace("jobs:", "jobs"))
    tab.get_by_role("list", name="Problems").get_by_text("the colon after 'jobs' is missing").wait_for()
    expect(tab.locator(".editor-paint .error .wrong")).to_have_text("jobs")
    tab.get_by_role("button", name="Line 7, column 5").click()
    tab.keyboard.type(":")
    expect(field).to_have_value(TEXT)
    expect(tab.get_by_role("list", name="Problems").get_by_role("listitem")).to_have_count(0)


def test_a_problem_far_right_comes_into_sight(site: Server, open_tab: OpenTab) -> None:
    put(site, "wide")
    tab, field = open_workflow(open_tab, "wide")
    field.fill(TEXT.replace("[echo, read]", f"[{'echo, ' * 100}'a' 'b']"))
    tab.get_by_role("button", name="Line 11, column 619").click()
    assert field.evaluate("field => [field.scrollLeft > 1000, document.activeElement === field]") == [True, True]
    assert field.evaluate("field => field.value.slice(field.selectionStart)").startswith("'b'")


def test_the_last_good_graph_stays(site: Server, open_tab: OpenTab) -> None:
    put(site, "graphed")
    tab, field = open_workflow(open_tab, "graphed")
    graph = tab.get_by_role("region", name="Graph")
    graph.get_by_role("button", name="write", exact=True).wait_for()
    put_caret(field, "jobs:")
    tab.keyboard.type(" [")
    tab.get_by_text("The graph is as of the last valid text.").wait_for()
    expect(graph.get_by_role("button", name="write", exact=True)).to_be_visible()
    expect(field).to_have_value(re.compile(r"jobs: \["))
    tab.get_by_role("list", name="Problems").get_by_role("button").first.wait_for()


def test_tab_indents_and_escape_then_tab_leaves(site: Server, open_tab: OpenTab) -> None:
    put(site, "tabbed")
    tab, field = open_workflow(open_tab, "tabbed")
    put_caret(field, "[write]\n")
    tab.keyboard.press("Tab")
    expect(field).to_have_value(TEXT + "  ")
    tab.keyboard.press("Shift+Tab")
    expect(field).to_have_value(TEXT)
    field.evaluate("field => field.setSelectionRange(field.value.indexOf('  count'), field.value.indexOf('  fast'))")
    tab.keyboard.press("Tab")
    expect(field).to_have_value(TEXT.replace("  count", "    count").replace("  word", "    word"))
    tab.keyboard.press("Escape")
    tab.keyboard.press("Tab")
    assert not field.evaluate("field => document.activeElement === field")
    assert "\t" not in field.input_value()


def test_lines_are_commented_out_and_in_again(site: Server, open_tab: OpenTab) -> None:
    put(site, "commented")
    tab, field = open_workflow(open_tab, "commented")
    select = "field => field.setSelectionRange(field.value.indexOf('  - name: read'), field.value.length)"
    field.focus()
    field.evaluate(select)
    tab.keyboard.press("Control+/")
    out = "  # - name: read\n    # command: [echo, read]\n    # depends_on: [write]\n"
    expect(field).to_have_value(TEXT[: TEXT.index("  - name: read")] + out)
    tab.keyboard.press("Control+/")
    expect(field).to_have_value(TEXT)


def test_enter_keeps_the_indentation(site: Server, open_tab: OpenTab) -> None:
    put(site, "entered")
    tab, field = open_workflow(open_tab, "entered")
    put_caret(field, "depends_on: [write]")
    tab.keyboard.press("Enter")
    tab.keyboard.type("resources:")
    tab.keyboard.press("Escape")
    tab.keyboard.press("Enter")
    tab.keyboard.type("nodes: 1")
    expect(field).to_have_value(TEXT.rstrip("\n") + "\n    resources:\n      nodes: 1\n")


def test_paste_and_undo_are_the_browsers(site: Server, open_tab: OpenTab) -> None:
    put(site, "pasted")
    tab, field = open_workflow(open_tab, "pasted")
    put_caret(field, "[write]\n")
    more = "  - name: third\n    command: [echo]\n"
    field.evaluate("(field, text) => document.execCommand('insertText', false, text)", more)
    expect(field).to_have_value(TEXT + more)
    expect(tab.locator(".editor-paint")).to_contain_text("third")
    tab.keyboard.press("Control+z")
    expect(field).to_have_value(TEXT)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Control+z")
    expect(field).to_have_value(TEXT)


@pytest.mark.parametrize(
    ("why", "before", "typed", "key", "after"),
    [
        ("dashes further in", "jobs:\n  - name: a\n    command: [x]\n    ", "dep", "Enter", "depends_on:\n      - "),
        ("dashes under their key", "jobs:\n- name: a\n  command: [x]\n  ", "dep", "Tab", "depends_on:\n  - "),
        ("a mapping", "jobs:\n- name: a\n  command: [x]\n  ", "resou", "Enter", "resources:\n    "),
        ("a word", CONTAINER, "ap", "Enter", "apptainer"),
    ],
)  # fmt: skip
def test_completion(site: Server, open_tab: OpenTab, why: str, before: str, typed: str, key: str, after: str) -> None:
    put(site, "completed")
    tab, field = open_workflow(open_tab, "completed")
    field.fill(before)
    put_caret(field, before)
    tab.keyboard.type(typed)
    tab.get_by_role("listbox", name="What may stand here").get_by_role("option").first.wait_for()
    tab.keyboard.press(key)
    expect(field).to_have_value(before + after)
    tab.keyboard.press("Control+z")
    expect(field).to_have_value(before + typed)


def test_a_key_is_replaced_in_place(site: Server, open_tab: OpenTab) -> None:
    put(site, "replaced", TEXT.replace("[write]\n", "[write]\n    retry: 2\n"))
    tab, field = open_workflow(open_tab, "replaced")
    put_caret(field, "    retry")
    tab.keyboard.type("_")
    tab.get_by_role("option", name="retry_delay").click()
    expect(field).to_have_value(re.compile(r"    retry_delay: 2\n"))


def test_jobs_that_are_there_are_offered(site: Server, open_tab: OpenTab) -> None:
    put(site, "offered")
    tab, field = open_workflow(open_tab, "offered")
    tab.get_by_role("region", name="Graph").get_by_role("button", name="write", exact=True).wait_for()
    put_caret(field, "depends_on: [write")
    tab.keyboard.type(", re")
    tab.get_by_role("option", name="read").click()
    expect(field).to_have_value(re.compile(r"depends_on: \[write, read\]"))


def test_of_a_long_text_only_what_is_in_sight_is_painted(site: Server, open_tab: OpenTab) -> None:
    lines = "jobs:\n" + "".join(f"  # a{number}: {number} {'x' * 40}\n" for number in range(10_000))
    put(site, "long", lines + "  - {name: last, command: [echo]}\n")
    tab, field = open_workflow(open_tab, "long")
    put_caret(field, "a5000")
    field.press("Home")
    tab.keyboard.type("typed")
    expect(tab.locator(".editor-paint")).to_contain_text("typed")
    assert tab.locator(".editor-paint .line").count() < 100


def test_the_browsers_search_finds_each_word_once(site: Server, open_tab: OpenTab) -> None:
    put(site, "searched", "# first\n" + TEXT + "# last\n" * 300 + "# needle\n")
    tab, field = open_workflow(open_tab, "searched")
    count = """word => {
      getSelection().removeAllRanges();
      document.activeElement.blur();
      let count = 0;
      while (count < 9 && window.find(word, true)) count += 1;
      return count;
    }"""
    assert tab.evaluate(count, "# first") == 1
    assert tab.evaluate(count, "# needle") == 1
    assert field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)") == "# needle"


def test_input_methods_compose_in_place(site: Server, open_tab: OpenTab) -> None:
    put(site, "composed")
    tab, field = open_workflow(open_tab, "composed")
    put_caret(field, "Two jobs")
    keys = tab.context.new_cdp_session(tab)
    keys.send("Input.imeSetComposition", {"text": "にほ", "selectionStart": 2, "selectionEnd": 2})
    expect(tab.locator(".editor-paint")).to_contain_text("Two jobsにほ")
    keys.send("Input.insertText", {"text": "日本"})
    expect(field).to_have_value(TEXT.replace("Two jobs", "Two jobs日本"))


def test_the_text_is_the_systems_own_where_colours_are_forced(site: Server, open_tab: OpenTab) -> None:
    put(site, "forced")
    tab, field = open_workflow(open_tab, "forced", forced_colors="active")
    assert field.evaluate("field => getComputedStyle(field).color") != "rgba(0, 0, 0, 0)"
    expect(tab.locator(".editor-paint")).to_be_hidden()


def test_all_of_it_by_keys(site: Server, open_tab: OpenTab) -> None:
    put(site, "keyed")
    tab = open_tab("#/workflows?filter=keyed")
    link = tab.get_by_role("link", name="keyed", exact=True)
    link.focus()
    tab.keyboard.press("Enter")
    field = tab.get_by_role("textbox", name="Text of the workflow keyed")
    expect(field).to_have_value(TEXT)
    tab.get_by_role("button", name="Run…").focus()
    while not field.evaluate("field => document.activeElement === field"):
        tab.keyboard.press("Tab")
    tab.keyboard.press("Control+End")
    tab.keyboard.type("# by keys")
    tab.keyboard.press("Control+s")
    expect(tab.locator(STATUS)).to_have_text("Saved.")
    tab.keyboard.press("Escape")
    while not tab.get_by_role("button", name="Run…").evaluate("button => document.activeElement === button"):
        tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Enter")
    expect(tab.get_by_label("count")).to_be_focused()
    tab.keyboard.press("Control+A")
    tab.keyboard.type("7")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/#/runs/*")


# --- kept ------------------------------------------------------------------------------------------------------------


def test_own_saves_ask_nothing_and_line_ends_stay(site: Server, open_tab: OpenTab) -> None:
    write_outside(site, "crlf", TEXT.replace("\n", "\r\n"))
    tab, field = open_workflow(open_tab, "crlf")
    for number in range(3):
        put_caret(field, "Two jobs")
        tab.keyboard.type(str(number))
        tab.keyboard.press("Control+s")
        expect(tab.locator(STATUS)).to_have_text("Saved.")
    assert read_file(site, "crlf") == TEXT.replace("\n", "\r\n").replace("Two jobs", "Two jobs210")
    expect(tab.get_by_role("region", name="Changed outside")).to_be_hidden()


# --- changed outside -------------------------------------------------------------------------------------------------


def test_a_clean_editor_takes_what_comes_from_outside(site: Server, open_tab: OpenTab) -> None:
    put(site, "clean")
    tab, field = open_workflow(open_tab, "clean")
    put_caret(field, "name: read")
    write_outside(site, "clean", "# theirs\n" + TEXT.replace("Two", "Both"))
    expect(field).to_have_value(re.compile("Both jobs"))
    assert field.evaluate("field => field.value.slice(0, field.selectionStart)").endswith("  - name: read")
    expect(tab.get_by_role("region", name="Changed outside")).to_be_hidden()


def test_far_changes_of_a_long_text_can_be_undone(site: Server, open_tab: OpenTab) -> None:
    long = TEXT + "".join(f"# {number} {'x' * 40}\n" for number in range(2000))
    put(site, "far", long)
    tab, field = open_workflow(open_tab, "far")
    theirs = "# first\n" + long + "# last\n"
    write_outside(site, "far", theirs)
    expect(field).to_have_value(theirs)
    field.focus()
    tab.keyboard.press("Control+z")
    tab.keyboard.press("Control+z")
    expect(field).to_have_value(long)


def change_both(site: Server, open_tab: OpenTab, name: str) -> tuple[Any, Any, Any]:
    """Change a text here and outside; return the tab, the field and the question."""
    put(site, name)
    tab, field = open_workflow(open_tab, name)
    put_caret(field, "Two jobs")
    tab.keyboard.type(" of mine")
    write_outside(site, name, TEXT.replace("count: 3", "count: 4"))
    banner = tab.get_by_role("region", name="Changed outside")
    banner.wait_for()
    tab.keyboard.press("Escape")
    expect(banner).to_be_visible()
    return tab, field, banner


@pytest.mark.parametrize(
    ("answer", "mine", "count"), [("Keep mine", True, 3), ("Take theirs", False, 4), ("Merge both", True, 4)]
)
def test_both_changed(site: Server, open_tab: OpenTab, answer: str, mine: bool, count: int) -> None:
    name = answer.split()[0].lower()
    tab, field, banner = change_both(site, open_tab, name)
    banner.get_by_role("button", name=answer).click()
    expect(banner).to_be_hidden()
    wanted = TEXT.replace("Two jobs", "Two jobs of mine" if mine else "Two jobs").replace("count: 3", f"count: {count}")
    expect(field).to_have_value(wanted)
    if mine:
        tab.keyboard.press("Control+s")
        expect(tab.locator(STATUS)).to_have_text("Saved.")
    assert read_file(site, name) == wanted


def test_a_save_over_another_version_asks(site: Server, open_tab: OpenTab) -> None:
    put(site, "raced")
    tab, field = open_workflow(open_tab, "raced")
    put_caret(field, "Two jobs")
    tab.keyboard.type("!")
    write_outside(site, "raced", TEXT + "# theirs\n")
    tab.keyboard.press("Control+s")
    tab.get_by_role("region", name="Changed outside").get_by_role("button", name="Merge both").click()
    expect(field).to_have_value(TEXT.replace("Two jobs", "Two jobs!") + "# theirs\n")
    tab.troubles[:] = [trouble for trouble in tab.troubles if "412" not in trouble]


# --- looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_it_is_legible(site: Server, open_tab: OpenTab, width: int, dark: bool) -> None:
    long = TEXT + "# " + "long " * 500 + "\n"
    write_outside(site, "seen", long.replace("command: [echo, read]", "comand: <b>x</b>"))
    tab, _field = open_workflow(open_tab, "seen", width=width, dark=dark)
    tab.get_by_text("did you mean 'command'").wait_for()
    check_looks(tab, width)


def test_drafts_are_json(site: Server, open_tab: OpenTab) -> None:
    put(site, "drafted")
    tab, field = open_workflow(open_tab, "drafted")
    put_caret(field, "Two jobs")
    tab.keyboard.type("?")
    tab.wait_for_function("() => localStorage.getItem('draft:workflows//drafted')")
    draft = json.loads(tab.evaluate("localStorage.getItem('draft:workflows//drafted')"))
    assert draft["base"] == TEXT and "Two jobs?" in draft["text"]
    tab.get_by_role("button", name="Discard changes").click()
    expect(field).to_have_value(TEXT)
    tab.wait_for_function("() => !localStorage.getItem('draft:workflows//drafted')")


def test_typed_text_outlives_a_reload_and_a_restart(site: Server, open_tab: OpenTab) -> None:
    put(site, "kept")
    tab, field = open_workflow(open_tab, "kept")
    put_caret(field, "Two jobs")
    tab.keyboard.type(" of mine")
    expect(tab).to_have_title(re.compile("^●"))
    tab.reload()
    expect(field).to_have_value(TEXT.replace("Two jobs", "Two jobs of mine"))
    site.end(signal.SIGKILL)
    tab.get_by_role("button", name="Save").click()
    expect(tab.locator(STATUS)).to_contain_text("Not saved: The server gave no answer. What you typed is kept.")
    site.start()
    tab.get_by_role("button", name="Save").click()
    expect(tab.locator(STATUS)).to_have_text("Saved.")
    assert "Two jobs of mine" in read_file(site, "kept")
    assert tab.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft:'))") == []
    tab.troubles.expect("ERR_CONNECTION")
    tab.troubles[:] = [trouble for trouble in tab.troubles if "Failed to load resource" not in trouble]
