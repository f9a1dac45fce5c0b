"""Requests counted by operation and status, and how long they took.

Numbers of our own, since each request pays for them; engine.monitoring.prometheus writes them. They belong to one
event loop.
"""

from __future__ import annotations

import bisect
from collections import Counter

# The operation of paths that are none.
NO_OPERATION = "none"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, float("inf"))


class RequestCounts:
    """The requests of one server.

    By operation of the contract and status, so there are few. `times` has of each operation how many requests took up
    to each of BUCKETS_S, and the sum in seconds.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.times: dict[str, list[float]] = {}

    def observe_request(self, operation: str, status: int, seconds: float | None) -> None:
        """Count a request; `seconds` is None for a stream or a WebSocket."""
        self.counts[operation, status] += 1
        if seconds is None:
            return
        times = self.times.get(operation)
        if times is None:
            times = self.times[operation] = [0.0] * (len(BUCKETS_S) + 1)
        times[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        times[-1] += seconds
