"""Following changes that others make to the files of the store.

watchfiles reports through the kernel (inotify and its like). Where that cannot see (a network disk, no watches left)
the folders are compared with the index again and again; a slow comparison also runs beside the kernel's reports, and
one after each burst of them, because an overflowed queue of events drops them silently.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from watchfiles import awatch

from store.disk.folders import Folder
from store.disk.turns import Turn
from store.errors import StoreError, StoreUnavailable

log = logging.getLogger("sluice.store")

DEBOUNCE_MS = 50
STEP_MS = 10
# Seconds between comparisons: without the kernel's reports, and as a safety net beside them.
POLL_S = 0.5
NET_S = 15.0
# The largest share of the time that comparisons may take.
POLL_SHARE = 0.1
NET_SHARE = 0.01
# So many reports at once may be the rest of a queue that has overflowed: the kernel keeps 16,384 of them.
BURST = 1000
# Seconds before watches are tried again after the kernel refused them.
RETRY_S = 60.0

StartTask = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], asyncio.Task[None]]
Changes = AsyncIterator[set[tuple[Any, str]]]


def watch_folders(paths: list[Path], stop: asyncio.Event) -> Changes:
    """Yield sets of changed paths in these folders until `stop` is set.

    Only the folders themselves, not what lies deeper. Hidden files are among them: thousands that are told at once
    would be filtered in one go.
    """
    return awatch(*paths, watch_filter=None, debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=stop, recursive=False)


class Watch:
    """Keeps the folders in step with the disk.

    `poll` says that the kernel's reports are not to be relied on. `signals` are functions by the folder whose changes
    they are called for; the kernel's reports only.
    """

    def __init__(
        self,
        root: Path,
        folders: list[Folder],
        *,
        poll: bool = False,
        make_dirs: Callable[[Path], None],
        signals: Mapping[Path, Callable[[], None]] | None = None,
        source: Callable[[list[Path], asyncio.Event], Changes] = watch_folders,
    ) -> None:
        self.root = root
        self.folders = folders
        self.poll = poll
        self.make_dirs = make_dirs
        self.signals = signals or {}
        self.source = source
        self.mode = "scanning" if poll else "starting"
        self.reason = "as configured" if poll else ""
        self.error = ""
        self.scan_s = 0.0
        self.events = 0
        self.stop = asyncio.Event()
        self.scan_wanted = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.renewal = asyncio.Event()

    def renew(self) -> None:
        """Set the kernel's watches anew: folders were added, or came back."""
        self.renewal.set()

    def summarize(self) -> dict[str, Any]:
        """Summarize how changes are seen now, for /health.

        `mode` is events or scanning; `scan_s` the seconds that the last comparison took; also reason, error and events.
        """
        return {
            "mode": self.mode,
            "reason": self.reason or None,
            "error": self.error or None,
            "scan_s": round(self.scan_s, 4),
            "events": self.events,
        }

    async def start(self, start_task: StartTask | None = None) -> None:
        """Start to follow changes.

        `start_task` starts tasks that go on until the watch is closed.
        """
        start_task = start_task or _start_task
        if not self.poll:
            self.tasks.append(start_task("store-watch", self._follow_forever))
        self.tasks.append(start_task("store-compare", self._scan_forever))

    async def close(self) -> None:
        """Stop to follow changes."""
        self.stop.set()
        self.scan_wanted.set()
        self.renew()
        await asyncio.gather(*self.tasks)

    async def scan(self) -> None:
        """Compare all folders with the index once."""
        before, self.error = self.error, ""
        spent_s = 0.0
        for folder in list(self.folders):
            try:
                folder.files.require_store(folder.path)
                if folder.path != self.root and self.root.is_dir():
                    await self._make_folder(folder)
                begun = time.monotonic()
                differing = await folder.find_differing()
                spent_s += time.monotonic() - begun
                await folder.refresh(differing)
            except Exception as error:
                # The folder cannot be listed (an unmounted disk): its files stay in force as they were.
                self.error = f"{folder.files.display_path(folder.path)}: {error}"
        if self.error and not before:
            log.warning("the store's folder cannot be compared: %s", self.error)
        if before and not self.error:
            self.renew()  # it may have been away
        self.scan_s = spent_s

    async def _make_folder(self, folder: Folder) -> None:
        """Make a folder where it is missing, a mount's in a thread of the mount."""
        if folder.mount_root is not None:
            await folder.make()
        elif not folder.path.is_dir():
            self.make_dirs(folder.path)

    async def _scan_forever(self) -> None:
        """Compare again and again, more often where nothing else sees changes.

        Also, with growing pauses, where a folder or file could not be read.
        """
        again_s = POLL_S
        while not self.stop.is_set():
            least_s, share = (POLL_S, POLL_SHARE) if self.mode == "scanning" else (NET_S, NET_SHARE)
            again_s = 2 * again_s if self.error or any(folder.list_unread() for folder in self.folders) else POLL_S
            pause_s = max(least_s if again_s == POLL_S else min(least_s, again_s), self.scan_s / share)
            await _wait_briefly(self.scan_wanted, pause_s)
            self.scan_wanted.clear()
            if not self.stop.is_set():
                await self.scan()

    async def _follow_forever(self) -> None:
        """Follow the kernel's reports, and try again when it refuses."""
        while not self.stop.is_set():
            try:
                await self._follow_once()
            except Exception as error:
                # No watches left, or a kernel without them: folders are compared, and watches tried again later.
                self.mode, self.reason = "scanning", f"{type(error).__name__}: {error}"
                log.warning("files are not watched by the kernel, the store is compared instead: %s", error)
                self.scan_wanted.set()
                self.renewal = asyncio.Event()
                await _wait_briefly(self.renewal, RETRY_S)

    async def _follow_once(self) -> None:
        """Follow the kernel's reports until new watches are needed or the end.

        New watches are needed when the folders themselves change.
        """
        inner = self.renewal = asyncio.Event()
        ending = asyncio.create_task(self._end_with_watch(inner))
        try:
            paths = sorted({self.root, *self.signals, *await self._list_answering()})
            for path in (self.root, *self.signals):
                self.make_dirs(path)
            reports = self.source(paths, inner)
            self.mode, self.reason = "events", ""
            # Changes made before the watches were set were not reported.
            self.scan_wanted.set()
            own = {str(path) for path in paths}
            async for changes in reports:
                changed = {path for _, path in changes}
                if not own.isdisjoint(changed):
                    inner.set()
                await self._refresh_changed(changed)
                if len(changes) >= BURST:
                    self.scan_wanted.set()
        finally:
            ending.cancel()

    async def _list_answering(self) -> list[Path]:
        """Make the folders; list them without those of mounts that do not answer.

        Those are watched when a comparison finds them again.
        """
        found = []
        for folder in list(self.folders):
            try:
                await self._make_folder(folder)
            except StoreError as error:
                if folder.mount_root is None:
                    raise
                self.error = f"{folder.files.display_path(folder.path)}: {error}"
            else:
                found.append(folder.path)
        return found

    async def _end_with_watch(self, inner: asyncio.Event) -> None:
        """Set the event when the watch is closed."""
        await self.stop.wait()
        inner.set()

    async def _refresh_changed(self, paths: set[str]) -> None:
        """Refresh the changed files in the folders that they belong to.

        Hidden files do not matter.
        """
        names: dict[str, list[str]] = {}
        turn = Turn()
        for path in paths:
            parent, _, name = path.rpartition("/")
            if name[:1] != ".":  # as nine in ten are while we write
                await turn.yield_in_time()
                names.setdefault(parent, []).append(name)
        self.events += sum(map(len, names.values()))
        for signalled, call in self.signals.items():
            if str(signalled) in names:
                call()
        for folder in list(self.folders):
            if changed := names.get(str(folder.path)):
                with contextlib.suppress(StoreUnavailable):  # the next comparison tells
                    await folder.refresh(await folder.select_changed(changed))


def _start_task(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Start a task that nobody looks after."""
    return asyncio.create_task(work(), name=name)


async def _wait_briefly(event: asyncio.Event, pause_s: float) -> None:
    """Wait until the event is set, at most `pause_s` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await event.wait()
