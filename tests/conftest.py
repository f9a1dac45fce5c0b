"""What the tests share as fixtures: a cluster of either kind, the app in this process, the app as a server."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from store.rendering.renderer import Renderer
from tests.app_client import Client, serving
from tests.app_server import Server

# A developer waits for the verdict; nobody waits for CI's.
settings.register_profile("quick", max_examples=25)


if os.environ.get("CI") != "true":
    settings.load_profile("quick")


CLUSTERS = ["embedded", pytest.param("slurm", marks=pytest.mark.slurm)]


@pytest.fixture(scope="session", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of cluster to run on. SLURM_CONF leads to a real one; SLUICE_TEST_SLURM_DIR names one that runs."""
    if request.param == "embedded":
        yield "embedded"
        return
    from tests.cluster.real import Cluster, missing

    running = os.environ.get("SLUICE_TEST_SLURM_DIR")
    if missing() and not running and os.environ.get("CI") != "true":
        pytest.skip(f"not installed: {', '.join(missing())}")
    # Not below pytest's own folder, which munged's user may not enter.
    real = Cluster(running or tempfile.mkdtemp(prefix="sluice")).up()
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(real.conf)
    yield "slurm"
    os.environ.pop("SLURM_CONF") if before is None else os.environ.__setitem__("SLURM_CONF", before)
    if not running:
        real.down()
        shutil.rmtree(real.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def client(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app over a store of this module's own."""
    with serving(tmp_path_factory.mktemp("store"), cluster) as made:
        yield made


@pytest.fixture
def server(cluster: str, tmp_path: Path) -> Iterator[Server]:
    """A server process over a store of its own."""
    made = Server(tmp_path / "store", cluster)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    """A renderer with its usual bounds."""
    with Renderer() as one:
        yield one
