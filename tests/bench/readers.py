"""What readers of the event stream cost: memory of idle ones, and how long a change takes to reach all of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

from tests.app_server import Server

READERS = 200
CHANGES = 20
WORKFLOW = "name: bench{number}\njobs:\n  - {{name: only, command: ['true']}}\n"


def memory_bytes(process_id: int) -> int:
    """Return the resident memory of a process (proc(5), VmRSS)."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


async def open_stream(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return both ends of a stream whose beginning has been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/events?kinds=workflow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"retry: ")
    await reader.readuntil(b"\n\n")
    return reader, writer


async def measure(server: Server) -> None:
    """Print what idle readers cost, and when the last of them has a change."""
    assert server.process is not None
    before = memory_bytes(server.process.pid)
    streams = await asyncio.gather(*(open_stream(server.port) for _ in range(READERS)))
    cost = memory_bytes(server.process.pid) - before
    print(f"{READERS} idle readers of events: {cost / 1e6:.1f} MB, {cost / READERS / 1000:.0f} kB each")
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
    for _reader, writer in streams:
        writer.close()
    print(f"the last of {READERS} readers has a change {statistics.median(delays_s) * 1000:.0f} ms after the answer")


def main(folder: Path) -> None:
    """Measure with a server of its own."""
    server = Server(folder / "readers", "embedded")
    try:
        server.start()
        asyncio.run(measure(server))
    finally:
        server.close()
