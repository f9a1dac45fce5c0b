"""Figures of the store on this machine: `python -m tests.bench.store [few | many [RUNS]]`. Nothing here is a test."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from store.documents import Attempt, Run, RunJob, to_json
from store.indexes import jobs, lists
from store.store import ListBody, Store
from store.times import to_rfc3339
from store.views import srunx
from store.yaml import reader

FILES = 10_000
WORKFLOW = b"""# A comment
name: bench-%d
args: {n: %d, out: "work-{{ n }}"}
jobs:
  - name: preprocess
    command: [bash, -c, "mkdir -p {{ out }} && seq {{ n }} > {{ out }}/data"]
    exports: {DATA: "{{ out }}/data"}
    resources: {nodes: 1, time_limit: 0:05:00}
  - name: report
    command: "echo done > {{ out }}/report"
    depends_on: ["afterany:preprocess"]
"""
START = 1_774_828_800  # 2026-03-30T00:00:00Z
SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --output={place}/logs/%x_%j.log
#SBATCH --nodes=1
#SBATCH --cpus-per-task=4

set -euo pipefail
cd {place}
srun python3 train.py --seed {number} --stage {name}
"""
STAGES = ("prepare", "train")


def run(number: int, root: str = "/home/somebody/data/work", status: str = "completed") -> Run:
    """A run of two ended jobs, as the server writes them; numbered runs are a minute apart."""
    run_id = str(uuid.uuid4())
    place, begun = f"{root}/{run_id}", START + number * 60
    return Run(
        id=run_id,
        workflow_name=f"flow-{number % 20}",
        workflow_path=f"workflows/flow-{number % 20}.yaml",
        args={"seed": number, "lr": number / 7},
        cluster="embedded",
        status=status,
        work_dir=place,
        started_at=to_rfc3339(begun),
        completed_at=to_rfc3339(begun + 70.5),
        triggered_by="web",
        request_hash=uuid.uuid4().hex * 2,
        jobs=[job(name, number * 2 + at, run_id, place, begun + at * 30) for at, name in enumerate(STAGES)],
    )  # fmt: skip


def job(name: str, number: int, run_id: str, place: str, begun: int) -> RunJob:
    """An ended job of such a run."""
    return RunJob(
        name=name,
        depends_on=["prepare"] if name == "train" else [],
        script=SCRIPT.format(name=name, place=place, number=number),
        options={"job_name": name, "nodes": 1, "cpus_per_task": 4},
        resources={"nodes": 1, "gpus_per_node": 0, "time_limit": "0:10:00"},
        command=["python3", "train.py", "--seed", str(number)],
        work_dir=place,
        log_dir=f"{place}/logs",
        result={"loss": 1 / (number + 1)},
        result_path=f"{place}/.sluice/{run_id}/{name}.%j.json",
        result_read=True,
        attempts=[
            Attempt(
                number=1, tag=f"sluice:{uuid.uuid4().hex}", job_id=str(number + 1), state="COMPLETED", exit_code=0,
                intended_at=to_rfc3339(begun + 0.5), submitted_at=to_rfc3339(begun + 1),
                started_at=to_rfc3339(begun + 2),
                ended_at=to_rfc3339(begun + 29), stdout=f"{place}/logs/{name}_{number + 1}.log",
                stderr=f"{place}/logs/{name}_{number + 1}.log", nodes="node01", partition="main",
            )
        ],
    )  # fmt: skip


