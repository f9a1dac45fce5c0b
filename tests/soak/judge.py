"""Hold what the server says at the end against what the jobs themselves have written down."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx

from tests.soak.findings import Findings
from tests.soak.works import Book, Work
from tests.waiting import eventually

# A job that ignores SIGTERM is killed after 5 s; a busy machine may take longer.
COMPLETING_S = 10


class Judge:
    """Compares works with ledgers; what differs is a finding."""

    def __init__(self, http: httpx.Client, book: Book, findings: Findings) -> None:
        self.http, self.book, self.findings = http, book, findings
        self.known: set[str] = set()

    def judge(self) -> None:
        """Judge every work, what was edited, and look for jobs that nobody asked for."""
        for work in self.book.works:
            if not work.over:
                self.findings.add("lost", f"{work.kind} {work.key} ({work.id}) did not come to its end")
            elif work.id is not None:
                self.judge_work(work)
        for answer, count in Counter((work.kind, work.id) for work in self.book.works if work.id is not None).items():
            if count > 1:
                self.findings.add("wrong", f"one answer to {count} requests: {answer}")
        for row in self.http.get("/api/history", params={"limit": -1}).json():
            if str(row["job_id"]) not in self.known and not str(row["job_id"]).startswith("report"):
                self.findings.add("doubled", f"nobody asked for this job: {row}")

    def judge_work(self, work: Work) -> None:
        """Judge the end of a work, and each of its jobs."""
        wanted = "cancelled" if work.cancel else "failed" if work.code else "completed"
        if work.status.lower() != wanted:
            self.findings.add("wrong", f"{work.kind} {work.key} ({work.id}) is {work.status}, not {wanted}")
        if work.cancel:
            with contextlib.suppress(AssertionError):  # a job that does not end is a finding, below
                eventually(lambda: not self.is_completing(work), COMPLETING_S)
        for name, attempts in self.list_jobs(work):
            self.judge_job(name, attempts, work.cancel)

    def is_completing(self, work: Work) -> bool:
        """Tell whether a job of the work is about to end."""
        return any(row["slurm_state"] == "COMPLETING" for _, attempts in self.list_jobs(work) for row in attempts)

    def list_jobs(self, work: Work) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield the name of the ledger and the attempts of every job of a work."""
        if work.kind == "job":
            row = self.http.get(f"/api/jobs/{work.id}").json()
            yield work.key, [{key: row[key] for key in ("job_id", "slurm_state", "exit_code")}]
            return
        runs = {work.id: work.key}
        if work.kind == "sweep":
            cells = self.http.get(f"/api/sweep_runs/{work.id}/cells").json()
            runs = {cell["id"]: cell["args"]["key"] for cell in cells}
        for run_id, key in runs.items():
            for job in self.http.get(f"/api/workflows/runs/{run_id}").json()["jobs"]:
                yield f"{key}.{job['name']}", job["attempts"]

    def judge_job(self, ledger: str, attempts: list[dict[str, Any]], cancelled: bool) -> None:
        """Compare the attempts of a job with what each wrote when it began and when it ended."""
        lines = self.book.read(ledger)
        begun = Counter(line[1] for line in lines if line[0] == "begin")
        ended = {line[1]: int(line[2]) for line in lines if line[0] == "end"}
        by_id = {str(attempt["job_id"]): attempt for attempt in attempts if attempt["job_id"]}
        self.known |= set(by_id)
        for job_id, count in begun.items():
            if count > 1 or job_id not in by_id:
                self.findings.add("doubled", f"{ledger}: job {job_id} ran {count} times; Sluice knows {list(by_id)}")
        for job_id, attempt in by_id.items():
            state, code = attempt["slurm_state"], attempt["exit_code"]
            if job_id in ended:
                right = state == ("FAILED" if ended[job_id] else "COMPLETED") and code == ended[job_id]
            else:
                right = state == "CANCELLED" and cancelled
            if not right:
                said = f"ended with {ended[job_id]}" if job_id in ended else "did not end by itself"
                kind = "wrong" if job_id in begun else "lost"
                self.findings.add(kind, f"{ledger}: job {job_id} is {state}, exit {code}, and {said}")
