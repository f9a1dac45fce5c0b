"""How the programs on nodes reach us: by which URL, and with which key."""

from __future__ import annotations

import contextlib
import os
import time

from engine.server import Server
from slurm_shim.cluster import EMBEDDED
from store.access import update_keys
from store.access.origins import is_loopback
from store.documents import Simulation
from store.durations import parse_duration_s
from store.times import to_epoch


async def make_update_key(server: Server, simulation_id: str) -> str:
    """Make the key for reports of this simulation, the same each time.

    It counts for 7 days longer than a task may take, also after a restart. It belongs into a file for the owner's eyes
    (0600), never into a script, an argument, the environment or a log. Raises NotFound, StoreUnavailable, StoreFull.
    """
    simulation: Simulation = server.store.simulations.get(simulation_id)
    created_s = to_epoch(simulation.created_at) or 0.0
    key = await server.signing_key.ensure()
    return update_keys.make_update_key(key, simulation_id, created_s, find_longest_s(simulation))


def check_update_key(server: Server, update_key: str, simulation_id: str) -> bool:
    """Return whether this key lets reports of this simulation in."""
    return update_keys.check_update_key(server.signing_key.value, update_key, simulation_id, time.time())


def find_longest_s(simulation: Simulation) -> float | None:
    """Find how long a task may take; None without a limit that we know."""
    limit = simulation.options.array.get("time")
    with contextlib.suppress(ValueError):  # unlimited
        return parse_duration_s(limit, 60) if isinstance(limit, str) else None
    return None


def find_report_url(server: Server, cluster: str) -> str | None:
    """Find the URL at which tasks on the cluster of this name reach us.

    That of config.yaml (`yaptide.report_url`); else our own for the embedded cluster, which is on this machine. None
    where tasks could not reach us, or not trust our certificate: then only their files tell how far they are.
    """
    settings, configured = server.settings, server.store.config.yaptide.report_url
    if configured is not None:
        return configured.rstrip("/")
    # Whoever runs the app under another program knows better where that listens.
    is_ours = os.environ.get("SLUICE_PORT") == str(settings.port)
    if server.clusters.find_label(cluster) != EMBEDDED or settings.tls_cert is not None or not is_ours:
        return None
    host = settings.host if is_loopback(settings.host) or settings.host.strip("0.:") else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{settings.root_path}"
