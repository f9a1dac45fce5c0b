"""Whose a simulation is, and who may see and change it."""

from __future__ import annotations

from engine.server import Server
from store.access import Caller
from store.access.yaptide.logins import KINDS
from store.disk.entries import FileEntry
from store.documents import Simulation
from store.errors import Denied, NotYet
from store.indexes.simulations import SimulationFacts

# The callers that are users of the YAPTIDE family, with names of their own.
USER_KIND = KINDS["local"]
UNKNOWN = "Job with provided ID does not exist"
NOT_OWN = "Job with provided ID does not belong to the user"


def make_owner(caller: Caller) -> str:
    """Make the name of a caller as documents have it.

    A user name has no colon, so nobody else can be called as a user is.
    """
    return caller.name if caller.kind == USER_KIND else f"{caller.kind}:{caller.name}"


def has_all(caller: Caller) -> bool:
    """Return whether the simulations of all owners are the caller's to see."""
    return "admin" in caller.scopes


def get_owned(server: Server, simulation_id: str, caller: Caller, platform: str | None = None) -> Simulation:
    """Return the caller's simulation, of a platform.

    Raises NotFound for none, Denied for one of somebody else.
    """
    simulation: Simulation = get_owned_entry(server, simulation_id, caller, platform).document
    return simulation


def get_owned_entry(server: Server, simulation_id: str, caller: Caller, platform: str | None) -> FileEntry:
    """Return the entry of the caller's simulation; raise as `get_owned`."""
    if simulation_id not in server.store.simulations:
        raise NotYet("Job", simulation_id, UNKNOWN)
    entry = server.store.simulations.get_entry(simulation_id)
    check_owner(entry.facts, simulation_id, caller, platform)
    return entry


def check_owner(owned: Simulation | SimulationFacts, simulation_id: str, caller: Caller, platform: str | None) -> None:
    """Raise Denied where somebody else owns it, NotFound elsewhere."""
    if not has_all(caller) and owned.owner != make_owner(caller):
        raise Denied(NOT_OWN)
    if platform is not None and owned.platform != platform:
        raise NotYet("Job", simulation_id, UNKNOWN)
