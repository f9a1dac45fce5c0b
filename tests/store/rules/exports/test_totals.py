"""Sums over a period: what lies in it counts, and memory stays bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import Invalid
from store.rules.exports import periods, totals
from store.rules.exports.totals import Totals

DAY = 86_400


def job(start: float | None, end: float | None, **more: Any) -> dict[str, Any]:
    row = {
        "user": "ann", "partition": "main", "state": "COMPLETED", "submit_time": 0.0, "start_time": start,
        "end_time": end, "cpu_count": 2, "gpus": 1, "runs_until": 10 * DAY,
    }  # fmt: skip
    return row | more


@given(st.lists(st.tuples(st.integers(0, 20 * DAY), st.integers(0, 5 * DAY)), max_size=20))
def test_the_buckets_add_up_to_the_whole(spans: list[tuple[int, int]]) -> None:
    found = Totals(5 * DAY, 10 * DAY)
    found.add_jobs(job(start, start + length) for start, length in spans)
    seconds = sum(max(0, min(start + length, 10 * DAY) - max(start, 5 * DAY)) for start, length in spans)
    assert found.all.cpu_s == pytest.approx(2 * seconds)
    assert sum(row.cpu_s for row in found.buckets) == pytest.approx(2 * seconds)
    assert found.all.gpu_s == pytest.approx(seconds)
    ended = sum(5 * DAY <= start + length < 10 * DAY for start, length in spans)
    assert found.all.jobs == ended == sum(row.ended for row in found.buckets) == sum(found.states.values())


def test_jobs_that_run_count_to_the_present_and_have_not_ended() -> None:
    found = Totals(0, 20 * DAY)
    found.add_jobs([job(9 * DAY, None)])
    assert (found.all.cpu_s, found.all.jobs) == (2 * DAY, 0)


def test_jobs_that_never_ran_have_no_wait() -> None:
    found = Totals(0, 20 * DAY)
    found.add_jobs([job(None, DAY, state="CANCELLED"), job(60, 120, submit_time=0, cpu_s=60.0, cpu_efficiency=0.5)])
    assert (found.all.cancelled, found.all.average_wait_s, found.all.average_run_s) == (1, 60, 60)
    assert found.all.cpu_efficiency == 0.5 and found.bins[5] == 1
    assert [wasted_s for wasted_s, _ in found.list_wasteful()] == [60.0]


def test_partitions_users_and_wasteful_jobs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST_GROUPS", 3)
    found = Totals(0, 20 * DAY, frozenset({"gpu"}))
    found.add_jobs(job(0, 60, user=f"u{number}", partition="gpu", cpu_s=1.0) for number in range(100))
    found.add_jobs([job(0, 60)])
    assert list(found.users) == ["u0", "u1", "u2", totals.OTHERS] and found.users[totals.OTHERS].jobs == 97
    assert len(found.wasteful) == totals.MOST_WASTEFUL and found.all.jobs == 100


PERIODS: list[tuple[str, dict[str, Any], tuple[float, float]]] = [
    ("nothing", {}, (70 * DAY, 100 * DAY)),
    ("a week", {"period": "week"}, (93 * DAY, 100 * DAY)),
    ("dates, the last day in it", {"start_date": "1970-01-02", "end_date": "1970-01-03"}, (DAY, 3 * DAY)),
    ("a start", {"period": "day", "start_date": "1970-01-02"}, (DAY, 2 * DAY)),
    ("an end", {"period": "day", "end_date": "1970-01-02"}, (DAY, 2 * DAY)),
    ("times", {"start_date": "1970-01-01T00:00:01Z", "end_date": "1970-01-01T00:00:05Z"}, (1, 5)),
]


@pytest.mark.parametrize(("why", "parameters", "expected"), PERIODS, ids=[row[0] for row in PERIODS])
def test_the_period_of_a_report(why: str, parameters: dict[str, Any], expected: tuple[float, float]) -> None:
    assert periods.choose_period(parameters, 100 * DAY) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("parameters", [{"start_date": "x"}, {"end_date": "9" * 60}, {"start_date": "0001-01-01"}])
def test_a_period_that_is_none(parameters: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        periods.choose_period(parameters, 100 * DAY)
