"""Lists over a long queue: pages against a bare Starlette, filtering and sorting against sorting plain numbers.

`python -m tests.bench.queue [--jobs 10000]`. SLURM's programs are small scripts that print a queue of so many jobs.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm_shim import parse
from slurm_shim.ids import expand_hosts
from store.rules.queue.job_query import IdOrder, parse_query, select_rows
from tests.app_server import Server, free_port
from tests.slurm_programs import Programs

NONCE = "~4f1c9a~"
MOST_MS = 15.0  # a filter with a sort over 10,000 jobs may take so long
LEAST_RATIO = 0.5  # of a page of 100 to bare Starlette
QUERIES = (
    ("all, last submitted first", {}),
    ("three filters, by priority",
     {"state": "PD,R", "user": "user3,user4,user5", "partition": "gpu", "sort": "priority"}),
    ("filter= with four terms", {"filter": "memory>=2G and time_limit>1:00:00 name~sim user in (user1,user2,user3)"}),
    ("filter= with a regular expression", {"filter": "name=~^sim_[0-4]"}),
)  # fmt: skip
NODES = 1000
SMALL_ANSWERS = (
    ("one node", "/api/v1/nodes/node0007"),
    ("metrics of the cluster", "/api/v1/metrics/cluster"),
    ("performance of a day", "/api/v1/metrics/performance"),
    ("search for a job by name", "/api/v1/search?q=sim_77&type=jobs"),
    ("/metrics for Prometheus", "/metrics"),
)
CONFIG = "ClusterName = bench\nSLURM_VERSION = 22.05.8\nMinJobAge = 300 sec\nAccountingStorageType = (null)\n"


def build_queue(count: int) -> str:
    """Build what squeue prints of so many jobs under NONCE."""
    rows = []
    for number in range(1, count + 1):
        runs, submitted = number % 5 == 0, 1_795_280_000 + number * 7919 % 100_000
        own = {
            "JobArrayID": number, "JobID": number, "ArrayJobID": number, "ArrayTaskID": "N/A", "HetJobID": "N/A",
            "HetJobOffset": "N/A", "UserName": f"user{number % 50}", "UserID": 1000 + number % 50, "Account": "lab",
            "Partition": ("cpu", "gpu")[number % 2], "QOS": "normal", "State": "RUNNING" if runs else "PENDING",
            "Reason": "None" if runs else "Priority", "SubmitTime": submitted,
            "StartTime": submitted + 60 if runs else "N/A", "EndTime": submitted + 9000 if runs else "N/A",
            "TimeUsed": "1:00:00" if runs else "0:00", "TimeLimit": "2:30:00", "NumNodes": 1, "NumCPUs": 4,
            "MinMemory": "4G", "tres-alloc": "cpu=4,mem=4G,node=1,billing=4,gres/gpu=1", "tres-per-node": "gres:gpu:1",
            "PriorityLong": 1 + number % 997, "NodeList": "node01" if runs else "", "SchedNodes": "(null)",
            "BatchHost": "node01" if runs else "", "Dependency": "(null)", "exit_code": 0, "RestartCnt": 0,
            "Command": "/home/user/run.sh", "WorkDir": "/home/user", "STDOUT": "/home/user/%j.out",
            "STDERR": "/home/user/%j.err", "Comment": "(null)", "Name": f"sim_{number}",
        }  # fmt: skip
        rows.append(NONCE.join(str(own[name]) for name in parse.JOB_FIELDS) + f"{NONCE}E\n")
    return "".join(rows)


def build_nodes(count: int) -> str:
    """Build what `scontrol -o show node` prints of so many nodes."""
    return "".join(
        f"NodeName=node{number:04} Arch=x86_64 CoresPerSocket=16 CPUAlloc=16 CPUTot=32 CPULoad=14.20 "
        f"AvailableFeatures=gpu,cuda ActiveFeatures=gpu,cuda Gres=gpu:4 NodeAddr=node{number:04} "
        f"NodeHostName=node{number:04} Version=22.05.8 OS=Linux 6.1.0 #1 SMP RealMemory=128000 AllocMem=64000 "
        f"FreeMem=58000 Sockets=2 Boards=1 State={('MIXED', 'IDLE+DRAIN')[number % 9 == 0]} ThreadsPerCore=1 TmpDisk=0 "
        f"Weight=1 Partitions=cpu,gpu BootTime=1795000000 SlurmdStartTime=1795000100 LastBusyTime=1795280000 "
        f"CfgTRES=cpu=32,mem=128000M,billing=32,gres/gpu=4 AllocTRES=cpu=16,mem=64000M,gres/gpu=2\n"
        for number in range(1, count + 1)
    )


def time_ms(work: Callable[[], Any], rounds: int) -> float:
    """Time the work: the median of its CPU milliseconds."""
    took = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        took.append(1000 * (time.thread_time() - began))
    return statistics.median(took)


def choose_rows(order: IdOrder, rows: dict[str, Any], asked: dict[str, str]) -> list[Any]:
    """Choose and sort as for a list."""
    return select_rows(order.sort_rows(rows), parse_query(expand_hosts, time.time(), **asked))


def measure_rules(count: int, rounds: int) -> None:
    """Print what choosing and sorting takes, beside sorting as many numbers."""
    rows = {row["job_id"]: row for row in parse.parse_jobs(build_queue(count), NONCE)}
    order = IdOrder()
    base = order.sort_rows(rows)
    numbers = [row["submit_time"] for row in base]
    plain_ms = time_ms(lambda: sorted(numbers), rounds)
    print(f"{count} jobs: sorting as many numbers takes {plain_ms:.1f} ms of CPU")
    for what, asked in QUERIES:
        took_ms = time_ms(functools.partial(choose_rows, order, rows, asked), rounds)
        verdict = "" if took_ms < MOST_MS or count > 10_000 else f"  MORE THAN {MOST_MS:g} ms"
        print(f"  {what:<36} {took_ms:6.1f} ms, {took_ms / plain_ms:5.1f} times that{verdict}")


def measure_pages(folder: Path, count: int, rounds: int, seconds: float) -> None:
    """Print pages per second against bare Starlette with the same bytes."""
    from tests.bench.__main__ import BARE, CONNECTIONS, compare

    programs = Programs(folder)
    (folder / "queue").write_text(build_queue(count))
    (folder / "config").write_text(CONFIG)
    programs.write("squeue", f'n=${{SQUEUE_FORMAT2#*:}}; n=${{n%%,*}}; sed "s/{NONCE}/$n/g" {folder}/queue')
    (folder / "nodes").write_text(build_nodes(NODES))
    answers = f'"show config") cat {folder}/config;; *"show node") cat {folder}/nodes;;'
    programs.write("scontrol", f'case "$*" in {answers} ping) echo "Slurmctld(primary) at a is UP";; esac')
    programs.write("sbatch")
    server = Server(folder / "store", "slurm", PATH=f"{programs.bin}:{os.environ['PATH']}", SLURM_CONF="/dev/null")
    (server.store / "config.yaml").write_text("poll: {min_s: 60, max_s: 60}\n")
    bare = None
    try:
        server.start()
        path = "/api/v1/jobs?limit=100"
        page = server.http.get(path)
        assert page.json()["total"] == count, page.text[:200]
        (folder / "list.json").write_bytes(page.content)
        nodes = server.http.get("/api/v1/nodes")
        assert nodes.json()["total"] == NODES, nodes.text[:200]
        (folder / "nodes.json").write_bytes(nodes.content)
        (folder / "bare.py").write_text(BARE)
        port = free_port()
        command = ["-m", "granian", "--interface", "asgi", "--port", str(port), "--log-level", "error", "bare:app"]
        environment = {**os.environ, "LIST": str(folder / "list.json"), "NODES": str(folder / "nodes.json")}
        bare = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment)
        wait_for_port(port)
        print(f"pages of 100 jobs out of {count} ({CONNECTIONS} connections, at least {LEAST_RATIO} wanted)")
        compare(f"  the page, {len(page.content) // 1000} kB", (server.port, path), (port, "/jobs"), rounds, seconds)
        filtered = f"{path}&state=PD&sort=priority&filter=memory%3E%3D2G"
        compare("  a filtered page", (server.port, filtered), (port, "/jobs"), rounds, seconds)
        etag = page.headers["ETag"]
        compare("  not modified (304)", (server.port, path), (port, "/small"), rounds, seconds, etag)
        what = f"  {NODES} nodes, {len(nodes.content) // 1000} kB"
        compare(what, (server.port, "/api/v1/nodes"), (port, "/nodes"), rounds, seconds)
        for what, path in SMALL_ANSWERS:
            compare(f"  {what}", (server.port, path), (port, "/small"), rounds, seconds)
    finally:
        if bare is not None:
            bare.terminate()
            bare.wait()
        if server.process is not None:
            server.end()
        server.http.close()


def wait_for_port(port: int) -> None:
    """Wait until somebody listens on the port."""
    import socket

    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


def main(jobs: int = 10_000, rounds: int = 5, seconds: float = 1.5) -> None:
    """Measure with a server of its own."""
    measure_rules(jobs, 4 * rounds)
    with tempfile.TemporaryDirectory() as folder:
        measure_pages(Path(folder), jobs, rounds, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    main(parser.parse_args().jobs)
