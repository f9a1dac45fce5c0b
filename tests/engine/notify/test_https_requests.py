"""The library that speaks HTTP: loaded only for who sends anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.notify.https_requests import _parse_wait_s
from tests import ROOT


def test_who_sends_nothing_does_not_load_it() -> None:
    program = "import sys, engine.server; sys.exit('httpcore' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


@pytest.mark.parametrize(
    ("why", "given", "wait_s"),
    [
        ("seconds", b"120", 120.0),
        ("a date", b"Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("less than nothing", b"-5", 0.0),
        ("for ever", b"99999999", 0.0),
    ],
)
def test_how_long_a_receiver_wants_rest(why: str, given: bytes, wait_s: float) -> None:
    assert _parse_wait_s([(b"Retry-After", given)]) == wait_s, why
