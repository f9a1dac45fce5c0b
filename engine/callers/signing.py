"""The key that tokens of OAuth clients are signed with."""

from __future__ import annotations

import asyncio
import errno
import logging
import os

from store.access import issued
from store.disk import owners
from store.disk.files import Files
from store.disk.reading import read_file
from store.errors import Denied, Exists, NotFound, StoreError, StoreUnavailable

log = logging.getLogger("sluice")
FILE = "oauth.key"
LIMIT_BYTES = 1000


class SigningKey:
    """The key that tokens are signed with, in a file of the store.

    It is made when it is first needed. Who removes the file and starts the server anew ends all tokens.
    """

    def __init__(self, files: Files) -> None:
        self.files, self.path = files, files.root / FILE
        self.value: bytes | None = None
        self.lock = asyncio.Lock()

    def load(self) -> None:
        """Read the key, if there is one that counts. Blocking."""
        try:
            found = read_file(self.path, LIMIT_BYTES, check_private)[0]
            if not issued.is_key(found):
                raise Denied("it is not a whole key: remove it to have another one made")
            self.value = found
        except NotFound:
            return
        except StoreError as problem:
            log.warning("%s: %s; tokens that were issued do not count, and no others are", self.path, problem)

    async def ensure(self) -> bytes:
        """Return the key, which is made if there is none.

        Raises StoreUnavailable, StoreFull.
        """
        async with self.lock:
            if self.value is None:
                made = issued.make_key()
                try:
                    await self.files.create(self.path, made)
                except Exists:
                    raise StoreUnavailable(errno.EPERM, f"{FILE} does not count: see the log") from None
                self.value = made
            return self.value


def check_private(fd: int, status: os.stat_result) -> None:
    """Raise Denied for a key that others may read or write."""
    owners.check_file(fd, status)
    if status.st_mode & 0o077:
        raise Denied("others may read it: chmod 600, or remove it to have another one made")
