"""Programs that tests of the page need beside Python."""

from __future__ import annotations

import os
import shutil

import pytest


def find_program(*names: str) -> str:
    """Return the path of the first that is here; without one CI fails, and others skip the test."""
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        assert os.environ.get("CI") != "true", f"{names[0]} is missing"
        pytest.skip(f"{names[0]} is not installed")
    return found
