"""Job array indexes: `1-9:2,12%3` (sbatch(1) --array).

And the sets of tasks still waiting.
"""

from __future__ import annotations

from .units import is_number

MOST_TASKS = 4_000_001  # what MaxArraySize can be at most (slurm.conf(5))


def parse_array(text: str, max_size: int) -> tuple[list[int], int]:
    """Parse array indexes to (task numbers in order, limit).

    The limit is that of tasks running at once; 0 means none.

    ValueError when the text is no array specification or holds a number of `max_size` or more.
    """
    body, _, limit = text.partition("%")
    spans: list[range] = []
    for part in body.strip("[]").split(","):
        span, colon, step = part.partition(":")
        low, dash, high = span.partition("-")
        high = high if dash else low
        if not (is_number(low) and is_number(high)) or (colon and not (is_number(step) and int(step) > 0)):
            raise ValueError(text)
        if int(low) > int(high) or int(high) >= min(max_size, MOST_TASKS):
            raise ValueError(text)
        spans.append(range(int(low), int(high) + 1, int(step) if colon else 1))
    if sum(map(len, spans)) > MOST_TASKS:
        raise ValueError(text)
    return sorted(set().union(*spans)), int(limit) if is_number(limit) else 0


def fold_tasks(tasks: list[int]) -> str:
    """Format task numbers as text: `1,3-6`.

    A regular stride of three or more is `0-8:2`.
    """
    if len(tasks) > 2:
        step = tasks[1] - tasks[0]
        if step > 1 and tasks == list(range(tasks[0], tasks[-1] + 1, step)):
            return f"{tasks[0]}-{tasks[-1]}:{step}" if len(tasks) > 4 else ",".join(map(str, tasks))
    runs: list[list[int]] = []
    for task in tasks:
        if runs and task == runs[-1][1] + 1:
            runs[-1][1] = task
        else:
            runs.append([task, task])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def unfold_tasks(text: str) -> list[int]:
    """List the task numbers of a text made by `fold_tasks`."""
    return parse_array(text, 1 << 62)[0] if text else []
