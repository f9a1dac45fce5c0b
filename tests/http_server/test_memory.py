"""Memory that is free and kept in pieces goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from http_server.memory import find_library
from tests import ROOT

# Large pieces between small ones that stay; a process of its own, since others' memory would be measured too.
PROGRAM = """
import resource
from pathlib import Path
from http_server.memory import MUCH_BYTES, give_back_memory

def measure():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before, known = measure(), give_back_memory(0)
assert known < MUCH_BYTES
kept, large = [], []
for _ in range(4000):
    large.append(bytearray(100_000))
    kept.append(bytearray(2_000))
large.clear()
has = measure()
assert has > before + 400_000_000, "or nothing is shown"
assert give_back_memory(2**40) > 4 * MUCH_BYTES and measure() > before + 4 * MUCH_BYTES, "no more than is known"
assert give_back_memory(known) > known + 4 * MUCH_BYTES
assert measure() < before + 50_000_000, (before, has, measure())
"""


@pytest.mark.skipif(find_library() is None, reason="this C library cannot count its memory")
def test_what_is_free_in_pieces_is_given_back() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, timeout=120)
