"""What was read from a folder's files, kept for the next start: files that are as they were then are not read again.

Never trusted over the files: a row counts only while its file has the same inode, size, mode and times (that of the
last change of the inode included, which no program can set). Everything else in here may be deleted at any time. Rows
stand in segments that are written once, and read whole or not at all: a torn one, one of another version of the
program, or one of somebody else's making is passed over and replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from store.disk.compression import Packing
from store.disk.files import FileChange, Files, read_file, to_stamp
from store.disk.folders import CheckpointRow, FileEntry, Folder, PackedBytes, pack_stamp
from store.errors import StoreError

log = logging.getLogger("sluice.store")

MAGIC = b"sluice checkpoint\n"
HEADER = struct.Struct("<32sIIII")  # code, CRC-32 of the rest, bytes of the dictionary, of the table, of the documents
SEGMENT_ROWS = 5_000
MAX_SEGMENT_BYTES = 64_000_000
# From so many unread files on, several processes read them, at most so many.
HELPERS_FROM_FILES = 5_000
MAX_HELPERS = 4
# A segment with fewer good rows is not worth keeping: they move into a new one.
MIN_SEGMENT_ROWS = SEGMENT_ROWS // 2
# So many files are read again at a start before it is worth writing down what they said.
SAVE_FROM_ROWS = 1_000
# What decides the meaning of a row, beside this module.
CODE = (
    "documents.py", "times.py", "indexes/jobs.py", "rules/reports.py", "rules/runs.py", "rules/states.py",
    "disk/compression.py", "disk/checkpoint.py",
)  # fmt: skip


class Checkpoint:
    """The segments of one folder, in the folder `place`. `facts` makes a folder's facts of what JSON makes of them.

    Follows the folder: what is told of a document is written down when there is enough of it (`save`), and only once
    it is `settled(facts)`; what changes every moment is better read again.
    """

    def __init__(
        self,
        folder: Folder,
        place: Path,
        files: Files,
        facts: Callable[[list[Any]], Any],
        settled: Callable[[Any], bool],
    ) -> None:
        self._folder, self._path, self._files, self._restore_facts, self._is_settled = (
            folder,
            place,
            files,
            facts,
            settled,
        )
        self._code = hash_code()
        self._pending: dict[str, tuple[FileEntry, bytes]] = {}  # by name: what is not written down yet, with its facts
        self._obsolete: list[Path] = []  # segments whose rows are pending again, or that are good for nothing
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
        """Nothing; the folder is loaded, from the segments where they are good and from the files where not."""
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
        """The files that are as the segment says; they are in the folder's index now."""
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
        """Segments with what the files say, as other processes get ready with them (see store.disk.load_worker).

        One that fails leaves its files to be read here.
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
        package = Path(__file__).parent.parent
        command = [sys.executable, "-m", "store.disk.load_worker"]
        helper = subprocess.Popen(
            [*command, str(self._files.root), self._folder.path.name, str(self._next_number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(package.parent)},
            cwd="/",
        )
        assert helper.stdin is not None
        with contextlib.suppress(BrokenPipeError), helper.stdin:  # one that ended at once says nothing either
            helper.stdin.write(b"\0".join(map(os.fsencode, share)))
        return helper

    def read_share(self, filenames: list[str], number: int) -> Iterator[Path]:
        """The segments, from this number on, with what these files say; for a process that does nothing else."""
        self._next_number = number
        for at in range(0, len(filenames), SEGMENT_ROWS):
            first = self._next_number
            self._folder.read_files(filenames[at : at + SEGMENT_ROWS])
            self.save()
            self._folder.file_states.clear()
            self._folder.filenames.clear()
            yield from (self._path / f"{one:06}" for one in range(first, self._next_number))

    def _read_segment(self, path: Path) -> list[CheckpointRow]:
        """The rows of a segment; none of one that is not whole, or not of this program."""
        try:
            data, _ = read_file(path, MAX_SEGMENT_BYTES)
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
            # Whatever is wrong with it, the files say the same.
            log.warning("%s is passed over", self._files.display_path(path), exc_info=True)
            return []

    def _find_packing(self, dictionary: bytes) -> Packing:
        packer = self._folder.packer
        if not packer.packing.dictionary and dictionary:
            packer.set_dictionary(dictionary)
        if packer.packing.dictionary == dictionary:
            return packer.packing
        return self._packings.setdefault(dictionary, Packing(dictionary))

    def _parse_rows(self, table: list[Any], packing: Packing, data: bytes, at: int) -> Iterator[CheckpointRow]:
        for filename, mark, changed_ns, packed, size, facts in table:
            document = PackedBytes(packing if packed else None, data[at : at + size])
            at += size
            yield CheckpointRow(filename, bytes.fromhex(mark), changed_ns, document, self._restore_facts(facts))

    # Writing.

    def save(self) -> None:
        """Nothing; what is pending is written down, in the calling thread, which may be any."""
        with self._saving:
            names = list(self._pending)
            try:
                self._files.make_dirs(self._path)
                while names:
                    now, names = names[:SEGMENT_ROWS], names[SEGMENT_ROWS:]
                    self._write_segment(now)
                done, self._obsolete = self._obsolete, []
                # One that cannot be deleted is passed over again, and deleted after the next start.
                self._files.commit([FileChange(path, None) for path in done])
            except StoreError:
                # It only makes the next start faster.
                log.warning("what was read could not be kept for the next start", exc_info=True)

    def _write_segment(self, names: list[str]) -> None:
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
        """A line of the table and the document's bytes; None when the file is not just as it was read."""
        filename = self._folder.filenames.get(entry.name, "")
        held = self._folder.file_states.get(filename)
        try:
            status = os.lstat(f"{self._folder.path}/{filename}")
        except OSError:
            return None
        if held is None or held.entry is not entry or held.mark is None or pack_stamp(to_stamp(status)) != held.mark:
            return None
        way, data = entry.packed_bytes
        if way is not None and way is not packing:
            data = packing.pack(entry.data)
        mark, changed_ns = held.mark.hex(), status.st_ctime_ns
        return [filename, mark, changed_ns, way is not None, len(data), orjson.Fragment(facts)], data

    # Following.

    def _follow(self, name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        if new is None or not self._is_settled(new.facts):
            self._pending.pop(name, None)
            return
        if self._restoring:
            return
        self._pending[name] = (new, orjson.dumps(new.facts, default=tuple))
        if self._loading and len(self._pending) >= SEGMENT_ROWS:
            self.save()


def hash_code() -> bytes:
    """What tells the code that gave the rows their meaning from any other."""
    package = Path(__file__).parent.parent
    return hashlib.sha256(b"\0".join((package / name).read_bytes() for name in CODE)).digest()
