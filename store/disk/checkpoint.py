"""Checkpoints: what was read from a folder, kept for the next start.

Files that have not changed since are not read again. The checkpoint is never trusted over the files: a row counts only
while its file has the same inode, size, mode and times (that of the last change of the inode included, which no program
can set). Everything here may be deleted at any time. Rows stand in segments that are written once, and read whole or
not at all: a segment that is torn, from another version of the program, or made by somebody else is skipped and
replaced.
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
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from store.disk import owners
from store.disk.compression import Packing
from store.disk.entries import CheckpointRow, FileEntry, PackedBytes, pack_stamp
from store.disk.files import FileChange, Files
from store.disk.folders import Folder
from store.disk.reading import read_file, to_stamp
from store.errors import StoreError

log = logging.getLogger("sluice.store")

PROJECT = Path(__file__).parents[2]

MAGIC = b"sluice checkpoint\n"
HEADER = struct.Struct("<32sIIII")  # code, CRC-32 of the rest, bytes of the dictionary, of the table, of the documents
SEGMENT_ROWS = 5_000
MAX_SEGMENT_BYTES = 64_000_000
# From this many unread files on they are read by helper processes, at most MAX_HELPERS.
HELPERS_FROM_FILES = 5_000
MAX_HELPERS = 4
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
        self._restoring = False
        folder.listeners.append(self._follow)

    def __len__(self) -> int:
        return len(self._pending)

    # Reading.

    def load(self) -> None:
        """Load the folder from good segments, and the rest from the files."""
        self._loading = True
        known: set[str] = set()
        try:
            if self._path.is_dir():
                self._files.remove_temporaries(self._path)
                for path in sorted(self._path.glob("[0-9]*")):
                    self._next_number = max(self._next_number, int(path.name) + 1 if path.name.isdigit() else 0)
                    known |= self._restore_segment(path)
            unread = [name for name in self._folder.list_files() if name not in known]
            if len(unread) >= HELPERS_FROM_FILES and (helpers := min(os.cpu_count() or 1, MAX_HELPERS)) > 1:
                known = set().union(*map(self._restore_segment, self._read_with_helpers(unread, helpers)))
                unread = [name for name in unread if name not in known]
            self._folder.read_files(unread)
        finally:
            self._loading = False
        if len(self) >= SAVE_FROM_ROWS:
            self.save()

    def _restore_segment(self, path: Path) -> set[str]:
        """Put the segment's unchanged files into the index; return their names."""
        self._restoring = True
        rows = [row for row in self._read_segment(path) if self._folder.restore(row)]
        self._restoring = False
        if len(rows) < MIN_SEGMENT_ROWS:
            self._obsolete.append(path)
            for row in rows:
                entry = self._folder.get_entry(self._folder.parse_filename(row.filename) or "")
                self._pending[entry.name] = (entry, orjson.dumps(row.facts, default=tuple))
        return {row.filename for row in rows}

    def _read_with_helpers(self, unread: list[str], helpers: int) -> Iterator[Path]:
        """Start processes that read the files; yield segments as they finish.

        The processes run store.disk.load_worker. The files of one that fails are read by the caller.
        """
        started: list[subprocess.Popen[bytes]] = []
        try:
            self._files.make_dirs(self._path)
            for at in range(helpers):
                self._next_number += len(unread) // SEGMENT_ROWS + 1
                started.append(self._start_helper(unread[at::helpers]))
        except (OSError, StoreError):
            log.warning("files are read without the help of other processes", exc_info=True)
        self._next_number += len(unread) // SEGMENT_ROWS + 1
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
        command = [sys.executable, "-m", "store.disk.load_worker"]
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

    def _read_segment(self, path: Path) -> list[CheckpointRow]:
        """Return the rows of a segment; none if it is not whole or not ours."""
        try:
            data, _ = read_file(path, MAX_SEGMENT_BYTES, owners.check_file)
            if not data.startswith(MAGIC):
                return []
            at = len(MAGIC) + HEADER.size
            made_by, crc, *sizes = HEADER.unpack_from(data, len(MAGIC))
            if made_by != self._code or at + sum(sizes) != len(data) or zlib.crc32(data[at:]) != crc:
                return []
            packing = self._find_packing(data[at : at + sizes[0]])
            table = orjson.loads(data[at + sizes[0] : at + sizes[0] + sizes[1]])
            return list(self._parse_rows(table, packing, data, at + sizes[0] + sizes[1]))
        except (StoreError, ValueError, TypeError, IndexError, KeyError, struct.error):
            # Not fatal: the files have the same contents.
            log.warning("%s is passed over", self._files.display_path(path), exc_info=True)
            return []

    def _find_packing(self, dictionary: bytes) -> Packing:
        """Return the packing with this dictionary, the folder's if possible."""
        packer = self._folder.packer
        if not packer.packing.dictionary and dictionary:
            packer.set_dictionary(dictionary)
        if packer.packing.dictionary == dictionary:
            return packer.packing
        return self._packings.setdefault(dictionary, Packing(dictionary))

    def _parse_rows(self, table: list[Any], packing: Packing, data: bytes, at: int) -> Iterator[CheckpointRow]:
        """Yield the rows of a segment's table with their documents."""
        for filename, mark, changed_ns, packed, size, facts in table:
            document = PackedBytes(packing if packed else None, data[at : at + size])
            at += size
            yield CheckpointRow(filename, bytes.fromhex(mark), changed_ns, document, self._restore_facts(facts))

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
        """Write the rows of these names to one segment."""
        packing, rows = self._folder.packer.packing, []
        for name in names:
            pending = self._pending.pop(name, None)
            if pending is not None and (row := self._build_row(*pending, packing)) is not None:
                rows.append(row)
        if not rows:
            return
        table, documents = orjson.dumps([line for line, _ in rows]), b"".join(data for _, data in rows)
        body = packing.dictionary + table + documents
        header = HEADER.pack(self._code, zlib.crc32(body), len(packing.dictionary), len(table), len(documents))
        self._files.write_now(self._path / f"{self._next_number:06}", MAGIC + header + body)
        self._next_number += 1

    def _build_row(self, entry: FileEntry, facts: bytes, packing: Packing) -> tuple[list[Any], bytes] | None:
        """Return a line of the table and the document's bytes.

        None when the file on disk is not as it was read.
        """
        filename = self._folder.filenames.get(entry.name, "")
        state = self._folder.file_states.get(filename)
        try:
            status = os.lstat(f"{self._folder.path}/{filename}")
        except OSError:
            return None
        if (
            state is None
            or state.entry is not entry
            or state.mark is None
            or pack_stamp(to_stamp(status)) != state.mark
        ):
            return None
        way, data = entry.pack()
        if way is not None and way is not packing:
            data = packing.pack(entry.data)
        mark, changed_ns = state.mark.hex(), status.st_ctime_ns
        return [filename, mark, changed_ns, way is not None, len(data), orjson.Fragment(facts)], data

    # Following.

    def _follow(self, name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        """Note a document that was written or read, for the next `save`."""
        if new is None or not self._is_settled(new.facts):
            self._pending.pop(name, None)
            return
        if self._restoring:
            return
        self._pending[name] = (new, orjson.dumps(new.facts, default=tuple))
        if self._loading and len(self._pending) >= SEGMENT_ROWS:
            self.save()


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
