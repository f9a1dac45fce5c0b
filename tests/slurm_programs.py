"""SLURM's programs as small shell scripts of a test, on a PATH of its own."""

from __future__ import annotations

from pathlib import Path

from slurm_shim.commands import Slurm


class Programs:
    """A folder of pretended SLURM programs: write(name, shell) makes one, calls(name) are its argument lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()

    def write(self, name: str, shell: str = "") -> None:
        program = self.bin / name
        # One word a line, an empty line after each call.
        program.write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; echo; }} >> {self.folder}/{name}.calls\n{shell}\n')
        program.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        log = self.folder / f"{name}.calls"
        text = log.read_text() if log.exists() else ""
        return [call.split("\n") for call in text.split("\n\n")[:-1]]

    def slurm(self, timeout_s: float = 20.0, hold_fd: int | None = None) -> Slurm:
        return Slurm(f"{self.bin}:/usr/bin:/bin", str(self.folder / "slurm.conf"), timeout_s, hold_fd)
