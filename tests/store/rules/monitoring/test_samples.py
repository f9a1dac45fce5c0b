"""Samples as lines, and the buckets that are made of them."""

from __future__ import annotations

from typing import Any

import pytest

from store.errors import Invalid
from store.rules.monitoring import samples
from store.rules.monitoring.samples import Row, Sample

SAMPLE = Sample(
    1_700_000_000.25,
    "here",
    cpus=(3, 8),
    memory_mb=None,
    gpus=(0, 0),
    submitted=4,
    started=2,
    ended=1,
    waited_s=30.0,
    longest_wait_s=20.0,
    jobs={"RUNNING": 2},
    nodes={"MIXED": 1},
    finished={"COMPLETED": 9},
)
NOON = 1_702_641_600  # 2023-12-15T12:00:00Z


def test_a_sample_is_read_as_it_was_written() -> None:
    line = samples.format_sample(SAMPLE)
    assert line.startswith(b'{"at":"2023-11-14T22:13:20.250Z","cluster":"here"') and line.endswith(b"}\n")
    assert samples.parse_sample(line) == SAMPLE


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"at": 5, "cluster": "x"}',
        b'{"at": "2023-12-15T12:00:00Z", "cluster": "x", "ended": -1}',
        b'{"at": "2023-12-15T12:00:00Z", "cluster": "x", "cpus": [1]}',
        b'{"at": "2023-99-15", "cluster": "x"}',
    ],
)
def test_a_line_that_is_no_sample_is_none(line: bytes) -> None:
    assert samples.parse_sample(line) is None


def make_row(at: float, cpu: float | None, submitted: int = 0, started: int = 0, waited_s: float = 0.0) -> Row:
    """Make a row with these values."""
    return Row(at, cpu, None, None, submitted, started, 0, waited_s, waited_s)


def test_buckets_are_means_and_sums_and_gaps_are_null() -> None:
    period = samples.Period(NOON, NOON + 10_800, 3600)
    rows = [make_row(NOON, 10.0, 2, 1, 5.0), make_row(NOON + 3599, 30.0, 3, 3, 85.0), make_row(NOON + 7200, None)]
    found = samples.build_buckets(rows, period)
    assert [row["timestamp"] for row in found] == [f"2023-12-15T{hour}:00:00Z" for hour in (12, 13, 14)]
    assert [(row["cpu_utilization"], row["jobs_submitted"], row["avg_queue_time"]) for row in found] == [
        (20.0, 5, 22),
        (None, None, None),
        (None, 0, None),
    ]


def test_memory_that_a_busy_cluster_does_not_tell_is_unknown() -> None:
    idle, busy = make_row(NOON, 0.0)._replace(memory=0.0), make_row(NOON + 60, 90.0)
    for why, rows, expected in (("idle", [idle], 0.0), ("busy for a while", [idle, busy], None)):
        (found,) = samples.build_buckets(rows, samples.Period(NOON, NOON + 3600, 3600))
        assert found["memory_utilization"] == expected, why


PERIODS: list[tuple[str, tuple[Any, ...], tuple[int, int]]] = [
    ("the last 24 hours end with the present one", (None, None, "1h"), (NOON - 82_800, 24)),
    ("a day", (None, None, "1d"), (NOON - 43_200, 1)),
    ("a minute", (None, None, "1m"), (NOON + 60 - 86_400, 1440)),
    ("from a time that is aligned down", ("2023-12-15T10:12:00Z", None, "5m"), (NOON - 6600, 23)),
    ("another zone, its plus a blank as in a URL", ("2023-12-15T12:00:00 01:00", None, "1h"), (NOON - 3600, 2)),
    ("days, the last one whole", ("2023-12-01", "2023-12-08", "1d"), (1_701_388_800, 8)),
    ("24 hours up to a full hour", (None, "2023-12-15T12:00:00Z", "1h"), (NOON - 86_400, 24)),
    ("a day that has passed", (None, "2023-12-01", "1d"), (1_701_388_800, 1)),
]


@pytest.mark.parametrize(("why", "given", "expected"), PERIODS, ids=[row[0] for row in PERIODS])
def test_periods(why: str, given: tuple[Any, ...], expected: tuple[int, int]) -> None:
    period = samples.make_period(*given, now=NOON + 90.0 if given[2] == "1h" else NOON + 1.0)
    assert (period.first, period.bucket_count) == expected, why


@pytest.mark.parametrize(
    ("start", "end", "interval", "field"),
    [
        ("2023-12-15T12:00:00Z", "2023-12-15T12:00:00Z", "1h", "end_time"),
        ("soon", None, "1h", "start_time"),
        (None, "12:30", "1h", "end_time"),
        ("2023-12-01", "2023-12-15", "1m", "interval"),
        ("0001-01-01", None, "1d", "interval"),
    ],
)
def test_a_period_that_is_refused(start: str | None, end: str | None, interval: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        samples.make_period(start, end, interval, NOON)
    assert refused.value.problems[0]["loc"] == ["query", field]
