"""What goes on with mounts: transfers and copies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from slurm_shim.remote.rsync import Transfer
from slurm_shim.threads import Pool
from store.rules.runs import LONGEST_PAUSE_S


@dataclass
class MountCopy:
    """The copying of one mount to one cluster: one transfer at a time.

    `began` (epoch) is when the last one that succeeded was begun. After `tries` that failed for a `reason` that may be
    over soon, the next one is made at `retry_at` (monotonic).
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    began: float = 0.0
    tries: int = 0
    retry_at: float = 0.0
    reason: str = ""

    def put_off(self, reason: str, now: float) -> None:
        """Put the next try off, for 2, 4, … at most 60 seconds."""
        self.tries, self.reason = self.tries + 1, reason
        self.retry_at = now + min(LONGEST_PAUSE_S, 2**self.tries)


class MountWork:
    """The threads for mounts, and what they do at the moment.

    Transfers that take hours hold up nothing but their own kind. `transfers` has the running one of each sync by its
    id, `copies` those of each cluster (by label) and mount.
    """

    def __init__(self) -> None:
        self.syncing = Pool(8, thread_name_prefix="rsync")
        self.transfers: dict[str, Transfer] = {}
        self.copies: dict[tuple[str, str], MountCopy] = {}

    def close(self) -> None:
        """Drop what has not begun; do not wait for what has."""
        self.syncing.shutdown(wait=False, cancel_futures=True)
