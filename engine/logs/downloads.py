"""The original of a log, whole or some bytes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import PurePath

from engine.logs.log_files import LogFile, open_log, open_reported
from engine.server import Server
from store import access
from store.errors import NotFound
from store.indexes.bodies import Answer

PIECE_BYTES = 1_000_000


async def download_log(
    server: Server,
    job_id: str,
    stream: str,
    offset: int,
    size_bytes: int | None,
    caller: access.Caller,
    cluster: str | None = None,
) -> Answer:
    """Download a job's output as it is, or some bytes of it.

    As far as it had been written when it was asked for. Raises NotFound, Denied.
    """
    return await send_file(await open_log(server, cluster, job_id, stream, caller), offset, size_bytes)


async def download_reported_log(server: Server, job_id: str, file: str, offset: int, size_bytes: int | None) -> Answer:
    """Download a log that a job sent as it is; raise NotFound."""
    return await send_file(await open_reported(server, job_id, file), offset, size_bytes)


async def send_file(log: LogFile, offset: int, size_bytes: int | None) -> Answer:
    """Send a log, or some bytes of it; raise NotFound."""
    await log.read((0, 0))
    if not log.exists or log.path is None:
        raise NotFound("output", log.job_id)
    end = log.size_bytes if size_bytes is None else min(log.size_bytes, offset + size_bytes)
    name = PurePath(log.path).name
    return Answer(iterate_pieces(log, offset, end), media_type="application/octet-stream", filename=name)


async def iterate_pieces(log: LogFile, begin: int, end: int) -> AsyncIterator[bytes]:
    """Read the file in pieces."""
    while begin < end:
        (data,) = await log.read((begin, min(PIECE_BYTES, end - begin)))
        if not data:
            return
        yield data
        begin += len(data)
