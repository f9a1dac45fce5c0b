"""Requests counted by operation and status, and how long they took.

Numbers of our own, since each request pays for them; prometheus-client writes them. They belong to one event loop.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# The operation of paths that are none.
NO_OPERATION = "none"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, float("inf"))


class RequestCounts(Collector):
    """The requests of one server.

    Labels are operations of the contract and statuses, so there are few.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._times: dict[str, list[float]] = {}  # of each operation: how many in each bucket, and the sum in seconds

    def observe_request(self, operation: str, status: int, seconds: float | None) -> None:
        """Count a request; `seconds` is None for a stream or a WebSocket."""
        self._counts[operation, status] += 1
        if seconds is None:
            return
        times = self._times.get(operation)
        if times is None:
            times = self._times[operation] = [0.0] * (len(BUCKETS_S) + 1)
        times[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        times[-1] += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield both metrics."""
        counter = CounterMetricFamily("sluice_requests", "Requests that were answered.", labels=["operation", "status"])
        for (operation, status), count in self._counts.items():
            counter.add_metric([operation, str(status)], count)
        histogram = HistogramMetricFamily(
            "sluice_request_seconds",
            "Time to the end of an answer; not of streams and WebSockets.",
            labels=["operation"],
        )
        for operation, times in self._times.items():
            counts = itertools.accumulate(times[:-1])
            names = ["+Inf" if bound == BUCKETS_S[-1] else str(bound) for bound in BUCKETS_S]
            histogram.add_metric([operation], list(zip(names, counts, strict=True)), times[-1])
        yield from (counter, histogram)
