"""What a job depends on, as SLURM's programs write it. Pure."""

from __future__ import annotations

import re
from typing import Any

_ITEM = re.compile(
    r"(?P<type>[a-z]+)(?::(?P<job>\d{1,10}(?:_(?:\d{1,10}|\*))?)(?:\+(?P<delay>\d+))?)?(?:\((?P<state>\w+)\))?",
    re.ASCII,
)


def parse_dependencies(text: str | None) -> list[dict[str, Any]]:
    """Parse squeue's Dependency to type, job and state of each.

    SLURM leaves out what is fulfilled already. What it writes in another form than it has until now is left out too.

    >>> parse_dependencies("afterok:5(unfulfilled),afterany:6_*(failed)")
    [{'type': 'afterok', 'job_id': '5', 'state': 'unfulfilled'}, {'type': 'afterany', 'job_id': '6', 'state': 'failed'}]
    >>> parse_dependencies("singleton(unfulfilled)"), parse_dependencies(None)
    ([{'type': 'singleton', 'job_id': None, 'state': 'unfulfilled'}], [])
    """
    found = []
    for item in re.split(r"[,?]", text or ""):
        if (match := _ITEM.fullmatch(item.strip())) is None:
            continue
        job_id = match["job"].removesuffix("_*") if match["job"] else None
        if job_id is None and match["type"] != "singleton":
            continue
        found.append({"type": match["type"], "job_id": job_id, "state": match["state"] or "unfulfilled"})
    return found
