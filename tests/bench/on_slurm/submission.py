"""Submissions beside raw sbatch on a real SLURM, with no and with many open jobs; what these cost; and look-ups."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import resource
import secrets
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slurm_shim import parse
from tests.app_server import Server
from tests.bench.exchanges import exchange
from tests.bench.figures import Bench, Figure
from tests.bench.processes import read_cpu_s, read_tree_cpu_s
from tests.cluster import real
from tests.slurm_programs import Programs

SCRIPT = "#!/bin/bash\n#SBATCH --hold\ntrue\n"
MANY, AT_ONCE = 5000, 16
ROUNDS, ALONE, TOGETHER = 5, 10, 160
IDLE_S = 10.0

Work = Callable[[int, int], None]  # do so many, so many at once


# --- what is measured ------------------------------------------------------------------------------------------------


def read_children_cpu_s() -> float:
    """Read the CPU of all that this process has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_request(script: str) -> bytes:
    """Make the request that submits a script."""
    body = json.dumps({"name": "held", "script_content": script}).encode()
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    return f"{head}\r\n\r\n".encode() + body


async def post(port: int, requests: list[bytes], at_once: int) -> None:
    """Send the requests, so many at once."""
    left = iter(requests)

    async def post_in_turn() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in left:
            head, answer = await exchange(reader, writer, request)
            assert head.startswith(b"HTTP/1.1 201"), head + answer
        writer.close()

    await asyncio.gather(*(post_in_turn() for _ in range(at_once)))


def submit_over_http(server: Server, count: int, at_once: int) -> None:
    """Submit the same script over HTTP again and again."""
    asyncio.run(post(server.port, [make_request(SCRIPT)] * count, at_once))


def submit_others(server: Server, count: int, at_once: int) -> None:
    """Submit scripts that nobody has submitted before, which bash reads first."""
    requests = [make_request(f"{SCRIPT}# {secrets.token_hex(8)}\n") for _ in range(count)]
    asyncio.run(post(server.port, requests, at_once))


def submit_raw(environment: dict[str, str], count: int, at_once: int) -> None:
    """Submit the same jobs by sbatch alone."""

    def submit(number: int) -> None:
        words = ["sbatch", "--parsable", "--job-name=raw", f"--comment=raw:{number:032x}", "--output=/dev/null"]
        subprocess.run(words, input=SCRIPT.encode(), env=environment, stdout=subprocess.PIPE, check=True)

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(submit, range(count)))


def take_s(work: Work, count: int, at_once: int) -> float:
    """Measure how long one of so many takes on average."""
    began = time.monotonic()
    work(count, at_once)
    return (time.monotonic() - began) / count


def compare_submissions(server: Server, environment: dict[str, str], when: str) -> Iterator[Figure]:
    """Compare ours and raw ones in turn, round by round."""
    assert server.process is not None
    pid = server.process.pid
    ours, raw = functools.partial(submit_over_http, server), functools.partial(submit_raw, environment)
    began = read_tree_cpu_s(pid)
    time.sleep(IDLE_S)
    at_rest = (read_tree_cpu_s(pid) - began) / IDLE_S  # polls, which are made all the same
    times, costs = [], []
    for _ in range(ROUNDS):
        began, raw_began, began_at = read_tree_cpu_s(pid), read_children_cpu_s(), time.monotonic()
        alone_s = take_s(ours, ALONE, 1)
        cost_s = read_tree_cpu_s(pid) - began - at_rest * (time.monotonic() - began_at)
        times.append((alone_s, take_s(raw, ALONE, 1)))
        costs.append((cost_s, read_children_cpu_s() - raw_began))
    mine, others = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    yield Figure(f"submit, c=1, {when}", "ms", mine, others, 3, is_most=True)
    mine, others = (1000 * sum(column) / ROUNDS / ALONE for column in zip(*costs, strict=True))
    yield Figure(f"the same, CPU of all, without polls, {when}", "ms", mine, others, 3, is_most=True)
    times = [(take_s(ours, TOGETHER, AT_ONCE), take_s(raw, TOGETHER, AT_ONCE)) for _ in range(ROUNDS)]
    mine, others = (1 / statistics.median(column) for column in zip(*times, strict=True))
    yield Figure(f"submit, c={AT_ONCE}, {when}", "/s", mine, others, 0.5)
    theirs = 1 / take_s(functools.partial(submit_others, server), TOGETHER, AT_ONCE)
    yield Figure(f"submit, c={AT_ONCE}, each a new script, {when}", "/s", theirs, others)
    subprocess.run(["scancel", "--name=raw"], env=environment, check=True, stdin=subprocess.DEVNULL)


def find_absent() -> list[str]:
    """What a real SLURM needs that is not here."""
    return real.missing() or (["the right to start it (root)"] if os.geteuid() else [])


@contextlib.contextmanager
def start_before_slurm(store: Path) -> Iterator[tuple[Server, real.Cluster]]:
    """Start a server in front of a real SLURM that is started for it."""
    place = Path(tempfile.mkdtemp(prefix="bench-"))  # of a short name, and one that munged may enter
    place.chmod(0o755)
    cluster = real.Cluster(place / "slurm", nodes=1)
    server: Server | None = None
    try:
        cluster.up(want_install=False)
        server = Server(store, "slurm", PATH=real.PATH, **cluster.env)
        yield server.start(), cluster
    finally:
        if server is not None:
            server.end_alone()  # none of its jobs runs
        cluster.down()
        shutil.rmtree(place, ignore_errors=True)


