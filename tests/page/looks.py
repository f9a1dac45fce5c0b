"""How a view looks: what axe-core finds, and whether the page scrolls sideways."""

from __future__ import annotations

from typing import Any

# What axe-core cannot judge of a table of ours: its rows are few of many, and its head is not in every one of them.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def pick_theme(tab: Any, dark: bool) -> None:
    """Make sure that the tab has the theme that is looked at."""
    assert tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is dark


def check_looks(tab: Any, width: int) -> None:
    """Check that nothing is illegible or nameless, and that only tables and logs scroll sideways."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab, options=RULES)
    wrong = [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]][:3])
        for violation in found.response["violations"]
    ]
    assert wrong == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
