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
from store.disk.files import Change, Files, read_whole, stamp
from store.disk.folders import Entry, Folder, Packed, Remembered, mark_of
from store.errors import StoreError

log = logging.getLogger("sluice.store")

MAGIC = b"sluice checkpoint\n"
HEADER = struct.Struct("<32sIIII")  # code, CRC-32 of the rest, bytes of the dictionary, of the table, of the documents
SEGMENT = 5_000
SEGMENT_BYTES = 64_000_000
# From so many unread files on, several processes read them, at most so many.
MANY = 5_000
HELPERS = 4
# A segment with fewer good rows is not worth keeping: they move into a new one.
THIN = SEGMENT // 2
# So many files are read again at a start before it is worth writing down what they said.
WORTH = 1_000
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
        self._folder, self._place, self._files, self._facts, self._settled = folder, place, files, facts, settled
        self._code = code()
        self._pending: dict[str, tuple[Entry, bytes]] = {}  # by name: what is not written down yet, with its facts
        self._done: list[Path] = []  # segments whose rows are pending again, or that are good for nothing
        self._number = 0
        self._packings: dict[bytes, Packing] = {}
        self._saving = threading.Lock()
        self._loading = False
        self._recalling = False
        folder.listeners.append(self._follow)

    def __len__(self) -> int:
        return len(self._pending)

    # Reading.

    def load(self) -> None:
        """Nothing; the folder is loaded, from the segments where they are good and from the files where not."""
        self._loading = True
        known: set[str] = set()
        try:
            if self._place.is_dir():
                self._files.sweep(self._place)
                for path in sorted(self._place.glob("[0-9]*")):
                    self._number = max(self._number, int(path.name) + 1 if path.name.isdigit() else 0)
                    known |= self._recall(path)
            unread = [name for name in self._folder.listed() if name not in known]
            if len(unread) >= MANY and (helpers := min(os.cpu_count() or 1, HELPERS)) > 1:
                known = set().union(*map(self._recall, self._helped(unread, helpers)))
                unread = [name for name in unread if name not in known]
            self._folder.read(unread)
        finally:
            self._loading = False
        if len(self) >= WORTH:
            self.save()

    def _recall(self, path: Path) -> set[str]:
        """The files that are as the segment says; they are in the folder's index now."""
        self._recalling = True
        rows = [row for row in self._read(path) if self._folder.recall(row)]
        self._recalling = False
        if len(rows) < THIN:
            self._done.append(path)
            for row in rows:
                entry = self._folder.entry(self._folder.name_in(row.filename) or "")
                self._pending[entry.name] = (entry, orjson.dumps(row.facts, default=tuple))
        return {row.filename for row in rows}

    def _helped(self, unread: list[str], helpers: int) -> Iterator[Path]:
        """Segments with what the files say, as other processes get ready with them (see store.disk.load_worker).

        One that fails leaves its files to be read here.
        """
        started: list[subprocess.Popen[bytes]] = []
        try:
            self._files.make_dirs(self._place)
            for at in range(helpers):
                self._number += len(unread) // SEGMENT + 1
                started.append(self._helper(unread[at::helpers]))
        except (OSError, StoreError):
            log.warning("files are read without the help of other processes", exc_info=True)
        self._number += len(unread) // SEGMENT + 1
        while started:
            for helper in list(started):
                assert helper.stdout is not None
                if name := helper.stdout.readline().decode().strip():
                    yield self._place / name
                else:
                    started.remove(helper)
                    helper.stdout.close()
                    helper.wait()

    def _helper(self, share: list[str]) -> subprocess.Popen[bytes]:
        package = Path(__file__).parent.parent
        command = [sys.executable, "-m", "store.disk.load_worker"]
        helper = subprocess.Popen(
            [*command, str(self._files.root), self._folder.path.name, str(self._number)],
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
        self._number = number
        for at in range(0, len(filenames), SEGMENT):
            first = self._number
            self._folder.read(filenames[at : at + SEGMENT])
            self.save()
            self._folder.held.clear()
            self._folder.file_of.clear()
            yield from (self._place / f"{one:06}" for one in range(first, self._number))

    def _read(self, path: Path) -> list[Remembered]:
        """The rows of a segment; none of one that is not whole, or not of this program."""
        try:
            data, _ = read_whole(path, SEGMENT_BYTES)
            if not data.startswith(MAGIC):
                return []
            at = len(MAGIC) + HEADER.size
            made_by, crc, *sizes = HEADER.unpack_from(data, len(MAGIC))
            if made_by != self._code or at + sum(sizes) != len(data) or zlib.crc32(data[at:]) != crc:
                return []
            packing = self._packing(data[at : at + sizes[0]])
            table = orjson.loads(data[at + sizes[0] : at + sizes[0] + sizes[1]])
            return list(self._rows(table, packing, data, at + sizes[0] + sizes[1]))
        except (StoreError, ValueError, TypeError, IndexError, KeyError, struct.error):
            # Whatever is wrong with it, the files say the same.
            log.warning("%s is passed over", self._files.shown(path), exc_info=True)
            return []

    def _packing(self, dictionary: bytes) -> Packing:
        packer = self._folder.packer
        if not packer.packing.dictionary and dictionary:
            packer.adopt(dictionary)
        if packer.packing.dictionary == dictionary:
            return packer.packing
        return self._packings.setdefault(dictionary, Packing(dictionary))

    def _rows(self, table: list[Any], packing: Packing, data: bytes, at: int) -> Iterator[Remembered]:
        for filename, mark, changed_ns, packed, size, facts in table:
            document = Packed(packing if packed else None, data[at : at + size])
            at += size
            yield Remembered(filename, bytes.fromhex(mark), changed_ns, document, self._facts(facts))

    # Writing.

    def save(self) -> None:
        """Nothing; what is pending is written down, in the calling thread, which may be any."""
        with self._saving:
            names = list(self._pending)
            try:
                self._files.make_dirs(self._place)
                while names:
                    now, names = names[:SEGMENT], names[SEGMENT:]
                    self._write(now)
                done, self._done = self._done, []
                # One that cannot be deleted is passed over again, and deleted after the next start.
                self._files.commit([Change(path, None) for path in done])
            except StoreError:
                # It only makes the next start faster.
                log.warning("what was read could not be kept for the next start", exc_info=True)

    def _write(self, names: list[str]) -> None:
        packing, rows = self._folder.packer.packing, []
        for name in names:
            pending = self._pending.pop(name, None)
            if pending is not None and (row := self._row(*pending, packing)) is not None:
                rows.append(row)
        if not rows:
            return
        table, documents = orjson.dumps([line for line, _ in rows]), b"".join(data for _, data in rows)
        body = packing.dictionary + table + documents
        header = HEADER.pack(self._code, zlib.crc32(body), len(packing.dictionary), len(table), len(documents))
        self._files.write_now(self._place / f"{self._number:06}", MAGIC + header + body)
        self._number += 1

    def _row(self, entry: Entry, facts: bytes, packing: Packing) -> tuple[list[Any], bytes] | None:
        """A line of the table and the document's bytes; None when the file is not just as it was read."""
        filename = self._folder.file_of.get(entry.name, "")
        held = self._folder.held.get(filename)
        try:
            status = os.lstat(f"{self._folder.path}/{filename}")
        except OSError:
            return None
        if held is None or held.entry is not entry or held.mark is None or mark_of(stamp(status)) != held.mark:
            return None
        way, data = entry.packed
        if way is not None and way is not packing:
            data = packing.pack(entry.data)
        mark, changed_ns = held.mark.hex(), status.st_ctime_ns
        return [filename, mark, changed_ns, way is not None, len(data), orjson.Fragment(facts)], data

    # Following.

    def _follow(self, name: str, _old: Entry | None, new: Entry | None) -> None:
        if new is None or not self._settled(new.facts):
            self._pending.pop(name, None)
            return
        if self._recalling:
            return
        self._pending[name] = (new, orjson.dumps(new.facts, default=tuple))
        if self._loading and len(self._pending) >= SEGMENT:
            self.save()


def code() -> bytes:
    """What tells the code that gave the rows their meaning from any other."""
    package = Path(__file__).parent.parent
    return hashlib.sha256(b"\0".join((package / name).read_bytes() for name in CODE)).digest()
