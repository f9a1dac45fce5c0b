"""Figures of the store on this machine; run it by hand: `python tests/bench_store.py`. Nothing here is a test."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path

from store import yamls
from store.documents import Attempt, Run, RunJob, to_json
from store.index import ListBody, Store

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


def run(number: int) -> Run:
    """A run of five finished jobs."""
    jobs = [
        RunJob(
            name=f"job-{i}",
            script="#!/bin/bash\nset -e\necho something\n" * 5,
            attempts=[Attempt(number=1, tag=uuid.uuid4().hex, job_id=str(number * 5 + i), state="COMPLETED")],
        )
        for i in range(5)
    ]
    return Run(id=str(uuid.uuid4()), workflow_name=f"flow-{number % 20}", status="completed", jobs=jobs)


def summary(one: Run) -> dict[str, object]:
    """The row of a run in a list."""
    return {"id": one.id, "workflow_name": one.workflow_name, "status": one.status, "started_at": one.started_at}


def took(what: str, begun: float, count: int = 1) -> None:
    """Prints what it took."""
    seconds = time.perf_counter() - begun
    print(f"{what:<58} {seconds:8.3f} s   {count / seconds:12,.0f} /s   {seconds / count * 1e6:10.1f} µs each")


async def writes(store: Store) -> None:
    """Writes one after the other, and many at once."""
    one = run(0)
    begun = time.perf_counter()
    for number in range(300):
        await store.runs.put(one.id, one.model_copy(update={"error": str(number)}))
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
    names = store.runs.names()[:500]
    for round_name in ("500 documents, parsed", "500 documents, again"):
        begun = time.perf_counter()
        for name in names:
            store.runs.get(name)
        took(round_name, begun, len(names))
    rows = ListBody(lambda key, row: key)
    begun = time.perf_counter()
    for name, row in store.runs.summaries().items():
        rows.put(name, row)
    rows.body()
    took("the list of all runs made for the first time", begun)
    begun = time.perf_counter()
    rows.put(names[0], {"id": names[0], "status": "failed"})
    body = rows.body()
    took(f"the list ({len(body.data):,} bytes) after one row changed", begun)
    begun = time.perf_counter()
    assert body.etag and body.gzipped
    took("its ETag and gzip form", begun)
    begun = time.perf_counter()
    for _ in range(10_000):
        rows.body()
    took("the list as nobody changed it", begun, 10_000)


def main() -> None:
    """Prints all figures."""
    top = Path(tempfile.mkdtemp(prefix="sluice-bench-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        for folder in ("runs", "workflows"):
            (top / folder).mkdir()
        for number in range(FILES):
            one = run(number)
            (top / "runs" / f"{one.id}.json").write_bytes(to_json(one))
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
        text = b"".join(b"- {name: job-%d, command: [echo, hello]}\n" % i for i in range(14_000))[: yamls.MAX_BYTES]
        begun = time.perf_counter()
        yamls.load(text[: text.rfind(b"\n") + 1])
        took(f"one YAML file of {len(text):,} bytes", begun)
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    main()
