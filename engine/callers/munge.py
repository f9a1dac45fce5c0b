"""MUNGE credentials of callers, checked a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from slurm_shim.callers.munge import Identity, decode_credential
from slurm_shim.threads import Pool
from store.access import MungeIdentity
from store.errors import TooManyWaiting

# So many programs run at once, and so many callers wait for their turn at most.
MOST_RUNNING, MOST_WAITING = 2, 32


class MungeReader:
    """Asks munged whose credentials are, off the event loop.

    Whoever sends nonsense costs a program each time, so that only few run at once.
    """

    def __init__(self, decode: Callable[[str, str | None], Identity] = decode_credential) -> None:
        self.decode, self.pool, self.waiting = decode, Pool(MOST_RUNNING, "munge"), 0

    async def read_credential(self, credential: str, socket: str | None) -> MungeIdentity:
        """Return whose the credential is, which counts as used then.

        Raises TooManyWaiting, and ClusterUnreachable when munged does not answer.
        """
        if self.waiting >= MOST_RUNNING + MOST_WAITING:
            raise TooManyWaiting("Too many MUNGE credentials wait to be checked")
        self.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self.pool, self.decode, credential, socket)
        finally:
            self.waiting -= 1
        return MungeIdentity(found.uid, found.problem)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)
