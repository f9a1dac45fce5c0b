"""What readers of the event stream cost: memory of idle ones, and how long a change takes to reach all of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.processes import memory_bytes

READERS = 200
CHANGES = 20
WORKFLOW = "name: bench{number}\njobs:\n  - {{name: only, command: ['true']}}\n"


async def open_stream(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return both ends of a stream whose beginning has been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/events?kinds=workflow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"retry: ")
    await reader.readuntil(b"\n\n")
    return reader, writer


async def time_changes(server: Server, streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> float:
    """Return how many milliseconds after an answer the last reader has its change: the median."""
    delays_s = []
    for number in range(CHANGES):
        name = f"bench{number}"
        read = asyncio.gather(*(reader.readuntil(b'"row":') for reader, _writer in streams))
        body = {"yaml": WORKFLOW.format(number=number), "filename": f"{name}.yaml"}
        answer = await asyncio.to_thread(server.http.post, "/api/workflows/upload", json=body)
        began = time.monotonic()
        assert answer.status_code == 200
        await read
        delays_s.append(time.monotonic() - began)
    return 1000 * statistics.median(delays_s)


def measure_readers(folder: Path) -> Iterator[Figure]:
    """Measure what idle readers cost, and when the last of them has a change."""
    server = Server(folder / "readers", "embedded")
    try:
        server.start()
        assert server.process is not None
        before = memory_bytes(server.process.pid)
        with asyncio.Runner() as runner:

            async def open_all() -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
                return await asyncio.gather(*(open_stream(server.port) for _ in range(READERS)))

            streams = runner.run(open_all())
            cost = memory_bytes(server.process.pid) - before
            yield Figure(f"idle reader of events, of {READERS}", "kB", cost / READERS / 1000, target=100, is_most=True)
            yield Figure("change to the last of them", "ms", runner.run(time_changes(server, streams)))
            for _reader, writer in streams:
                writer.close()
    finally:
        server.close()


BENCHES = (Bench("readers", "readers of the event stream: memory, and the time of a change to all", measure_readers),)
