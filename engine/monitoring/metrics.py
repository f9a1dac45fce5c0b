"""What the cluster has, does and did: now, and over time."""

from __future__ import annotations

from typing import Any

from engine import jobs
from engine.server import Server
from slurm_shim.cluster import Cluster
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules.monitoring import samples
from store.rules.nodes import states
from store.views import s9s_metrics


async def get_cluster_metrics(server: Server) -> Answer:
    """Get how the cluster is used, its jobs by state, and how they wait.

    Raises SlurmUnreachable before SLURM's first answer.
    """
    age_s = jobs.look_at(server.cluster)
    if age_s is None:  # nothing is known, which is not that there is nothing
        server.cluster.check_answering()
    return Answer(Body(dump_json(await build_cluster_metrics(server))), age_s)


async def build_cluster_metrics(server: Server) -> dict[str, Any]:
    """Build the metrics of the cluster in force, from memory alone."""
    cluster, sampler = server.cluster, server.sampler
    counts, now = await cluster.fetch_counts(), sampler.clock()
    rows = sampler.list_rows(cluster, now - samples.DAY_S, now + 1)
    # Times of jobs are those of SLURM's clock.
    queue = s9s_metrics.to_queue_json(rows, to_own_clock(cluster, counts.waiting_since), now)
    return s9s_metrics.to_cluster_json(
        cluster.snapshot.taken_at_epoch,
        (counts.cpus, counts.memory_mb, counts.gpus),
        counts.jobs,
        sampler.get_counter(cluster).finished,
        states.count_states(cluster.snapshot.nodes) if cluster.snapshot.nodes else None,
        queue,
    )


def to_own_clock(cluster: Cluster, at: float | None) -> float | None:
    """Convert a time of SLURM's clock to ours."""
    return None if at is None else at - cluster.slurm.clock_offset_s


def get_performance_metrics(server: Server, start_time: str | None, end_time: str | None, interval: str) -> Answer:
    """Get the use of the cluster over a period, from our own samples."""
    sampler = server.sampler
    period = samples.make_period(start_time, end_time, interval, sampler.clock())
    rows = sampler.list_rows(server.cluster, period.first, period.end)
    buckets = samples.build_buckets(rows, period)
    return Answer(Body(dump_json({"metrics": buckets, "interval": interval, "count": len(buckets)})))
