"""Lists of simulations, and of where they can run."""

from __future__ import annotations

from typing import Any

from engine.callers.yaptide.batch import check_batch_allowed
from engine.clusters import is_remote
from engine.server import Server
from engine.simulations import owners
from store.access import Caller
from store.rules.simulations.states import parse_states
from store.views import yaptide


def list_names(server: Server) -> list[str]:
    """List the names of clusters: this machine's, and of SSH profiles.

    The one in force comes first.
    """
    profiles = server.store.profiles
    names = [name for name, profile in profiles.profiles.items() if is_remote(profile)]
    local = server.clusters.find("")  # documents without a name are of the local cluster
    names = [*([local.name] if local is not None else []), *sorted(names)]
    return sorted(names, key=lambda name: name != profiles.current)


def list_simulations(
    server: Server,
    page_size: int,
    page_idx: int,
    order_by: str,
    order_type: str,
    job_state: str | None,
    caller: Caller,
) -> dict[str, Any]:
    """List the caller's simulations; raise Invalid for an unknown state."""
    owner = None if owners.has_all(caller) else owners.make_owner(caller)
    wanted = parse_states(job_state)
    rows = server.simulation_index.list_ordered(owner, order_by, order_type == "descend", wanted)
    return yaptide.to_simulations_json(rows, page_size, page_idx)


def list_clusters(server: Server, caller: Caller) -> dict[str, Any]:
    """List the clusters that simulations may name; raise Denied."""
    check_batch_allowed(server, caller)
    return yaptide.to_clusters_json(list_names(server))
