"""Durations and instants as SLURM writes them, both ways. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

UNLIMITED = "UNLIMITED"

_DURATION = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+)(?::(\d+))?(?:\.\d+)?)?", re.ASCII)


@lru_cache(maxsize=8192)
def parse_duration(text: str) -> int | None:
    """Parse a SLURM duration to seconds; None for unlimited or not set.

    Forms: `MM`, `MM:SS`, `H:MM:SS`, `D-H`, `D-H:MM`, `D-H:MM:SS` (sbatch(1), --time), all of squeue's, sacct's and
    scontrol's output, `0` and UNLIMITED as sbatch takes them stay apart: 0 is 0 here. ValueError for anything else.
    """
    word = text.strip()
    match = _DURATION.fullmatch(word)
    if match is None:
        if word.lower() in _ENDLESS:
            return None
        raise ValueError(f"not a SLURM duration: {text[:40]!r}")
    days, first, second, third = (int(part) if part else None for part in match.groups())
    if days is not None:
        return ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    if third is not None:
        return ((first or 0) * 60 + (second or 0)) * 60 + third
    return (first or 0) * 60 + (second or 0)


_ENDLESS = {
    *("", "unlimited", "infinite", "infinity", "not_set", "partition_limit", "invalid", "none", "n/a", "unknown"),
    "(null)",
}


@lru_cache(maxsize=8192)
def format_duration(seconds_: int | None) -> str:
    """Format seconds as `[D-]H:MM:SS`; "UNLIMITED" for None."""
    if seconds_ is None:
        return UNLIMITED
    minutes, second = divmod(max(0, seconds_), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    # From a day on the hours take two digits, as in SLURM's own `1-00:00:00`.
    return f"{days}-{hour:02}:{minute:02}:{second:02}" if days else f"{hour}:{minute:02}:{second:02}"


def parse_epoch(text: str) -> int | None:
    """Parse an instant printed under SLURM_TIME_FORMAT=%s.

    None for every word for "not known".
    """
    return int(text) or None if text.isascii() and text.isdigit() else None
