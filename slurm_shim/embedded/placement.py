"""The nodes and GPUs of a job that a step gets: pure functions.

srun(1) -w, -x, --gpus, --gres.
"""

from __future__ import annotations

from .hosts import expand_hosts
from .states import Refused
from .units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .schedule import Share
UNAVAILABLE = "Requested node configuration is not available"
BAD_GRES = "Invalid generic resource (gres) specification"


def make_step_refusal(raw_id: int, text: str, *before: str) -> Refused:
    """Make the refusal of a step in srun's words."""
    lines = [*before, f"Unable to create step for job {raw_id}: {text}"]
    return Refused([f"srun: error: {line}" for line in lines])


def choose_nodes(asked: dict[str, Any], shares: list[Share], number: int, raw_id: int) -> list[tuple[int, Share]]:
    """Choose the `number` nodes of a step: (index in the job, share)."""
    known = [share[0] for share in shares]
    wanted = _expand_names(asked.get("nodelist"), raw_id)
    if any(name not in known for name in wanted):
        raise make_step_refusal(raw_id, UNAVAILABLE)
    left_out = _expand_names(asked.get("exclude"), raw_id)
    for name in wanted:
        if name in left_out:
            lines = [f"Requested node {name} is also in the excluded list.", "Job not submitted."]
            raise Refused([f"srun: error: {line}" for line in lines])
    left = [(index, share) for index, share in enumerate(shares) if share[0] not in left_out]
    if not left:
        raise Refused("srun: error: Hostlist is empty!  Can't run job.")
    if number > len(left):
        lines = [f"Only allocated {len(left)} nodes asked for {number}", "Are required nodes explicitly excluded?"]
        raise Refused([f"srun: error: {line}" for line in lines])
    first = sorted(left, key=lambda place: (place[1][0] not in wanted, place[0]))[:number]
    return sorted(first)


def _expand_names(text: str | None, raw_id: int) -> list[str]:
    try:
        return expand_hosts(text or "")
    except ValueError as error:
        raise make_step_refusal(raw_id, "Invalid node name specified") from error


def limit_gpus(asked: dict[str, Any], shares: list[Share], raw_id: int) -> list[Share]:
    """Limit the shares to the GPUs that a step asks for.

    By --gres, --gpus-per-node or --gpus; all of them unless asked.
    """
    counts = [len(share[3]) for share in shares]
    each = None
    if "gres" in asked:
        each = _count_gres_gpus(asked["gres"])
    if "gpus-per-node" in asked:
        each = _parse_count(asked["gpus-per-node"])
    if each is not None:
        if each > min(counts):
            note = f"Step requested gres_per_node=gpu:{each} is more than the job's gres_per_node=gpu:{min(counts)}"
            raise make_step_refusal(raw_id, BAD_GRES, note)
        counts = [each] * len(shares)
    if "gpus" in asked:
        left = _parse_count(asked["gpus"])
        if left > sum(counts):
            raise make_step_refusal(raw_id, BAD_GRES)
        counts = _deal_gpus(left, counts)
    return [(name, cpus, mb, gpus[:n], tasks) for (name, cpus, mb, gpus, tasks), n in zip(shares, counts, strict=True)]


def _deal_gpus(number: int, most: list[int]) -> list[int]:
    """Deal one to each node as far as they go, the rest node by node."""
    counts = [0] * len(most)
    for index, room in enumerate(most):
        counts[index] = min(1, room, number - sum(counts))
    for index, room in enumerate(most):
        counts[index] += min(room - counts[index], number - sum(counts))
    return counts


def _count_gres_gpus(text: str) -> int:
    total = 0
    for item in text.split(","):
        kind, _, rest = item.partition(":")
        if kind == "gpu":
            total += _parse_count(rest or "1")
        elif item not in ("", "none"):
            raise Refused(f"srun: error: {BAD_GRES}")
    return total


def _parse_count(text: str) -> int:
    """Parse the number in `2`, `TYPE:2` or `TYPE`."""
    last = text.rpartition(":")[2]
    if is_number(last):
        return int(last)
    if ":" in text or not last:
        raise Refused(f"srun: error: {BAD_GRES}")
    return 1
