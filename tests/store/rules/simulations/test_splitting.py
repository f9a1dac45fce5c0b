"""How primaries and seeds are shared out among tasks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import Invalid
from store.rules.simulations.splitting import MOST_TASKS, build_tasks, count_tasks, split_primaries


@pytest.mark.parametrize(
    ("why", "ntasks", "total", "count"),
    [
        ("as asked for", 3, 10, 3),
        ("at least one", 0, 10, 1),
        ("a negative number is none", -5, 10, 1),
        ("no more than there are primaries", 20, 10, 10),
        ("one primary", 10, 1, 1),
        ("nothing is known of the primaries", 7, None, 7),
        ("many tasks for few primaries are cut before they are too many", 10**6, 5, 5),
    ],
)
def test_number_of_tasks(why: str, ntasks: int, total: int | None, count: int) -> None:
    assert count_tasks(ntasks, total) == count, why


def test_more_tasks_than_an_array_has_are_refused() -> None:
    with pytest.raises(Invalid, match=f"at most {MOST_TASKS} tasks"):
        count_tasks(MOST_TASKS + 1, 10**6)


@pytest.mark.parametrize(
    ("why", "total", "count", "shares"),
    [
        ("even", 10, 2, [5, 5]),
        ("the first ones have one more", 10_000, 3, [3334, 3333, 3333]),
        ("one each", 3, 3, [1, 1, 1]),
        ("not known", None, 2, [0, 0]),
    ],
)
def test_shares(why: str, total: int | None, count: int, shares: list[int]) -> None:
    assert split_primaries(total, count) == shares, why


@given(st.integers(1, 10**15), st.integers(1, MOST_TASKS))
def test_no_primary_is_lost(total: int, ntasks: int) -> None:
    shares = split_primaries(total, count_tasks(ntasks, total))
    assert sum(shares) == total and min(shares) >= 1 and max(shares) - min(shares) <= 1


def test_every_task_has_a_seed_of_its_own() -> None:
    tasks = build_tasks(7, 3, first_seed=5)
    assert [(task.task_id, task.seed, task.requested_primaries) for task in tasks] == [(1, 5, 3), (2, 6, 2), (3, 7, 2)]
    assert {(task.state, task.simulated_primaries) for task in tasks} == {("PENDING", 0)}
