"""What accounting said of the jobs of a period, asked once for all."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor

from slurm_shim.cluster import Cluster
from slurm_shim.errors import AccountingOff
from slurm_shim.past.missing_jobs import store_bounded
from slurm_shim.past.usage import Usage

# For so long accounting is not asked again for the same period; periods are kept in whole hours, so many of them.
KEPT_S, MOST_KEPT = 60.0, 4
HOUR_S = 3600


class UsageCache:
    """What accounting said of the jobs of a period.

    One call at a time; whoever asks for the same meanwhile gets the same answer.
    """

    def __init__(self, executor: Executor, now: Callable[[], float] = time.monotonic) -> None:
        self._executor, self._now = executor, now
        self._lock = asyncio.Lock()
        self._kept: dict[str, tuple[float, list[Usage]]] = {}

    async def list_usage(self, cluster: Cluster, since_s: float) -> list[Usage]:
        """List the usages of all jobs of the last `since_s` seconds.

        Some more may be there, and none without accounting. Raises SlurmUnreachable.
        """
        hours = math.ceil(since_s / HOUR_S)
        key = f"{cluster.label} {hours}"
        async with self._lock:
            asked_at, found = self._kept.get(key, (-math.inf, []))
            if self._now() - asked_at < KEPT_S:
                return found
            found = []
            with contextlib.suppress(AccountingOff):
                call = functools.partial(cluster.slurm.list_usage, None, hours * HOUR_S)
                found = await asyncio.get_running_loop().run_in_executor(self._executor, call)
            self._kept.pop(key, None)
            store_bounded(self._kept, key, (self._now(), found), MOST_KEPT)
            return found
