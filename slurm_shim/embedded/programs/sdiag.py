"""sdiag(1): counts of jobs, from the state file.

Without a daemon there are no scheduling cycles to report.
"""

from __future__ import annotations

import time

from .. import cluster
from .options import Options, check_cluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# There are no calls by kind and user whose list could be sorted.
OPTIONS = Options(
    "sdiag",
    "cluster= clusters/M= help/h usage version/V",
    without_effect="all/a sort-by-id/i sort-by-time/t sort-by-time2/T",
    same={"cluster": "clusters"},
)


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run sdiag; return its exit status.

    Only the jobs themselves are counted, so there is nothing to reset (`-r`).
    """
    asked, _ = OPTIONS.gather(argv)
    check_cluster("sdiag", conf, asked.get("clusters"))
    with cluster.read_state(conf) as state:
        counts = dict(state.db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        submitted = int(state.get_meta("next_id", "1")) - 1
    now = time.time()
    when = f"{time.strftime('%a %b %d %H:%M:%S %Y', time.localtime(now))} ({int(now)})"
    ended = {name: counts.get(name, 0) for name in ("COMPLETED", "CANCELLED", "FAILED")}
    started = sum(counts.values()) - counts.get("PENDING", 0)
    line = "*" * 55
    print(f"{line}\nsdiag output at {when}\nData since      {when}\n{line}")
    print("Server thread count:  0\nAgent queue size:     0\nAgent count:          0\nDBD Agent queue size: 0\n")
    print(f"Jobs submitted: {submitted}\nJobs started:   {started}\nJobs completed: {ended['COMPLETED']}")
    print(f"Jobs canceled:  {ended['CANCELLED']}\nJobs failed:    {ended['FAILED']}\n")
    print(f"Job states ts:  {when}\nJobs pending:   {counts.get('PENDING', 0)}")
    print(f"Jobs running:   {counts.get('RUNNING', 0)}")
    print("\nMain schedule statistics (microseconds):\n\tLast cycle:   0\n\tMax cycle:    0\n\tTotal cycles: 0")
    return 0
