"""Simulations are moved on: from their document to their run, and back.

The rules are in store/rules/simulations/advance.py.
"""

from __future__ import annotations

from engine.server import Server


async def advance_simulation(server: Server, simulation_id: str) -> None:
    """Take the simulation as far as it can go now."""
