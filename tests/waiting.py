"""Waiting for something to become true, with a bound that a busy machine keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

Value = TypeVar("Value")
# Limits are written for a quiet machine. They only end what would never come true, so a busy one may take this much
# longer without a failure.
SLACK = 6


def eventually(fn: Callable[[], Value], timeout_s: float = 20, what: str = "") -> Value:
    """Wait for the first true value of the function, and return it.

    What the function raises counts as not yet; the last problem stands in the failure.
    """
    until = time.monotonic() + timeout_s * SLACK
    while True:
        try:
            problem: object = None
            value = fn()
        except (AssertionError, LookupError, OSError, httpx.TransportError) as error:
            problem, value = error, None  # type: ignore[assignment]
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"still not so after {timeout_s * SLACK} s: {what or fn}; last: {problem or value!r}")
        time.sleep(0.02)
