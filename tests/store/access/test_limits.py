"""How often a wrong token may be tried."""

from __future__ import annotations

from store.access.limits import Failures


def test_failures_are_limited_for_each_client() -> None:
    now = 0.0
    failures = Failures(burst=3, refill_s=10.0, clock=lambda: now, clients=2)
    for _ in range(3):
        assert failures.wait_s("a") == 0
        failures.count_failure("a")
    assert failures.wait_s("a") == 10
    assert failures.wait_s("b") == 0, "others are not concerned"
    for _ in range(100):
        failures.count_failure("a")
    assert failures.wait_s("a") == 10, "trying on does not lengthen the wait"
    now = 10.0
    assert failures.wait_s("a") == 0
    failures.count_failure("a")
    assert failures.wait_s("a") == 10
    now = 1000.0
    for _ in range(3):
        assert failures.wait_s("a") == 0
        failures.count_failure("a")
    for client in ("b", "c"):
        failures.count_failure(client)
    assert set(failures.spent) == {"b", "c"}, "memory is bounded; the oldest is forgotten"
