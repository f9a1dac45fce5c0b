"""Listing folders and reading files of a mount. Blocking.

Call it in a thread. Nothing outside the mount can be reached, however names and links change meanwhile: every step goes
from an open folder to one name in it, and no system call ever follows a link. Links are read here, and are followed
only where they stay inside: an absolute target must begin with the mount's own folder, and the rest is walked anew from
there. What begins with a dot is neither listed nor passed, by no path and no link, nor is the store but for the jobs'
work. Errors name the path that the caller asked for, never where the mount lies on this machine.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from store.errors import Denied, NotFound, StoreError, TooLarge, WrongKind, from_os_error
from store.times import to_rfc3339

FILE_BYTES = 1_048_576
# A folder may hold millions of names: at most MAX_NAMES are read, and MAX_ENTRIES listed.
MAX_NAMES, MAX_ENTRIES = 100_000, 10_000
# Like Linux's own bounds of a path; steps also count names that changed while we looked.
MAX_LINKS, MAX_STEPS, MAX_LINK_STEPS = 40, 1000, 200
OUTSIDE = "Path outside mount boundary"
HIDDEN = "Hidden files and folders are not shown"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe may have taken the file's place just now.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.ESTALE})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
# The name now leads to something else than a moment ago.
_CHANGED = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EINVAL})
_UNREADABLE = "\ufffd".encode()


def list_folder(root: Path, path: str, store: Path | None = None) -> dict[str, Any]:
    """List a folder below `root`: `{entries, inside, truncated}`.

    `inside` is its path there, links resolved. Entries are `{name, type, size, accessible, target_kind, modified_at}`
    in byte order, without those that begin with a dot, cannot be looked at, or are neither file, folder nor link.
    Raises NotFound, Denied, WrongKind, StoreUnavailable.
    """
    with start_walk(root, "Directory", path, store) as walk:
        if walk.resolve() != "directory":
            raise WrongKind("Path is not a directory")
        names, truncated = walk.list_names()
        entries = [entry for entry in map(walk.build_entry, names[:MAX_ENTRIES]) if entry is not None]
        inside = "/".join(map(to_text, walk.inside))
    return {"entries": entries, "inside": inside, "truncated": truncated or len(names) > MAX_ENTRIES}


def read_text(root: Path, path: str, store: Path | None = None, limit_bytes: int = FILE_BYTES) -> str:
    """Return the text of a regular file below `root`.

    Bytes that are not UTF-8 become U+FFFD. Raises NotFound, Denied, TooLarge, WrongKind, StoreUnavailable.
    """
    if not path:
        raise WrongKind("path is required")
    with start_walk(root, "File", path, store) as walk:
        if walk.resolve() != "file":
            raise WrongKind("Path is not a file")
        data = walk.read_content(limit_bytes)
    return data.decode("utf-8", "replace")


def open_file(root: Path, path: str, store: Path | None = None) -> BinaryIO:
    """Open a regular file below `root` for reading.

    Raises NotFound, Denied, WrongKind, StoreUnavailable.
    """
    with start_walk(root, "File", path, store) as walk:
        if walk.resolve() != "file":
            raise WrongKind("Path is not a file")
        return walk.open_content()


def is_empty(root: Path) -> bool:
    """Tell whether the mount's folder exists and is empty.

    That is the case when the disk that belongs there is not mounted.
    """
    try:
        with os.scandir(root) as found:
            return next(found, None) is None
    except OSError:
        return False  # the next read reports why


def to_text(name: bytes) -> str:
    """Return the name as text; bytes that are not UTF-8 become U+FFFD.

    A path with such a replaced name still finds the file.
    """
    return name.decode("utf-8", "replace")


def split_path(path: str) -> list[bytes] | None:
    """Split a requested path into names; None if no file can have one.

    Raises Denied, WrongKind.

    >>> split_path("a/.././/b/")
    [b'a', b'..', b'b']
    """
    if "\0" in path:
        raise WrongKind("Path holds a NUL character")
    if path.startswith("/"):
        raise Denied(OUTSIDE)
    depth = 0
    for word in path.split("/"):
        depth += -1 if word == ".." else word not in ("", ".")
        if depth < 0:
            raise Denied(OUTSIDE)
    try:
        return [word for word in path.encode().split(b"/") if word not in (b"", b".")]
    except UnicodeEncodeError:  # a lone surrogate
        return None


def start_walk(root: Path, kind: str, path: str, store: Path | None = None) -> Walk:
    """Start a walk from the mount's folder along the path.

    `kind` is what errors call the thing that is looked for, `store` a folder that shows its `work` alone.
    """
    words = split_path(path)
    if words is None:
        raise NotFound(kind, repr(path[:200]))
    roots = [os.fsencode(top).rstrip(b"/") for top in (os.path.realpath(root), root)]
    try:
        base = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = store.stat() if store is not None else None
            return Walk(roots, base, kind, path, words, (status.st_dev, status.st_ino) if status else None)
        except OSError:
            os.close(base)
            raise
    except OSError as error:
        raise _to_store_error(error, kind, path) from None


class Walk:
    """A walk from a mount's folder along a path; closes what it opened."""

    def __init__(
        self,
        roots: Sequence[bytes],
        base: int,
        kind: str,
        path: str,
        words: Sequence[bytes],
        store: tuple[int, int] | None = None,
    ) -> None:
        # Device and inode of the store: links and other spellings of names do not matter.
        self.store = store
        self.roots, self.root_fd, self.kind, self.path = roots, base, kind, path
        self.folder_fd = os.dup(base)
        self.pending = deque(words)
        # `inside` are the names from the mount's folder to the open one; `last` is the last name if it is no folder.
        self.inside: list[bytes] = []
        self.last = b""
        self.steps, self.links = MAX_STEPS, MAX_LINKS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.folder_fd)
        os.close(self.root_fd)

    # ------------------------------------------------------------------------------------------------- walking

    def resolve(self) -> str:
        """Follow the path; return what it leads to: directory, file, or other.

        Afterwards `folder_fd` is that folder, or the one that holds `last`.
        """
        while self.pending:
            word = self.pending.popleft()
            self._count_steps()
            if word in (b"", b"."):
                continue
            if word != b".." and not self._list_shown([word]):
                raise Denied(HIDDEN)
            try:
                if word == b"..":
                    self._leave_folder()
                    continue
                mode = os.stat(word, dir_fd=self.folder_fd, follow_symlinks=False).st_mode
                if stat.S_ISLNK(mode):
                    self._follow_link(os.readlink(word, dir_fd=self.folder_fd))
                elif stat.S_ISDIR(mode):
                    self._enter_folder(word)
                elif self.pending:
                    raise NotFound(self.kind, self.path[:200])
                else:
                    self.last = word
                    return "file" if stat.S_ISREG(mode) else "other"
            except OSError as error:
                self.pending.appendleft(self._replace_word(word, error))
        return "directory"

    def _list_shown(self, names: Sequence[bytes]) -> list[bytes]:
        """List those of the names in the open folder that are not hidden."""
        status = os.fstat(self.folder_fd)
        is_store = (status.st_dev, status.st_ino) == self.store
        return [name for name in names if (name == b"work" if is_store else not name.startswith(b"."))]

    def _count_steps(self, count: int = 1) -> None:
        """Count steps of the walk. Raises Denied after too many."""
        self.steps -= count
        if self.steps < 0:
            raise Denied("The path has too many parts")

    def _replace_word(self, word: bytes, error: OSError) -> bytes:
        """Return the name to try after this one failed, or raise the error.

        The same name when it changed while we looked, or the name with undecodable bytes that it stands for.
        """
        if error.errno in _CHANGED and word != b"..":
            return word
        if error.errno == errno.ENOENT and _UNREADABLE in word:
            meant = [name for name in self.list_names()[0] if to_text(name).encode() == word]
            if len(meant) == 1:
                return meant[0]
        raise _to_store_error(error, self.kind, self.path) from None

    def _enter_folder(self, word: bytes) -> None:
        """Go down into a folder of the open one."""
        fd = os.open(word, _FOLDER, dir_fd=self.folder_fd)
        os.close(self.folder_fd)
        self.folder_fd = fd
        self.inside.append(word)

    def _leave_folder(self) -> None:
        """Go up one folder, or, above the mount, where `..` leads by name."""
        if not self.inside:
            rest = b"/".join(self.pending)
            self.pending.clear()
            self._restart_from_root(os.path.normpath(self.roots[0] + b"/../" + rest))
            return
        above = self.inside[:-1]
        self._count_steps(len(above))
        self._move_to(self.root_fd, [])
        for name in above:
            self._enter_folder(name)

    def _follow_link(self, target: bytes) -> None:
        """Go on with the target of a link."""
        self.links -= 1
        if self.links < 0:
            raise Denied("Too many symbolic links")
        if target.startswith(b"/"):
            self._restart_from_root(target)
        else:
            self.pending.extendleft(reversed(target.split(b"/")))

    def _restart_from_root(self, target: bytes) -> None:
        """Go on from the mount's folder along an absolute path inside it.

        Raises Denied for a path that leads outside.
        """
        for text in (target, os.path.normpath(target)):
            for root in self.roots:
                if text == root or text.startswith(root + b"/"):
                    self.pending.extendleft(reversed(text[len(root) :].split(b"/")))
                    self._move_to(self.root_fd, [])
                    return
        raise Denied(OUTSIDE)

    def _move_to(self, folder: int, inside: Sequence[bytes]) -> None:
        """Make a copy of the descriptor the open folder."""
        fd = os.dup(folder)
        os.close(self.folder_fd)
        self.folder_fd, self.inside = fd, list(inside)

    # ------------------------------------------------------------------------------------------------- looking

    def list_names(self) -> tuple[list[bytes], bool]:
        """List the visible names of the open folder in byte order.

        Also returns whether there are more names than are read.
        """
        try:
            fd = os.open(b".", _FOLDER, dir_fd=self.folder_fd)
            try:
                with os.scandir(fd) as found:
                    names = [os.fsencode(entry.name) for entry in islice(found, MAX_NAMES + 1)]
            finally:
                os.close(fd)
        except OSError as error:
            raise _to_store_error(error, self.kind, self.path) from None
        return sorted(self._list_shown(names[:MAX_NAMES])), len(names) > MAX_NAMES

    def build_entry(self, name: bytes) -> dict[str, Any] | None:
        """Return a row of the listing; None if it is not to be listed.

        That is what cannot be looked at, or is neither file, folder nor link.
        """
        row = {"name": to_text(name), "type": "file", "size": None, "accessible": None, "target_kind": None}
        try:
            status = os.stat(name, dir_fd=self.folder_fd, follow_symlinks=False)
        except OSError:
            return None
        row["modified_at"] = to_rfc3339(status.st_mtime)
        if stat.S_ISREG(status.st_mode):
            return row | {"size": status.st_size}
        if stat.S_ISDIR(status.st_mode):
            return row | {"type": "directory"}
        if stat.S_ISLNK(status.st_mode):
            kind = self._find_link_kind(name)
            return row | {"type": "symlink", "accessible": kind is not None, "target_kind": kind}
        return None

    def _find_link_kind(self, name: bytes) -> str | None:
        """Return what a link leads to: directory or file; None if outside.

        A dangling link counts as file; None also when the target may not be read.
        """
        with Walk(self.roots, os.dup(self.root_fd), self.kind, "", [name], self.store) as walk:
            walk._move_to(self.folder_fd, self.inside)
            walk.steps = MAX_LINK_STEPS
            try:
                kind = walk.resolve()
            except NotFound:
                return "file"
            except StoreError:
                return None
        return None if kind == "other" else kind

    def open_content(self) -> BinaryIO:
        """Open the file that the walk led to. Raises WrongKind."""
        try:
            file = os.fdopen(os.open(self.last, _FILE, dir_fd=self.folder_fd), "rb")
        except OSError as error:
            raise _to_store_error(error, self.kind, self.path) from None
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise WrongKind("Path is not a file")
        return file

    def read_content(self, limit_bytes: int) -> bytes:
        """Read the file that the walk led to. Raises TooLarge, WrongKind."""
        try:
            with self.open_content() as file:
                status = os.fstat(file.fileno())
                data = file.read(limit_bytes + 1) if status.st_size <= limit_bytes else b""
        except OSError as error:
            raise _to_store_error(error, self.kind, self.path) from None
        if status.st_size > limit_bytes or len(data) > limit_bytes:
            raise TooLarge(limit_bytes, "the file")
        return data


def _to_store_error(error: OSError, kind: str, path: str) -> StoreError:
    """Return the error in terms of the requested path, not of this machine."""
    if error.errno in _GONE:
        return NotFound(kind, path[:200])
    if error.errno in _FORBIDDEN:
        return Denied("Permission denied")
    if error.errno == errno.ELOOP:  # a link has taken the file's place since we looked
        return Denied(OUTSIDE)
    return from_os_error(error, "read from the mount")
