"""A log of a job as a file, and what was counted of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine import jobs, workdirs
from engine.server import Server
from slurm_shim.cluster import Cluster
from store import access
from store.disk.reading import ReadSlices, read_slices
from store.errors import NotFound, StoreError
from store.indexes.jobs import JobEntry
from store.rules import reports, states
from store.rules.logs import counts, matches
from store.rules.logs.counts import Counts, KnownCounts
from store.times import to_rfc3339

Clock = Callable[[], float]
# So long after the last piece of a log none is expected of a job that has ended.
QUIET_S = 60.0


class LogFile:
    """A log of a job as a file; who opens it says where it is.

    `exists` says that it was there when it was read last, `is_over` that the job has ended.
    """

    def __init__(self, known: KnownCounts, job_id: str, stream: str) -> None:
        self.job_id, self.stream = job_id, stream
        self.path: str | None = None
        self.owner: int | None = None
        self.is_merged = self.is_over = self.exists = False
        self.size_bytes = 0
        self.modified_at, self.inode = 0.0, 0
        self.known = known
        self.counts = Counts()
        self._read: ReadSlices | None = None

    def _keep_status(self, modified_at: float, inode: int) -> None:
        self.modified_at, self.inode = modified_at, inode

    async def read(self, *wanted: tuple[int, int]) -> list[bytes]:
        """Read parts of the file: offset (negative: from its end), bytes.

        None of one that is not there. Raises Denied.
        """
        if self.path is None or self._read is None:
            return [b"" for _ in wanted]
        parts = await self._read([(self.path, *part) for part in wanted], self.owner)
        return [self._take(part) for part in parts]

    def _take(self, part: tuple[bytes, int] | StoreError) -> bytes:
        if isinstance(part, NotFound):
            self.exists, self.size_bytes = False, 0
            return b""
        if isinstance(part, StoreError):
            raise part
        self.exists, (data, self.size_bytes) = True, part
        return data

    async def find_counts(self, key: Sequence[Any] = (), *wanted: tuple[int, int]) -> tuple[Counts, list[bytes]]:
        """Find what was counted of the file; begin anew for another one.

        `key` names a search. Reads other parts in the same go.
        """
        name = (self.job_id, self.path, *key)
        while True:
            known = self.known.get(name)
            mark = known.mark  # others count on meanwhile
            place = (mark.end - len(mark.tail), len(mark.tail))
            head, tail, *parts = await self.read((0, counts.KNOWN_BYTES), place, *wanted)
            if mark.is_in(head, tail, self.size_bytes, self.inode):
                break
            self.known.forget(name, known)
        known.inode = self.inode
        if not key:
            self.counts = known
        return known, parts

    async def count_on(self, line: int | None, budget_s: float, clock: Clock = time.monotonic) -> None:
        """Count its lines up to one, or all of them, for so long.

        Many readers count the same, each some parts of it.
        """
        known, deadline = self.counts, clock() + budget_s
        while known.end < self.size_bytes and clock() < deadline:
            if line is not None and known.line_count >= line - 1:
                return
            async with known.lock:
                (data,) = await self.read((known.end, counts.PART_BYTES))
                if not data:
                    return
                known.add(data)

    async def search_on(
        self, known: Counts, find: matches.Find, budget_s: float, clock: Clock = time.monotonic
    ) -> bool:
        """Search on to the end, for so long; return whether it is reached.

        An unfinished last line is counted once the job has ended.
        """
        deadline = clock() + budget_s
        while clock() < deadline:
            async with known.lock:
                (data,) = await self.read((known.end, counts.PART_BYTES))
                piece = cut_piece(data, self.is_over and known.end + len(data) >= self.size_bytes)
                if not piece:
                    return True
                known.add(piece, await asyncio.to_thread(count_matches, known, piece, find))
        return False

    def describe(self) -> dict[str, Any]:
        """Describe the file as it is now."""
        return {
            "job_id": self.job_id,
            "stream": self.stream,
            "path": self.path,
            "exists": self.exists,
            "merged": self.is_merged,
            "file_id": self.counts.id,
            "size_bytes": self.size_bytes,
            "modified_at": to_rfc3339(self.modified_at) if self.exists else None,
            "ended": self.is_over,
        }


class JobLog(LogFile):
    """What a job writes to one of its streams, where SLURM keeps it."""

    async def find(self, server: Server, asked: Cluster) -> None:
        """Find where the file is; raise NotFound for no job."""
        found = await jobs.find_trace(server, self.job_id, asked)
        state = found.state if isinstance(found, JobEntry) else found["state"]
        paths = await jobs.find_log_paths(server, self.job_id, asked)
        self.path, self.owner, self.is_over = paths[self.stream], paths["owner"], state in states.TERMINAL
        self.is_merged = self.path is not None and paths["stdout"] == paths["stderr"]
        both = [paths["stdout"], paths["stderr"]]
        place = jobs.build_log_place(server, asked, self.job_id, both)
        self._read = workdirs.make_reader(asked, place, self._keep_status)


class ReportedLog(LogFile):
    """A log that a job sends in pieces; its path is the name it has there."""

    def find(self, place: Path, is_ended: bool) -> None:
        """Take the file at this place in the store.

        What a job sent last may come after its last word, so it counts as over only when nothing came for a while.
        """
        self.path = self.stream

        async def read(wanted: Sequence[tuple[str, int, int]], _: int | None) -> list[tuple[bytes, int] | StoreError]:
            with contextlib.suppress(OSError):
                status = await asyncio.to_thread(place.stat)
                self._keep_status(status.st_mtime, status.st_ino)
            self.is_over = is_ended and time.time() - self.modified_at > QUIET_S
            return await read_slices([(str(place), *part[1:]) for part in wanted])

        self._read = read


def cut_piece(data: bytes, is_last: bool) -> bytes:
    """Cut what is searched at once: whole lines, or part of a long one."""
    end = data.rfind(b"\n") + 1
    if end:
        return data[:end]
    return data if is_last or len(data) == counts.PART_BYTES else b""


def count_matches(known: Counts, piece: bytes, find: matches.Find) -> int:
    """Count the lines of the next piece that match, each where it begins."""
    cut = known.tail[known.tail.rfind(b"\n") + 1 :]  # of a long line: what begins in it may match with what follows
    text = cut + piece
    found = list(matches.find_matches(text, find))
    is_known = bool(cut) and known.is_inside and bool(found) and found[0].begin == 0
    last = text.rfind(b"\n") + 1
    is_same_line = last == 0 and known.is_inside and bool(cut)
    known.is_inside = last < len(text) and (is_same_line or (bool(found) and found[-1].begin == last))
    return len(found) - is_known


async def open_log(server: Server, cluster: str | None, job_id: str, stream: str, caller: access.Caller) -> LogFile:
    """Open a job's stream for who may read it; raise NotFound, Denied."""
    asked = server.clusters.resolve(cluster)
    await jobs.check_reader(server, asked, job_id, caller)
    log = JobLog(server.log_counts.setdefault(asked, KnownCounts()), job_id, stream)
    await log.find(server, asked)
    return log


async def open_reported(server: Server, job_id: str, file: str) -> LogFile:
    """Open a log that a job sent of itself; raise NotFound for no report."""
    report = server.report_index.get_report(job_id)
    log = ReportedLog(server.reported_counts, job_id, file)
    log.find(server.streams.find_log(reports.to_record_name(job_id), file), report.status in reports.ENDED)
    return log
