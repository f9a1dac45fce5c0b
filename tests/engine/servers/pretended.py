"""A real server over a real store whose one cluster is pretended: for tests of what engine/ does with both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from engine.loop import connect_clusters
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.commands import Needs
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.parse import Job
from slurm_shim.programs import Answer
from store import access
from store.config.settings import Settings
from store.documents import Run, Sweep
from store.rules import sweeps
from store.rules.changes import Filter
from tests import pretended
from tests.engine.servers.opened import close_at_end

HERE = "here"
CALLER = access.Caller("ann", access.INCLUDED["admin"])
# One job, whose script shows the value of its argument.
WORKFLOW = "name: flow\nargs: {n: 1}\njobs:\n  - {name: a, command: 'echo {{ n }}'}\n"
TWO_JOBS = "name: two\njobs:\n  - {name: a, command: 'true'}\n  - {name: b, command: 'true', depends_on: [a]}\n"
# What a store has in its workflows/: a file with one job, a file where job b follows job a.
FLOW = {"store/workflows/flow.yaml": WORKFLOW}
TWO = {"store/workflows/two.yaml": TWO_JOBS}
SWEEP_UID = "0123456789ab8def8123abcd"
# A row that is shown again within this is of the same job.
AGAIN_S = 60


class Slurm(pretended.Cluster):
    """The commands of a cluster that takes every job, unless `refusal` is to be raised."""

    def __init__(self) -> None:
        super().__init__()
        self.named = HERE
        self.partition_rows: list[dict[str, Any]] = []
        self.submitted: list[tuple[str, dict[str, Any]]] = []
        self.secrets: list[dict[str, str]] = []  # of each submission
        self.cancelled: list[str] = []
        self.changes: list[list[str]] = []  # what changed jobs, and what SLURM says of it
        self.said = Answer(0, "", "")
        self.refusal: Exception | None = None

    def sbatch(self, script: str, options: Mapping[str, Any], _words: Sequence[str], needs: Needs) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.submitted.append((script, dict(options)))
        self.secrets.append(dict(needs.secrets))
        return str(100 + len(self.submitted))

    def scancel(self, job_ids: Sequence[str]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.cancelled += job_ids

    def run_for_jobs(self, argv: list[str], _timeout_s: float) -> Answer:
        self.changes.append(argv)
        if self.refusal is not None:
            raise self.refusal
        return self.said

    def list_submitted(self, _since: float) -> list[Job]:
        return []

    def list_partitions(self) -> list[dict[str, Any]]:
        return self.partition_rows


class World:
    """A server, and the cluster that it speaks to."""

    def __init__(self, server: Server, slurm: Slurm) -> None:
        self.server, self.slurm, self.store = server, slurm, server.store
        self.read_changes()

    @property
    def cluster(self) -> Cluster:
        return self.server.cluster

    async def show_queue(self, *rows: Job) -> None:
        """Let the queue have these jobs from now on, and the server see it.

        One that is shown again was submitted when it was, though its row is made anew in another second.
        """
        submitted_at = {row["job_id"]: row["submit_time"] for row in self.slurm.rows}
        for row in rows:
            before, at = submitted_at.get(row["job_id"]), row["submit_time"]
            if before is not None and at is not None and before < at < before + AGAIN_S:
                row["submit_time"] = before
        self.slurm.failure, self.slurm.rows = None, list(rows)
        await self.cluster.snapshot.refresh()

    async def lose_cluster(self) -> None:
        """Let the cluster answer no more, and the server notice."""
        self.slurm.failure = SlurmUnreachable("squeue", "nobody there")
        await self.cluster.snapshot.refresh()

    def read_changes(self, *kinds: str) -> None:
        """Read changes of these kinds from now on; of all kinds if none is named."""
        self.reader = self.server.changes.read(Filter(frozenset(kinds)))

    def take_changes(self) -> list[tuple[str, str, str]]:
        """Take kind, id and action of all changes since the last time."""
        found = []
        while (change := self.reader.take()) is not None:
            found.append((change.kind, change.id, change.action))
        return found


@asynccontextmanager
async def open_server(
    root: Path, files: Mapping[str, str] | None = None, slurm: Slurm | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Open a server over a store with these files below `root`; nothing goes on in it by itself."""
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "store" / "workflows").mkdir(parents=True, exist_ok=True)  # else it would get examples
    server = Server(Settings(store=root / "store", system_config=root / "none.json", **settings))
    slurm = slurm or Slurm()
    server.pace.set_bounds(1_000_000, 4)
    server.store.open()
    async with close_at_end(server):
        with patch("engine.clusters.choose_cluster", lambda *_: (HERE, slurm)):
            await connect_clusters(server)
        yield World(server, slurm)


def make_sweep(cells: int = 3, **more: Any) -> Sweep:
    """Make sweep 7 of so many cells, all of which wait."""
    given: dict[str, Any] = {
        "id": "7", "uid": SWEEP_UID, "name": "flow", "workflow_name": "flow", "workflow_text": WORKFLOW,
        "cluster": HERE, "matrix": {"n": list(range(cells))}, "cell_count": cells,
        "waiting": sweeps.format_ranges(range(cells)), "started_at": "2026-01-01T00:00:00Z", "max_parallel": 2,
    }  # fmt: skip
    return Sweep(**(given | more))


def to_cell_id(index: int) -> str:
    """Convert the place of a cell of that sweep to its id."""
    return sweeps.make_cell_id(SWEEP_UID, index)


def make_cell(index: int, **more: Any) -> Run:
    """Make the run of a cell of that sweep."""
    return Run(**{"id": to_cell_id(index), "workflow_name": "flow", "cluster": HERE, "sweep_run_id": 7, **more})
