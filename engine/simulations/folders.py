"""Where the files of a simulation lie: `simulations/ID/`."""

from __future__ import annotations

from pathlib import Path

from engine.server import Server

INPUT, RESULTS, LOGS, PROJECT = "input", "results", "logs", "project.json"


def find_folder(server: Server, simulation_id: str, *below: str) -> Path:
    """Find the folder of the simulation, or a path in it."""
    return server.store.simulations.path / simulation_id / Path(*below)


def read_input(server: Server, simulation_id: str) -> dict[str, bytes]:
    """Read the files of the input by their names. Blocks."""
    folder = find_folder(server, simulation_id, INPUT)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
