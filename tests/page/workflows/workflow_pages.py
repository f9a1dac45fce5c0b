"""Workflows for the tests of their views, and how these are opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.app_server import Server

TEXT = """\
description: Two jobs
args:
  count: 3
  word: hello
  fast: true

jobs:
  - name: write
    command: echo {{ word }} {{ count }} {{ fast }}
  - name: read
    command: [echo, read]
    depends_on: [write]
"""
WRONG = TEXT.replace("command: [echo, read]", "comand: [echo, read]")
SCHEMA_IS_THERE = """() => performance.getEntriesByType("resource").some(
  (each) => each.name.includes("api/schemas") && each.responseEnd > 0)"""
OpenTab = Callable[..., Any]


def put(site: Server, name: str, text: str = TEXT) -> None:
    """Save a workflow."""
    answer = site.http.post("/api/workflows/upload", json={"yaml": text, "filename": f"{name}.yaml"})
    assert answer.status_code == 200, answer.text


def write_outside(site: Server, name: str, text: str) -> None:
    """Write a workflow's file as an editor outside does."""
    (site.store / "workflows" / f"{name}.yaml").write_bytes(text.encode())


def read_file(site: Server, name: str) -> str:
    """Return what the workflow's file holds."""
    return (site.store / "workflows" / f"{name}.yaml").read_bytes().decode()


def open_workflow(open_tab: OpenTab, name: str, query: str = "", **options: Any) -> tuple[Any, Any]:
    """Open a workflow; return the tab and the field of its text, which is there."""
    tab = open_tab(f"#/workflows/{name}{query}", **options)
    field = tab.get_by_role("textbox", name=f"Text of the workflow {name}")
    field.wait_for()
    tab.wait_for_function("() => document.querySelector('.editor-paint .line')?.textContent")
    tab.wait_for_function(SCHEMA_IS_THERE)
    return tab, field


def put_caret(field: Any, after: str) -> None:
    """Put the caret behind a word of the text."""
    field.evaluate(
        "(field, word) => { const at = field.value.indexOf(word) + word.length;"
        " field.focus(); field.setSelectionRange(at, at); }",
        after,
    )
