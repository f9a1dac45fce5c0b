"""A real server over a real store, whose one cluster is pretended: for tests of what engine/ does with both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from engine.change_sources import follow_changes
from engine.server import Server
from slurm_shim import cluster
from slurm_shim.pace import Pace
from slurm_shim.parse import Job
from store import access
from store.config.settings import Settings
from store.documents import Run, Sweep
from store.rules import sweeps
from store.rules.changes import Filter
from tests import pretended

HERE = "here"
CALLER = access.Caller("ann", access.INCLUDED["admin"])
# Two cells; the second axis value is seen in the script.
WORKFLOW = "name: flow\nargs: {n: 1}\njobs:\n  - {name: a, command: 'echo {{ n }}'}\n"
TWO_JOBS = "name: two\njobs:\n  - {name: a, command: 'true'}\n  - {name: b, command: 'true', depends_on: [a]}\n"
UID = "0123456789ab8def8123abcd"


class Slurm(pretended.Cluster):
    """The commands of a cluster that takes every job, unless `refusal` is to be raised."""

    def __init__(self) -> None:
        super().__init__()
        self.named = HERE
        self.submitted: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[str] = []
        self.refusal: Exception | None = None

    def sbatch(self, script: str, options: Mapping[str, Any], _words: Sequence[str], _folders: Sequence[str]) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.submitted.append((script, dict(options)))
        return str(100 + len(self.submitted))

    def scancel(self, job_ids: Sequence[str]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.cancelled += job_ids

    def list_submitted(self, _since: float) -> list[Job]:
        return []


class World:
    """A server, and the cluster that it speaks to."""

    def __init__(self, server: Server, slurm: Slurm, root: Path) -> None:
        self.server, self.slurm, self.root = server, slurm, root

    @property
    def cluster(self) -> cluster.Cluster:
        return self.server.cluster

    async def show(self, *rows: Job) -> None:
        """From now on the queue has these jobs, and the server has seen it."""
        self.slurm.failure, self.slurm.rows = None, list(rows)
        await self.cluster.snapshot.refresh()

    async def lose(self) -> None:
        """The cluster does not answer any more, and the server has noticed."""
        self.slurm.failure = cluster.SlurmUnreachable("squeue", "nobody there")
        await self.cluster.snapshot.refresh()

    def take_changes(self) -> list[tuple[str, str, str]]:
        """Kind, id and action of what the feed has told since this was called last."""
        found = []
        while (change := self.reader.take()) is not None:
            found.append((change.kind, change.id, change.action))
        return found

    def follow_feed(self, *kinds: str) -> None:
        """Read changes of these kinds from now on."""
        self.reader = self.server.changes.read(Filter(frozenset(kinds)))


@asynccontextmanager
async def opened(root: Path, files: Mapping[str, str] | None = None, **settings: Any) -> AsyncIterator[World]:
    """A server over a store with these files below `root`; nothing goes on in it by itself."""
    for name, text in {"store/workflows/flow.yaml": WORKFLOW, **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    server = Server(Settings(store=root / "store", system_config=root / "none.json", **settings))
    slurm = Slurm()
    server.clusters._local = (HERE, slurm)  # type: ignore[assignment]
    server.pace = Pace(1_000_000, 4)
    server.follow()
    server.store.open()
    async with AsyncExitStack() as undo:
        for pool in (server.pool, server.browsing, server.syncing):
            undo.callback(pool.shutdown)
        undo.push_async_callback(server.store.close)
        undo.push_async_callback(server.notifications.outbox.stop)
        undo.callback(server.renderer.close)
        undo.push_async_callback(server.clusters.close)
        undo.push_async_callback(server.tasks.stop)
        follow_changes(server)
        await server.cluster.snapshot.refresh()
        yield World(server, slurm, root)


def make_sweep(cells: int = 3, **more: Any) -> Sweep:
    """A sweep of so many cells, all of which wait."""
    given: dict[str, Any] = {
        "id": "7", "uid": UID, "name": "flow", "workflow_name": "flow", "workflow_text": WORKFLOW, "cluster": HERE,
        "matrix": {"n": list(range(cells))}, "cell_count": cells, "waiting": sweeps.format_ranges(range(cells)),
        "started_at": "2026-01-01T00:00:00Z", "max_parallel": 2,
    }  # fmt: skip
    return Sweep(**(given | more))


def make_cell(index: int, **more: Any) -> Run:
    """The run of a cell of this sweep."""
    return Run(
        **{"id": sweeps.make_cell_id(UID, index), "workflow_name": "flow", "cluster": HERE, "sweep_run_id": 7, **more}
    )


def cell_id(index: int) -> str:
    """The id of a cell of this sweep."""
    return sweeps.make_cell_id(UID, index)
