"""What is about to be done, written down as a line of a log before it is.

Many lines share one fsync, where each file needs two. A line counts until its document has a file or is not wanted any
more: what a server that was killed has left is made into files at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from pathlib import Path

import orjson
from pydantic import BaseModel

from store.disk import owners
from store.disk.batches import Line
from store.disk.files import Files
from store.disk.folders import Folder
from store.disk.reading import read_file
from store.documents.encoding import to_json
from store.errors import StoreError

log = logging.getLogger("sluice.store")

ENDING = ".jsonl"
LINE_BYTES = 65_536  # what is longer is written as a file at once
# A log is begun anew from this size on; one that nobody needs is deleted when nothing came for so long.
LOG_BYTES, IDLE_S = 1_000_000, 1.0
READ_BYTES = LOG_BYTES + 200 * LINE_BYTES


class Intents:
    """What was noted of one folder's documents, in logs below `path`.

    `pending` are the documents that have no file yet, by name.
    """

    def __init__(self, folder: Folder, path: Path, files: Files) -> None:
        self.folder, self.path, self.files = folder, path, files
        self.pending: dict[str, BaseModel] = {}
        self._logs: dict[str, Path] = {}
        self._counts: Counter[Path] = Counter()
        self._number, self._size_bytes = 1, 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def note(self, name: str, document: BaseModel) -> None:
        """Write down durably what is about to be done; raise as `Folder.put`."""
        line = orjson.dumps([name, to_json(document).decode()], option=orjson.OPT_APPEND_NEWLINE)
        if len(line) > LINE_BYTES:
            await self.folder.put(name, document)
            return
        if self._size_bytes + len(line) > LOG_BYTES:
            self._begin_log()
        path = self._logs[name] = self.path / f"{self._number}{ENDING}"
        self._size_bytes += len(line)
        self._counts[path] += 1
        self.pending[name] = document
        wanted = Line(path, line, is_synced=True)
        try:
            await self.files.batches.add(wanted)
            if wanted.error is not None:
                raise wanted.error
        except BaseException:
            self.settle(name)
            raise

    def settle(self, name: str) -> None:
        """Take note that the document has a file now, or is not to have one."""
        path = self._logs.pop(name, None)
        if path is None:
            return
        self.pending.pop(name, None)
        self._counts[path] -= 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._begin_to_drop)

    async def write(self, name: str) -> None:
        """Write the file of a document that has none yet; raise as `Folder.put`."""
        if name in self.pending:
            if name not in self.folder:
                await self.folder.put(name, self.pending[name])
            self.settle(name)

    def _begin_log(self) -> None:
        self._number, self._size_bytes = self._number + 1, 0

    def _begin_to_drop(self) -> None:
        self._timer = None
        for path in [path for path, count in self._counts.items() if not count]:
            del self._counts[path]
            self._begin_log()  # where a line comes meanwhile it is in another one
            task = asyncio.ensure_future(self._drop(path))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._counts:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._begin_to_drop)

    async def _drop(self, path: Path) -> None:
        with contextlib.suppress(StoreError):  # the next start looks at it in vain
            await self.files.delete(path)

    def restore(self) -> None:
        """Make files of what a server that was killed has left.

        Blocking, for the start. What the disk refuses is pending.
        """
        for path in self.path.glob(f"*{ENDING}"):
            if path.stem.isdecimal():
                self._number = max(self._number, int(path.stem) + 1)
            try:
                data, _stamp = read_file(path, READ_BYTES, owners.check_file)
            except StoreError as problem:
                log.warning("%s does not count: %s", self.files.display_path(path), problem)
                continue
            for line in data.splitlines():
                self._restore_line(path, line)
            if not self._counts[path]:
                self.files.remove_leftovers([path], [])

    def _restore_line(self, log_path: Path, line: bytes) -> None:
        try:
            name, text = orjson.loads(line)
        except ValueError:  # the end of one that was cut off, before anything was done
            return
        path = self.folder.path / self.folder.choose_filename(name)
        if os.path.lexists(path):
            return
        try:
            self.files.write_now(path, text.encode(), exclusive=True)
        except StoreError:
            self.pending[name], self._logs[name] = self.folder.parse(text.encode(), name), log_path
            self._counts[log_path] += 1

    async def close(self) -> None:
        """Wait for what is under way; delete the logs that nobody needs."""
        if self._timer is not None:
            self._timer.cancel()
            self._begin_to_drop()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
