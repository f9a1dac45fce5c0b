"""One table of behaviours for both clusters: the same commands, the same states, exit codes and texts.

The rows lie in tests/behaviour/. They mostly wait, so all chosen rows of a cluster are played at once in threads, and
each test only asks how its row went. `real` is a whole SLURM that tests/cluster/real.py starts; SLUICE_TEST_SLURM_DIR
names one that already runs.
"""

from __future__ import annotations

import collections
import contextlib
import getpass
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ROOT
from tests.behaviour import listings, lives, refusals, sharing, submissions
from tests.behaviour.row import Place, Row, play
from tests.cluster.real import Cluster, missing

BIN = ROOT / "slurm_shim" / "bin"
ROWS: tuple[Row, ...] = (*lives.ROWS, *sharing.ROWS, *submissions.ROWS, *listings.ROWS, *refusals.ROWS)
IN_CI = os.environ.get("CI") == "true"
SLOW = IN_CI or bool(os.environ.get("SLUICE_TEST_SLOW"))

CONF = """\
ClusterName=embedded
SluicePython={python}
SluiceExecute=yes
MaxArraySize=1001
MinJobAge=300
KillWait=5
NodeName=node[01-04] CPUs=8 RealMemory=16000 Gres=gpu:4
PartitionName=cpu Nodes=node[01-02] Default=YES MaxTime=INFINITE DefaultTime=NONE State=UP
PartitionName=gpu Nodes=node[03-04] MaxTime=7-00:00:00 DefaultTime=NONE State=UP
"""


@dataclass(frozen=True)
class Asked:
    """A cluster that can be asked: the environment of its programs, and a slurm.conf that leads nowhere."""

    name: str
    env: Mapping[str, str]
    down: Path
    cluster_name: str
    threads: int


def environment(path: str, conf: Path) -> dict[str, str]:
    """The variables of every command, and no others: much of the environment changes what SLURM's programs print."""
    return {
        "PATH": path,
        "HOME": str(Path.home()),
        "USER": getpass.getuser(),
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(conf),
        "SLURM_BITSTR_LEN": "0",
    }


def embedded(folder: Path) -> Asked:
    """A fresh embedded cluster of the same size as the real one."""
    text = CONF.format(python=sys.executable)
    for name, more in (("cluster", ""), ("down", "SluiceDown=yes\n")):
        (folder / name).mkdir(parents=True)
        (folder / name / "slurm.conf").write_text(text + more)
    path = f"{BIN}:{os.environ['PATH']}"
    return Asked(
        "embedded", environment(path, folder / "cluster/slurm.conf"), folder / "down/slurm.conf", "embedded", threads=6
    )


def real(folder: Path, cluster: Cluster) -> Asked:
    """A real cluster that is up."""
    wrong = folder / "down"
    wrong.mkdir(parents=True)
    lines = cluster.conf.read_text().splitlines(keepends=True)
    # Nobody listens on the discard port, so that is a controller that does not answer.
    text = "".join("SlurmctldPort=9\n" if line.startswith("SlurmctldPort=") else line for line in lines)
    (wrong / "slurm.conf").write_text(text)
    env = environment(os.environ["PATH"], cluster.conf)
    return Asked("real", env, wrong / "slurm.conf", "sluicetest", threads=24)


