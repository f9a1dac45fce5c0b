"""Requests counted by operation and status, and how long they took.

A request costs a few microseconds here: what it adds to is looked up once for each operation and status.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

# The operation of paths that are none.
NO_OPERATION = "none"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Add = Callable[[], None]
Observe = Callable[[float], None]


class RequestCounts:
    """The requests of one server.

    Labels are operations of the contract and statuses, so there are few.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "sluice_requests", "Requests that were answered.", ["operation", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "sluice_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ["operation"],
            registry=self.registry,
            buckets=BUCKETS_S,
        )
        self._known: dict[tuple[str, int], tuple[Add, Observe]] = {}

    def observe_request(self, operation: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        found = self._known.get((operation, status))
        if found is None:
            counter = self._requests.labels(operation, str(status))
            found = self._known[operation, status] = counter.inc, self._seconds.labels(operation).observe
        add, observe = found
        add()
        observe(seconds)
