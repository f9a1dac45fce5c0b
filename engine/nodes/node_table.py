"""The nodes of a cluster with the jobs that run there, ready to be listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.ids import expand_hosts
from slurm_shim.parse import FINISHED, WAITING
from slurm_shim.resources import count_gpus_in_use
from store.indexes.bodies import BoundedCache
from store.jsons import dump_json
from store.views import s9s_nodes

KEPT_PAGES_BYTES = 8_000_000


class NodeTable:
    """The rows of nodes, made once for each change of the snapshot.

    `jobs` are the rows of jobs at work by node, `gpus` what they hold there, `pieces` the rows of the list as bytes,
    `pages` answers that were made of them.
    """

    def __init__(self) -> None:
        self.version = -1
        self.nodes: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.gpus: dict[str, int] = {}
        self.pieces: dict[str, bytes] = {}
        self.pages = BoundedCache(KEPT_PAGES_BYTES)
        self._hosts: dict[str, list[str]] = {}  # by the expressions that jobs at work have

    def follow_snapshot(self, cluster: Cluster) -> NodeTable:
        """Bring the rows up to date; raise SlurmUnreachable without nodes."""
        snapshot = cluster.snapshot
        if not snapshot.nodes:
            raise SlurmUnreachable("scontrol", snapshot.nodes_error or "SLURM has not told its nodes yet")
        if self.version != snapshot.version:
            self.nodes = {node["name"]: node for node in snapshot.nodes}
            at_work = [job for job in snapshot.jobs.values() if job["nodes"] and is_at_work(job)]
            self._group_jobs(at_work)
            self.gpus = count_gpus_in_use(self.nodes, at_work)
            self.pieces = {name: dump_json(self.to_json(name)) for name in self.nodes}
            self.pages.clear()
            self.version = snapshot.version
        return self

    def to_json(self, name: str) -> dict[str, Any]:
        """Build the node of this name, as the list has it."""
        job_ids = [job["job_id"] for job in self.jobs.get(name, ())]
        return s9s_nodes.to_node_json(self.nodes[name], job_ids, self.gpus[name])

    def _group_jobs(self, at_work: Iterable[dict[str, Any]]) -> None:
        hosts, self.jobs = self._hosts, {}
        self._hosts = {}
        for job in at_work:
            text = job["nodes"]
            names = self._hosts[text] = hosts.get(text) or self._hosts.get(text) or expand_hosts(text)
            for name in names:
                self.jobs.setdefault(name, []).append(job)


def is_at_work(job: dict[str, Any]) -> bool:
    """Return whether a job holds its nodes."""
    return job["state"] not in WAITING and job["state"] not in FINISHED
