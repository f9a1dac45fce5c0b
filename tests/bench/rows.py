"""How long the event loop is kept by one thing while a long queue is polled and listed.

`python -m tests.bench.rows JOBS` is the child that `just bench rows` starts: the app in this process, on an event loop
whose every step is measured, with a squeue that prints so many jobs.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.app_client import furnish
from tests.bench.figures import Bench, Figure
from tests.bench.queue import PrintedQueue

MOST_MS = {10_000: 20.0, 50_000: 50.0}
FEW = 100
LISTS = ("/api/jobs", "/api/v1/jobs")
ROUNDS = 3


class Steps:
    """The longest step of the event loops of this process, in CPU milliseconds of their thread."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._run = asyncio.events.Handle._run

    def measure(self) -> None:
        """Measure each step from now on."""

        def run(handle: asyncio.Handle) -> None:
            began = time.thread_time()
            self._run(handle)
            self.longest_ms = max(self.longest_ms, 1000 * (time.thread_time() - began))

        asyncio.events.Handle._run = run  # type: ignore[method-assign]

    def take(self) -> float:
        """Take the longest since the last time."""
        longest_ms, self.longest_ms = self.longest_ms, 0.0
        return longest_ms


async def measure_rounds(queue: PrintedQueue, folder: Path) -> dict[str, float]:
    """Measure polls and lists after nothing, few and all jobs have changed: the middle of some rounds, by name."""

    from app import make_app
    from store.collecting import keep_collections_short
    from store.rules.changes import Filter

    os.environ |= {**queue.environment, "SLUICE_STORE": str(folder / "store"), "SLUICE_CLUSTER": "slurm"}
    tokens: dict[str, str] = {}
    furnish(folder / "store", tokens)
    (folder / "store" / "config.yaml").write_text("poll: {min_s: 600, max_s: 600}\n")
    made, steps = make_app(), Steps()
    found: dict[str, list[float]] = {}
    collected = AsyncExitStack()
    async with made.lifespan(made) as state, collected:
        collected.enter_context(keep_collections_short())  # as where it is served
        server = state["server"]
        snapshot = server.cluster.snapshot

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            await made({**scope, "state": dict(state)}, receive, send)

        async def follow() -> None:
            async with server.changes.read(Filter()) as reader:
                async for change in reader:
                    server.changes.get_event(change)
                    await asyncio.sleep(0)

        follower = asyncio.ensure_future(follow())
        for path in LISTS:
            await ask(serve, path, tokens["read"])
        steps.measure()
        for _ in range(ROUNDS):
            for what, numbers in (("none", range(0)), (f"{FEW}", range(FEW)), ("all", range(len(queue.lines)))):
                await asyncio.to_thread(queue.change, numbers)
                steps.take()
                snapshot.min_s = 0.0
                await snapshot.refresh()
                await asyncio.sleep(0.2)
                found.setdefault(f"poll, {what} changed", []).append(steps.take())
                for path in LISTS:
                    await ask(serve, path, tokens["read"])
                    found.setdefault(f"{path}, {what} changed", []).append(steps.take())
        follower.cancel()
    return {name: sorted(times_ms)[len(times_ms) // 2] for name, times_ms in found.items()}


async def ask(serve: Any, path: str, token: str) -> None:
    """Ask for a path as a server does, in a task of its own, and throw the answer away."""
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1", "headers": headers, "asgi": {"version": "3.0"},
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    bodies = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        return bodies.pop() if bodies else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200

    await asyncio.ensure_future(serve(scope, receive, send))


def measure_rows(_folder: Path) -> Iterator[Figure]:
    """Measure the longest steps, each size in a process of its own."""
    for count, most_ms in MOST_MS.items():
        words = [sys.executable, "-m", "tests.bench.rows", str(count)]
        answer = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        for name, longest_ms in json.loads(answer.stdout).items():
            yield Figure(f"{count} jobs: {name}", "ms CPU", longest_ms, None, most_ms, True)


BENCHES = (Bench("rows", "the longest step of the event loop while a long queue changes", measure_rows),)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        print(json.dumps(asyncio.run(measure_rounds(PrintedQueue(root, int(sys.argv[1])), root))))
