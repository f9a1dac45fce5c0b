"""The nodes of a cluster with the jobs that run there, ready to be listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.ids import expand_hosts
from slurm_shim.parse import Job, Node
from slurm_shim.queue.derived import Derived, Picture
from slurm_shim.resources import IDLE, count_gpus_in_use
from store.indexes.bodies import BoundedCache
from store.jsons import dump_json
from store.views import s9s_nodes

KEPT_PAGES_BYTES = 8_000_000


class NodeTable:
    """The nodes of one version of the snapshot.

    `jobs` are the rows of jobs at work by node, `gpus` what they hold there, `pages` answers that were made of them.
    """

    def __init__(self, nodes: Iterable[Node], at_work: Sequence[Job], hosts: Mapping[str, list[str]]) -> None:
        self.nodes = {node["name"]: node for node in nodes}
        self.gpus = count_gpus_in_use(self.nodes, at_work)
        self.pages = BoundedCache(KEPT_PAGES_BYTES)
        self.hosts: dict[str, list[str]] = {}  # by the expressions that jobs at work have
        self.jobs: dict[str, list[Job]] = {}
        for job in at_work:
            text = job["nodes"]
            names = self.hosts[text] = hosts.get(text) or self.hosts.get(text) or expand_hosts(text)
            for name in names:
                self.jobs.setdefault(name, []).append(job)
        self._pieces: dict[str, bytes] = {}

    def write_row(self, name: str) -> bytes:
        """Write the row of a node in the list, once."""
        if (piece := self._pieces.get(name)) is None:
            piece = self._pieces[name] = dump_json(self.to_json(name))
        return piece

    def to_json(self, name: str) -> dict[str, Any]:
        """Build the node of this name, as the list has it."""
        job_ids = [job["job_id"] for job in self.jobs.get(name, ())]
        return s9s_nodes.to_node_json(self.nodes[name], job_ids, self.gpus[name])


class NodeTables:
    """The tables of a cluster, made once for each change."""

    def __init__(self, cluster: Cluster) -> None:
        self._snapshot = cluster.snapshot
        self._hosts: dict[str, list[str]] = {}
        self._made = Derived(cluster.snapshot, self._make)

    async def fetch(self) -> NodeTable:
        """Fetch the table as it is now; raise SlurmUnreachable without nodes."""
        if not self._snapshot.nodes:
            raise SlurmUnreachable("scontrol", self._snapshot.nodes_error or "SLURM has not told its nodes yet")
        return await self._made.fetch()

    def _make(self, seen: Picture) -> NodeTable:
        at_work = [job for job in seen.jobs if job["nodes"] and job["state"] not in IDLE]
        table = NodeTable(seen.nodes, at_work, self._hosts)
        self._hosts = table.hosts
        return table
