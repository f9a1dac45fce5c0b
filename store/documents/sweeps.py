"""The model of sweeps/ID.json: one workflow run for each cell of a matrix."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from store.documents.models import VERSION, ServerFileModel


class Sweep(ServerFileModel):
    """One sweep: workflow text, matrix, and which cells still wait.

    The ids of its cells begin with `uid`; `waiting`, `again` (cells to run again whose runs are not marked yet) and
    `forgiven` (cells whose failure before that no longer counts) are texts like "3-17,20" (see store.rules.sweeps).
    Times are RFC 3339 in UTC.
    """

    version: int = VERSION
    id: str
    uid: str
    name: str
    workflow_name: str
    workflow_text: str
    workflow_path: str | None = None
    mount: str | None = None
    cluster: str = ""
    status: Literal["pending", "running", "draining", "completed", "failed", "cancelled"] = "pending"
    matrix: dict[str, list[Any]]
    exclude: list[dict[str, Any]] = []
    args: dict[str, Any] = {}
    part: dict[str, Any] = {}
    fail_fast: bool = False
    max_parallel: int = 4
    cell_count: int
    waiting: str = ""
    again: str = ""
    forgiven: str = ""
    submission_source: str = "web"
    started_at: str
    completed_at: str | None = None
    cancel_requested_at: str | None = None
    error: str | None = None
    request_key: str | None = None
    request_hash: str | None = None
    rerun_key: str | None = None  # of the request that had it run again the last time
    rerun_hash: str | None = None

    @model_validator(mode="after")
    def _refuse_unknown_cells(self) -> Self:
        for text in (self.waiting, self.again, self.forgiven):
            before = -1
            for part in text.split(",") if text else ():
                first, _, last = part.partition("-")
                if not before < int(first) <= int(last or first) < self.cell_count:
                    raise ValueError(f"the cells '{part[:40]}' are not after those before them, or there are none such")
                before = int(last or first)
        return self
