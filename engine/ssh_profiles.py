"""SSH profiles as they really are: connected, tried, and what is known of the clusters behind them."""

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
    """Whether the cluster of the active profile answers, and the clusters in view, from memory."""
    first = server.cluster
    told = {"error": first.snapshot.error, "age_seconds": summarize_cluster(first)["age_seconds"]}
    shown = [
        {"name": one.name, "in_force": one is first, **summarize_cluster(one), "error": one.snapshot.error}
        for one in server.clusters.list_in_view()
    ]
    connected = is_ssh(first.label) and first.is_answering
    return {"connected": connected, "profile_name": server.store.profiles.current, **told, "clusters": shown}


async def connect_profile(server: Server, name: str) -> dict[str, Any]:
    """Whether the connection of the profile is there, made at once if need be; then the profile is the active one."""
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
    """What a connection of its own finds behind the profile; nothing is changed by it."""
    profile = find_profile(server, name)
    told = {"ssh_connected": False, "slurm_available": False, "slurm_version": "", "cluster": None}
    told |= {"hostname": _get_host(profile) or "", "user": profile.username or ""}
    if not is_remote(profile):
        return {**told, "error": "the profile has neither hostname nor ssh_host: it is the cluster here"}
    try:
        return told | await asyncio.to_thread(probe_account, server.clusters.make_connection(profile))
    except ValueError as problem:
        return {**told, "error": str(problem)}


def find_profile(server: Server, name: str) -> Profile:
    """The profile; NotFound."""
    known = server.store.profiles.profiles
    if name not in known:
        raise NotFound("Profile", name)
    return known[name]


def _get_host(profile: Profile) -> str | None:
    return profile.hostname or profile.ssh_host
