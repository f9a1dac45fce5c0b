"""What WebSockets cost: memory of idle ones, and how long changes take to reach them."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.app_server import Server
from tests.bench.readers import memory_bytes

SOCKETS = 1000
CHANGES = 10
SUBSCRIBE = json.dumps({"action": "subscribe", "channel": "jobs"})
HELD = "#!/bin/bash\n#SBATCH --hold\ntrue\n"


async def open_socket(port: int) -> ClientConnection:
    """Return a connection that has subscribed to jobs."""
    connection = await connect(f"ws://127.0.0.1:{port}/api/v1/ws", compression=None, ping_interval=None)
    await connection.send(SUBSCRIBE)
    await connection.recv()
    return connection


async def await_state(connection: ClientConnection, job_id: str, state: str) -> None:
    """Read until a job has this state."""
    async for message in connection:
        found: dict[str, Any] = json.loads(message)
        if found.get("resource_id") == job_id and found["data"].get("state") == state:
            return


async def measure(server: Server) -> None:
    """Print what idle sockets cost, and when the last of them has a change."""
    assert server.process is not None
    before = memory_bytes(server.process.pid)
    connections: list[ClientConnection] = []
    for _ in range(SOCKETS // 50):  # a server takes so many at once without dropping the first packets of others
        connections += await asyncio.gather(*(open_socket(server.port) for _ in range(50)))
    cost = memory_bytes(server.process.pid) - before
    print(f"{SOCKETS} idle WebSockets: {cost / 1e6:.1f} MB, {cost / SOCKETS / 1000:.0f} kB each")
    first, all_s = list[float](), list[float]()
    for number in range(CHANGES):
        answer = await asyncio.to_thread(
            server.http.post, "/api/jobs", json={"name": f"bench{number}", "script_content": HELD}
        )
        job_id = str(answer.json()["job_id"])
        reading = [asyncio.ensure_future(await_state(item, job_id, "CANCELLED")) for item in connections]
        await asyncio.to_thread(server.http.delete, f"/api/v1/jobs/{job_id}")
        began = time.monotonic()
        await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        first.append(time.monotonic() - began)
        await asyncio.gather(*reading)
        all_s.append(time.monotonic() - began)
    print(
        f"our own cancellation is at the first of {SOCKETS} {statistics.median(first) * 1000:.0f} ms after the answer"
    )
    print(f"and at the last of them after {statistics.median(all_s) * 1000:.0f} ms, their reading included")
    await asyncio.gather(*(item.close() for item in connections))


def main(folder: Path) -> None:
    """Measure with a server of its own."""
    server = Server(folder / "sockets", "embedded")
    try:
        server.start()
        asyncio.run(measure(server))
    finally:
        server.close()
