"""The model of holds/ID.json: why somebody holds jobs."""

from __future__ import annotations

from store.documents.models import VERSION, ServerFileModel


class Hold(ServerFileModel):
    """Jobs that are held for a reason, which SLURM has no place for.

    A job that is let go leaves the list; a hold without jobs is deleted.
    """

    version: int = VERSION
    id: str
    cluster: str
    job_ids: list[str]
    reason: str
    user: str
    held_at: str
