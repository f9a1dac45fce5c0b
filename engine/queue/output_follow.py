"""A job's output as it is written, as messages to followers."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from engine import jobs, workdirs
from engine.changes import RETRY_MS
from engine.server import Server
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.errors import SlurmError, SlurmUnreachable
from store.errors import NotFound, StoreError
from store.indexes.jobs import JobEntry
from store.jsons import dump_json
from store.rules import states

# So often a file is looked at; on another machine each look is a program there.
PAUSE_S, REMOTE_PAUSE_S = 0.25, 2.0
# So much goes into one message, and so long nothing is said at most.
FRAME_BYTES = 65_536
HEARTBEAT_S = 20.0

Frame = dict[str, Any]
Pause = Callable[[float], Awaitable[None]]


class Follower:
    """Who follows one stream of a job, and how far it has read.

    A character that is cut off at the end of what is read waits for its rest.
    """

    def __init__(self, server: Server, cluster: Cluster, stream: str, job_id: str, offset: int) -> None:
        self.server, self.cluster, self.stream, self.job_id = server, cluster, stream, job_id
        self.offset = offset
        self.state: str = "UNKNOWN"
        self.exit_code: int | None = None
        self.asked_in: float | None = None  # the snapshot in which SLURM was last asked about it
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, as last seen."""
        return self.state in states.TERMINAL

    async def look_at_job(self) -> None:
        """Look at the job's state; raise NotFound."""
        found = await jobs.find_trace(self.server, self.job_id, self.cluster)
        if isinstance(found, JobEntry):
            self.state, self.exit_code = found.state or "UNKNOWN", found.exit_code
            return
        signal, code = found["exit_signal"], found["exit_code"]
        self.state, self.exit_code = found["state"], 128 + signal if signal else code

    async def is_known(self) -> bool:
        """Look at the job again; return whether anybody knows it still."""
        try:
            await self.look_at_job()
        except SlurmUnreachable:
            return True  # it is as it was, as far as anybody can say
        except NotFound:
            return False
        return True

    async def has_begun(self) -> bool:
        """Return whether the job has begun.

        SLURM is asked about one that waits as soon as its file is there, once in each snapshot: the next snapshot may
        be long in coming, and until the job begins the file is that of another one.
        """
        found = await jobs.find_trace(self.server, self.job_id, self.cluster)
        taken_at, is_remote = self.cluster.snapshot.taken_at, isinstance(self.cluster, RemoteCluster)
        if jobs.has_begun(found) or self.is_over or is_remote or self.asked_in == taken_at:
            return jobs.has_begun(found)
        if isinstance(await self._read_file(jobs.build_log_paths(self.server, self.cluster, found), 1), StoreError):
            return False
        self.asked_in = taken_at
        with contextlib.suppress(SlurmError):
            await self.cluster.ask_again([self.job_id])
        return jobs.has_begun(await jobs.find_trace(self.server, self.job_id, self.cluster))

    async def _read_file(self, paths: Mapping[str, Any], limit_bytes: int) -> tuple[bytes, int] | StoreError:
        path = paths[self.stream]
        if path is None:
            return NotFound("file", self.stream)
        place = jobs.build_log_place(self.server, self.cluster, self.job_id, [paths["stdout"], paths["stderr"]])
        read = workdirs.make_reader(self.cluster, place)
        (found,) = await read([(path, self.offset, limit_bytes)], paths["owner"])
        return found

    async def read_more(self) -> list[Frame]:
        """Read what was written since; messages of it, none when there is nothing.

        A file that is shorter than before was written anew.
        """
        if not await self.has_begun():
            return []
        paths = await jobs.find_log_paths(self.server, self.job_id, self.cluster)
        found = await self._read_file(paths, FRAME_BYTES)
        if isinstance(found, NotFound):
            return []
        if isinstance(found, StoreError):
            raise found
        data, size_bytes = found
        if size_bytes < self.offset:
            self.offset = 0
            self.decoder.reset()
            return [{"type": "truncated", "stream": self.stream, "offset": 0}]
        return [self._build_output(data)] if data else []

    def _build_output(self, data: bytes) -> Frame:
        waiting = len(self.decoder.getstate()[0])
        text = self.decoder.decode(data)
        begin, self.offset = self.offset - waiting, self.offset + len(data)
        known = self.offset - len(self.decoder.getstate()[0])
        return {"type": "output", "stream": self.stream, "offset": begin, "next_offset": known, "data": text}

    def build_end(self) -> list[Frame]:
        """Build the last messages: what was left of a character, and the end."""
        begin = self.offset - len(self.decoder.getstate()[0])
        rest = self.decoder.decode(b"", final=True)
        left = {"type": "output", "stream": self.stream, "offset": begin, "next_offset": self.offset, "data": rest}
        end = {"type": "end", "state": self.state, "exit_code": self.exit_code, "offset": self.offset}
        return [*([left] if rest else []), end]


async def follow_output(
    server: Server,
    cluster: Cluster,
    stream: str,
    job_id: str,
    start: int = 0,
    pause: Pause = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[Frame, None]:
    """Yield what a job writes to `stdout` or `stderr` from an offset on.

    Messages: `ping` first, and whenever there was nothing for a while; `output` with data, its offset and the next one;
    `truncated` when the file was written anew; and `end` once the job has ended and all is told. Raises NotFound before
    the first message.
    """
    pause_s = REMOTE_PAUSE_S if isinstance(cluster, RemoteCluster) else PAUSE_S
    follower = Follower(server, cluster, stream, job_id, start)
    await follower.look_at_job()
    was_over, frames = follower.is_over, await follower.read_more()
    yield {"type": "ping"}
    told_at = clock()
    while True:
        for frame in frames:
            yield frame
        if frames:
            told_at = clock()
        elif was_over:  # all of it was read after the end
            break
        else:
            if clock() - told_at >= HEARTBEAT_S:
                yield {"type": "ping"}
                told_at = clock()
            await pause(pause_s)
            cluster.snapshot.keep_fresh()
            if not await follower.is_known():
                break
        was_over, frames = follower.is_over, await follower.read_more()
    for frame in follower.build_end():
        yield frame


async def stream_frames(first: Frame, frames: AsyncGenerator[Frame, None]) -> AsyncIterator[bytes]:
    """Write messages as server-sent events.

    The id of each is the offset to go on at.
    """
    yield b"retry: %d\n\n" % RETRY_MS if first["type"] == "ping" else to_event(first)
    try:
        async for frame in frames:
            yield to_event(frame)
    finally:
        await frames.aclose()


def to_event(frame: Frame) -> bytes:
    """Write a message as an event; a ping as a comment.

    >>> to_event({"type": "output", "offset": 0, "next_offset": 2, "data": "a\\n"})
    b'id: 2\\nevent: output\\ndata: {"type":"output","offset":0,"next_offset":2,"data":"a\\\\n"}\\n\\n'
    """
    if frame["type"] == "ping":
        return b":\n\n"
    number = int(frame["next_offset"] if "next_offset" in frame else frame["offset"])
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, frame["type"].encode(), dump_json(frame))
