"""Workflows for those who sign in: typed text outlives a session, and who may only read is told so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.frame.test_login import make_token, sign_in, site  # noqa: F401 - the server of these tests
from tests.page.workflows.test_editor import STATUS, expect
from tests.page.workflows.workflow_pages import TEXT, put, put_caret, read_file

pytestmark = pytest.mark.browser


def open_as(open_tab: Callable[..., Any], name: str, secret: str) -> tuple[Any, Any]:
    """Sign in at a workflow; return the tab and the field of its text."""
    tab = open_tab(f"#/workflows/{name}")
    sign_in(tab, secret)
    field = tab.get_by_role("textbox", name=f"Text of the workflow {name}")
    expect(field).to_have_value(TEXT)
    return tab, field


def test_a_save_goes_on_after_signing_in_anew(site: Server, open_tab: Callable[..., Any]) -> None:  # noqa: F811
    put(site, "signed")
    tab, field = open_as(open_tab, "signed", make_token(site, "short", "read", "write"))
    put_caret(field, "Two jobs")
    tab.keyboard.type(" of mine")
    assert site.http.delete("/api/tokens/token/short").status_code == 204
    tab.keyboard.press("Control+s")
    sign_in(tab, site.tokens["write"])
    expect(tab.locator(STATUS)).to_have_text("Saved.")
    assert read_file(site, "signed") == TEXT.replace("Two jobs", "Two jobs of mine")
    tab.troubles.expect("401")


def test_who_may_only_read_is_told_so(site: Server, open_tab: Callable[..., Any]) -> None:  # noqa: F811
    put(site, "looked-at")
    tab, field = open_as(open_tab, "looked-at", site.tokens["read"])
    expect(tab.locator(STATUS)).to_have_text("Only to be read. This needs the scope write; read has read.")
    expect(field).not_to_be_editable()
    expect(tab.get_by_role("button", name="Save")).to_be_hidden()
    for name in ("Run…", "Duplicate…", "Rename…", "Delete"):
        expect(tab.get_by_role("button", name=name)).to_be_disabled()
    field.focus()
    tab.keyboard.press("Tab")
    assert not field.evaluate("field => document.activeElement === field"), "Tab leaves a text that is only read"
    tab.troubles.expect("401")
