"""The soak for two minutes: what a person runs for longer by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_nothing_goes_wrong_while_the_server_is_killed() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.soak", "2"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
