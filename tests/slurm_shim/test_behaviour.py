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
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.behaviour import listings, lives, nodes, options, refusals, sharing, submissions
from tests.behaviour.clusters import Asked, real, start_embedded
from tests.behaviour.row import Row, RowFolder, play
from tests.cluster.real import Cluster

ROWS: tuple[Row, ...] = (
    *lives.ROWS, *nodes.ROWS, *sharing.ROWS, *submissions.ROWS, *options.ROWS, *listings.ROWS, *refusals.ROWS,
)  # fmt: skip
IN_CI = os.environ.get("CI") == "true"
SLOW = IN_CI or bool(os.environ.get("SLUICE_TEST_SLOW"))


class Played:
    """The chosen rows of one cluster, being played in threads."""

    def __init__(self, asked: Asked, rows: list[Row], folder: Path) -> None:
        self._pool = ThreadPoolExecutor(asked.threads)
        self._results: dict[str, Future[None]] = {row.why: Future() for row in rows}
        lanes: dict[str, list[Row]] = collections.defaultdict(list)
        for row in rows:
            lanes[row.lane or row.why].append(row)
        # Long lanes first: what waits longest should not be begun last.
        numbers = {row.why: number for number, row in enumerate(rows)}
        for lane in sorted(lanes.values(), key=lambda lane: (not lane[0].slow, -len(lane))):
            places = [self._place(asked, folder / f"row{numbers[row.why]}") for row in lane]
            self._pool.submit(self._play, lane, places)

    @staticmethod
    def _place(asked: Asked, folder: Path) -> RowFolder:
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
        return RowFolder(asked.name, asked.env, folder, known)

    def _play(self, lane: list[Row], places: list[RowFolder]) -> None:
        for row, place in zip(lane, places, strict=True):
            try:
                play(row, place)
            except BaseException as error:
                self._results[row.why].set_exception(error)
            else:
                self._results[row.why].set_result(None)

    def result(self, row: Row) -> None:
        """Wait for the row; raises what it raised."""
        self._results[row.why].result()

    def close(self) -> None:
        """Wait for what is played, and play no other row."""
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
    deadline = time.monotonic() + 120
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
    rows = [parameter["behaviour"][1] for parameter in params if parameter["behaviour"][0] == cluster]
    return [row for row in rows if SLOW or not row.slow]


@pytest.fixture(scope="module")
def on_embedded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The rows on the embedded cluster."""
    folder = tmp_path_factory.mktemp("embedded")
    asked = start_embedded(folder)
    try:
        played = Played(asked, chosen(request, "embedded"), folder / "rows")
        yield played
        played.close()
    finally:
        subprocess.run(["scancel", "-u", asked.env["USER"]], env=asked.env, check=False)
        assert left_over(asked) == []


@pytest.fixture(scope="module")
def on_real(
    request: pytest.FixtureRequest, real_slurm: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    """The rows on a real SLURM."""
    folder = tmp_path_factory.mktemp("real")
    played = Played(real(folder, real_slurm), chosen(request, "real"), folder / "rows")
    yield played
    played.close()


def table() -> Iterator[object]:
    """Every row on every cluster that can show it."""
    for cluster in ("embedded", "real"):
        marks = [pytest.mark.slurm] if cluster == "real" else []
        for row in ROWS:
            if row.on in ("both", cluster):
                skipped = (
                    [pytest.mark.skip("takes more than a minute: SLUICE_TEST_SLOW=1")] if row.slow and not SLOW else []
                )
                yield pytest.param((cluster, row), id=f"{cluster}-{row.why}", marks=marks + skipped)


@pytest.mark.parametrize("behaviour", list(table()))
def test_behaviour(behaviour: tuple[str, Row], request: pytest.FixtureRequest) -> None:
    cluster, row = behaviour
    request.getfixturevalue(f"on_{cluster}").result(row)


def test_every_row_says_why_once() -> None:
    counts = collections.Counter(row.why for row in ROWS)
    assert [why for why, count in counts.items() if count > 1] == []
