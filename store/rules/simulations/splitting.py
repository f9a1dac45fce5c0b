"""How many tasks a simulation has, and what each of them simulates. Pure."""

from __future__ import annotations

from store.documents import SimulationTask
from store.errors import Invalid, make_problem

# An array of SLURM has the indices up to 1,000 unless the cluster says otherwise (MaxArraySize, slurm.conf(5)).
MOST_TASKS = 1000


def count_tasks(ntasks: int, total: int | None, most: int = MOST_TASKS) -> int:
    """Count the tasks of a simulation of `total` primaries.

    At least one, and no more than there are primaries. Raises Invalid for more than `most`.

    >>> count_tasks(0, 10), count_tasks(20, 10), count_tasks(5, None)
    (1, 10, 5)
    """
    wanted = max(1, ntasks if total is None else min(ntasks, total))
    if wanted > most:
        raise Invalid([make_problem(f"a simulation has at most {most} tasks", ["body", "ntasks"], input=ntasks)])
    return wanted


def split_primaries(total: int | None, count: int) -> list[int]:
    """Split the primaries among tasks; all are 0 for an unknown total.

    The first tasks have one more where the number cannot be divided.

    >>> split_primaries(10, 3), split_primaries(None, 2)
    ([4, 3, 3], [0, 0])
    """
    share, rest = divmod(total or 0, count)
    return [share + (number < rest) for number in range(count)]


def build_tasks(total: int | None, count: int, first_seed: int) -> list[SimulationTask]:
    """Build the tasks from 1 on, each with its own seed."""
    return [
        SimulationTask(task_id=number, seed=first_seed + number - 1, requested_primaries=primaries)
        for number, primaries in enumerate(split_primaries(total, count), 1)
    ]
