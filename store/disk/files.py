"""Writing files crash-safely.

Nothing else in the project opens a file of the store for writing. A write goes to a temporary name beside its target,
is fsynced, renamed into place, and the folder is fsynced; only then is it reported as done. One thread does all writes:
requests that wait at the same moment are committed together, so that many writers share the two waits for the disk. The
files of such a batch are fsynced side by side by a few threads, then their folders and the logs that tell of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import re
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from store.disk.batches import MAX_BATCH, Batches, FileChange, Line, run_in_turn
from store.disk.reading import Stamp, to_stamp
from store.errors import Denied, Exists, Invalid, NotFound, StoreError, StoreUnavailable, from_os_error, make_problem

FILE_MODE, FOLDER_MODE = 0o600, 0o700
# Outside of the store the umask says more; what everybody may write would not count in a mount.
SHARED_FILE_MODE, SHARED_FOLDER_MODE = 0o664, 0o775
NAME = re.compile(r"\w[\w.@+-]*")
NAME_BYTES = 128
TEMPORARY = re.compile(r"\.sluice-[0-9a-f]{16}\.(new|old|gone)")
# Errors of filesystems without hard links.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def check_name(name: str, kind: str = "name") -> str:
    """Return the name if a file may have it; else raise Invalid.

    A name starts with a word character and goes on with those and `.@+-`. Refused are separators, leading dots, blanks,
    control characters, and more than 128 bytes.
    """
    if not NAME.fullmatch(name) or len(name.encode()) > NAME_BYTES:
        message = "must start with a letter, a digit or _, go on with those and . @ + -, and have at most 128 bytes"
        raise Invalid([make_problem(f"{kind} {message}", ["name"], type="string_pattern_mismatch", input=name[:200])])
    return name


def is_temporary(name: str) -> bool:
    """Tell whether a write in progress, or one cut short, made this name."""
    return TEMPORARY.fullmatch(name) is not None


# Runs a function off the event loop; returns what it returns.
Run = Callable[..., Awaitable[Any]]


class Files:
    """The writer of one store.

    `ops` has the functions of `os`; tests pass one that fails or dies where they want.
    """

    def __init__(self, root: Path, ops: Any = os) -> None:
        self.root = root
        self.inside = f"{os.path.abspath(root)}/".replace("//", "/")  # noqa: PTH100  (links are not followed)
        self.ops = ops
        self.batches = Batches(self._commit_wanted, self._remove_backup)
        self.backups: list[str] = []  # of what was replaced, to be removed: see `commit`
        self._unsynced: set[Path] = set()  # folders with new ones in them, which are fsynced with the next commit
        self.failures: dict[Path, str] = {}  # why the last write to a folder of the store failed
        self.find_loss: Callable[[], str | None] = lambda: None  # why the store is not the locked one any more

    # Whether writing works.

    @property
    def failure(self) -> str | None:
        """Why the store cannot be written now, as far as is known."""
        return self.find_loss() or next(iter(list(self.failures.values())), None)

    def describe_loss(self, path: Path) -> str | None:
        """Describe why this path is not one of our store any more; None if it is."""
        loss = self.find_loss() if self.is_own(path) else None
        return loss and f"{loss}; nothing is written until it is back"

    def require_store(self, path: Path) -> None:
        """Raise StoreUnavailable for a path in a store that is not ours any more."""
        if (loss := self.describe_loss(path)) is not None:
            raise StoreUnavailable(errno.ESTALE, loss)

    def _note_outcome(self, folder: Path, error: StoreUnavailable | None) -> None:
        """Note how the last write to a folder of the store went."""
        if error is None:
            self.failures.pop(folder, None)
        elif self.is_own(folder) and not (error.errno == errno.ENOENT and folder.is_dir()):
            self.failures[folder] = str(error)

    @contextlib.contextmanager
    def _guard_change(self, path: Path, doing: str) -> Iterator[None]:
        """Raise StoreUnavailable for what the disk refuses, and note it."""
        self.require_store(path)
        try:
            yield
        except OSError as cause:
            error = from_os_error(cause, f"{doing} {self.display_path(path)}")
            self._note_outcome(path.parent, error)
            raise error from cause
        self._note_outcome(path.parent, None)

    async def check_folder(self, folder: Path, data: bytes) -> None:
        """Write a file to the folder, which goes again, to see whether that works."""
        await asyncio.to_thread(self._check_folder, folder, data)

    def _check_folder(self, folder: Path, data: bytes) -> None:
        self.make_dirs(folder)
        change = FileChange(folder / "probe", data)
        try:
            with self._guard_change(change.path, "write"):
                self._write_temporary(change)
                self._sync_folder(folder)
        finally:
            self._clean_up(change)

    # For callers.

    async def write(self, path: Path, data: bytes, run: Run | None = None, line: Line | None = None) -> Stamp:
        """Write the file durably, and the line that tells of it; return its stamp.

        `run` is where the disk is asked for files outside of the store. Raises StoreUnavailable, StoreFull.
        """
        return await self._change(FileChange(path, data, line=line), run)

    async def create(self, path: Path, data: bytes, run: Run | None = None, line: Line | None = None) -> Stamp:
        """Create the file durably, with the line about it; return its stamp.

        Raises Exists if there is one, also if somebody else made it at the same moment.
        """
        return await self._change(FileChange(path, data, exclusive=True, line=line), run)

    async def delete(self, path: Path, run: Run | None = None) -> None:
        """Delete the file durably. Raises NotFound."""
        await self._change(FileChange(path, None), run)

    async def discard(self, path: Path, same: Callable[[os.stat_result], bool]) -> None:
        """Delete the file durably if `same(status)` confirms which one it is.

        A file that replaced it in the meantime stays.
        """
        await asyncio.to_thread(self._discard, path, same)

    def _discard(self, path: Path, same: Callable[[os.stat_result], bool]) -> None:
        """Do the blocking part of `discard`."""
        aside = self._name_temporary(path, "gone")
        with self._guard_change(path, "remove"), contextlib.suppress(FileNotFoundError):
            if not same(path.lstat()):
                return
            self.ops.rename(path, aside)
            if not same(os.lstat(aside)):
                self.ops.link(aside, path)  # not the one to delete: put it back
            self.ops.unlink(aside)
            self._sync_folder(path.parent)

    def write_now(self, path: Path, data: bytes, *, exclusive: bool = False) -> Stamp | None:
        """Write or create the file in the calling thread.

        For the time before the event loop runs.
        """
        change = FileChange(path, data, exclusive)
        self.commit([change])
        return _get_stamp(change)

    def write_all_now(self, contents: Mapping[Path, bytes]) -> None:
        """Write the files, and make their folders, in the calling thread.

        For threads that wait for it. Raises Denied, StoreUnavailable.
        """
        for folder in dict.fromkeys(path.parent for path in contents):
            self.make_dirs(folder)
        changes = [FileChange(path, data) for path, data in contents.items()]
        for at in range(0, len(changes), MAX_BATCH):
            self.commit(changes[at : at + MAX_BATCH], helped=False)
        for change in changes:
            _get_stamp(change)

    async def append(self, path: Path, line: bytes) -> None:
        """Append the line to the file, in one write or not at all.

        Not fsynced.
        """
        wanted = Line(path, line)
        await self.batches.add(wanted)
        if wanted.error is not None:
            raise wanted.error

    async def write_at(self, path: Path, offset: int, data: bytes) -> None:
        """Write the data into the file from byte `offset` on, durably.

        Makes the file if there is none. Safe to repeat after a failure: the same bytes are written to the same place.
        """
        await asyncio.to_thread(self._write_at, path, offset, data)

    @contextlib.contextmanager
    def fill(self, path: Path) -> Iterator[int]:
        """Yield a descriptor to fill a file with, which is in place afterwards.

        Blocks. The file is durable and whole, or not there when the block raises anything.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.make_dirs(path.parent)
        with self._guard_change(path, "write"):
            temporary = self._name_temporary(path, "new")
            fd = self.ops.open(temporary, flags, FILE_MODE)
        try:
            yield fd
            with self._guard_change(path, "write"):
                self.ops.fsync(fd)
                self.ops.rename(temporary, path)
                self._sync_folder(path.parent)
        except BaseException:
            self._unlink_quietly(temporary)
            raise
        finally:
            self.ops.close(fd)

    async def move(self, path: Path, target: Path) -> None:
        """Rename the file within its folder, durably, replacing the target."""
        await asyncio.to_thread(self._move, path, target)

    async def discard_folder(self, path: Path) -> None:
        """Delete the folder and everything in it."""
        await asyncio.to_thread(self._discard_folder, path)

    def remove_leftovers(self, files: Sequence[Path], folders: Sequence[Path]) -> None:
        """Remove the files, then the folders that are empty, where it can. Blocks."""
        for remove, paths in ((self.ops.unlink, files), (self.ops.rmdir, folders)):
            for path in paths:
                with contextlib.suppress(OSError):
                    remove(path)

    def make_dirs(self, path: Path, *, is_synced: bool = True) -> None:
        """Make the folder and its missing parents; raise Denied.

        In the store durably and private; elsewhere as the umask and the parent (setgid, ACL) say. One that is not
        `is_synced` is on disk with what is committed next.
        """
        self.require_store(path)
        try:
            if not path.is_dir():
                self._make_dir(path, is_synced)
        except OSError as cause:
            error = from_os_error(cause, f"make the folder {self.display_path(path)}")
            if self.is_own(path) and path != self.root:
                self._note_outcome(self.root / path.relative_to(self.root).parts[0], error)
            raise error from cause

    def _make_dir(self, folder: Path, is_synced: bool, more_tries: int = 3) -> None:
        try:
            self.ops.mkdir(folder, FOLDER_MODE if self.is_own(folder) else SHARED_FOLDER_MODE)
            if self.is_own(folder):
                self._sync_folder(folder.parent) if is_synced else self._unsynced.add(folder.parent)
        except FileNotFoundError:
            if not more_tries:
                raise
            self.make_dirs(folder.parent)  # it is missing too, or somebody removed it, as it was empty, meanwhile
            self._make_dir(folder, is_synced, more_tries - 1)
        except FileExistsError:
            if not folder.is_dir():
                raise Denied(f"{self.display_path(folder)} is not a folder") from None

    def is_own(self, path: Path) -> bool:
        """Tell whether the path lies in the store, where all is private."""
        text = str(path)
        if text.startswith(self.inside) and "/.." not in text:
            return True
        return f"{os.path.abspath(text)}/".startswith(self.inside)  # noqa: PTH100

    def remove_temporaries(self, folder: Path) -> None:
        """Remove left-over temporary files from the folder.

        For the start, when nobody else writes.
        """
        for entry in os.scandir(folder):
            if entry.name[:1] == "." and is_temporary(entry.name) and entry.is_file(follow_symlinks=False):
                self._unlink_quietly(entry.path)

    def close(self) -> None:
        """End the writing threads after they have done all requests."""
        self.batches.close()

    def display_path(self, path: Path) -> str:
        """Return the path as users may see it.

        Relative to the store if it lies below; in full for the store itself and its parents; else only the name.
        """
        if self.root.is_relative_to(path):
            return str(path)
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else path.name

    # One batch.

    async def _change(self, change: FileChange, run: Run | None) -> Any:
        """Have the change made; return the file's stamp.

        With `run` there: a disk that hangs must not hold up the store.
        """
        await (self.batches.add(change) if run is None else run(self.commit, [change]))
        return _get_stamp(change)

    def _commit_wanted(self, wanted: Sequence[FileChange | Line]) -> None:
        """Commit what has gathered; note a defect in all of it."""
        changes = [each for each in wanted if isinstance(each, FileChange)]
        try:
            self.commit(changes, [each for each in wanted if isinstance(each, Line)], backups=self.backups)
        except Exception as error:  # it must reach the callers
            for each in wanted:
                each.error = each.error or error

    def commit(
        self,
        changes: Sequence[FileChange],
        lines: Sequence[Line] = (),
        *,
        helped: bool = True,
        backups: list[str] | None = None,
    ) -> None:
        """Make each change durable, or set its `error` and keep the old file.

        Also append the lines, those of the changes among them. Not `helped` by the threads of the store where the disk
        may be another one, which hangs. With `backups` those of the changes are added there, and who waits is answered
        before they are removed, for which a disk takes as long as for a fsync; those there are removed beside others.
        """
        old = [backups.pop() for _ in range(len(backups))] if backups else []
        run = self.batches.run_side_by_side if helped else run_in_turn
        loss = self.describe_loss(self.root) if changes or lines else None
        if loss is not None:
            self._refuse(changes, loss)
            self._refuse(lines, loss)
        run(
            [partial(self._take_step, change, self._write_temporary) for change in changes if change.data is not None]
            + [partial(self._unlink_quietly, path) for path in old]
        )
        for change in changes:
            self._take_step(change, self._move_into_place)
        logs: dict[Path, list[Line]] = {}
        for line in (*lines, *(change.line for change in changes if change.placed and change.line is not None)):
            if line.error is None:
                logs.setdefault(line.path, []).append(line)
        folders: dict[Path, list[FileChange]] = {}
        for change in changes:
            if change.placed:
                folders.setdefault(change.path.parent, []).append(change)
        appends = [partial(self._append_lines, path, added) for path, added in logs.items()]
        if not any(line.is_synced for added in logs.values() for line in added):  # they wait for no disk
            run_in_turn(appends)
            appends = []
        with contextlib.suppress(KeyError):
            while True:
                folders.setdefault(self._unsynced.pop(), [])
        run([*appends, *(partial(self._settle_folder, folder, placed) for folder, placed in folders.items())])
        self._retract_lines(changes, logs)
        for change in changes:
            self._clean_up(change, backups)
            if isinstance(change.error, StoreUnavailable) or (change.error is None and self.failures):
                self._note_outcome(change.path.parent, change.error)

    def _refuse(self, wanted: Sequence[FileChange | Line], loss: str) -> None:
        """Refuse what is of a store that is not ours any more."""
        for each in wanted:
            if self.is_own(each.path):
                each.error = StoreUnavailable(errno.ESTALE, loss)

    def _take_step(self, change: FileChange, step: Callable[[FileChange], None]) -> None:
        """Take a step of a change that has not failed yet; note why it fails."""
        if change.error is None:
            try:
                step(change)
            except OSError as error:
                verb = "write" if change.data is not None else "delete"
                change.error = from_os_error(error, f"{verb} {self.display_path(change.path)}")
            except Exception as error:  # a defect as well: in whichever thread, it must reach the caller
                change.error = error

    def _settle_folder(self, folder: Path, placed: Sequence[FileChange]) -> None:
        """Fsync the folder; undo these changes of it if that fails."""
        try:
            self._sync_folder(folder)
        except OSError as error:
            self._undo(placed, error)

    def _write_temporary(self, change: FileChange) -> None:
        """Write the data to a temporary file beside the target, durably."""
        assert change.data is not None
        change.temporary = self._name_temporary(change.path, "new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        is_own = self.is_own(change.path)
        mode = FILE_MODE if is_own else SHARED_FILE_MODE
        try:
            change.fd = self.ops.open(change.temporary, flags, mode)
        except FileNotFoundError:
            if not is_own:
                raise
            self.make_dirs(change.path.parent)  # somebody removed it
            change.fd = self.ops.open(change.temporary, flags, mode)
        if not is_own and change.path.is_file():  # who may read a user's own file is the user's to say
            os.fchmod(change.fd, stat.S_IMODE(change.path.stat().st_mode))
        view = memoryview(change.data)
        while view:
            view = view[self.ops.write(change.fd, view) :]
        self.ops.fsync(change.fd)
        change.stamp = to_stamp(self.ops.fstat(change.fd))
        fd, change.fd = change.fd, -1
        self.ops.close(fd)

    def _move_into_place(self, change: FileChange) -> None:
        """Give the temporary file its final name, or move a deleted file aside."""
        if change.data is None:
            change.backup = self._name_temporary(change.path, "gone")
            try:
                self.ops.rename(change.path, change.backup)
            except FileNotFoundError:
                change.backup = None
                raise NotFound("file", self.display_path(change.path)) from None
            change.placed = True
            return
        assert change.temporary is not None
        if change.exclusive:
            self._link_new(change)
        else:
            self._back_up(change)
            self.ops.rename(change.temporary, change.path)
            change.temporary = None
        change.placed = True

    def _link_new(self, change: FileChange) -> None:
        """Place a file that must not replace another one. Raises Exists."""
        assert change.temporary is not None
        try:
            self.ops.link(change.temporary, change.path, follow_symlinks=False)
        except FileExistsError:
            raise Exists("file", self.display_path(change.path)) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if os.path.lexists(change.path):
                raise Exists("file", self.display_path(change.path)) from None
            self.ops.rename(change.temporary, change.path)
            change.temporary = None

    def _back_up(self, change: FileChange) -> None:
        """Link the old file to a second name, so that replacing can be undone."""
        backup = self._name_temporary(change.path, "old")
        try:
            self.ops.link(change.path, backup, follow_symlinks=False)
            change.backup = backup
            change.replaced = True
        except FileNotFoundError:
            change.replaced = False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            change.replaced = True

    def _undo(self, changes: Sequence[FileChange], cause: OSError) -> None:
        """Put the old files back after the folder's fsync failed.

        Last change first; nothing of these changes is certain to be on disk.
        """
        for change in reversed(changes):
            change.error = from_os_error(cause, f"write {self.display_path(change.path)}")
            try:
                if change.backup is not None:
                    self.ops.rename(change.backup, change.path)
                    change.backup = None
                elif change.data is not None and not change.replaced:
                    self.ops.unlink(change.path)
            except OSError:
                # The disk refuses this too: the new file stays, whole, and the caller gets the error.
                continue

    def _clean_up(self, change: FileChange, backups: list[str] | None = None) -> None:
        """Close the descriptor and remove what is left over of the change."""
        if change.fd >= 0:
            try:
                self.ops.close(change.fd)
            except OSError as error:
                change.error = change.error or from_os_error(error, f"write {self.display_path(change.path)}")
            change.fd = -1
        if change.temporary is not None:
            self._unlink_quietly(change.temporary)
        if change.backup is not None:  # what is deleted is in no folder any more
            remove = self._unlink_quietly if backups is None or change.data is None else backups.append
            remove(change.backup)

    def _remove_backup(self) -> bool:
        """Remove a backup; return whether there are more."""
        if self.backups:
            self._unlink_quietly(self.backups.pop())
        return bool(self.backups)

    def _unlink_quietly(self, path: str) -> None:
        """Delete the file; leave it to the next start if that fails."""
        with contextlib.suppress(OSError):  # nobody reads files of this name; the next start removes it
            self.ops.unlink(path)

    def _name_temporary(self, path: Path, ending: str) -> str:
        # Whoever knows it beforehand can make it fail, no more: such files are made, never opened.
        return f"{str(path).removesuffix(path.name)}.sluice-{random.getrandbits(64):016x}.{ending}"

    def _sync_folder(self, folder: Path) -> None:
        fd = self.ops.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.ops.fsync(fd)
        finally:
            self.ops.close(fd)

    def _append_lines(self, path: Path, lines: Sequence[Line]) -> None:
        """Append the lines to the file in one write; note why that fails."""
        try:
            with self._guard_change(path, "append to"):
                self._append(path, b"".join(line.data for line in lines), any(line.is_synced for line in lines))
        except StoreError as error:
            for line in lines:
                line.error = error
        else:
            for line in lines:
                line.is_written = True

    def _append(self, path: Path, data: bytes, is_synced: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        if is_new := not os.path.lexists(path):
            self.make_dirs(path.parent)  # somebody may have removed it
        fd = self.ops.open(path, flags, FILE_MODE)
        try:
            size = self.ops.fstat(fd).st_size
            if self.ops.write(fd, data) < len(data):
                self.ops.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, "short write")
            if is_synced:
                self.ops.fsync(fd)
        finally:
            self.ops.close(fd)
        if is_new and is_synced:
            self._sync_folder(path.parent)

    def _retract_lines(self, changes: Sequence[FileChange], logs: Mapping[Path, Sequence[Line]]) -> None:
        """Take back the lines of changes that were undone."""
        false = [change.line for change in changes if change.placed and change.error and change.line]
        for path in {line.path for line in false if line.is_written}:
            size = sum(len(line.data) for line in logs[path])
            kept = [line for line in logs[path] if line not in false]
            with contextlib.suppress(OSError):  # then the log tells of more than there is
                fd = self.ops.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    self.ops.ftruncate(fd, self.ops.fstat(fd).st_size - size)
                finally:
                    self.ops.close(fd)
                self._append_lines(path, kept)
        for line in false:
            line.is_written = False

    def _write_at(self, path: Path, offset: int, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._guard_change(path, "write"):
            new = not path.exists()
            fd = self.ops.open(path, flags, FILE_MODE)
            try:
                view = memoryview(data)
                while view:
                    written = self.ops.pwrite(fd, view, offset)
                    view, offset = view[written:], offset + written
                self.ops.fsync(fd)
            finally:
                self.ops.close(fd)
            if new:
                self._sync_folder(path.parent)

    def _move(self, path: Path, target: Path) -> None:
        with self._guard_change(target, "write"):
            self.ops.rename(path, target)
            self._sync_folder(target.parent)

    def _discard_folder(self, path: Path) -> None:
        with self._guard_change(path, "remove"), contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(path)):
                if entry.is_dir(follow_symlinks=False):
                    self._discard_folder(Path(entry.path))
                else:
                    with contextlib.suppress(FileNotFoundError):  # somebody else removes the same
                        self.ops.unlink(entry.path)
            self.ops.rmdir(path)
            self._sync_folder(path.parent)


def _get_stamp(change: FileChange) -> Any:
    """Return the stamp of a file that was written; raise why it was not."""
    if change.error is not None:
        raise change.error
    return change.stamp
