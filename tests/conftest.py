"""What the tests share as fixtures: a cluster of either kind, the app in this process, the app as a server."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from store.rendering.renderer import Renderer
from tests import ROOT
from tests.app_client import Client, serving
from tests.app_server import Server
from tests.cluster.real import Cluster, missing
from tests.slurm_programs import Programs

CI = os.environ.get("CI") == "true"
# How long an example takes says more about the machine than about the code. A developer waits for the verdict, with
# fewer examples; nobody waits for CI's.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("patient"), max_examples=25)
settings.load_profile("patient" if CI else "quick")
# The files that take longest, longest first: begun last, one of them would keep a single process busy at the end. The
# fifth is a short one, since it waits for the first: pytest-xdist gives two files to each of four processes at once.
LONGEST_FIRST = [
    "test_fuzz.py", "engine/whole/remote/test_remote_runs.py", "engine/whole/remote/test_remote_restarts.py",
    "engine/whole/remote/test_remote_profiles.py", "store/indexes/test_jobs.py", "slurm_shim/test_behaviour.py",
    "page/logs/test_log.py", "page/workflows/test_editor.py", "page/runs/test_run.py", "page/sweeps/test_sweep.py",
    "clients/test_browser.py", "app/test_install.py", "clients/test_clients.py",
    "faults/test_exports_crash.py", "faults/test_simulation_crash.py", "faults/test_sweep_crash.py",
    "soak/test_soak.py", "faults/test_crash.py", "faults/test_outage.py",
    "app/operations/test_sweeps_api.py", "engine/whole/test_inbox.py", "engine/whole/test_reports_slurm.py",
    "app/operations/test_front_end.py", "app/operations/test_runs_api.py", "store/disk/test_archive.py",
    "faults/test_notify_crash.py", "app/operations/test_notifications_api.py", "app/operations/test_jobs_api.py",
    "slurm_shim/test_commands_run.py", "slurm_shim/remote/test_commands.py", "slurm_shim/embedded/test_cluster.py",
    "store/rules/test_runs_model.py", "store/rules/test_sweeps_model.py", "test_readme.py",
    "app/transport/test_guard.py",
]  # fmt: skip
# Ids of jobs that are only reported, far from those that a SLURM gives.
REPORTED_IDS = iter(range(700_000, 800_000))
CLUSTERS = ["embedded", pytest.param("slurm", marks=pytest.mark.slurm)]


# After pytest's own order, which would begin with the tests of one kind of cluster.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first; pytest-xdist hands files out in this order."""
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def real_slurm() -> Iterator[Cluster]:
    """A real SLURM of this process's own, or the running one that SLUICE_TEST_SLURM_DIR names."""
    running = os.environ.get("SLUICE_TEST_SLURM_DIR")
    if not running and not CI:
        if missing():
            pytest.skip(f"not installed: {', '.join(missing())}")
        if os.geteuid() != 0:
            pytest.skip("only root can start a SLURM whose jobs run as their users")
    # Not below pytest's own folder, which munged's user may not enter.
    real = Cluster(running or tempfile.mkdtemp(prefix="sluice"))
    try:
        yield real.up()
    finally:
        if not running:
            real.down()
            shutil.rmtree(real.dir, ignore_errors=True)


@pytest.fixture(scope="session", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of cluster to run on; SLURM_CONF leads to a real one."""
    if request.param == "embedded":
        yield "embedded"
        return
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(request.getfixturevalue("real_slurm").conf)
    yield "slurm"
    os.environ.pop("SLURM_CONF") if before is None else os.environ.__setitem__("SLURM_CONF", before)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Pretended SLURM programs of this test's own."""
    return Programs(tmp_path)


@pytest.fixture
def job_id() -> str:
    """An id that no other test and no SLURM has."""
    return f"local-{next(REPORTED_IDS)}"


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
    with Renderer() as renderer:
        yield renderer
