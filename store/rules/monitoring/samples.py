"""Samples of a cluster over time, and the buckets of a period. Pure.

A sample is one line of samples/DAY.jsonl: what the cluster had at one moment, and what its jobs did since the sample
before. Where there is none, nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter

from store.errors import Invalid, make_problem
from store.jsons import dump_json, load_json
from store.times import read_time, to_day_end, to_epoch, to_rfc3339

INTERVALS_S = {"1m": 60, "5m": 300, "1h": 3600, "1d": 86_400}
MOST_BUCKETS = 1500
DAY_S = 86_400


Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=2**53, allow_inf_nan=False)]


@dataclass(frozen=True)
class Sample:
    """One moment of a cluster.

    `at` is when SLURM was asked (epoch seconds). Pairs are what is allocated and what there is, None where SLURM does
    not say. `submitted`, `started` and `ended` count jobs since the sample before; `waited_s` is how long those that
    started had waited, all together, `longest_wait_s` the longest of these. `finished` counts by state all jobs whose
    end was ever seen.
    """

    at: float
    cluster: str
    cpus: tuple[Count, Count] | None = None
    memory_mb: tuple[Count, Count] | None = None
    gpus: tuple[Count, Count] | None = None
    submitted: Count = 0
    started: Count = 0
    ended: Count = 0
    waited_s: Seconds = 0.0
    longest_wait_s: Seconds = 0.0
    jobs: Mapping[str, Count] = field(default_factory=dict)
    nodes: Mapping[str, Count] = field(default_factory=dict)
    finished: Mapping[str, Count] = field(default_factory=dict)


_READER = TypeAdapter(Sample)


def format_sample(sample: Sample) -> bytes:
    """Write a sample as one line with its newline."""
    return dump_json(asdict(sample) | {"at": to_rfc3339(round(sample.at, 3))}) + b"\n"


def parse_sample(line: bytes) -> Sample | None:
    """Read a sample from its line; None for one that is none.

    Somebody may have edited the file, and the last line may be torn.
    """
    try:
        values = load_json(line)
        return _READER.validate_python(values | {"at": to_epoch(values["at"])})
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def compute_percent(pair: tuple[int, int] | None) -> float | None:
    """Compute what is allocated of what there is, with one decimal.

    >>> compute_percent((157, 200)), compute_percent((0, 0)), compute_percent(None)
    (78.5, None, None)
    """
    return round(min(100.0, 100 * pair[0] / pair[1]), 1) if pair and pair[1] else None


def format_wait(seconds: float | None) -> str | None:
    """Format a duration by its two largest units; None stays None.

    >>> format_wait(754), format_wait(8100), format_wait(7), format_wait(90_000), format_wait(None)
    ('12m 34s', '2h 15m', '7s', '1d 1h', None)
    """
    if seconds is None:
        return None
    left, parts = max(0, int(seconds)), []
    for name, size in (("d", DAY_S), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        parts.append((number, name))
    first = next((at for at, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number}{name}" for number, name in parts[first : first + 2] if number) or "0s"


class Period(NamedTuple):
    """A period in epoch seconds, cut into buckets of `step_s`.

    They begin at `first`; `end` is not in it.
    """

    first: int
    end: float
    step_s: int

    @property
    def bucket_count(self) -> int:
        """The number of its buckets."""
        return math.ceil((self.end - self.first) / self.step_s)


def make_period(start: str | None, end: str | None, interval: str, now: float) -> Period:
    """Make the period of a request; by default the last 24 hours.

    Buckets are aligned to UTC. Raises Invalid for no time, an end that is not after the start, too many buckets.
    """
    step_s = INTERVALS_S[interval]
    ended = read_time(end, ["query", "end_time"], to_day_end)
    until = now if ended is None else ended
    began = read_time(start, ["query", "start_time"])
    # 24 hours end with the last bucket of the period.
    since = math.ceil(until / step_s) * step_s - max(DAY_S, step_s) if began is None else began
    if until <= since:
        raise Invalid([make_problem("must be after start_time", ["query", "end_time"], input=end)])
    period = Period(math.floor(since / step_s) * step_s, until, step_s)
    if period.bucket_count > MOST_BUCKETS:
        message = f"the period has {period.bucket_count} intervals of {interval}; at most {MOST_BUCKETS} are answered"
        raise Invalid([make_problem(message, ["query", "interval"], input=interval)])
    return period


class Row(NamedTuple):
    """What buckets need of a sample: percentages (None unknown) and counts."""

    at: float
    cpu: float | None
    memory: float | None
    gpu: float | None
    submitted: float
    started: float
    ended: float
    waited_s: float
    longest_wait_s: float


def to_row(sample: Sample) -> Row:
    """Return what buckets need of a sample."""
    cpu, memory, gpu = map(compute_percent, (sample.cpus, sample.memory_mb, sample.gpus))
    events = sample.submitted, sample.started, sample.ended
    return Row(sample.at, cpu, memory, gpu, *events, sample.waited_s, sample.longest_wait_s)


def build_buckets(rows: Sequence[Row], period: Period) -> list[dict[str, Any]]:
    """Build all buckets of a period from its rows, in order of time.

    A bucket without a sample has nulls.
    """
    by_bucket: dict[int, list[Row]] = {}
    for row in rows:
        by_bucket.setdefault(int((row.at - period.first) // period.step_s), []).append(row)
    return [
        {"timestamp": to_rfc3339(period.first + at * period.step_s), **_summarize_rows(by_bucket.get(at, []))}
        for at in range(period.bucket_count)
    ]


def _summarize_rows(rows: Sequence[Row]) -> dict[str, Any]:
    started = sum(row.started for row in rows)
    # Where memory is not allocated, an idle cluster is told to use none of it, and a busy one nothing.
    has_memory = not any(row.memory is None and row.cpu is not None for row in rows)
    return {
        "cpu_utilization": _compute_mean([row.cpu for row in rows]),
        "memory_utilization": _compute_mean([row.memory for row in rows]) if has_memory else None,
        "gpu_utilization": _compute_mean([row.gpu for row in rows]),
        "jobs_submitted": int(sum(row.submitted for row in rows)) if rows else None,
        "jobs_completed": int(sum(row.ended for row in rows)) if rows else None,
        "avg_queue_time": round(sum(row.waited_s for row in rows) / started) if started else None,
    }


def _compute_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 1) if known else None
