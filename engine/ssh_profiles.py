"""SSH profiles: connect, test, and show the clusters behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from engine.clusters import is_remote, is_ssh
from engine.loop import summarize_cluster
from engine.server import Server
from slurm_shim.remote import reasons
from slurm_shim.remote.commands import Check, RemoteSlurm, check_account
from store.config import profile_edits
from store.config.profiles import NO_HOST, Profile
from store.errors import NotFound


def get_status(server: Server) -> dict[str, Any]:
    """Return whether the active profile's cluster answers.

    Also the clusters in view; all from memory.
    """
    first = server.cluster
    profiles = server.store.profiles
    nowhere = profiles.active_profile is not None and profiles.active_profile.is_empty
    error = f"SSH profile {profiles.current}: {NO_HOST}" if nowhere else first.snapshot.error
    summary = {"error": error, "age_seconds": summarize_cluster(first)["age_seconds"]}
    clusters = [
        {"name": cluster.name, "in_force": cluster is first, **summarize_cluster(cluster)}
        for cluster in server.clusters.list_in_view()
    ]
    connected = is_ssh(first.label) and first.is_answering
    return {"connected": connected, "profile_name": profiles.current, **summary, "clusters": clusters}


async def connect_profile(server: Server, name: str) -> dict[str, Any]:
    """Connect the profile now if it is not connected; then make it active.

    Done when its cluster can be used. An error is part of the answer.
    """
    profile = find_profile(server, name)
    check = await _check_profile(name, profile, lambda: server.clusters.reach(name))
    if check.failed is None and server.store.profiles.current != name:
        await profile_edits.activate_profile(server.store.single["profiles"], name, None)
    answer = {"connected": check.failed is None, "profile_name": name, "hostname": _get_host(profile)}
    return answer | _describe_check(profile, check)


async def deactivate_profile(server: Server, if_match: str | None) -> dict[str, Any]:
    """Leave no profile current: back to the cluster here."""
    await profile_edits.deactivate_profile(server.store.single["profiles"], if_match)
    await server.clusters.ask_in_force()
    return {"ok": True}


async def test_profile(server: Server, name: str) -> dict[str, Any]:
    """Test the profile over a connection of its own.

    Nothing is changed by it.
    """
    profile = find_profile(server, name)

    async def probe_account() -> Check:
        connection = server.clusters.make_connection(name, profile)
        try:
            return await asyncio.to_thread(check_account, RemoteSlurm(connection))
        finally:
            await asyncio.to_thread(connection.close)

    check = await _check_profile(name, profile, probe_account)
    result = {
        "hostname": _get_host(profile) or "",
        "user": profile.username or "",
        "slurm_version": "",
        "cluster": None,
    }
    reached = {"ssh_connected": "user" in check.found, "slurm_available": check.failed is None}
    return result | reached | check.found | _describe_check(profile, check)


async def _check_profile(name: str, profile: Profile, check: Callable[[], Awaitable[Check]]) -> Check:
    if not is_remote(profile):
        return Check("profile", f"SSH profile {name}: {NO_HOST}")
    try:
        return await check()
    except ValueError as problem:  # a field that cannot be an argument of ssh
        return Check("profile", f"SSH profile {name}: {problem}")


def _describe_check(profile: Profile, check: Check) -> dict[str, Any]:
    has_jump = profile.proxy_jump is not None and profile.ssh_host is None
    steps = reasons.list_steps(check.failed, has_jump)
    return {"error": check.error, "failed_step": check.failed, "steps": steps, "warnings": check.warnings}


def find_profile(server: Server, name: str) -> Profile:
    """Return the profile; NotFound."""
    profiles = server.store.profiles.profiles
    if name not in profiles:
        raise NotFound("Profile", name)
    return profiles[name]


def _get_host(profile: Profile) -> str | None:
    return profile.hostname or profile.ssh_host
