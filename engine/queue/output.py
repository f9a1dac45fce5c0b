"""What a job writes: some lines of it, or all of it as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from engine import jobs, workdirs
from engine.live.sockets import Socket
from engine.queue.output_follow import follow_output, stream_frames
from engine.server import Server
from slurm_shim.cluster import Cluster
from store import access
from store.disk.reading import ReadSlices
from store.errors import NotFound, StoreError, UpgradeNeeded
from store.indexes.bodies import Answer
from store.indexes.jobs import JobEntry
from store.jsons import dump_json
from store.operations import prefers_kind
from store.rules import output, states

EVENTS, TEXT, JSON = "text/event-stream", "text/plain", "application/json"
# A longer answer is made in a thread, so that others do not wait for it.
LONG_CHARS = 100_000


async def read_output(
    server: Server,
    job_id: str,
    lines: int,
    offset: int | None,
    follow: bool,
    last_event_id: str | None,
    accept: str,
    caller: access.Caller,
    cluster: str | None = None,
) -> Answer:
    """Read the last lines of a job's output, or follow it."""
    asked = await resolve_cluster(server, cluster, job_id, caller)
    return await read_stream(server, asked, "stdout", job_id, lines, offset, follow, last_event_id, accept)


async def read_error_output(
    server: Server,
    job_id: str,
    lines: int,
    offset: int | None,
    follow: bool,
    last_event_id: str | None,
    accept: str,
    caller: access.Caller,
    cluster: str | None = None,
) -> Answer:
    """Read the last lines of a job's error output, or follow it."""
    asked = await resolve_cluster(server, cluster, job_id, caller)
    return await read_stream(server, asked, "stderr", job_id, lines, offset, follow, last_event_id, accept)


async def resolve_cluster(server: Server, cluster: str | None, job_id: str, caller: access.Caller) -> Cluster:
    """Resolve the cluster of a job whose output the caller may read."""
    asked = server.clusters.resolve(cluster)
    await jobs.check_reader(server, asked, job_id, caller)
    return asked


async def read_stream(
    server: Server,
    asked: Cluster,
    stream: str,
    job_id: str,
    lines: int,
    offset: int | None,
    follow: bool,
    last_event_id: str | None,
    accept: str,
) -> Answer:
    """Read one of a job's two streams in the form that is asked for.

    Raises NotFound for no job, or no file of one that has ended.
    """
    if follow:
        if EVENTS not in accept.lower():
            raise UpgradeNeeded("To follow, ask with Accept: text/event-stream, or open a WebSocket")
        start = int(last_event_id) if last_event_id else offset or 0
        return Answer(await begin_following(server, asked, stream, job_id, start), media_type=EVENTS)
    found = await read_lines(server, asked, stream, job_id, lines, offset)
    if prefers_kind(accept, TEXT, JSON):
        return Answer(found["content"].encode(), media_type=f"{TEXT}; charset=utf-8")
    is_long = len(found["content"]) > LONG_CHARS
    return Answer(await asyncio.to_thread(dump_json, found) if is_long else dump_json(found))


async def send_output(
    server: Server, job_id: str, offset: int | None, socket: Socket, caller: access.Caller, cluster: str | None = None
) -> None:
    """Send a job's output over a WebSocket as it is written, to its end."""
    asked = await resolve_cluster(server, cluster, job_id, caller)
    await send_frames(server, asked, "stdout", job_id, offset or 0, socket)


async def send_error_output(
    server: Server, job_id: str, offset: int | None, socket: Socket, caller: access.Caller, cluster: str | None = None
) -> None:
    """Send a job's error output over a WebSocket as it is written."""
    asked = await resolve_cluster(server, cluster, job_id, caller)
    await send_frames(server, asked, "stderr", job_id, offset or 0, socket)


async def send_frames(server: Server, asked: Cluster, stream: str, job_id: str, start: int, socket: Socket) -> None:
    """Send the messages of a follower, as fast as the client takes them."""
    async with contextlib.aclosing(follow_output(server, asked, stream, job_id, start)) as frames:
        async for frame in frames:
            await socket.send(dump_json(frame).decode())


async def begin_following(server: Server, asked: Cluster, stream: str, job_id: str, start: int) -> AsyncIterator[bytes]:
    """Begin to follow a job's output as server-sent events; raise NotFound."""
    frames = follow_output(server, asked, stream, job_id, start)
    return stream_frames(await anext(frames), frames)


async def read_lines(
    server: Server, asked: Cluster, stream: str, job_id: str, lines: int, offset: int | None
) -> dict[str, Any]:
    """Read the last lines of a stream, or those from an offset on."""
    found = await jobs.find_trace(server, job_id, asked)
    state = found.state if isinstance(found, JobEntry) else found["state"]
    paths = await jobs.find_log_paths(server, job_id, asked)
    path, is_over = paths[stream], state in states.TERMINAL
    read = workdirs.make_reader(asked, jobs.build_log_place(server, asked, job_id, [paths["stdout"], paths["stderr"]]))
    file = None if path is None else await read_piece(read, path, paths["owner"], lines, offset)
    if file is None and is_over and path is not None:
        raise NotFound("output", job_id)
    piece, size_bytes, restarted = file or (output.Piece(), 0, False)
    found_lines = await asyncio.to_thread(output.split_lines, piece.text)
    return {
        "job_id": job_id,
        "stream": stream,
        "path": path,
        "exists": file is not None,
        "merged": path is not None and paths["stdout"] == paths["stderr"],
        "lines": found_lines,
        "content": piece.text,
        "line_count": len(found_lines),
        "total_bytes": size_bytes,
        "offset": piece.offset,
        "truncated": piece.truncated,
        "restarted": restarted,
        "complete": is_over and piece.offset >= size_bytes,
    }


async def read_piece(
    read: ReadSlices, path: str, owner: int | None, lines: int, offset: int | None
) -> tuple[output.Piece, int, bool] | None:
    """Read a piece of a file, its size, and whether it was written anew.

    None for a file that is not there.
    """
    if offset is None:
        return await read_end(read, path, owner, lines)
    slice_ = await read_slice(read, path, owner, offset, output.MOST_BYTES)
    restarted = slice_ is not None and offset > slice_[1]
    if restarted:
        slice_ = await read_slice(read, path, owner, 0, output.MOST_BYTES)
    if slice_ is None:
        return None
    start = 0 if restarted else offset
    return await asyncio.to_thread(output.take_next_lines, slice_[0], start, slice_[1], lines), slice_[1], restarted


async def read_end(read: ReadSlices, path: str, owner: int | None, lines: int) -> tuple[output.Piece, int, bool] | None:
    """Read the last lines of a file, no more of it than they need."""
    wanted = output.FIRST_BYTES
    while True:
        slice_ = await read_slice(read, path, owner, -wanted, wanted)
        if slice_ is None:
            return None
        data, size_bytes = slice_
        is_all = size_bytes <= wanted or wanted >= output.MOST_BYTES
        if is_all or output.has_enough_lines(data, lines):
            return await asyncio.to_thread(output.take_last_lines, data, size_bytes, lines), size_bytes, False
        wanted = output.MOST_BYTES


async def read_slice(
    read: ReadSlices, path: str, owner: int | None, offset: int, limit_bytes: int
) -> tuple[bytes, int] | None:
    """Read a part of a file and its size; None where it is missing."""
    (found,) = await read([(path, offset, limit_bytes)], owner)
    if isinstance(found, NotFound):
        return None
    if isinstance(found, StoreError):
        raise found
    return found
