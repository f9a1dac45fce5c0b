"""Lists of simulations, and of where they can run."""

from __future__ import annotations

from typing import Any

from engine.clusters import is_remote
from engine.server import Server
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


def list_clusters(server: Server) -> dict[str, Any]:
    """List the clusters that simulations may name."""
    return yaptide.to_clusters_json(list_names(server))
