"""A server whose SLURM's programs are wrapped by a test's own words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.app_server import Server
from tests.behaviour.clusters import start_embedded
from tests.cluster.real import PATH

PROGRAMS = ("sbatch", "scancel", "scontrol", "squeue", "sacct", "sinfo", "sacctmgr", "srun")


def make_server(folder: Path, cluster: str, wrappers: Mapping[str, str], **environment: str) -> Server:
    """Make a server, not started yet, on the embedded or the real cluster behind these wrappers.

    `wrappers` are lines of sh by the program's name, with `{program}` for the real one; the others are as they are.
    """
    path, given = PATH, {}
    if cluster == "embedded":
        behind = start_embedded(folder / "behind")
        path, given = behind.env["PATH"], {"SLURM_CONF": behind.env["SLURM_CONF"]}
    shims = folder / "wrapped"
    shims.mkdir()
    for name in PROGRAMS:
        program = shutil.which(name, path=path)
        if program is not None:
            lines = wrappers.get(name, 'exec {program} "$@"').format(program=program, folder=folder)
            (shims / name).write_text(f"#!/bin/sh\n{lines}\n")
            (shims / name).chmod(0o755)
    server = Server(folder / "store", "slurm", PATH=f"{shims}{os.pathsep}{path}", **given, **environment)
    (server.store / "config.yaml").write_text("poll: {min_s: 1, max_s: 1}\n")
    return server
