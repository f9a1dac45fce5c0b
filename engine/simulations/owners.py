"""Whose a simulation is, and who may see and change it."""

from __future__ import annotations

from typing import NamedTuple

from engine.server import Server
from store.access import Caller
from store.documents import Simulation
from store.errors import Denied, NotYet

# The callers that are users of the YAPTIDE family, with names of their own.
USER_KIND = "yaptide"
UNKNOWN = "Job with provided ID does not exist"
NOT_OWN = "Job with provided ID does not belong to the user"


class Owned(NamedTuple):
    """Whose a simulation is, and on which platform."""

    owner: str
    platform: str


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
    if simulation_id not in server.store.simulations:
        raise NotYet("Job", simulation_id, UNKNOWN)
    simulation: Simulation = server.store.simulations.get(simulation_id)
    check_owner(simulation, simulation_id, caller, platform)
    return simulation


def check_owner(owned: Simulation | Owned, simulation_id: str, caller: Caller, platform: str | None) -> None:
    """Raise Denied where somebody else owns it, NotFound elsewhere."""
    if not has_all(caller) and owned.owner != make_owner(caller):
        raise Denied(NOT_OWN)
    if platform is not None and owned.platform != platform:
        raise NotYet("Job", simulation_id, UNKNOWN)
