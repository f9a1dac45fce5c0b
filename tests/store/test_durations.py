"""Durations as people write them."""

from __future__ import annotations

import pytest

from store.durations import read_duration_s
from store.errors import Invalid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("1h", 3600),
        ("30m", 1800),
        ("3600", 3600),
        ("1:00:00", 3600),
        ("90s", 90),
        (" 2 H ", 7200),
        ("1d 6h", 108_000),
        ("2-00:00:00", 172_800),
        ("1-02:30", 95_400),
        ("0", 0),
    ],
)
def test_forms(text: str | None, seconds: float) -> None:
    assert read_duration_s(text, "min_runtime") == seconds


@pytest.mark.parametrize("text", ["", "long", "1x", "-5", "1h-", "h", "1:2:3:4", "٣", "9" * 40])
def test_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_duration_s(text, "min_runtime")
