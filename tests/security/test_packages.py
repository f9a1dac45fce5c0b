"""Packages whose older versions let others in, and the audit of all."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

import pytest
from packaging.version import Version

from tests import ROOT
from tests.audit import NOTHING, summarize

FLOORS = [  # package, the oldest version that may be used, what an older one does
    ("starlette", "1.3.1", "takes any number of form fields, and a path that begins with @ for a host"),
    ("Jinja2", "3.1.6", "lets templates out of the sandbox by |attr"),
    ("h11", "0.16", "takes malformed chunked bodies, by which a request is smuggled past a proxy"),
    ("httptools", "0.6.4", "parses with an llhttp that takes a bare line feed for the end of a header"),
    ("granian", "2.8", "was not tried under the attacks of this folder"),
    ("PyYAML", "6", "makes Python objects of what load() reads"),
]


def read_pins() -> dict[str, str]:
    """The versions in constraints.txt by package, in small letters."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines) if version}


@pytest.mark.parametrize(("package", "floor", "why"), FLOORS, ids=[row[0] for row in FLOORS])
def test_no_older_version_is_used(package: str, floor: str, why: str) -> None:
    pinned = read_pins().get(package.lower())
    asked = re.search(rf'"{package}(?:\[\w+\])?>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(), re.IGNORECASE)
    if pinned is None:
        assert asked is None, "what is needed is pinned"
        pytest.skip("not used")
    assert Version(pinned) >= Version(floor), f"an older one {why}"
    assert Version(importlib.metadata.version(package)) >= Version(floor)
    assert asked is None or Version(asked[1]) >= Version(floor), "nor may an installation without pins use it"


GOOD, LEFT = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("why", "packages", "status", "said"),
    [
        ("all is well", [GOOD], 0, "1 packages audited, 0 known vulnerabilities"),
        ("one is not", [GOOD, BAD], 1, "c 2: PYSEC-1, mended in 3"),
        ("one is unknown", [GOOD, LEFT], 0, "not audited: b"),
        ("no advisories here: that is no clean bill", [LEFT], 0, NOTHING),
    ],
)
def test_what_an_audit_says(why: str, packages: list[dict[str, Any]], status: int, said: str) -> None:
    found, lines = summarize({"dependencies": packages})
    assert (found, said in lines) == (status, True), why
