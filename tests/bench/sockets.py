"""What WebSockets cost: memory of idle ones, and how long changes take to reach all of them.

They are read here as bytes: a client that takes the frames apart would take most of the time itself.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.processes import memory_bytes

SOCKETS, CHANGES = 1000, 10
POLL_S = 1.0
ASK = (
    b"GET /api/v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SUBSCRIBE = json.dumps({"action": "subscribe", "channel": "jobs"}).encode()
HELD = "#!/bin/bash\n#SBATCH --hold\ntrue\n"
ENDING = "#!/bin/bash\nsleep 1.5\ndate +%s.%N\n"


def open_socket(port: int) -> socket.socket:
    """Return a connection that has subscribed to jobs."""
    made = socket.create_connection(("127.0.0.1", port))
    made.sendall(ASK)
    read_until(made, b"\r\n\r\n")
    made.sendall(bytes([0x81, 0x80 | len(SUBSCRIBE), 0, 0, 0, 0]) + SUBSCRIBE)
    read_until(made, b"subscribed")
    return made


def read_until(made: socket.socket, wanted: bytes) -> None:
    """Read until something has come."""
    found = b""
    while wanted not in found:
        found += made.recv(65_536)


def await_all(made: list[socket.socket], job_id: str, state: str) -> list[float]:
    """Read until all have been told that a job has this state; return when each was."""
    waiting, poll, times = {item.fileno(): (item, b"") for item in made}, select.epoll(), list[float]()
    for number in waiting:
        poll.register(number, select.EPOLLIN)
    wanted, named = f'"state":"{state}"'.encode(), f'"resource_id":"{job_id}"'.encode()
    while waiting:
        for number, _ in poll.poll():
            item, found = waiting[number]
            found += item.recv(65_536)
            waiting[number] = item, found
            if named in found and wanted in found:
                times.append(time.time())
                poll.unregister(number)
                del waiting[number]
    poll.close()
    return times


def submit(server: Server, script: str) -> str:
    """Return the id of a new job."""
    answer = server.http.post("/api/jobs", json={"name": "bench", "script_content": script})
    return str(answer.json()["job_id"])


def measure_sockets(folder: Path) -> Iterator[Figure]:
    """Measure with a server of its own."""
    server = Server(folder / "sockets", "embedded")
    (server.store / "config.yaml").write_text(f"poll: {{min_s: {POLL_S}, max_s: {POLL_S}}}\n")
    try:
        server.start()
        yield from compare_delays(server)
    finally:
        server.close()


def compare_delays(server: Server) -> Iterator[Figure]:
    """Measure what idle sockets cost, and when the first and the last of them have a change."""
    assert server.process is not None
    open_socket(server.port).close()
    before = memory_bytes(server.process.pid)
    made = [open_socket(server.port) for _ in range(SOCKETS)]
    cost = memory_bytes(server.process.pid) - before
    yield Figure(f"an idle WebSocket, of {SOCKETS:,}", "kB", cost / SOCKETS / 1000, target=100, is_most=True)
    first, last = list[float](), list[float]()
    for _ in range(CHANGES):
        job_id = submit(server, HELD)
        server.http.delete(f"/api/v1/jobs/{job_id}")
        answered = time.time()
        times = await_all(made, job_id, "CANCELLED")
        first.append(times[0] - answered)
        last.append(times[-1] - answered)
    yield Figure("our cancellation to the first of them", "ms", 1000 * statistics.median(first))
    yield Figure("our cancellation to the last", "ms", 1000 * statistics.median(last))
    late = list[float]()
    for _ in range(3):
        job_id = submit(server, ENDING)
        times = await_all(made, job_id, "COMPLETED")
        ended = float(server.http.get(f"/api/v1/jobs/{job_id}/output").json()["content"])
        late.append(times[-1] - ended)
    yield Figure("end of a job to the last", "s", max(late), note=f"a poll each {POLL_S:.0f} s")
    for item in made:
        item.close()


BENCHES = (Bench("sockets", "WebSockets: memory of idle ones, and the time of a change to all", measure_sockets),)
