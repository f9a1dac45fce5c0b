"""One box for search and commands, keyboard first; keys, and where they do not act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)> lr"
HELD = "#!/bin/bash\n#SBATCH -H\ntrue\n"


def box(tab: Any) -> Any:
    """The field of the box."""
    return tab.get_by_role("combobox", name="Search or command")


def chosen(tab: Any) -> str:
    """The text of the option that is chosen, as the field says."""
    return str(tab.locator(f"[id='{box(tab).get_attribute('aria-activedescendant')}']").inner_text())


def ready(tab: Any) -> Any:
    """The tab, as soon as a view is there."""
    tab.get_by_role("heading", name="Times").wait_for()
    return tab


def test_a_job_is_found_by_its_hostile_name(site: Server, open_tab: Callable[..., Any]) -> None:
    made = site.http.post("/api/v1/jobs", json={"job_name": EVIL, "script": HELD}).json()["job_id"]
    tab = ready(open_tab("#/settings/page"))
    tab.keyboard.press("/")
    box(tab).wait_for()
    tab.keyboard.type("onerror")
    tab.get_by_role("option").filter(has_text=f"{EVIL} ({made})").wait_for()
    assert EVIL in chosen(tab)
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/#/jobs/{made}")
    site.http.delete(f"/api/v1/jobs/{made}")


def test_views_and_commands_by_keys_alone(open_tab: Callable[..., Any]) -> None:
    tab = ready(open_tab("#/settings/page"))
    search = tab.get_by_role("button", name="Search")
    search.focus()
    tab.keyboard.press("Control+k")
    box(tab).wait_for()
    first = chosen(tab)
    tab.keyboard.press("ArrowDown")
    assert chosen(tab) != first
    tab.keyboard.press("ArrowUp")
    assert chosen(tab) == first
    tab.keyboard.type("times utc")
    assert "Times: UTC" in chosen(tab)
    tab.keyboard.press("Enter")
    box(tab).wait_for(state="detached")
    assert tab.get_by_label("Time zone").input_value() == "UTC"
    tab.keyboard.press("Control+k")
    box(tab).wait_for()
    tab.keyboard.type("go nodes")
    tab.keyboard.press("Enter")
    tab.get_by_role("link", name="node01").wait_for()
    tab.keyboard.press("Control+k")
    box(tab).wait_for()
    tab.keyboard.press("Escape")
    box(tab).wait_for(state="detached")


@pytest.mark.parametrize(("command", "title"), [("submit a job", "Submit a job"), ("new workflow", "New workflow")])
def test_commands_open_their_dialogs(open_tab: Callable[..., Any], command: str, title: str) -> None:
    tab = ready(open_tab("#/settings/page"))
    tab.keyboard.press("/")
    box(tab).fill(command)
    tab.get_by_role("option").filter(has_text=f"{title}…").click()
    tab.get_by_role("dialog", name=title).wait_for()


def test_nothing_found_says_so(open_tab: Callable[..., Any]) -> None:
    tab = ready(open_tab("#/settings/page"))
    tab.keyboard.press("/")
    box(tab).wait_for()
    tab.keyboard.type("qqqq zzzz")
    tab.get_by_text("Nothing fits “qqqq zzzz”.").wait_for()


def test_single_keys_act_outside_of_fields_and_can_be_switched_off(open_tab: Callable[..., Any]) -> None:
    tab = ready(open_tab("#/settings/page"))
    tab.keyboard.press("g")
    tab.keyboard.press("n")
    field = tab.get_by_role("searchbox", name="Filter nodes")
    field.fill("")
    field.press_sequentially("g s/?")
    assert field.input_value() == "g s/?"
    tab.get_by_role("link", name="Settings").focus()
    tab.keyboard.press("?")
    keys = tab.get_by_role("dialog", name="Keys")
    keys.get_by_text("go to sweeps").wait_for()
    tab.keyboard.press("Escape")
    tab.goto("/#/settings/page")
    tab.get_by_label("Single keys act").uncheck()
    tab.get_by_role("link", name="Settings").focus()
    tab.keyboard.press("?")
    tab.keyboard.press("Control+k")
    box(tab).wait_for()
    assert not keys.is_visible()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 400])
def test_it_looks_right(open_tab: Callable[..., Any], width: int, dark: bool) -> None:
    tab = ready(open_tab("#/settings/page", width=width, dark=dark))
    tab.keyboard.press("/")
    box(tab).wait_for()
    tab.keyboard.type("node")
    tab.get_by_role("option").filter(has_text="node01").wait_for()
    pick_theme(tab, dark)
    check_looks(tab, width)
