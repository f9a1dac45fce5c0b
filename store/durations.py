"""Durations as people write them: 1h30m, 3600, 2:30:00, 1-12. Pure."""

from __future__ import annotations

import re

from store.errors import Invalid, make_problem

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS = re.compile(r"(?:\d{1,9}(?:\.\d{1,3})?\s*[smhdw]\s*)+", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,6})-)?(\d{1,9}):(\d{1,2})(?::(\d{1,2}))?", re.ASCII)
_DAYS = re.compile(r"(\d{1,6})-(\d{1,2})", re.ASCII)


def parse_duration_s(text: str, bare_s: int = 1) -> float:
    """Parse a duration to seconds. Raises ValueError.

    A bare number counts units of `bare_s` seconds; `1:00:00` is hours, minutes and seconds, `1:30` minutes and seconds,
    as SLURM prints them.

    >>> parse_duration_s("1h"), parse_duration_s("1h 30m"), parse_duration_s("90", 60), parse_duration_s("1.5d")
    (3600.0, 5400.0, 5400.0, 129600.0)
    >>> parse_duration_s("1:00:00"), parse_duration_s("1-00:00:00"), parse_duration_s("1-12"), parse_duration_s("1:30")
    (3600.0, 86400.0, 129600.0, 90.0)
    """
    word = text.strip().lower()
    if word.isascii() and word.isdigit() and len(word) <= 12:
        return float(word) * bare_s
    if _UNITS.fullmatch(word):
        parts = re.findall(r"([\d.]+)\s*([smhdw])", word)
        return float(sum(float(number) * UNITS_S[unit] for number, unit in parts))
    if match := _DAYS.fullmatch(word):
        return float(int(match[1]) * UNITS_S["d"] + int(match[2]) * UNITS_S["h"])
    if match := _CLOCK.fullmatch(word):
        days, first, second, third = (int(part or 0) for part in match.groups())
        if match[4] is None:
            first, second, third = (first, second, 0) if match[1] else (0, first, second)
        return float(((days * 24 + first) * 60 + second) * 60 + third)
    raise ValueError(f"'{text[:40]}' is no duration; write it as 2:30:00, 1-12:00:00 or 90m")


def read_duration_s(text: str | None, name: str) -> float:
    """Read a duration from the query, 0 for none. Raises Invalid."""
    try:
        return 0.0 if text is None else parse_duration_s(text)
    except ValueError as problem:
        raise Invalid([make_problem(str(problem), ["query", name], input=text)]) from None
