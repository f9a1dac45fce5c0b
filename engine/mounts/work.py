"""What goes on with mounts: folders that are browsed, transfers, copies."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from slurm_shim.remote.rsync import Transfer


@dataclass
class MountCopy:
    """The copying of one mount to one cluster: one transfer at a time.

    `began` (epoch) is when the last one that succeeded was begun.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    began: float = 0.0


class MountWork:
    """The threads for mounts, and what they do at the moment.

    Folders on a server that hangs, and transfers that take hours, hold up nothing but their own kind. `transfers` has
    the running one of each sync by its id, `copies` those of each cluster (by label) and mount.
    """

    def __init__(self) -> None:
        self.browsing = ThreadPoolExecutor(4, thread_name_prefix="browse")
        self.syncing = ThreadPoolExecutor(8, thread_name_prefix="rsync")
        self.transfers: dict[str, Transfer] = {}
        self.copies: dict[tuple[str, str], MountCopy] = {}

    def close(self) -> None:
        """Drop what has not begun; do not wait for what has."""
        for pool in (self.browsing, self.syncing):
            pool.shutdown(wait=False, cancel_futures=True)
