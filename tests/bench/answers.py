"""Small answers, one job and lists against a bare Starlette app behind the same server program."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT
from tests.app_server import Server, free_port
from tests.bench.exchanges import exchange
from tests.bench.figures import Bench, Figure

CONNECTIONS = 64
ROUNDS, SECONDS = 5, 1.5
JOBS = 200
BARE = """\
import os
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
SMALL, LIST = b"[]", open(os.environ["LIST"], "rb").read()
NODES = open(os.environ.get("NODES", os.devnull), "rb").read()
async def small(request): return Response(SMALL, media_type="application/json")
async def jobs(request): return Response(LIST, media_type="application/json")
async def nodes(request): return Response(NODES, media_type="application/json")
app = Starlette(routes=[Route("/small", small), Route("/jobs", jobs), Route("/nodes", nodes)])
"""


async def rate(port: int, path: str, seconds: float, etag: str = "") -> float:
    """Answers per second; with `etag` all of them are 304."""
    condition = f"If-None-Match: {etag}\r\n" if etag else ""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{condition}\r\n".encode()
    got, until = 0, time.monotonic() + seconds

    async def read_in_turn() -> None:
        nonlocal got
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            head, _ = await exchange(reader, writer, request)
            assert head.startswith(b"HTTP/1.1 304" if etag else b"HTTP/1.1 200"), head
            got += 1
        writer.close()

    await asyncio.gather(*(read_in_turn() for _ in range(CONNECTIONS)))
    return got / seconds


def compare(title: str, ours: tuple[int, str], bare: tuple[int, str], target: float | None, etag: str = "") -> Figure:
    """Ask both in turn, round by round; `etag` is what ours are asked with. The ratio is that of the medians."""
    pairs = [(asyncio.run(rate(*ours, SECONDS, etag)), asyncio.run(rate(*bare, SECONDS))) for _ in range(ROUNDS)]
    mine, others = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure(title, "/s", mine, others, target)


def start_bare(folder: Path, body: bytes) -> tuple[subprocess.Popen[bytes], int]:
    """Start a bare Starlette app that answers `/small`, and `/jobs` with this body."""
    (folder / "list.json").write_bytes(body)
    (folder / "bare.py").write_text(BARE)
    port = free_port()
    words = ("-m", "granian", "--interface", "asgi", "--port", str(port), "--log-level", "error", "bare:app")
    environment = {**os.environ, "LIST": str(folder / "list.json")}
    process = subprocess.Popen([sys.executable, *words], cwd=folder, env=environment)
    while True:
        try:
            asyncio.run(rate(port, "/small", 0.1))
            return process, port
        except ConnectionError:
            time.sleep(0.1)


def measure_answers(folder: Path) -> Iterator[Figure]:
    """Compare answers of a server with some held jobs."""
    server = Server(folder / "store", "embedded")
    (server.store / "config.yaml").write_text("cluster: {execute: false}\npoll: {min_s: 2, max_s: 2}\n")
    bare = None
    try:
        server.start()
        for number in range(JOBS):
            body = {"name": f"job{number}", "script_content": "#!/bin/bash\n#SBATCH --hold\ntrue\n"}
            assert server.http.post("/api/jobs", json=body).status_code == 201
        answer = server.http.get("/api/jobs")
        bare, port = start_bare(folder, answer.content)
        own, small = server.port, (port, "/small")
        job_id = answer.json()[0]["job_id"]
        yield compare(f"list of {JOBS} jobs", (own, "/api/jobs"), (port, "/jobs"), 0.8)
        etag = server.http.get("/api/jobs").headers["ETag"]  # SLURM has told by now why all of them are held
        yield compare("the same, not modified (304)", (own, "/api/jobs"), small, 0.7, etag)
        yield compare("one job", (own, f"/api/jobs/{job_id}"), small, 0.7)
        yield compare("one job, S9S API", (own, f"/api/v1/jobs/{job_id}"), small, None)
        report = {"job_id": "7", "job_name": "reported", "submitted_at": "2026-01-01T00:00:00Z"}
        assert server.http.post("/srtslurm/api/jobs", json=report).status_code == 201
        yield compare("one job, Status API", (own, "/srtslurm/api/jobs/7"), small, None)
        yield compare("/health", (own, "/health"), small, 0.6)
        yield compare("/health?strict=true", (own, "/health?strict=true"), small, None)
        yield compare("/api/store/problems", (own, "/api/store/problems"), small, 0.6)
        simulation = {"sim_type": "dummy", "ntasks": 10, "input_type": "files", "input_files": {"dummy.json": "{}"}}
        submitted = server.http.post("/jobs/direct", json=simulation).json()["job_id"]
        yield compare("state of a simulation", (own, f"/jobs/direct?job_id={submitted}"), small, None)
    finally:
        if bare is not None:
            bare.terminate()
            bare.wait()
        server.end_alone()


def measure_start(folder: Path) -> Iterator[Figure]:
    """Measure the import of the app: the median CPU of a process, and its memory afterwards."""
    code = (
        "import app, resource; used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    # Bytecode and the cached contract are there, as from the second start on, whatever the environment says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "XDG_CACHE_HOME": str(folder / "cache")}
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split()
        for _ in range(ROUNDS + 1)
    ][1:]
    cpu_s, memory_kb = (statistics.median(map(float, column)) for column in zip(*runs, strict=True))
    yield Figure("import of the app", "s CPU", cpu_s, target=0.4, is_most=True)
    yield Figure("memory after the import", "MB", memory_kb / 1024)


BENCHES = (
    Bench("answers", "lists, one job and small answers, beside a bare Starlette app", measure_answers),
    Bench("start", "CPU and memory of importing the app", measure_start),
)
