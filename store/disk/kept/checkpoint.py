"""Checkpoints: what was read from a folder, kept for the next start.

Files that have not changed since are not read again. The checkpoint is never trusted over the files: a row counts only
while its file has the same inode, size, mode and times (that of the last change of the inode included, which no program
can set). Everything here may be deleted at any time. Rows stand in segments (store/disk/kept/segments.py) that are
written once, and count whole or not at all: one that is torn, from another version of the program, or made by somebody
else is skipped and replaced. Documents that stand in a segment are not held in memory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from store.disk.compression import Packing
from store.disk.entries import FileEntry, KeptBytes
from store.disk.files import FileChange, Files
from store.disk.folders import Folder
from store.disk.kept.kept_files import LoadedFiles
from store.disk.kept.look_worker import pack_state
from store.disk.kept.looking import PROJECT, Looker
from store.disk.kept.segments import (
    STATE_BYTES,
    SegmentRow,
    Table,
    build_segment,
    open_segment,
    read_segment,
)
from store.errors import StoreError
from store.jsons import drop_room

log = logging.getLogger("sluice.store")

SEGMENT_ROWS = 5_000
# From this many unread files on they are read by helper processes, at most MAX_HELPERS.
HELPERS_FROM_FILES = 5_000
MAX_HELPERS = 4
# From this many segments on, the files of the next are looked at by a process beside.
LOOKER_FROM_SEGMENTS = 4
# The rows of a segment with fewer good rows are moved to a new segment.
MIN_SEGMENT_ROWS = SEGMENT_ROWS // 2
# At a start, rows are saved from this many newly read files on.
SAVE_FROM_ROWS = 1_000
IMPORT = re.compile(rb"^[ \t]*from (store[\w.]*) import (?:\(([^)]*)\)|([^\n#]*))", re.MULTILINE)


class Checkpoint:
    """The segments of one folder, kept in the folder `path`.

    `restore_facts` makes a folder's facts from their JSON form. The checkpoint follows the folder: changed documents
    are written when there are enough of them (`save`), and only once `is_settled(facts)` holds, since rows of documents
    that still change would soon be useless.
    """

    def __init__(
        self,
        folder: Folder,
        path: Path,
        files: Files,
        restore_facts: Callable[[list[Any]], Any],
        is_settled: Callable[[Any], bool],
    ) -> None:
        self._folder, self._path, self._files = folder, path, files
        self._restore_facts, self._is_settled = restore_facts, is_settled
        self._code = hash_code(restore_facts.__module__)
        self._pending: dict[str, tuple[FileEntry, bytes]] = {}  # name -> entry and facts that are not saved yet
        self._obsolete: list[Path] = []  # segments to delete: unusable, or their rows are pending again
        self._next_number = 0
        self._packings: dict[bytes, Packing] = {}
        self._saving = threading.Lock()
        self._loading = False
        folder.add_listener(self._follow, lambda _loaded: None)  # what a segment has is kept already

    def __len__(self) -> int:
        return len(self._pending)

    # Reading.

    def load(self) -> None:
        """Load the folder from good segments, and the rest from the files."""
        self._loading = True
        try:
            if self._path.is_dir():
                self._files.remove_temporaries(self._path)
                paths = sorted(self._path.glob("[0-9]*"))
                self._next_number = max((int(path.name) + 1 for path in paths if path.name.isdigit()), default=0)
                self._restore_segments(paths)
            unread = self._folder.list_files(unknown=True)
            if len(unread) >= HELPERS_FROM_FILES and (helpers := min(os.cpu_count() or 1, MAX_HELPERS)) > 1:
                for path in self._read_with_helpers(sorted(unread, key=self._find_modified), helpers):
                    self._restore_segments([path])
                unread = self._folder.list_files(unknown=True)
            self._folder.read_files(unread)
        finally:
            self._loading = False
        if len(self) >= SAVE_FROM_ROWS:
            self.save()

    def _find_modified(self, filename: str) -> int:
        """Return when a file was modified, in ns.

        Indexes by time are fast where segments are in that order.
        """
        try:
            return os.lstat(f"{self._folder.path}/{filename}").st_mtime_ns
        except OSError:
            return 0

    def _restore_segments(self, paths: Sequence[Path]) -> None:
        """Put the unchanged files of these segments into the index.

        While those of one are put there, those of the next are looked at.
        """
        with_helper = len(paths) >= LOOKER_FROM_SEGMENTS and (os.cpu_count() or 1) > 1
        with Looker(self._folder.path, with_helper=with_helper) as looker:
            table = None
            for path, following in pairwise([None, *paths, None]):
                states = looker.take()
                next_table = None if following is None else self._read_table(following)
                looker.ask([] if next_table is None else [name + self._folder.ending for name in next_table.names])
                if path is not None:
                    self._restore_segment(path, table, states)
                table = next_table

    def _restore_segment(self, path: Path, table: Table | None, states: bytes) -> None:
        """Put the segment's files into the index that have these states now."""
        restored = [] if table is None else self._restore_rows(table, states)
        if len(restored) < MIN_SEGMENT_ROWS:
            self._obsolete.append(path)
            for place in restored:
                assert table is not None
                state = self._folder.find_state(table.names[place] + self._folder.ending)
                assert state is not None and state.entry is not None
                self._pending[state.entry.name] = (state.entry, drop_room(orjson.dumps(table.facts[place])))

    def _restore_rows(self, table: Table, states: bytes) -> list[int]:
        """Put the files of a segment that are unchanged into the index.

        Returns their places in the table.
        """
        folder, names = self._folder, table.names
        places = list(range(len(names)))
        if states != table.states:
            places = [at for at in places if _get_state(table.states, at) == _get_state(states, at)]
        if not (folder.kept.has_none(names) and folder.filenames.keys().isdisjoint(names)):  # in another segment too
            places = [place for place in places if folder.get_filename(names[place]) is None]
        if places:
            chosen = len(places) < len(names)
            names, facts = ([column[place] for place in places] if chosen else column for column in table[1::2])
            folder.kept.add(table.segment, table.states, names, places)
            folder.notify_loaded(LoadedFiles(folder, names, facts, self._restore_facts))
        return places

    def _read_with_helpers(self, unread: list[str], helpers: int) -> Iterator[Path]:
        """Start processes that read the files; yield segments as they finish.

        The processes run store.disk.kept.load_worker. The files of one that fails are read by the caller.
        """
        started: list[subprocess.Popen[bytes]] = []
        try:
            self._files.make_dirs(self._path)
            each = -(-len(unread) // helpers)
            for share in (unread[at : at + each] for at in range(0, len(unread), each)):
                started.append(self._start_helper(share))
                self._next_number += len(share) // SEGMENT_ROWS + 1
        except (OSError, StoreError):
            log.warning("files are read without the help of other processes", exc_info=True)
        while started:
            for helper in list(started):
                assert helper.stdout is not None
                if name := helper.stdout.readline().decode().strip():
                    yield self._path / name
                else:
                    started.remove(helper)
                    helper.stdout.close()
                    helper.wait()

    def _start_helper(self, share: list[str]) -> subprocess.Popen[bytes]:
        """Start a process that reads this share of the files."""
        command = [sys.executable, "-m", "store.disk.kept.load_worker"]
        helper = subprocess.Popen(
            [*command, str(self._files.root), self._folder.path.name, str(self._next_number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(PROJECT)},
            cwd="/",
        )
        assert helper.stdin is not None
        with contextlib.suppress(BrokenPipeError), helper.stdin:  # a helper that ended at once: its files are read here
            helper.stdin.write(b"\0".join(map(os.fsencode, share)))
        return helper

    def read_share(self, filenames: list[str], number: int) -> Iterator[Path]:
        """Read these files; yield segments, numbered from `number` on.

        For a process that does nothing else.
        """
        self._next_number = number
        for at in range(0, len(filenames), SEGMENT_ROWS):
            first = self._next_number
            self._folder.read_files(filenames[at : at + SEGMENT_ROWS])
            self.save()
            self._folder.file_states.clear()
            self._folder.filenames.clear()
            yield from (self._path / f"{number:06}" for number in range(first, self._next_number))

    def _read_table(self, path: Path) -> Table | None:
        """Return the table of a segment; None if it is not whole or not ours."""
        try:
            return read_segment(path, self._code, self._find_packing)
        except (StoreError, OSError, ValueError, TypeError, struct.error):
            # Not fatal: the files have the same contents.
            log.warning("%s is passed over", self._files.display_path(path), exc_info=True)
            return None

    def _find_packing(self, dictionary: bytes) -> Packing:
        """Return the packing with this dictionary, the folder's if possible."""
        packer = self._folder.packer
        if not packer.packing.dictionary and dictionary:
            packer.set_dictionary(dictionary)
        if packer.packing.dictionary == dictionary:
            return packer.packing
        return self._packings.setdefault(dictionary, Packing(dictionary))

    # Writing.

    def save(self) -> None:
        """Write the pending rows to segments; safe in any thread."""
        with self._saving:
            names = list(self._pending)
            try:
                self._files.make_dirs(self._path)
                while names:
                    batch, names = names[:SEGMENT_ROWS], names[SEGMENT_ROWS:]
                    self._write_segment(batch)
                done, self._obsolete = self._obsolete, []
                # A segment that cannot be deleted is skipped and deleted after the next start.
                self._files.commit([FileChange(path, None) for path in done])
            except StoreError:
                # Not fatal: a checkpoint only makes the next start faster.
                log.warning("what was read could not be kept for the next start", exc_info=True)

    def _write_segment(self, names: list[str]) -> None:
        """Write the rows of these names to one segment, which has their bytes."""
        for name in names:
            if (waiting := self._pending.get(name)) is not None:
                waiting[0].pack()
        packing, found = self._folder.packer.packing, []
        for name in names:
            pending = self._pending.pop(name, None)
            if pending is not None and (row := self._build_row(*pending, packing)) is not None:
                found.append((pending[0], row))
        if not found:
            return
        entries, rows = zip(*found, strict=True)
        data, start, sizes = build_segment(self._code, packing, rows)
        path = self._path / f"{self._next_number:06}"
        self._files.write_now(path, data)
        self._next_number += 1
        segment = open_segment(path, packing, start, sizes)
        for place, entry in enumerate(entries):
            entry.kept = KeptBytes(segment, place)

    def _build_row(self, entry: FileEntry, facts: bytes, packing: Packing) -> SegmentRow | None:
        """Return the row of an entry; None when its file is not as it was read."""
        filename = self._folder.filenames.get(entry.name, "")
        state = self._folder.file_states.get(filename)
        try:
            now = pack_state(os.lstat(f"{self._folder.path}/{filename}"))
        except OSError:
            return None
        if state is None or state.entry is not entry or state.mark is None or not now.startswith(state.mark):
            return None
        if filename != entry.name + self._folder.ending:
            return None  # such a file is read anew at each start
        way, data = entry.kept
        return SegmentRow(entry.name, now, data if way is packing else packing.pack(entry.data), facts)

    # Following.

    def _follow(self, name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        """Note a document that was written or read, for the next `save`."""
        if new is None or not self._is_settled(new.facts):
            self._pending.pop(name, None)
            return
        self._pending[name] = (new, drop_room(orjson.dumps(new.facts, default=tuple)))
        if self._loading and len(self._pending) >= SEGMENT_ROWS:
            self.save()


def _get_state(states: bytes, place: int) -> bytes:
    return states[place * STATE_BYTES : (place + 1) * STATE_BYTES]


def hash_code(facts_module: str) -> bytes:
    """Return a hash of the code that gives the rows their meaning.

    That is this module, the one that makes the facts, and what they import of the store.
    """
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in find_sources(__name__, facts_module))).digest()


@functools.cache
def find_sources(*modules: str) -> list[Path]:
    """List the files of these modules and of all that they import.

    Only modules and packages of the store count.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        place = PROJECT / name.replace(".", "/")
        path = place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")
        if name in found or not path.is_file():
            continue
        found[name] = path
        for package, lines, line in IMPORT.findall(path.read_bytes()):
            names = re.findall(r"\w+", (lines or line).decode())
            waiting += [package.decode(), *(f"{package.decode()}.{imported}" for imported in names)]
    return [found[name] for name in sorted(found)]
