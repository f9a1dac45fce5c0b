"""A folder of the store as an index in memory.

Reads are answered from it, writes go to the disk first.

The files are the truth and anybody may change them. A file that is wrong is reported and left alone; what it said when
it was last right stays in force until it is right again or gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from store.disk import owners
from store.disk.batches import Line
from store.disk.entries import (
    FILE_LIMIT_BYTES,
    FileEntry,
    FileState,
    FindWarnings,
    Parse,
    Summary,
    build_unread_state,
    build_wrong_state,
    check_change,
    format_now,
    pack_stamp,
)
from store.disk.file_index import FileIndex
from store.disk.files import Files, check_name
from store.disk.kept.kept_files import LoadedFiles
from store.disk.name_locks import NameLock
from store.disk.reading import read_file, to_stamp
from store.disk.recent import PARSED_BYTES, RecentEntries
from store.disk.turns import Turn
from store.documents import refuse_torn, to_json
from store.errors import (
    Denied,
    Exists,
    Invalid,
    NotFound,
    StoreError,
    StoreUnavailable,
    TooLarge,
    describe_problem,
    from_os_error,
    make_problem,
)
from store.outside_files import mount_calls

log = logging.getLogger("sluice.store")

# A change this young may be followed by another one that the file's time does not tell apart (the kernel's tick).
YOUNG_NS = 50_000_000
REFRESH_BATCH = 100
# Files that are compared in a thread in one go: some 2 ms, after which others have the interpreter.
COMPARED_AT_ONCE = 500
# From this size on an entry is made in a thread.
LARGE_BYTES = 100_000

Listener = Callable[[str, FileEntry | None, FileEntry | None], None]
Loader = Callable[[LoadedFiles], None]
ProblemListener = Callable[[str, list[dict[str, Any]]], None]


class Folder(FileIndex):
    """The files of one folder by name.

    `suffixes` are the endings that count, in any case, the first is the one for new files; without any all count, and
    new files get `ending`; with `only` just these file names count.
    `parse(data, name)` gives the document or raises Invalid; `find_warnings(document)` gives what is not wrong enough
    for that. `summary(document)` gives the row for lists. `mount` is the mount that the folder is of, `mount_root` the
    root of the file system that may hang. `keep` says that documents stay parsed in memory; otherwise they are kept as
    packed bytes and the recent ones parsed, and `facts(document)` gives the little that listeners need of all
    documents, whether they are parsed or not.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        files: Files,
        parse: Parse,
        *,
        suffixes: tuple[str, ...] = (),
        only: tuple[str, ...] = (),
        ending: str = "",
        summary: Summary | None = None,
        find_warnings: FindWarnings | None = None,
        mount: str | None = None,
        facts: Callable[[Any], Any] | None = None,
        keep: bool = True,
        parsed_bytes: int = PARSED_BYTES,
        mount_root: Path | None = None,
    ) -> None:
        super().__init__(path, kind, files, suffixes[0] if suffixes else ending, mount)
        self.parse = parse
        self.suffixes = suffixes
        self.only = only
        self.summary = summary
        self.find_warnings = find_warnings
        self.facts = facts
        self.keep = keep
        self.listeners: list[Listener] = []
        self.loaders: dict[Listener, Loader] = {}  # see `add_listener`
        self.when_loaded: list[Callable[[], None]] = []  # called once, when the store has loaded all folders
        self.problem_listeners: list[ProblemListener] = []  # called with a file's path and what is wrong with it now
        self.name_locks: dict[str, NameLock] = {}
        self.edit_lock = asyncio.Lock()
        self.tasks: set[asyncio.Future[Any]] = set()
        self.writes_in_progress: set[str] = set()
        self.reported_while_writing: set[str] = set()
        self.recent = RecentEntries(self, parsed_bytes)
        self.run_reading: Callable[..., Awaitable[Any]] = asyncio.to_thread  # of what callers have written
        self.mount_root = mount_root
        # Where files are written, which may take long; None: in the store's own thread.
        self.run_writing = partial(self.run_disk, patience_s=mount_calls.LONG_PATIENCE_S) if mount_root else None
        self.in_mount = not files.is_own(path)

    def add_listener(self, listener: Listener, load: Loader) -> None:
        """Add a listener, and what takes many new files in its place at once."""
        self.listeners.append(listener)
        self.loaders[listener] = load

    # Writing: the disk first, then the index.

    async def put(
        self, name: str, document: Any, if_match: str | None = None, *, line: Line | None = None
    ) -> FileEntry:
        """Write the document durably; return its new entry.

        `document` is a model, a plain value (written as JSON), or the bytes of a file that a person wrote (parsed
        first). `if_match` names the versions that the caller has seen (see `is_named`). `line` tells of it in a log,
        in the same commit. Raises Invalid, Changed, Conflict (the file on disk is wrong now and would be lost, and the
        caller has not seen it), StoreUnavailable, StoreFull.
        """
        entry: FileEntry = await self._run_to_end(self._write(name, document, if_match, new=False, line=line))
        return entry

    async def create(self, name: str, document: Any, *, line: Line | None = None) -> FileEntry:
        """Write a new document durably; return its entry.

        Raises Exists when the name is taken, also by a file that is wrong or not seen yet.
        """
        entry: FileEntry = await self._run_to_end(self._write(name, document, None, new=True, line=line))
        return entry

    async def delete(self, name: str, if_match: str | None = None) -> None:
        """Delete the file durably.

        Raises NotFound, Changed, Conflict, StoreUnavailable.
        """
        await self._run_to_end(self._delete(name, if_match))

    async def close(self) -> None:
        """Wait for the writes that are under way."""
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _run_to_end(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await a write that goes on even if its caller is cancelled."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return await asyncio.shield(task)

    async def _delete(self, name: str, if_match: str | None) -> None:
        async with self._lock_name(name):
            filename = await self._find_filename(name)
            state = check_change(self.find_state(filename), self.kind, name, if_match)
            if state is None:
                raise NotFound(self.kind, name)
            await self._run_on_disk(filename, self.files.delete(self.path / filename, self.run_writing))
            await self._index_write(filename, None)

    async def _write(self, name: str, document: Any, if_match: str | None, new: bool, line: Line | None) -> FileEntry:
        check_name(name, self.kind)
        data = document if isinstance(document, bytes) else to_json(document)
        if isinstance(document, bytes) or not isinstance(document, BaseModel):
            entry = await self.run_reading(lambda: FileEntry(self, name, data, self.parse(data, name)))
        elif (inside := getattr(document, "id", name)) != name:
            raise Invalid([make_problem(f"the id '{inside}' is not the name '{name}'", ["id"], input=inside)])
        elif len(data) < LARGE_BYTES:
            entry = FileEntry(self, name, data, document, is_packed=False)
        else:  # packing it takes long
            entry = await asyncio.to_thread(FileEntry, self, name, data, document)
        facts = entry.facts
        async with self._lock_name(name):
            filename = await self._find_filename(name)
            seen = self.find_state(filename)
            if new and seen is not None:
                raise Exists(self.kind, name)
            check_change(seen, self.kind, name, if_match)
            act = self.files.create if new else self.files.write
            stamp = await self._run_on_disk(filename, act(self.path / filename, data, self.run_writing, line))
            await self._index_write(filename, FileState(entry, pack_stamp(stamp)))
            if isinstance(document, BaseModel) and not self.keep:
                self.recent.keep(entry, document, len(data), facts)
                if not entry.is_packed and (packing := self.recent.note_written(entry, len(data))) is not None:
                    self.tasks.add(packing)
                    packing.add_done_callback(self.tasks.discard)
        return entry

    async def _index_write(self, filename: str, state: FileState | None) -> None:
        """Put our own write into the index.

        Looks again when the file was reported as changed meanwhile.
        """
        self._install(filename, state)
        if filename in self.reported_while_writing:
            self.reported_while_writing.discard(filename)
            if await self._look_for_change(filename):
                await self.refresh([filename])

    async def _run_on_disk(self, filename: str, work: Any) -> Any:
        """Await the write; on a failure refresh the index and name the document."""
        self.writes_in_progress.add(filename)
        try:
            return await work
        except StoreError as error:
            # Whatever the disk did, or somebody else a moment earlier: the index says what can be read there now.
            with contextlib.suppress(StoreUnavailable):
                await self.refresh([filename])
            name = str(self.parse_filename(filename))
            if isinstance(error, Exists):
                raise Exists(self.kind, name) from error
            if isinstance(error, NotFound):
                raise NotFound(self.kind, name) from error
            raise
        finally:
            self.writes_in_progress.discard(filename)

    async def _find_filename(self, name: str) -> str:
        """Return the file for this name, refreshed if it changed on disk."""
        # One that is refused may have another ending than a new one gets.
        wrong = sorted(self.wrong_files.get(name, ()))
        filename = self.get_filename(name) or next(iter(wrong), self.choose_filename(name))
        if self._has_changed(filename) if self.mount_root is None else await self._look_for_change(filename):
            await self.refresh([filename])
        return filename

    def choose_filename(self, name: str) -> str:
        """Return the file name for a name that has no file yet."""
        return next((filename for filename in self.only if Path(filename).stem == name), name + self.ending)

    def _lock_name(self, name: str) -> NameLock:
        """Return the lock for writers of this name."""
        return self.name_locks.setdefault(name, NameLock(self.name_locks, name))

    # Following the disk.

    def parse_filename(self, filename: str) -> str | None:
        """Return the name that a file stands for; None if it is not ours."""
        if filename[:1] == "." or filename[-1:] == "~":
            return None
        if self.suffixes and filename.endswith(self.suffixes[0]):  # as nearly all are
            return filename[: -len(self.suffixes[0])] or None
        if self.only:
            return Path(filename).stem if filename in self.only else None
        if not self.suffixes:
            return Path(filename).stem
        lower = filename.lower()
        return next((filename[: -len(end)] for end in self.suffixes if lower.endswith(end)), None) or None

    def load(self) -> None:
        """Read all files in the calling thread; for the start."""
        self.read_files(self.list_files())

    def read_files(self, filenames: Iterable[str]) -> None:
        """Read these files in the calling thread; for the start."""
        names = list(filenames)
        files = ((filename, self.find_state(filename)) for filename in names)
        for filename, state in zip(names, self._examine_files(files), strict=True):
            self._install(filename, state)

    async def run_disk(self, call: Callable[..., Any], *given: Any, patience_s: float | None = None) -> Any:
        """Ask the disk in a thread; in one of its mount, where there is one.

        Raises StoreUnavailable when the mount does not answer.
        """
        if self.mount_root is None:
            return await asyncio.to_thread(call, *given)
        return await mount_calls.run_call(self.mount_root, call, *given, patience_s=patience_s)

    async def make(self) -> None:
        """Make the folder where it is missing."""
        await self.run_disk(self.files.make_dirs, self.path)

    async def refresh(self, filenames: Iterable[str]) -> None:
        """Look at these files again and put what they say into the index.

        They are read and parsed in a thread; the index changes on the event loop, which others have in between.
        """
        waiting, turn = deque(filenames), Turn()
        while waiting and self.files.describe_loss(self.path) is None:  # what lies there now is another store's
            now = [waiting.popleft() for _ in range(min(REFRESH_BATCH, len(waiting)))]
            before = [(name, self.find_state(name)) for name in now if self.parse_filename(name) is not None]
            states = await self.run_disk(list, self._examine_files(before), patience_s=mount_calls.LONG_PATIENCE_S)
            for (filename, seen), state in zip(before, states, strict=True):
                await turn.yield_in_time()
                if self.file_states.get(filename) is not seen:
                    waiting.append(filename)  # written by us in the meantime: what was read may be older
                elif state is not seen:
                    self._install(filename, state)
                    if state is None:
                        waiting += self._reset_rivals(filename)

    def _examine_files(self, files: Iterable[tuple[str, FileState | None]]) -> Iterator[FileState | None]:
        """Read the states of files, given those that were seen before.

        What lies in a folder that others may write has no say.
        """
        why = owners.explain_folder(self.path, self.in_mount)
        for filename, seen in files:
            if why is None:
                yield self._examine(filename, seen)
            elif (seen and seen.entry) or os.path.lexists(self.path / filename):
                yield build_wrong_state(seen, None, [{"loc": (), "msg": why}])
            else:
                yield None

    def _reset_rivals(self, filename: str) -> list[str]:
        """Make files that lost their name to this one be read again; list them."""
        rivals = sorted(self.wrong_files.get(self.parse_filename(filename) or "", ()))
        for rival in rivals:
            self.file_states[rival] = replace(self.file_states[rival], mark=None)
        return rivals

    async def select_changed(self, filenames: Iterable[str]) -> list[str]:
        """List those of the files that differ from the index.

        What we wrote ourselves does not. A file that we are writing right now is looked at when that is done.
        """
        changed: list[str] = []
        turn = Turn()
        for filename in filenames:
            await turn.yield_in_time()
            if await self._look_for_change(filename):
                (self.reported_while_writing.add if filename in self.writes_in_progress else changed.append)(filename)
        return changed

    async def _look_for_change(self, filename: str) -> bool:
        """Tell whether the file differs, asking a mount's disk off the event loop."""
        if self.mount_root is None:
            return self._has_changed(filename)
        return bool(await self.run_disk(self._has_changed, filename))

    def _has_changed(self, filename: str) -> bool:
        """Tell whether the file on disk differs from the index."""
        state, kept_name = self.file_states.get(filename), self.find_kept_name(filename)
        try:
            now = pack_stamp(to_stamp(os.lstat(f"{self.path}/{filename}")))
        except OSError:
            return state is not None or kept_name is not None
        return now != (self.kept.get_mark(kept_name) if kept_name is not None else state and state.mark)

    async def find_differing(self) -> list[str]:
        """List the folder and return the files that differ from the index.

        Raises OSError when the folder cannot be listed.
        """
        filenames = await self.run_disk(os.listdir, self.path)
        differing = await self.run_disk(self._list_missing, filenames)
        for at in range(0, len(filenames), COMPARED_AT_ONCE):
            differing += await self.run_disk(self._compare_files, filenames[at : at + COMPARED_AT_ONCE])
        return await self.select_changed(sorted(differing))

    def _list_missing(self, filenames: Iterable[str]) -> list[str]:
        """List the known files that are not among these; takes long for many."""
        found = set(filenames)
        return [filename for filename in self.iterate_filenames() if filename not in found]

    def _compare_files(self, filenames: Iterable[str]) -> list[str]:
        """List those of these files that count and differ from the index. Blocks."""
        return [name for name in filenames if self.parse_filename(name) is not None and self._has_changed(name)]

    def list_files(self, *, unknown: bool = False) -> list[str]:
        """List the names of all files that count, or of unknown ones, sorted."""
        found = os.listdir(self.path)  # noqa: PTH208 - a path for each takes many times as long
        names = set(found).difference(self.iterate_filenames()) if unknown else found
        return sorted(name for name in names if self.parse_filename(name) is not None)

    def _examine(self, filename: str, seen: FileState | None) -> FileState | None:
        """Read the file's state, given the state that was `seen` before.

        `seen` itself when nothing changed, None when the file is gone.
        """
        path = self.path / filename
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return build_unread_state(seen, from_os_error(error, f"read {filename}"))
        mark: bytes | None = pack_stamp(to_stamp(status))
        if seen and seen.mark == mark:
            return seen
        try:
            data, read = read_file(path, FILE_LIMIT_BYTES, partial(owners.check_file, in_mount=self.in_mount))
            mark = None if time.time_ns() - read[2] < YOUNG_NS else pack_stamp(read)
            if seen and seen.entry and not seen.problems and seen.entry.has_data(data):
                return FileState(seen.entry, mark)
            return FileState(self._parse_entry(filename, data), mark)
        except NotFound:
            return None
        except Invalid as error:
            return build_wrong_state(seen, mark, error.problems, data)
        except (Denied, TooLarge) as error:
            # Permissions may come back without a trace in the file itself.
            mark = None if isinstance(error, Denied) else mark
            return build_wrong_state(seen, mark, [{"loc": (), "msg": str(error)}])
        except (StoreError, MemoryError) as error:
            return build_unread_state(seen, error)
        except Exception as error:
            # A defect in a parser is one file's trouble, not the end of the server.
            log.exception("reading %s failed", self.files.display_path(path))
            return build_wrong_state(seen, mark, [{"loc": (), "msg": f"cannot be read ({type(error).__name__})"}])

    def _parse_entry(self, filename: str, data: bytes) -> FileEntry:
        name = self.parse_filename(filename)
        assert name is not None
        check_name(name, "the file's name")
        refuse_torn(data)
        return FileEntry(self, name, data, self.parse(data, name))

    def _install(self, filename: str, state: FileState | None) -> None:
        """Put a file's state into the index; call the listeners."""
        seen = self.file_states.get(filename)
        state = self._reconcile_names(filename, state, seen)
        old, new = seen.entry if seen else None, state.entry if state else None
        try:
            if old is not None and old is not new:
                old.hold()
        except StoreUnavailable as error:  # without what it said, indexes cannot be told what to drop
            state, new = build_unread_state(seen, error), old
        self._hold(filename, state, seen)
        if old is new:
            return
        name = (new or old).name  # type: ignore[union-attr]
        if new is not None:
            self.filenames[name] = filename
        elif self.filenames.get(name) == filename:
            del self.filenames[name]
        for listener in self.listeners:
            self._call_listener(listener, name, old, new)
        self.recent.drop_others(name, new)
        for entry in (old, new):
            if entry is not None:
                entry.release()

    def _reconcile_names(self, filename: str, state: FileState | None, seen: FileState | None) -> FileState | None:
        """Refuse an entry whose name another file has.

        The old entry is kept when the bytes are the same.
        """
        if state is None or state.entry is None:
            return state
        other = self.get_filename(state.entry.name) or filename
        if other != filename:
            reason = f"{other} already has the name '{state.entry.name}'"
            state = build_wrong_state(seen, state.mark, [{"loc": (), "msg": reason}])
        if seen is not None and state.has_same_data(seen):
            return replace(state, entry=seen.entry)  # the same bytes once more: who follows has the entry already
        return state

    def _hold(self, filename: str, state: FileState | None, seen: FileState | None) -> None:
        """Keep the state of a file and what is wrong with it; count the change."""
        if state is None:
            self.file_states.pop(filename, None)
        else:
            self.file_states[filename] = state
        problems, before = state.list_problems() if state else (), seen.list_problems() if seen else ()
        is_wrong = state is not None and bool(state.problems)
        self._note_wrong(filename, is_wrong)
        if problems and not is_wrong:
            self.doubtful_files.setdefault(filename, format_now())
        else:
            self.doubtful_files.pop(filename, None)
        if problems and problems != before:
            log.warning("%s: %s", self.files.display_path(self.path / filename), describe_problem(dict(problems[0])))
        if problems != before:
            for listener in self.problem_listeners:
                listener(self.files.display_path(self.path / filename), self.list_file_problems(filename))
        if (seen.entry if seen else None) is not (state.entry if state else None) or problems != before:
            self.version += 1

    def _note_wrong(self, filename: str, is_wrong: bool) -> None:
        """Note whether the file is wrong, among the files of its name."""
        name = self.parse_filename(filename) or ""
        if is_wrong:
            self.wrong_files.setdefault(name, set()).add(filename)
        elif name in self.wrong_files:
            self.wrong_files[name].discard(filename)
            if not self.wrong_files[name]:
                del self.wrong_files[name]

    def notify_loaded(self, loaded: LoadedFiles) -> None:
        """Tell the listeners of files that are new, all at once where they can."""
        self.version += len(loaded.names)
        for listener in self.listeners:
            load = self.loaders.get(listener)
            if load is not None:
                self._call_listener(load, loaded)
            else:
                for entry in loaded.entries:
                    self._call_listener(listener, entry.name, None, entry)
        loaded.release()

    def _call_listener(self, listener: Callable[..., None], *change: Any) -> None:
        """Call a listener; one that fails is logged and stops nobody."""
        try:
            listener(*change)
        except Exception:
            # One listener's defect must not keep the index from following the disk.
            what = change[0].names[0] if isinstance(change[0], LoadedFiles) else change[0]
            log.exception("a listener failed on %s '%s'", self.kind, what)
