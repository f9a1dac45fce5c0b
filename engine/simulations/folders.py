"""Where the files of a simulation lie: `simulations/ID/`."""

from __future__ import annotations

from pathlib import Path

from engine.server import Server

INPUT, RESULTS, LOGS, PROJECT = "input", "results", "logs", "project.json"


def find_folder(server: Server, simulation_id: str, *below: str) -> Path:
    """Find the folder of the simulation, or a path in it."""
    return server.store.simulations.path / simulation_id / Path(*below)