class Played:
    """The chosen rows of one cluster, being played in threads."""

    def __init__(self, asked: Asked, rows: list[Row], folder: Path) -> None:
        self._pool = ThreadPoolExecutor(asked.threads)
        self._results: dict[str, Future[None]] = {one.why: Future() for one in rows}
        lanes: dict[str, list[Row]] = collections.defaultdict(list)
        for one in rows:
            lanes[one.lane or one.why].append(one)
        # Long lanes first: what waits longest should not be begun last.
        numbers = {one.why: number for number, one in enumerate(rows)}
        for lane in sorted(lanes.values(), key=lambda lane: (not lane[0].slow, -len(lane))):
            places = [self._place(asked, folder / f"row{numbers[one.why]}") for one in lane]
            self._pool.submit(self._play, lane, places)

    @staticmethod
    def _place(asked: Asked, folder: Path) -> Place:
        root = os.geteuid() == 0
        known = {
            "dir": str(folder),
            "host": socket.gethostname().split(".")[0],
            "user": getpass.getuser(),
            "uid": str(os.geteuid()),
            "hold": "JobHeldAdmin" if root else "JobHeldUser",
            "conf": asked.env["SLURM_CONF"],
            "down": str(asked.down),
            "clustername": asked.cluster_name,
        }
        return Place(asked.name, asked.env, folder, known)

    def _play(self, lane: list[Row], places: list[Place]) -> None:
        for one, place in zip(lane, places, strict=True):
            try:
                play(one, place)
            except BaseException as error:
                self._results[one.why].set_exception(error)
            else:
                self._results[one.why].set_result(None)

    def result(self, one: Row) -> None:
        """Nothing, when the row went as it should; raises what it raised."""
        self._results[one.why].result()

    def close(self) -> None:
        """Nothing; no row is played any more."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def processes(asked: Asked) -> dict[int, str]:
    """The command lines by pid of what runs for this cluster, known by its SLURM_CONF."""
    ours = f"SLURM_CONF={asked.env['SLURM_CONF']}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # not a process, ended while we looked, or another user's
            if ours in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def left_over(asked: Asked) -> list[str]:
    """What still runs for a cluster whose jobs are all cancelled; it is ended, so that no test leaves anything."""
    deadline = time.monotonic() + 15
    while processes(asked) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = processes(asked)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, signal.SIGKILL)
    return list(found.values())


def chosen(request: pytest.FixtureRequest, cluster: str) -> list[Row]:
    """The rows of this cluster that this run of pytest asks for."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    params = [call.params for call in calls if call is not None and "behaviour" in call.params]
    rows = [one["behaviour"][1] for one in params if one["behaviour"][0] == cluster]
    return [one for one in rows if SLOW or not one.slow]


@pytest.fixture(scope="module")
def on_embedded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The rows on the embedded cluster."""
    folder = tmp_path_factory.mktemp("embedded")
    asked = embedded(folder)
    try:
        played = Played(asked, chosen(request, "embedded"), folder / "rows")
        yield played
        played.close()
    finally:
        subprocess.run(["scancel", "-u", asked.env["USER"]], env=asked.env, check=False)
        assert left_over(asked) == []


@pytest.fixture(scope="module")
def on_real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The rows on a real SLURM, which is started for them unless one is named by SLUICE_TEST_SLURM_DIR."""
    running = os.environ.get("SLUICE_TEST_SLURM_DIR")
    if missing() and not running and not IN_CI:
        pytest.skip(f"not installed: {', '.join(missing())}")
    if os.geteuid() != 0 and not running and not IN_CI:
        pytest.skip("only root can start a SLURM whose jobs run as their users")
    folder = tmp_path_factory.mktemp("real")
    # Not below pytest's own folder: munged has a user of its own, who may not enter that.
    cluster = Cluster(running or tempfile.mkdtemp(prefix="sluice-slurm-"))
    try:
        cluster.up()
        played = Played(real(folder, cluster), chosen(request, "real"), folder / "rows")
        yield played
        played.close()
    finally:
        if not running:
            cluster.down()


def table() -> Iterator[object]:
    """Every row on every cluster that can show it."""
    for cluster in ("embedded", "real"):
        marks = [pytest.mark.slurm] if cluster == "real" else []
        for one in ROWS:
            if one.on in ("both", cluster):
                skipped = (
                    [pytest.mark.skip("takes more than a minute: SLUICE_TEST_SLOW=1")] if one.slow and not SLOW else []
                )
                yield pytest.param((cluster, one), id=f"{cluster}-{one.why}", marks=marks + skipped)


# A slow row may take two minutes on a real cluster, where time limits are looked at every half a minute.
@pytest.mark.timeout(240)
@pytest.mark.parametrize("behaviour", list(table()))
def test_behaviour(behaviour: tuple[str, Row], request: pytest.FixtureRequest) -> None:
    cluster, one = behaviour
    request.getfixturevalue(f"on_{cluster}").result(one)


def test_every_row_says_why_once() -> None:
    counts = collections.Counter(one.why for one in ROWS)
    assert [why for why, count in counts.items() if count > 1] == []
