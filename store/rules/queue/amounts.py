"""Sizes, durations and times as people write them in filters. Pure."""

from __future__ import annotations

import math
import re

from store import durations
from store.times import to_epoch

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B)?|MB)?", re.ASCII | re.IGNORECASE)
_MB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}
_UNLIMITED = frozenset({"unlimited", "infinite"})
_LATEST = 253_402_300_799  # the last second of the year 9999


def parse_size_mb(text: str) -> float:
    """Parse a size to MB; a bare number is MB. ValueError for anything else.

    >>> parse_size_mb("4G"), parse_size_mb("1.5GB"), parse_size_mb("512"), parse_size_mb("1T")
    (4096.0, 1536.0, 512.0, 1048576.0)
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text[:40]}' is no size; write it as 512M, 4G or 1T")
    return float(match[1]) * _MB[(match[2] or "M").upper()]


def parse_duration_s(text: str) -> float:
    """Parse a duration to seconds; a bare number is minutes, as for SLURM.

    ValueError for anything else.

    >>> parse_duration_s("2:30:00"), parse_duration_s("90"), parse_duration_s("1h30m"), parse_duration_s("UNLIMITED")
    (9000.0, 5400.0, 5400.0, inf)
    """
    return math.inf if text.lower() in _UNLIMITED else durations.parse_duration_s(text, bare_s=60)


def parse_time_s(text: str, now: float) -> float:
    """Parse a point in time to epoch seconds. ValueError for anything else.

    An RFC 3339 time or a day (UTC), `now`, or so long before now: `now-2h`.

    >>> parse_time_s("1970-01-02", 0), parse_time_s("1970-01-01T01:00:00+01:00", 0), parse_time_s("now-1h", 7200)
    (86400.0, 0.0, 3600.0)
    """
    word = text.lower()
    try:
        if word == "now":
            return now
        if word.startswith("now-"):
            return now - parse_duration_s(word.removeprefix("now-"))
        # In a query a + that was not escaped is a blank.
        moment = to_epoch(text.replace(" ", "+") if "T" in text else text) or 0.0
    except (ValueError, OverflowError):
        raise ValueError(f"'{text[:40]}' is no time; write it as 2026-03-30T12:00:00Z, 2026-03-30 or now-2h") from None
    if not 0 <= moment <= _LATEST:
        raise ValueError(f"'{text[:40]}' is before 1970 or after 9999")
    return moment


def parse_number(text: str) -> float:
    """Parse a number. ValueError for anything else.

    >>> parse_number("4"), parse_number("-1.5")
    (4.0, -1.5)
    """
    if not re.fullmatch(r"[+-]?\d{1,18}(?:\.\d{1,18})?", text, re.ASCII):
        raise ValueError(f"'{text[:40]}' is no number")
    return float(text)
