"""Lists over a long queue: pages against a bare Starlette, filtering, sorting and searching.

SLURM's programs are small scripts that print a queue of so many jobs.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from slurm_shim import parse
from slurm_shim.ids import expand_hosts
from store.rules.queue.job_query import IdOrder, parse_query, select_rows
from tests.app_server import Server
from tests.bench.answers import compare, start_bare
from tests.bench.figures import Bench, Figure
from tests.slurm_programs import Programs

NONCE = "~4f1c9a~"
JOBS, NODES = 10_000, 1000
MOST_MS = 15.0  # a filter with a sort may take so long
LEAST_RATIO = 0.5  # of a page of 100 to bare Starlette
QUERIES = (
    ("all, last submitted first", {}),
    ("three filters, by priority",
     {"state": "PD,R", "user": "user3,user4,user5", "partition": "gpu", "sort": "priority"}),
    ("filter= with four terms", {"filter": "memory>=2G and time_limit>1:00:00 name~sim user in (user1,user2,user3)"}),
    ("filter= with a regular expression", {"filter": "name=~^sim_[0-4]"}),
)  # fmt: skip
SMALL_ANSWERS = (
    ("one node", "/api/v1/nodes/node0007"),
    ("metrics of the cluster", "/api/v1/metrics/cluster"),
    ("performance of a day", "/api/v1/metrics/performance"),
    ("search for a job by name", "/api/v1/search?q=sim_77&type=jobs"),
    ("/metrics for Prometheus", "/metrics"),
)
CONFIG = "ClusterName = bench\nSLURM_VERSION = 22.05.8\nMinJobAge = 300 sec\nAccountingStorageType = (null)\n"


def describe_job(number: int, runs: bool, used: str = "1:00:00") -> dict[str, Any]:
    """Describe what squeue prints of one job, by its fields."""
    submitted = 1_795_280_000 + number * 7919 % 100_000
    return {
        "JobArrayID": number, "JobID": number, "ArrayJobID": number, "ArrayTaskID": "N/A", "HetJobID": "N/A",
        "HetJobOffset": "N/A", "UserName": f"user{number % 50}", "UserID": 1000 + number % 50, "Account": "lab",
        "Partition": ("cpu", "gpu")[number % 2], "QOS": "normal", "State": "RUNNING" if runs else "PENDING",
        "Reason": "None" if runs else "Priority", "SubmitTime": submitted,
        "StartTime": submitted + 60 if runs else "N/A", "EndTime": submitted + 9000 if runs else "N/A",
        "TimeUsed": used if runs else "0:00", "TimeLimit": "2:30:00", "NumNodes": 1, "NumCPUs": 4,
        "MinMemory": "4G", "tres-alloc": "cpu=4,mem=4G,node=1,billing=4,gres/gpu=1", "tres-per-node": "gres:gpu:1",
        "PriorityLong": 1 + number % 997, "NodeList": "node01" if runs else "", "SchedNodes": "(null)",
        "BatchHost": "node01" if runs else "", "Dependency": "(null)", "exit_code": 0, "RestartCnt": 0,
        "Command": "/home/user/run.sh", "WorkDir": "/home/user", "STDOUT": "/home/user/%j.out",
        "STDERR": "/home/user/%j.err", "Comment": "(null)", "Name": f"sim_{number}",
    }  # fmt: skip


def build_queue(count: int) -> str:
    """Build what squeue prints of so many jobs under NONCE."""
    rows = []
    for number in range(1, count + 1):
        own = describe_job(number, runs=number % 5 == 0)
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


class PrintedQueue:
    """So many jobs that a squeue in `folder` prints, some of which change when they are told to."""

    def __init__(self, folder: Path, count: int) -> None:
        self.path = folder / "queue"
        self.lines = build_queue(count).splitlines(keepends=True)
        self.write()
        (folder / "config").write_text(CONFIG)
        (folder / "nodes").write_text(build_nodes(NODES))
        self.programs = Programs(folder)
        self.programs.write("squeue", f'n=${{SQUEUE_FORMAT2#*:}}; n=${{n%%,*}}; sed "s/{NONCE}/$n/g" {self.path}')
        answers = f'*"show config") cat {folder}/config;; *"show node") cat {folder}/nodes;;'
        self.programs.write("scontrol", f'case "$*" in {answers} ping) echo "Slurmctld(primary) at a is UP";; esac')
        self.programs.write("sbatch")
        self.environment = {"PATH": f"{self.programs.bin}:{os.environ['PATH']}", "SLURM_CONF": "/dev/null"}

    def write(self) -> None:
        """Let squeue print the jobs as they are now."""
        made = self.path.with_suffix(".new")
        made.write_text("".join(self.lines))
        made.rename(self.path)

    def change(self, numbers: Iterable[int]) -> None:
        """Let waiting jobs run and running ones wait."""
        for number in numbers:
            line = self.lines[number]
            words = ("PENDING", "RUNNING") if "PENDING" in line else ("RUNNING", "PENDING")
            self.lines[number] = line.replace(*words)
        self.write()


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


def measure_filters(_folder: Path) -> Iterator[Figure]:
    """Measure what choosing and sorting takes, beside sorting as many numbers."""
    rows = {row["job_id"]: row for row in parse.parse_jobs(build_queue(JOBS), NONCE)}
    order = IdOrder()
    numbers = [row["submit_time"] for row in order.sort_rows(rows)]
    yield Figure(f"{JOBS} numbers sorted", "ms CPU", time_ms(lambda: sorted(numbers), 20))
    for what, asked in QUERIES:
        took_ms = time_ms(functools.partial(choose_rows, order, rows, asked), 20)
        yield Figure(what, "ms CPU", took_ms, target=MOST_MS, is_most=True)


def measure_pages(folder: Path) -> Iterator[Figure]:
    """Compare pages per second with a bare Starlette that has the same bytes."""
    queue = PrintedQueue(folder, JOBS)
    server = Server(folder / "store", "slurm", **queue.environment)
    (server.store / "config.yaml").write_text("poll: {min_s: 60, max_s: 60}\n")
    bare = None
    try:
        server.start()
        path = "/api/v1/jobs?limit=100"
        page = server.http.get(path)
        assert page.json()["total"] == JOBS, page.text[:200]
        bare, port = start_bare(folder, page.content)
        own, whole, small = server.port, (port, "/jobs"), (port, "/small")
        filtered = f"{path}&state=PD&sort=priority&filter=memory%3E%3D2G"
        yield compare(f"a page of 100 jobs out of {JOBS}", (own, path), whole, LEAST_RATIO)
        yield compare("a filtered page", (own, filtered), whole, LEAST_RATIO)
        yield compare("a page, not modified (304)", (own, path), small, None, page.headers["ETag"])
        for what, small_path in SMALL_ANSWERS:
            yield compare(what, (own, small_path), small, None)
    finally:
        if bare is not None:
            bare.terminate()
            bare.wait()
        server.end_alone()


BENCHES = (
    Bench("filters", "choosing and sorting in a long queue", measure_filters),
    Bench("queue", "pages of a long queue and small answers, beside a bare Starlette app", measure_pages),
)
