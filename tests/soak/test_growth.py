"""A line through the memory of a soak."""

from __future__ import annotations

import pytest

from tests.soak.growth import WORK_KB, Sample, measure_growth


@pytest.mark.parametrize(
    ("why", "kb_a_work", "is_flat"),
    [
        ("nothing stays", 0.0, True),
        ("what is to be kept", WORK_KB / 2, True),
        ("more than is to be kept", 2 * WORK_KB, False),
    ],
)
def test_memory_is_flat_where_a_work_leaves_little(why: str, kb_a_work: float, is_flat: bool) -> None:
    # In the first half the caches fill, which does not count.
    samples = [Sample(at, 100 + min(at, 300) + kb_a_work * at / 1000, at) for at in range(1000)]
    grown = measure_growth(samples)
    assert grown is not None
    assert grown.kb_a_work == pytest.approx(kb_a_work, abs=1e-6), why
    assert grown.works_an_hour == pytest.approx(3600)
    assert grown.memory_mb == pytest.approx(samples[-1].memory_mb)
    assert grown.is_flat == is_flat
    assert str(grown).endswith("not flat") != is_flat


@pytest.mark.parametrize(
    ("why", "kb_a_work", "seconds", "is_leak"),
    [("caches may fill", 99.0, 1000, False), ("for an hour", 99.0, 3600, True), ("flat", 0.0, 3600, False)],
)
def test_memory_leaks_where_it_grows_for_long(why: str, kb_a_work: float, seconds: int, is_leak: bool) -> None:
    grown = measure_growth([Sample(at, kb_a_work * at / 1000, at) for at in range(seconds)])
    assert grown is not None and grown.is_leak == is_leak, why


def test_of_two_samples_nothing_is_told() -> None:
    assert measure_growth([Sample(0, 1, 1), Sample(1, 2, 2)]) is None
