"""A cluster behind a real sshd on loopback: an embedded one, or a real SLURM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_client import Client, serving
from tests.cluster.beyond import Beyond
from tests.cluster.sshd import needed
from tests.engine.whole.remote.machines import MAKE, PIPELINE, ssh_config, write_profiles


@pytest.fixture
def beyond(cluster: str, tmp_path: Path) -> Iterator[Beyond]:
    """The machine behind SSH."""
    needed()
    with Beyond(tmp_path / "beyond", cluster) as machine:
        yield machine


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder here that is a mount."""
    folder = tmp_path / "project"
    (folder / ".srunx" / "workflows").mkdir(parents=True)
    (folder / ".srunx" / "workflows" / "ml-pipeline.yaml").write_bytes(PIPELINE)
    (folder / "make.py").write_text(MAKE)
    return folder


@pytest.fixture
def client(beyond: Beyond, project: Path, tmp_path: Path) -> Iterator[Client]:
    """The app, its active profile leading to the machine behind SSH."""
    mount = {"name": "ml", "local": str(project), "remote": str(beyond.home / "ml")}
    write_profiles(tmp_path / "store", "lab", lab=beyond.profile(mounts=[mount]))
    with serving(tmp_path / "store", "embedded", SLUICE_SSH_CONFIG=ssh_config(beyond)) as server:
        yield server


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Beyond, Beyond]]:
    """Two machines, each with a cluster that counts its jobs from 1."""
    needed()
    with Beyond(tmp_path / "a", name="alpha") as alpha, Beyond(tmp_path / "b", name="beta") as beta:
        yield alpha, beta
