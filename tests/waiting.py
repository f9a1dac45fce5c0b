"""Waiting for something to become true, with a bound that a busy machine keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

Value = TypeVar("Value")


def eventually(fn: Callable[[], Value], timeout_s: float = 20, what: str = "") -> Value:
    """The first true value that the function gives; what it raises counts as not yet, and is told in the end."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            problem: object = None
            value = fn()
        except (AssertionError, LookupError, OSError, httpx.TransportError) as error:
            problem, value = error, None  # type: ignore[assignment]
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"still not so after {timeout_s} s: {what or fn}; last: {problem or value!r}")
        time.sleep(0.02)