def fill(folder: Path, count: int) -> None:
    """Nothing; the folder has so many runs, not durably."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        document = run(number)
        (folder / f"{document.id}.json").write_bytes(to_json(document))


def resident_mb(pid: int | str = "self") -> tuple[float, float]:
    """Memory of a process now, and the most it ever had."""
    text = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(text.split(f"{key}:")[1].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
    return now, most


def measure_store(root: Path, why: str) -> None:
    """Print what the start of the store alone takes, with index and list."""
    store = Store(root)
    job_index, run_list = jobs.JobIndex(), lists.RunList(store.runs, srunx.to_run_json)
    store.runs.listeners.append(lambda _name, old, new: job_index.follow(old, new))
    begun = time.perf_counter()
    store.open()
    took_s = time.perf_counter() - begun
    asked: list[float] = []

    async def ask() -> None:
        for limit, offset in ((200, 0), (200, 0), (200, 50_000), (10_000, 0), (10_000, 0)):
            begun = time.perf_counter()
            await run_list.get_window(limit, offset)
            asked.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        job_index.compute_stats(None, None)
        asked.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        job_index.list_newest(200)
        asked.append(time.perf_counter() - begun)
        await store.close()

    asyncio.run(ask())
    now, most = resident_mb()
    asks = [round(seconds * 1e3, 2) for seconds in asked]
    print(f"{why:<28} {took_s:7.2f} s   {now:6.0f} MB (most {most:6.0f} MB)   asks ms: {asks}")


def measure_server(root: Path, why: str) -> None:
    """Print what the start of the whole server takes, its memory, and its first lists."""
    environment = {**os.environ, "SLUICE_STORE": str(root), "SLUICE_CLUSTER": "embedded", "SLUICE_PORT": "18765"}
    begun = time.perf_counter()
    server = subprocess.Popen([sys.executable, "app.py"], env=environment)
    url = "http://127.0.0.1:18765/api/workflows/runs"
    took: list[float] = []
    while not took:
        try:
            urllib.request.urlopen("http://127.0.0.1:18765/health").read()
            took.append(time.perf_counter() - begun)
        except OSError:
            time.sleep(0.02)
    sizes = [resident_mb(server.pid)[0]]
    for path in ("", "", "?name=flow-3", "?limit=10000", "?limit=10000"):
        begun = time.perf_counter()
        urllib.request.urlopen(url + path).read()
        took.append(time.perf_counter() - begun)
        sizes.append(resident_mb(server.pid)[0])
    asks, sizes = [round(seconds * 1e3, 1) for seconds in took[1:]], [round(size) for size in sizes]
    print(f"{why:<28} {took[0]:7.2f} s   {sizes} MB (most {resident_mb(server.pid)[1]:.0f} MB)   asks ms: {asks}")
    server.terminate()
    server.wait()


def summary(run: Run) -> dict[str, object]:
    """The row of a run in a list."""
    return {"id": run.id, "workflow_name": run.workflow_name, "status": run.status, "started_at": run.started_at}


def took(what: str, begun: float, count: int = 1) -> None:
    """Prints what it took."""
    seconds = time.perf_counter() - begun
    print(f"{what:<58} {seconds:8.3f} s   {count / seconds:12,.0f} /s   {seconds / count * 1e6:10.1f} µs each")


async def writes(store: Store) -> None:
    """Writes one after the other, and many at once."""
    document = run(0)
    begun = time.perf_counter()
    for number in range(300):
        await store.runs.put(document.id, document.model_copy(update={"error": str(number)}))
    took("one run written again and again", begun, 300)
    many = [run(number) for number in range(2000)]
    begun = time.perf_counter()
    await asyncio.gather(*(store.runs.put(each.id, each) for each in many))
    took("2,000 new runs written at once", begun, 2000)
    begun = time.perf_counter()
    await asyncio.gather(*(store.runs.put(each.id, each.model_copy(update={"error": "x"})) for each in many))
    took("2,000 runs changed at once", begun, 2000)


def reads(store: Store) -> None:
    """Reads of one document and of the list."""
    names = store.runs.list_names()[:500]
    for round_name in ("500 documents, parsed", "500 documents, again"):
        begun = time.perf_counter()
        for name in names:
            store.runs.get(name)
        took(round_name, begun, len(names))
    rows = ListBody(lambda key, row: key)
    begun = time.perf_counter()
    for name, row in ((entry.name, entry.summary) for entry in store.runs.iterate_entries()):
        rows.put(name, row)
    rows.get_body()
    took("the list of all runs made for the first time", begun)
    begun = time.perf_counter()
    rows.put(names[0], {"id": names[0], "status": "failed"})
    body = rows.get_body()
    took(f"the list ({len(body.data):,} bytes) after one row changed", begun)
    begun = time.perf_counter()
    assert body.etag and body.gzipped
    took("its ETag and gzip form", begun)
    begun = time.perf_counter()
    for _ in range(10_000):
        rows.get_body()
    took("the list as nobody changed it", begun, 10_000)


def few() -> None:
    """Prints the figures of 10,000 documents, in one process."""
    top = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    try:
        (top / "workflows").mkdir()
        fill(top / "runs", FILES)
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store = Store(top, summaries={"runs": summary})
        begun = time.perf_counter()
        store.open()
        took(f"{FILES:,} runs loaded", begun, FILES)
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        print(f"{'memory for them':<58} {grown_kb / 1024:8.1f} MB")
        reads(store)
        asyncio.run(writes(store))
        asyncio.run(store.close())
        for number in range(FILES):
            (top / "workflows" / f"bench-{number}.yaml").write_bytes(WORKFLOW % (number, number))
        for why in ("for the first time", "after a restart"):
            shutil.rmtree(top / "runs", ignore_errors=True)
            store = Store(top)
            begun = time.perf_counter()
            store.open()
            asyncio.run(store.close())
            took(f"{FILES:,} YAML files loaded {why}", begun, FILES)
        text = b"".join(b"- {name: job-%d, command: [echo, hello]}\n" % i for i in range(14_000))[: reader.MAX_BYTES]
        begun = time.perf_counter()
        reader.load_yaml(text[: text.rfind(b"\n") + 1])
        took(f"one YAML file of {len(text):,} bytes", begun)
    finally:
        shutil.rmtree(top)


def many(count: int) -> None:
    """Prints the figures of so many runs; each start is a process of its own, so that its memory can be told."""
    root = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    try:
        fill(root / "runs", count)
        for what, why in (
            ("served", "server, nothing kept"),
            ("served", "server, checkpoint"),
            ("opened", "store, checkpoint"),
        ):
            subprocess.run([sys.executable, "-m", "tests.bench.store", what, str(root), why], check=True)
    finally:
        shutil.rmtree(root)


def main(asked: list[str]) -> None:
    """Prints what is asked for; without arguments all."""
    if asked[:1] == ["opened"]:
        measure_store(Path(asked[1]), asked[2])
    elif asked[:1] == ["served"]:
        measure_server(Path(asked[1]), asked[2])
    else:
        if asked[:1] != ["many"]:
            few()
        if asked[:1] != ["few"]:
            many(int(asked[1]) if asked[1:] else 100_000)


if __name__ == "__main__":
    main(sys.argv[1:])
