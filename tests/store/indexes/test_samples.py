"""Samples in memory, by cluster and time."""

from __future__ import annotations

from store.indexes.samples import SampleIndex
from store.rules.monitoring.samples import Sample


def make_sample(at: float, cluster: str = "here", used: int = 1) -> Sample:
    """Make a sample of a moment."""
    return Sample(at, cluster, cpus=(used, 8), submitted=2)


def test_rows_come_in_order_of_time_whatever_order_they_were_read_in() -> None:
    index = SampleIndex()
    for at in (10.0, 30.0, 20.0, 20.0):
        index.add(make_sample(at))
    index.add(make_sample(15.0, "elsewhere", 8))
    assert [(row.at, row.cpu, row.gpu, row.submitted) for row in index.list_rows("here", 10.0, 30.0)] == [
        (10.0, 12.5, None, 2.0), (20.0, 12.5, None, 2.0),
    ]  # fmt: skip
    assert [row.cpu for row in index.list_rows("elsewhere", 0.0)] == [100.0] and index.list_rows("nowhere", 0.0) == []
    assert index.last["here"].at == 30.0


def test_old_samples_are_dropped() -> None:
    index = SampleIndex()
    for at in range(5):
        index.add(make_sample(float(at)))
    index.drop_before(3.0)
    assert [row.at for row in index.list_rows("here", 0.0)] == [3.0, 4.0]
