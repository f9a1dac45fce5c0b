"""Runs and sweeps that ended some days ago, and stores on the disk that hold them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from store.disk.archive import DAY_S
from store.documents import Attempt, Run, RunJob, Sweep, to_json
from store.times import to_rfc3339

NOW = 1_774_828_800.0  # 2026-03-30T00:00:00Z


UID = "a1b2c3d4e5f67890abcd1234"


def a_run(name: str, days_ago: float = 40, status: str = "completed", sweep: int | None = None, **more: Any) -> Run:
    """A run of one job that ended so many days ago; still open with another status."""
    state = {"completed": "COMPLETED", "failed": "FAILED", "cancelled": "CANCELLED"}.get(status, "RUNNING")
    ended = None if state == "RUNNING" else to_rfc3339(NOW - days_ago * DAY_S)
    job_id = str(zlib.crc32(name.encode()))
    attempt = Attempt(number=1, tag="t", job_id=job_id, state=more.pop("state", state), submitted_at=to_rfc3339(NOW))
    return Run(
        id=name, workflow_name=more.pop("workflow_name", "w"), status=status, completed_at=ended,
        started_at=to_rfc3339(NOW - days_ago * DAY_S - 60),
        sweep_run_id=sweep, jobs=[RunJob(name="j", script="echo é", result={"x": 0.1}, attempts=[attempt])], **more,
    )  # fmt: skip


def a_sweep(number: int, days_ago: float = 40, status: str = "completed", cells: int = 3) -> Sweep:
    """A sweep that ended so many days ago."""
    ended = to_rfc3339(NOW - days_ago * DAY_S) if status in ("completed", "failed", "cancelled") else None
    return Sweep(
        id=str(number), uid=UID, name="s", workflow_name="w", workflow_text="name: w", status=status,
        request_key="key-1",
        matrix={"n": list(range(cells))}, cell_count=cells, started_at=to_rfc3339(NOW - 50 * DAY_S), completed_at=ended,
    )  # fmt: skip


def cell(index: int) -> str:
    """The id of a cell of such a sweep."""
    return f"{UID[:8]}-{UID[8:12]}-{UID[12:16]}-{UID[16:20]}-{UID[20:24]}{index:08x}"


def prepare_store(root: Path, *documents: Run | Sweep, retention: str = "{age_days: 30}") -> Path:
    """Write a store with these documents to the disk."""
    for folder in ("runs", "sweeps"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(f"retention: {retention}\n")
    for document in documents:
        folder = "sweeps" if isinstance(document, Sweep) else "runs"
        (root / folder / f"{document.id}.json").write_bytes(to_json(document))
    return root
