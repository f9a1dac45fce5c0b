"""What is asked of one simulation: its state, its end."""

from __future__ import annotations

from typing import Any

from engine.server import Server
from engine.simulations import owners
from store.access import Caller
from store.views import yaptide


def get_job(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """Get the state of a simulation; raise NotFound and Denied."""
    return yaptide.to_status_json(owners.get_owned(server, job_id, caller))
