"""The model of an ended part of an array or heterogeneous job.

It stands in the document of the whole.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict

from store.documents.models import ServerFileModel


class Part(ServerFileModel):
    """What was last seen of a part; `raw_id` is SLURM's own number of it.

    SLURM forgets parts while their job goes on. It is never changed, so copies of the document share it.
    """

    model_config = ConfigDict(frozen=True)

    raw_id: int
    state: str
    reason: str | None = None
    exit_code: int | None = None
    started_at: str | None = None
    ended_at: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    nodes: str | None = None

    def __deepcopy__(self, _memo: Any = None) -> Self:
        return self
