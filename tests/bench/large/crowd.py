"""Who uses a server while it is measured: readers of events, and callers at a given rate, in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

CONNECTIONS = 32
EVENT = b"\nevent: "


class Crowd:
    """A process that does `work(pipe, *given)`; it tells by the pipe, and ends when it is told anything."""

    def __init__(self, work: Callable[..., Any], *given: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other = spawn.Pipe()
        self.process = spawn.Process(target=work, args=(other, *given), daemon=True)
        self.process.start()

    def ask(self) -> Any:
        """Wait for what it tells next."""
        return self.pipe.recv()

    def end(self) -> Any:
        """Return what it has found."""
        self.pipe.send("end")
        found = self.pipe.recv()
        self.process.join()
        return found


# --- readers of events ----------------------------------------------------------------------------------------------


class EventReader(asyncio.Protocol):
    """One reader: counts events, and those of the job that is looked for."""

    def __init__(self, crowd: ReaderCrowd) -> None:
        self.crowd, self.rest = crowd, b""

    def connection_made(self, transport: Any) -> None:
        transport.write(b"GET /api/events?kinds=job HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        text = self.rest + data
        # What is looked for may come in two pieces; what lies in the rest whole was counted already.
        self.crowd.events += text.count(EVENT) - self.rest.count(EVENT)
        self.crowd.size += len(data)
        marks = text.count(self.crowd.mark) - self.rest.count(self.crowd.mark)
        self.rest = text[-len(self.crowd.mark) :]
        if b"retry: " in data:
            self.crowd.note_open()
        if marks:
            self.crowd.note_marks(marks)

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.lost += 1


class ReaderCrowd:
    """Readers of events: tells when all are there, and for each change of one job the times of its first and last."""

    def __init__(self, pipe: Connection, count: int, mark: bytes) -> None:
        self.pipe, self.count, self.mark = pipe, count, mark
        self.open = self.events = self.size = self.marks = self.lost = 0
        self.first = 0.0

    def note_open(self) -> None:
        """Note that one more reader is there."""
        self.open += 1
        if self.open == self.count:
            self.pipe.send("all are there")

    def note_marks(self, count: int) -> None:
        """Note that a reader was told of the job; the last one of them is told of."""
        if self.marks % self.count == 0:
            self.first = time.monotonic()
        self.marks += count
        if self.marks % self.count == 0:
            self.pipe.send((self.first, time.monotonic()))


async def _read_events(pipe: Connection, port: int, count: int, mark: bytes) -> None:
    loop, crowd = asyncio.get_running_loop(), ReaderCrowd(pipe, count, mark)
    for _ in range(count):
        await loop.create_connection(lambda: EventReader(crowd), "127.0.0.1", port)
    while not pipe.poll():
        await asyncio.sleep(0.05)
    pipe.recv()
    pipe.send((crowd.events, crowd.size, crowd.lost))


def read_events(pipe: Connection, port: int, count: int, mark: bytes) -> None:
    """Read events over so many connections; tells at the end how many there were, their bytes, and who was cut off."""
    asyncio.run(_read_events(pipe, port, count, mark))


# --- callers --------------------------------------------------------------------------------------------------------


async def _call(pipe: Connection, port: int, paths: list[str], rate: float) -> None:
    idle: asyncio.Queue[Any] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    etags: dict[str, str] = {}
    took: list[tuple[str, int, float]] = []
    began, number, tasks = time.monotonic(), 0, set()

    async def call_one(number: int, due: float) -> None:
        path = paths[number % len(paths)]
        condition = f"If-None-Match: {etags[path]}\r\n" if path in etags and (number // len(paths)) % 4 else ""
        reader, writer = await idle.get()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{condition}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        status = int(head.split(" ", 2)[1])
        if status == 200:
            await reader.readexactly(int(fields["content-length"]))
        if "etag" in fields:
            etags[path] = fields["etag"]
        idle.put_nowait((reader, writer))
        took.append((path, status, time.monotonic() - due))

    lag_s = 0.0
    while not pipe.poll():
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        lag_s = max(lag_s, time.monotonic() - due)
        task = asyncio.ensure_future(call_one(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
    pipe.recv()
    await asyncio.gather(*tasks)
    pipe.send((took, lag_s))


def call(pipe: Connection, port: int, paths: list[str], rate: float) -> None:
    """Call these paths in turn, so often a second, whether answers have come or not.

    Tells at the end the path and status of each answer and its time since it was due, and the caller's own longest
    delay.
    """
    asyncio.run(_call(pipe, port, paths, rate))