def measure_submissions(folder: Path) -> Iterator[Figure]:
    """Compare submissions on a real SLURM that is started for it."""
    if absent := find_absent():
        print(f"submissions are not measured: no {', '.join(absent)} here")
        return
    with start_before_slurm(folder / "store") as (server, cluster):
        environment = {"PATH": real.PATH, "HOME": "/root", **cluster.env}
        yield from compare_submissions(server, environment, "no open jobs")
        submit_over_http(server, MANY, AT_ONCE)
        yield from compare_submissions(server, environment, f"{MANY:,} open")


def measure_idle_ms(pid: int) -> float:
    """Measure the CPU per second while nobody calls."""
    began = read_cpu_s(pid)
    time.sleep(IDLE_S)
    return 1000 * (read_cpu_s(pid) - began) / IDLE_S


def measure_open_jobs(folder: Path) -> Iterator[Figure]:
    """Measure what open jobs at rest cost the server itself, on the embedded cluster."""
    server = Server(folder / "store", "embedded")
    (server.store / "config.yaml").write_text("cluster: {execute: false}\npoll: {min_s: 2, max_s: 2}\n")
    try:
        server.start()
        assert server.process is not None
        pid, idle, submits = server.process.pid, [], []
        for count in (0, MANY):
            submit_over_http(server, count, AT_ONCE)
            measure_idle_ms(pid)  # until the list is there
            idle.append(statistics.median(measure_idle_ms(pid) for _ in range(3)))
            began = read_cpu_s(pid)
            submit_over_http(server, 100, 1)
            submits.append(10 * (read_cpu_s(pid) - began))
        yield Figure(f"own CPU of an idle second, {MANY:,} open jobs : none", "ms", idle[1], max(idle[0], 1), None)
        yield Figure(f"own CPU of a submit, {MANY:,} open jobs : none", "ms", submits[1], submits[0], 1.5, is_most=True)
    finally:
        server.end_alone()


# --- look-ups of jobs that others submitted --------------------------------------------------------------------------

# SLURM's programs as they answer on a cluster that is some way off; `|` stands for the delimiter and `@` for the id.
SCONTROL = """\
case "$*" in
*config*) printf 'ClusterName = bench\\nSLURM_VERSION = 22.05.8\\nMinJobAge = 300 sec\\n'
          echo 'AccountingStorageType = accounting_storage/slurmdbd';;
*ping*) echo 'Slurmctld(primary) at here is UP';;
*version*) echo 'slurm 22.05.8';;
*partition*) echo 'PartitionName=cpu Default=YES State=UP TotalNodes=0';;
esac"""
SACCT = """\
sleep 0.05
for word; do case $word in --delimiter=*) d=${word#*=};; --jobs=*) ids=${word#*=};; esac; done
case $* in *DerivedExitCode*) awk -v "ids=$ids" -v "d=$d" -v "row=ROW" 'BEGIN {
    n = split(ids, all, ","); for (i = 1; i <= n; i++) { made = row; gsub("@", all[i], made); gsub("[|]", d, made)
    print made } }';; esac"""
ACCOUNTED = {
    "JobID": "@", "JobIDRaw": "@", "User": "other", "UID": "1000", "State": "COMPLETED", "Submit": "1795280000",
    "Start": "1795280010", "End": "1795280020", "ElapsedRaw": "10", "ExitCode": "0:0", "JobName": "foreign",
}  # fmt: skip
FOREIGN, ASKING = 120, 64


async def get_all(port: int, paths: list[str], at_once: int) -> None:
    """Get each path once, so many at once."""
    left = iter(paths)

    async def get_in_turn() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in left:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            head, answer = await exchange(reader, writer, request.encode())
            assert head.startswith(b"HTTP/1.1 200") and b"COMPLETED" in answer, head + answer
        writer.close()

    await asyncio.gather(*(get_in_turn() for _ in range(at_once)))


def measure_foreign(folder: Path) -> Iterator[Figure]:
    """Measure look-ups of ended jobs of others, which accounting alone knows."""
    programs = Programs(folder)
    row = "|".join(ACCOUNTED.get(name, "") for name in parse.ACCOUNTING_FIELDS) + "|"
    programs.write("sacct", SACCT.replace("ROW", row))
    programs.write("scontrol", SCONTROL)
    programs.write("squeue", "sleep 0.05")
    for name in ("sbatch", "scancel", "sinfo"):
        programs.write(name)
    server = Server(folder / "store", "slurm", PATH=f"{programs.bin}:/usr/bin:/bin")
    try:
        server.start()
        rates = []
        for first in range(1, ROUNDS * FOREIGN, FOREIGN):
            paths = [f"/api/jobs/{number}" for number in range(first, first + FOREIGN)]
            began = time.monotonic()
            asyncio.run(get_all(server.port, paths, ASKING))
            rates.append(FOREIGN / (time.monotonic() - began))
        calls = len(programs.calls("sacct")) / ROUNDS
        yield Figure(
            f"{FOREIGN} ended jobs of others, c={ASKING}", "/s", statistics.median(rates), None, 200,
            note=f"{calls:.1f} calls of sacct, of 50 ms each",
        )  # fmt: skip
    finally:
        server.end_alone()


BENCHES = (
    Bench("foreign-jobs", "looking up ended jobs that others submitted", measure_foreign),
    Bench("submissions", "submitting over HTTP beside raw sbatch on a real SLURM", measure_submissions),
    Bench("open-jobs", "what thousands of open jobs cost", measure_open_jobs),
)
