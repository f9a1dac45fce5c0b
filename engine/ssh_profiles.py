"""SSH profiles: connect, test, and show the clusters behind them."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.clusters import is_remote, is_ssh
from engine.loop import summarize_cluster
from engine.server import Server
from slurm_shim.errors import SlurmError
from slurm_shim.remote.commands import probe_account
from store.config import profile_edits
from store.config.profiles import Profile
from store.errors import NotFound


def get_status(server: Server) -> dict[str, Any]:
    """Return whether the active profile's cluster answers.

    Also the clusters in view; all from memory.
    """
    first = server.cluster
    summary = {"error": first.snapshot.error, "age_seconds": summarize_cluster(first)["age_seconds"]}
    clusters = [
        {
            "name": cluster.name,
            "in_force": cluster is first,
            **summarize_cluster(cluster),
            "error": cluster.snapshot.error,
        }
        for cluster in server.clusters.list_in_view()
    ]
    connected = is_ssh(first.label) and first.is_answering
    return {"connected": connected, "profile_name": server.store.profiles.current, **summary, "clusters": clusters}


async def connect_profile(server: Server, name: str) -> dict[str, Any]:
    """Connect the profile now if it is not connected; then make it active.

    An error is part of the answer.
    """
    profile, error = find_profile(server, name), None
    if not is_remote(profile):
        error = "the profile has neither hostname nor ssh_host: it is the cluster here"
    else:
        try:
            await server.clusters.reach(name)
        except (SlurmError, ValueError) as problem:
            error = str(problem)
    if error is None and server.store.profiles.current != name:
        await profile_edits.activate_profile(server.store.single["profiles"], name, None)
    return {"connected": error is None, "profile_name": name, "hostname": _get_host(profile), "error": error}


async def test_profile(server: Server, name: str) -> dict[str, Any]:
    """Test the profile over a connection of its own.

    Nothing is changed by it.
    """
    profile = find_profile(server, name)
    result = {"ssh_connected": False, "slurm_available": False, "slurm_version": "", "cluster": None}
    result |= {"hostname": _get_host(profile) or "", "user": profile.username or ""}
    if not is_remote(profile):
        return {**result, "error": "the profile has neither hostname nor ssh_host: it is the cluster here"}
    try:
        return result | await asyncio.to_thread(probe_account, server.clusters.make_connection(profile))
    except ValueError as problem:
        return {**result, "error": str(problem)}


def find_profile(server: Server, name: str) -> Profile:
    """Return the profile; NotFound."""
    profiles = server.store.profiles.profiles
    if name not in profiles:
        raise NotFound("Profile", name)
    return profiles[name]


def _get_host(profile: Profile) -> str | None:
    return profile.hostname or profile.ssh_host
