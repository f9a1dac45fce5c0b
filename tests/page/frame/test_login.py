"""Signing in: over the page in place, with what was typed kept, in all tabs at once; and what a token may not do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets nobody in without a token."""
    made = Server(tmp_path_factory.mktemp("site") / "store", "embedded", SLUICE_ALWAYS_ASK="yes")
    made.http.headers["authorization"] = f"Bearer {made.tokens['admin']}"
    try:
        yield made.start()
    finally:
        made.close()


def sign_in(tab: Any, secret: str) -> None:
    """Sign in where the page asks for it."""
    dialog = tab.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("Token").fill(secret)
    dialog.get_by_role("button", name="Sign in").click()
    dialog.wait_for(state="hidden")


def make_token(site: Server, name: str, *scopes: str) -> str:
    """Make a token; return it."""
    answer = site.http.post("/api/tokens", json={"kind": "token", "name": name, "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


@pytest.mark.parametrize("dark", [False, True])
def test_a_token_signs_in_and_a_wrong_one_is_told_at_its_field(
    site: Server, open_tab: Callable[..., Any], dark: bool
) -> None:
    tab = open_tab("#/overview", width=400, dark=dark)
    dialog = tab.get_by_role("dialog", name="Sign in")
    dialog.wait_for()
    check_looks(tab, 400)
    for _ in range(3):  # browsers ask the page at the first only
        tab.keyboard.press("Escape")
    dialog.wait_for()  # there is nothing behind it
    tab.keyboard.type("slc_wrong")  # its field has the focus
    tab.keyboard.press("Enter")
    dialog.get_by_text("This token is wrong, or has expired").wait_for()
    sign_in(tab, site.tokens["write"])
    tab.get_by_role("heading", name="Queue").wait_for()
    tab.get_by_role("button", name="Sign out").click()
    dialog.wait_for()
    tab.troubles.expect("401")


def test_a_token_that_is_revoked_asks_anew_and_keeps_what_was_typed(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/nodes")
    sign_in(tab, make_token(site, "brief", "read"))
    field = tab.get_by_role("searchbox", name="Filter nodes")
    field.fill("node0")
    tab.get_by_role("link", name="node01").wait_for()
    assert site.http.delete("/api/tokens/token/brief").status_code == 204
    tab.get_by_role("dialog", name="Sign in").get_by_text("What you have typed on the page is kept").wait_for()
    sign_in(tab, site.tokens["read"])
    assert field.input_value() == "node0" and tab.get_by_role("link", name="node01").is_visible()
    tab.get_by_text("Not live").wait_for(state="hidden")
    tab.troubles.expect("401")


def test_another_server_of_the_host_signs_nobody_out(
    site: Server, open_tab: Callable[..., Any], tmp_path: Path
) -> None:
    """Cookies know no ports."""
    other = Server(tmp_path / "store", "embedded", SLUICE_ALWAYS_ASK="yes")
    other.http.headers["authorization"] = f"Bearer {other.tokens['admin']}"
    try:
        first = open_tab("#/nodes")
        sign_in(first, site.tokens["read"])
        second = first.context.new_page()
        second.goto(f"{other.start().url}/#/nodes")
        sign_in(second, other.tokens["read"])
        second.get_by_role("link", name="node01").wait_for()
        first.reload()
        first.get_by_role("link", name="node01").wait_for()
        assert first.get_by_role("dialog").count() == 0
        second.close()
    finally:
        other.close()
    first.troubles.expect("401")
    first.troubles.expect("asked ")


def test_a_submission_survives_the_end_of_its_session(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs?who=all")
    sign_in(tab, make_token(site, "ending", "read", "write"))
    tab.get_by_role("button", name="Submit a job").first.click()
    dialog = tab.get_by_role("dialog", name="Submit a job")
    dialog.get_by_label("Script", exact=True).fill("#!/bin/bash\n#SBATCH -H\ntrue\n")
    dialog.get_by_label("Name", exact=True).fill("survivor")
    assert site.http.delete("/api/tokens/token/ending").status_code == 204
    tab.evaluate("document.querySelector('dialog form').requestSubmit()")
    sign_in(tab, site.tokens["write"])
    tab.get_by_text("is submitted").wait_for()
    tab.keyboard.press("Escape")
    tab.get_by_role("table", name="Jobs").get_by_text("survivor").wait_for()
    tab.troubles.expect("401")


def test_two_tabs_sign_in_and_out_together(site: Server, open_tab: Callable[..., Any]) -> None:
    first = open_tab("#/overview")
    other = first.context.new_page()
    other.goto("/#/nodes")
    other.get_by_role("dialog", name="Sign in").wait_for()
    sign_in(first, site.tokens["write"])
    other.get_by_role("dialog", name="Sign in").wait_for(state="hidden")
    other.get_by_role("link", name="node01").wait_for()
    first.get_by_role("button", name="Sign out").click()
    for tab in (first, other):
        tab.get_by_role("dialog", name="Sign in").wait_for()
    first.troubles.expect("401")


def test_what_a_read_only_token_may_not_do_is_shown_and_not_offered(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/access")
    sign_in(tab, site.tokens["read"])
    tab.get_by_text("write: submit, cancel, run (not allowed)").wait_for()
    tab.get_by_text("This needs the scope admin; read has read").wait_for()
    tab.goto("/#/nodes/node01")
    drain = tab.get_by_role("button", name="Drain…")
    drain.wait_for()
    assert drain.is_disabled() and drain.get_attribute("title") == "This needs the scope admin; read has read"
    tab.goto("/#/settings/config")
    change = tab.get_by_role("button", name="Change resources.nodes")
    change.wait_for()
    assert change.is_disabled()
    tab.troubles.expect("401")


def test_the_printed_link_signs_in_once(site: Server, open_tab: Callable[..., Any]) -> None:
    (link,) = set(re.findall(r"#/\?code=[\w-]+", site.log()))
    tab = open_tab(link)
    tab.get_by_role("button", name="Sign out").wait_for()
    assert tab.evaluate("location.hash") == "#/", "a code is nothing to keep"
    again = open_tab(link)
    again.get_by_role("dialog", name="Sign in").get_by_text("This link is used up").wait_for()
    again.troubles.expect("401")
