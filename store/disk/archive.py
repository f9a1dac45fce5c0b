"""The archive of runs and sweeps that ended long ago, a file a month.

`archive/YYYY-MM.jsonl.gz` is a row of gzip members, each with some lines of JSON: kind, id, sha256 of the original
file, document. `zcat` shows them. `archive/index.jsonl` names the ids of each member; it is a short cut, and what it
does not cover is read from the members. A move appends a member, then a line of the index, then deletes the files, each
durable before the next begins. If that is interrupted, a document is at worst both here and there: then the file
counts, and the next move completes the work. Nothing that was appended is ever changed; a month whose file is damaged
at its end goes on in another file.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import itertools
import json
import logging
import os
import sys
import time
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from store.disk import owners
from store.disk.entries import FileEntry
from store.disk.files import Files
from store.disk.folders import Folder
from store.disk.kept.kept_files import LoadedFiles
from store.disk.reading import read_slice_blocking
from store.documents import Retention
from store.errors import Changed, NotFound, StoreError, StoreUnavailable, from_os_error
from store.indexes.bodies import BoundedCache
from store.indexes.timelines import Timeline
from store.rules.sweeps import ENDED
from store.times import to_epoch

log = logging.getLogger("sluice.store")

INDEX = "index.jsonl"
ENDING = ".jsonl.gz"
DAY_S = 86_400
# Documents in a member; reading one of them unpacks them all.
MEMBER_DOCUMENTS = 100
# Runs that are moved in one go, before others may change what is to be moved.
BATCH_RUNS = 200
GZIP_LEVEL = 6
GZIP_WORDS = 31  # zlib.h: a gzip wrapper around deflate
GZIP_MAGIC = b"\x1f\x8b\x08"
PIECE_BYTES = 4096
RECENT_LINES_BYTES = 4_000_000
# The kind under which a sweep's uid and request key are indexed.
ALIAS = "alias"


class Group(NamedTuple):
    """What can only be moved together.

    A run, or a sweep with its cells, or (kind `cells`) the remaining cells of a sweep that was moved already. `ended`
    is epoch seconds; `cells` are the names of runs.
    """

    ended: float
    kind: str
    name: str
    cells: tuple[str, ...] = ()


def select_due(groups: Iterable[Group], retention: Retention, now: float) -> list[Group]:
    """Select the groups to be moved, oldest first.

    Those that ended longer ago than `age_days`, and those beyond the newest `count` runs; a sweep counts as many runs
    as it has cells; the newest group stays however large it is. Remaining cells of a sweep that was moved always go.
    """
    left_over: list[Group] = []
    candidates: list[Group] = []
    for group in groups:
        (left_over if group.kind == "cells" else candidates).append(group)
    chosen, kept = [], 0
    for at, group in enumerate(sorted(candidates, reverse=True)):
        kept += max(1, len(group.cells))
        too_old = retention.age_days is not None and now - group.ended > retention.age_days * DAY_S
        too_many = retention.count is not None and kept > retention.count and at > 0
        if too_old or too_many:
            chosen.append(group)
    return left_over + chosen[::-1]


class Member(NamedTuple):
    """One gzip member of an archive file: file name, offset and size."""

    file: str
    offset: int
    size: int


class MemberIndex:
    """Which member holds which document, in twelve bytes for each."""

    def __init__(self) -> None:
        self._keys, self._members = array("Q"), array("I")
        self._new: dict[int, int] = {}

    def put(self, kind: str, name: str, member: int) -> None:
        """Record that the document is in the member of this number."""
        self._new[_hash_key(kind, name)] = member
        if len(self._new) > 10_000 + len(self._keys) // 8:
            pairs = sorted((dict(zip(self._keys, self._members, strict=True)) | self._new).items())
            self._keys, self._members = array("Q", (key for key, _ in pairs)), array("I", (at for _, at in pairs))
            self._new = {}

    def get(self, kind: str, name: str) -> int | None:
        """Return the number of the member with the document, or None."""
        key = _hash_key(kind, name)
        if key in self._new:
            return self._new[key]
        at = bisect_left(self._keys, key)
        return self._members[at] if at < len(self._keys) and self._keys[at] == key else None


def _hash_key(kind: str, name: str) -> int:
    """Return 64 bits of the hash of kind and name."""
    return int.from_bytes(hashlib.sha256(f"{kind} {name}".encode()).digest()[:8])


class Archive:
    """The archive below `path` of the documents of two folders.

    Follows both folders; call `open()` before they are loaded.
    """

    def __init__(self, path: Path, files: Files, runs: Folder, sweeps: Folder) -> None:
        self.path, self.files = path, files
        self.folders: Mapping[str, Folder] = {"run": runs, "sweep": sweeps}
        self._members: list[Member] = []
        self._ids = MemberIndex()
        self._largest: dict[str, int] = {}
        self._missing_lines: list[bytes] = []  # lines that the index lacks
        self._damaged: dict[str, str] = {}  # file -> what is wrong with it
        self._opened_at = ""
        self._recent_lines = BoundedCache(RECENT_LINES_BYTES)
        self._move_lock = asyncio.Lock()
        self._ended_runs = Timeline()
        self._cells: dict[int, dict[str, str]] = {}  # sweep -> cell -> status, "" while it is not over
        runs.add_listener(self._follow_run, self._load_runs)
        runs.when_loaded.append(self._ended_runs.sort)

    # Reading.

    def __contains__(self, what: tuple[str, str]) -> bool:
        return self._ids.get(*what) is not None

    async def get(self, kind: str, name: str) -> Any:
        """Return an archived document (kind `run` or `sweep`), read from disk.

        Raises NotFound, StoreUnavailable.
        """
        return self._parse_line(await self.read_line(kind, name))

    async def read_line(self, kind: str, name: str) -> dict[str, Any]:
        """Return the archive's line of a document.

        Its keys are kind, id, sha256, document, and for a sweep `cells` by id. Raises NotFound, StoreUnavailable.
        """
        at = self._ids.get(kind, name)
        if at is None:
            raise NotFound(self.folders[kind].kind, name)
        line: dict[str, Any] | None = self._recent_lines.get((kind, name))
        if line is None:
            member = self._members[at]
            data = await asyncio.to_thread(self._read_member, member)
            matching = [entry for entry in _unpack_member(data)[0] if (entry["kind"], entry["id"]) == (kind, name)]
            if not matching:
                raise StoreUnavailable(5, f"cannot read archive/{member.file}: the lines from byte {member.offset} on")
            line = matching[-1]
            self._recent_lines.put((kind, name), line, len(json.dumps(line)))
        return line

    async def read_documents(self, kind: str, names: Iterable[str]) -> dict[str, Any]:
        """Return those of these documents that are archived, by name."""
        found = {name: at for name in names if (at := self._ids.get(kind, name)) is not None}
        read: dict[str, Any] = await asyncio.to_thread(self._read_documents, kind, found)
        return read

    def _read_documents(self, kind: str, members: Mapping[str, int]) -> dict[str, Any]:
        lines: dict[str, Any] = {}
        for at in dict.fromkeys(members.values()):
            member_lines = _unpack_member(self._read_member(self._members[at]))[0]
            lines |= {row["id"]: row for row in member_lines if row["kind"] == kind and members.get(row["id"]) == at}
        return {name: self._parse_line(line) for name, line in lines.items()}

    def _parse_line(self, line: Mapping[str, Any]) -> Any:
        """Return the document in a line of the archive."""
        return self.folders[line["kind"]].parse(json.dumps(line["document"]).encode(), line["id"])

    async def find_sweep(self, alias: str) -> Any:
        """Return the archived sweep with this `uid` or `request_key`, or None."""
        at = self._ids.get(ALIAS, alias)
        if at is None:
            return None
        lines, _ = _unpack_member(await asyncio.to_thread(self._read_member, self._members[at]))
        return next((self._parse_line(line) for line in lines if alias in _list_aliases(line)), None)

    def get_largest_id(self, kind: str) -> int:
        """Return the largest number among the archived ids, or 0."""
        return self._largest.get(kind, 0)

    def list_problems(self) -> list[dict[str, Any]]:
        """List what is wrong with the files: path, line, column, reason, since."""
        return [
            {"path": f"{self.path.name}/{file}", "line": None, "column": None, "reason": why, "since": self._opened_at}
            for file, why in sorted(self._damaged.items())
        ]

    def _read_member(self, member: Member) -> bytes:
        return read_slice_blocking(self.path / member.file, member.offset, member.size)[0]

    # Opening.

    def open(self) -> None:
        """Read the index, and the members that it does not cover."""
        self._opened_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        if not self.path.is_dir():
            return
        owners.check_folder(self.path)
        sizes = {path.name: path.stat().st_size for path in sorted(self.path.glob(f"[0-9]*{ENDING}"))}
        wanted: dict[str, list[tuple[Member, dict[str, list[str]]]]] = {file: [] for file in sizes}
        for member, ids in self._read_index():
            if member.file not in wanted:
                self._damaged[member.file] = "the file is gone, and with it what was archived there"
            elif member.offset + member.size > sizes[member.file]:
                self._damaged[member.file] = f"the file ends at byte {sizes[member.file]}, in the middle of what it had"
            else:
                wanted[member.file].append((member, ids))
        for file, members in wanted.items():
            end = 0
            for member, ids in [*sorted(members, key=lambda pair: pair[0].offset), (Member(file, sizes[file], 0), {})]:
                if member.offset > end:
                    self._scan_members(file, end, member.offset)
                if member.size:
                    self._add_member(member, ids)
                end = max(end, member.offset + member.size)

    def _read_index(self) -> Iterator[tuple[Member, dict[str, list[str]]]]:
        """Yield the members that the index names, with their ids."""
        try:
            data = (self.path / INDEX).read_bytes()
        except FileNotFoundError:
            return
        if data and not data.endswith(b"\n"):
            self._missing_lines.append(b"")  # ends the line that was cut off
        for line in data.splitlines():
            try:
                row = orjson.loads(line)
                yield Member(str(row["file"]), int(row["offset"]), int(row["size"])), dict(row["ids"])
            except (ValueError, TypeError, KeyError):
                continue  # the line was cut off; its member is read instead

    def _scan_members(self, file: str, start: int, end: int) -> None:
        """Read the members between two offsets of a file and add them."""
        data, _ = read_slice_blocking(self.path / file, start, end - start)
        at = 0
        while at < len(data):
            lines, size = _unpack_member(data[at:])
            if size is None:
                following = data.find(GZIP_MAGIC, at + 1)
                size = (following if following >= 0 else len(data)) - at
                self._damaged[file] = f"what stands from byte {start + at} on is cut off or damaged"
                lines = _unpack_member(data[at : at + size])[0]
            member = Member(file, start + at, size)
            ids = _collect_ids(lines)
            if lines:
                self._add_member(member, ids)
                self._missing_lines.append(_build_index_line(member, ids))
            at += size

    def _add_member(self, member: Member, ids: Mapping[str, list[str]]) -> None:
        """Make the documents of a member known."""
        self._members.append(member)
        for kind, names in ids.items():
            for name in names:
                self._ids.put(kind, name, len(self._members) - 1)
                if name.isdigit() and kind != ALIAS:
                    self._largest[kind] = max(self._largest.get(kind, 0), int(name))

    # Choosing what to move.

    def _load_runs(self, loaded: LoadedFiles) -> None:
        """Note many runs that were not there before."""
        ended = []
        columns = map(loaded.get_column, ("open", "completed", "sweep", "status"))
        for name, is_open, completed, sweep, status in zip(loaded.names, *columns, strict=True):
            if sweep is not None:
                self._note_cell(name, sweep, "" if is_open else status)
            elif not is_open and completed is not None:
                ended.append((completed, name))
        if ended:
            self._ended_runs.extend(*zip(*ended, strict=True))

    def _note_cell(self, name: str, sweep: int, status: str) -> None:
        """Note a cell of a sweep with its status, "" while it is not over."""
        cells = self._cells.setdefault(sweep, {})
        cells.pop(name, None)
        cells[name] = sys.intern(status)

    def _follow_run(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        """Note runs and cells that ended, as candidates for a move."""
        for entry, there in ((old, False), (new, True)):
            facts = entry.facts if entry else None
            if facts is None:
                continue
            if facts.sweep is not None:
                if there:
                    self._note_cell(name, facts.sweep, "" if facts.open else facts.status)
                elif (cells := self._cells.get(facts.sweep)) is not None:
                    cells.pop(name, None)
                    if not cells:
                        del self._cells[facts.sweep]
            elif not facts.open and facts.completed is not None:
                (self._ended_runs.add if there else self._ended_runs.drop)(facts.completed, name)

    def list_groups(self) -> list[Group]:
        """List all groups that could be moved, in no order.

        These are runs that are over, and sweeps that are over with all their cells.
        """
        found = [
            Group(*run)
            for run in zip(self._ended_runs.times, itertools.repeat("run"), self._ended_runs.keys, strict=False)
        ]
        return found + [
            group
            for number in {*self._cells, *self._list_sweep_numbers()}
            if (group := self._build_sweep_group(number))
        ]

    def _list_sweep_numbers(self) -> list[int]:
        return [int(name) for name in self.folders["sweep"].filenames if name.isdigit()]

    def _build_sweep_group(self, number: int) -> Group | None:
        """Return the group of the sweep of this number, None if not all over."""
        name, cells = str(number), self._cells.get(number, {})
        if not all(cells.values()):
            return None
        if name not in self.folders["sweep"]:
            # Only if the sweep was moved; cells of a sweep that somebody deleted stay.
            return Group(0.0, "cells", name, tuple(cells)) if ("sweep", name) in self else None
        document = self.folders["sweep"].get(name)
        ended = to_epoch(document.completed_at) if document.status in ENDED else None
        return None if ended is None else Group(ended, "sweep", name, tuple(cells))

    # Moving.

    async def move(
        self,
        groups: Sequence[Group],
        hold: Callable[[str], AbstractAsyncContextManager[Any]] = lambda _name: nullcontext(),
    ) -> int:
        """Move the groups into the archive; return how many documents moved.

        `hold(number)` keeps others from changing a sweep and its cells meanwhile. Raises StoreUnavailable, StoreFull;
        then what was not moved stays where it is.
        """
        moved = 0
        async with self._move_lock:
            runs = [group for group in groups if group.kind == "run"]
            for month, month_groups in itertools.groupby(sorted(runs), lambda group: _format_month(group.ended)):
                batch_groups = list(month_groups)
                for at in range(0, len(batch_groups), BATCH_RUNS):
                    # A run that was started again since it was selected stays.
                    names = [group.name for group in batch_groups[at : at + BATCH_RUNS] if self._is_over(group.name)]
                    moved += await self._move_documents(month, [("run", name) for name in names])
            for group in groups:
                if group.kind != "run":
                    async with hold(group.name):
                        now = self._build_sweep_group(int(group.name))
                        if now is not None and now.kind == group.kind:
                            sweep_names = [("sweep", now.name)] if now.kind == "sweep" else []
                            cells = [("run", name) for name in now.cells]
                            moved += await self._move_documents(self._choose_month(now), sweep_names + cells)
        return moved

    def _is_over(self, name: str) -> bool:
        """Tell whether the run still exists and is over."""
        runs = self.folders["run"]
        return name in runs and not runs.get_entry(name).facts.open

    def _choose_month(self, group: Group) -> str:
        """Return the month of the group's end; cells go where their sweep is."""
        at = self._ids.get("sweep", group.name) if group.kind == "cells" else None
        return _format_month(group.ended) if at is None else self._members[at].file[: len("YYYY-MM")]

    async def _move_documents(self, month: str, names: list[tuple[str, str]]) -> int:
        """Archive these documents, then delete their files; return how many.

        The files are deleted sweeps first.
        """
        entries = [
            (
                kind,
                self.folders[kind].get_entry(name),
                dict(self._cells.get(int(name), {})) if kind == "sweep" else None,
            )
            for kind, name in names
            if name in self.folders[kind]
        ]
        etags = {(kind, entry.name): entry.etag for kind, entry, _ in entries}
        archived = {(kind, entry.name) for kind, entry, _ in entries if (kind, entry.name) in self}
        unchanged = {key for key in archived if await self._read_sha256(*key) == etags[key]}
        await self._append_documents(month, [item for item in entries if (item[0], item[1].name) not in unchanged])
        deleted = 0
        sweep_keys = [key for key in etags if key[0] == "sweep"]
        for keys in (sweep_keys, [key for key in etags if key[0] == "run"]):
            done = await asyncio.gather(*(self._delete_file(kind, name, etags[kind, name]) for kind, name in keys))
            deleted += sum(done)
            if not all(done) and keys is sweep_keys:
                break  # the sweep was changed, so it stays with its cells
        return deleted

    async def _read_sha256(self, kind: str, name: str) -> str | None:
        """Return the archived file's sha256; None when it cannot be read.

        A document whose line cannot be read is archived again.
        """
        try:
            return str((await self.read_line(kind, name))["sha256"])
        except (StoreError, KeyError):
            return None

    async def _delete_file(self, kind: str, name: str, etag: str) -> bool:
        """Delete the file; return False if it was changed in the meantime."""
        try:
            await self.folders[kind].delete(name, if_match=etag)
        except NotFound:
            return True
        except Changed:
            log.info("%s %s was changed while it was archived: the file counts", kind, name)
            return False
        return True

    async def _append_documents(self, month: str, entries: list[tuple[str, FileEntry, dict[str, str] | None]]) -> None:
        """Append the documents to the month's file and to the index, durably."""
        if not entries:
            return
        await asyncio.to_thread(self.files.make_dirs, self.path)
        path, added = self.path / self._choose_file(month), []
        for at in range(0, len(entries), MEMBER_DOCUMENTS):
            batch = entries[at : at + MEMBER_DOCUMENTS]
            data, ids = await asyncio.to_thread(_pack_member, batch)
            offset = path.stat().st_size if path.exists() else 0
            await self.files.append(path, data)
            added.append((Member(path.name, offset, len(data)), ids))
        await asyncio.to_thread(self._sync_file, path)
        lines = [*self._missing_lines, *(_build_index_line(member, ids) for member, ids in added)]
        await self.files.append(self.path / INDEX, b"".join(line + b"\n" for line in lines))
        await asyncio.to_thread(self._sync_file, self.path / INDEX)
        self._missing_lines = []
        for member, ids in added:
            self._add_member(member, ids)
            for kind, names in ids.items():
                for name in names:
                    self._recent_lines.drop((kind, name))

    def _choose_file(self, month: str) -> str:
        """Return the month's first file that is not damaged."""
        names = (f"{month}{f'.{number}' if number else ''}{ENDING}" for number in itertools.count())
        return next(name for name in names if name not in self._damaged)

    def _sync_file(self, path: Path) -> None:
        """Fsync the file and its folder."""
        ops = self.files.ops
        try:
            for target, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
                fd = ops.open(target, flags | os.O_CLOEXEC)
                try:
                    ops.fsync(fd)
                finally:
                    ops.close(fd)
        except OSError as error:
            raise from_os_error(error, f"append to {self.files.display_path(path)}") from error


