"""What it costs the server that the tasks of a simulation report, in a server that listens.

The tasks wait in the queue of a cluster that is busy, so that nothing of this machine runs but the server; in their
place this process writes their reports into their files and posts them, each task on a new connection as tasks do.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.processes import read_cpu_s
from tests.waiting import eventually

CONFIG = "cluster: {nodes: 1, cpus: 1}\npoll: {min_s: 2, max_s: 2}\n"
INPUT = {"dummy.json": json.dumps({"primaries": 1_000_000})}
EVERY_S = 2.0
POLL_S = 1.5
TASKS, SECONDS = 100, 8.0
# What they do: post, write files; and whether a client looks.
CASES: tuple[tuple[str, bool, bool, bool], ...] = (
    ("at rest", False, False, False), ("a client looks", False, False, True),
    ("files alone, nobody looks", False, True, False), ("files, a client looks", False, True, True),
    ("posts alone", True, False, False), ("files and posts, a client looks", True, True, True),
)  # fmt: skip


class Tasks:
    """A simulation whose tasks wait, and what they would report."""

    def __init__(self, server: Server, count: int) -> None:
        self.server, self.count, self.done, self.refused = server, count, 0, 0
        blocker = {"name": "busy", "script_content": "#!/bin/bash\n#SBATCH --time=100\nexec sleep 6000\n"}
        assert server.http.post("/api/jobs", json=blocker).status_code == 201
        body = {"sim_type": "dummy", "ntasks": count, "input_type": "files", "input_files": INPUT}
        answer = server.http.post("/jobs/direct", json=body)
        assert answer.status_code == 202, answer.text
        self.id = answer.json()["job_id"]
        (key,) = eventually(lambda: list(server.store.rglob("update_key")), 60)  # type: ignore[misc]
        self.work, self.key = key.parent, key.read_text().strip()
        (self.work / "tasks").mkdir(exist_ok=True)
        eventually(lambda: len(server.http.get("/api/jobs").json()) > 1, 60, "the array is in the queue")

    def build_report(self, number: int) -> dict[str, Any]:
        """What a task says of itself at this moment."""
        self.done += 1
        return {
            "task_state": "RUNNING", "requested_primaries": 10_000, "simulated_primaries": min(9_999, self.done),
            "start_time": "2026-11-21T16:39:17.000000Z",
        }  # fmt: skip

    def write_report(self, number: int) -> None:
        """Write the report into the task's file."""
        report = {"task_id": number, **self.build_report(number), "end_time": None, "exit_code": None, "reason": None}
        path = self.work / "tasks" / f"{number:04d}.json"
        made = path.with_suffix(".new")
        made.write_text(json.dumps(report))
        made.replace(path)

    async def post_report(self, number: int) -> None:
        """Post the report, on a connection of its own."""
        update = self.build_report(number) | {"start_time": "2026-11-21 16:39:17.000000", "estimated_time": 60}
        body = {"simulation_id": self.id, "task_id": number, "update_key": self.key, "update_dict": update}
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        head = f"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + data)
        self.refused += not (await reader.read()).startswith(b"HTTP/1.1 202")
        writer.close()

    async def run_task(self, number: int, until: float, posts: bool, writes: bool) -> None:
        """Report every two seconds, as the task would."""
        await asyncio.sleep(random.uniform(0, EVERY_S))
        while time.monotonic() < until:
            if writes:
                self.write_report(number)
            if posts:
                await self.post_report(number)
            await asyncio.sleep(EVERY_S)

    async def poll(self, until: float) -> None:
        """Ask for the state, as the client does."""
        while time.monotonic() < until:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
            head = f"GET /jobs/direct?job_id={self.id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
            await asyncio.sleep(POLL_S)

    async def run(self, seconds: float, posts: bool, writes: bool, looks: bool) -> None:
        """Have all tasks report for so long."""
        until = time.monotonic() + seconds
        tasks = [self.run_task(number, until, posts, writes) for number in range(1, self.count + 1) if posts or writes]
        await asyncio.gather(asyncio.sleep(seconds), *tasks, *([self.poll(until)] if looks else []))


def measure_posts(folder: Path) -> Iterator[Figure]:
    """Measure which share of a core the server takes, at rest and while tasks report in files and by posts."""
    server = Server(folder / "store", "embedded")
    (server.store / "config.yaml").write_text(CONFIG)
    try:
        server.start()
        assert server.process is not None
        pid = server.process.pid
        tasks = Tasks(server, TASKS)
        for what, posts, writes, looks in CASES:
            asyncio.run(tasks.run(EVERY_S + 1, posts, writes, looks))  # what came before is over
            before, began = read_cpu_s(pid), time.monotonic()
            asyncio.run(tasks.run(SECONDS, posts, writes, looks))
            share = (read_cpu_s(pid) - before) / (time.monotonic() - began)
            yield Figure(f"{TASKS} tasks, {what}", "% CPU", 100 * share)
        yield Figure("refused posts", "", tasks.refused, target=0, is_most=True)
    finally:
        server.close()


BENCHES = (Bench("task-posts", "CPU of a server to which tasks of a simulation report", measure_posts),)