def _format_month(ended: float) -> str:
    return time.strftime("%Y-%m", time.gmtime(ended))


def _build_index_line(member: Member, ids: Mapping[str, list[str]]) -> bytes:
    return orjson.dumps({**member._asdict(), "ids": ids})


def _collect_ids(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the ids in a member by kind, and the aliases of its sweeps."""
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line["kind"], []).append(line["id"])
        if line["kind"] == "sweep":
            found.setdefault(ALIAS, []).extend(_list_aliases(line))
    return found


def _list_aliases(line: Mapping[str, Any]) -> list[str]:
    """List the other names of a line's sweep: uid and request key."""
    document = line["document"] if line["kind"] == "sweep" else {}
    return [str(document[key]) for key in ("uid", "request_key") if document.get(key)]


def _pack_member(entries: list[tuple[str, FileEntry, dict[str, str] | None]]) -> tuple[bytes, dict[str, list[str]]]:
    """Return a gzip member with a line per document, and its ids by kind."""
    lines: list[dict[str, Any]] = []
    for kind, entry, cells in entries:
        line = {"kind": kind, "id": entry.name, "sha256": entry.etag, "document": json.loads(entry.data)}
        lines.append(line if cells is None else {**line, "cells": cells})
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    return gzip.compress(text.encode(), GZIP_LEVEL, mtime=0), _collect_ids(lines)


def _unpack_member(data: bytes) -> tuple[list[dict[str, Any]], int | None]:
    """Return the whole lines of the first gzip member, and its size.

    The size is None when the member is cut off or damaged.
    """
    inflate, parts, size = zlib.decompressobj(GZIP_WORDS), [], None
    try:
        for at in range(0, len(data), PIECE_BYTES):
            parts.append(inflate.decompress(data[at : at + PIECE_BYTES]))
            if inflate.eof:
                size = at + len(data[at : at + PIECE_BYTES]) - len(inflate.unused_data)
                break
    except zlib.error:
        size = None
    complete, _, _ = b"".join(parts).rpartition(b"\n")
    found = []
    for line in complete.split(b"\n") if complete else ():
        try:
            row = json.loads(line)
            found.append({**row, "kind": str(row["kind"]), "id": str(row["id"]), "document": dict(row["document"])})
        except (ValueError, TypeError, KeyError):
            size = None
    return found, size
