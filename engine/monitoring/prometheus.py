"""What Prometheus asks for: everything that can be measured, as text.

Labels are names of operations, commands, partitions and states; those of users only where config.yaml says so.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.monitoring.request_counts import BUCKETS_S, RequestCounts
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.parse import FINISHED, Job
from slurm_shim.resources import ClusterCounts
from store.indexes.bodies import Answer
from store.rules.nodes import states

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# What jobs wait for that name several partitions, or one that is gone.
OTHER = "other"


async def write_metrics(server: Server) -> Answer:
    """Write all metrics as Prometheus reads them."""
    cluster, users = server.cluster, None
    if server.store.config.metrics.by_user:
        users = await asyncio.to_thread(_count_users, list(cluster.snapshot.jobs.values()))
    collector = ServerCollector(server, cluster, await cluster.fetch_counts(), users)
    text = write_counts(server.requests) + generate_latest(collector)
    return Answer(text, media_type=MEDIA_TYPE)


def write_counts(requests: RequestCounts) -> bytes:
    """Write what this process takes, and the requests that it answered."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(RequestCollector(requests))
    return generate_latest(registry)


class RequestCollector(Collector):
    """The requests of one server."""

    def __init__(self, requests: RequestCounts) -> None:
        self.requests = requests

    def collect(self) -> Iterator[Metric]:
        """Yield both metrics."""
        counter = CounterMetricFamily("sluice_requests", "Requests that were answered.", labels=["operation", "status"])
        for (operation, status), count in self.requests.counts.items():
            counter.add_metric([operation, str(status)], count)
        histogram = HistogramMetricFamily(
            "sluice_request_seconds",
            "Time to the end of an answer; not of streams and WebSockets.",
            labels=["operation"],
        )
        for operation, times in self.requests.times.items():
            counts = itertools.accumulate(times[:-1])
            names = ["+Inf" if bound == BUCKETS_S[-1] else str(bound) for bound in BUCKETS_S]
            histogram.add_metric([operation], list(zip(names, counts, strict=True)), times[-1])
        yield from (counter, histogram)


def _count_users(jobs: Iterable[Job]) -> Counter[tuple[str, str]]:
    return Counter((job["user"] or "", job["state"]) for job in jobs if job["state"] not in FINISHED)


class ServerCollector(Collector):
    """What is known of a server at this moment, from memory alone.

    `counts` are those of the cluster, `users` how many rows of which user are in which state, where that is told.
    """

    def __init__(
        self, server: Server, cluster: Cluster, counts: ClusterCounts, users: Counter[tuple[str, str]] | None
    ) -> None:
        self.server, self.cluster, self.counts, self.users = server, cluster, counts, users

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._collect_slurm()
        yield from self._collect_queue()
        yield from self._collect_nodes()
        yield from self._collect_store()

    def _collect_slurm(self) -> Iterator[Metric]:
        snapshot, calls = self.cluster.snapshot, self.cluster.slurm.calls.list_counts()
        yield _make_gauge("sluice_slurm_up", "Whether SLURM answers.", 0 if snapshot.problem else 1)
        if snapshot.age_s is not None:
            yield _make_gauge("sluice_snapshot_age_seconds", "Age of what is known of the queue.", snapshot.age_s)
        for place, name, text in (
            (0, "sluice_slurm_calls", "Calls of SLURM's programs."),
            (1, "sluice_slurm_failures", "Calls that were refused or not answered."),
        ):
            family = CounterMetricFamily(name, text, labels=["command"])
            for command, counts in calls.items():
                family.add_metric([command], counts[place])
            yield family

    def _collect_queue(self) -> Iterator[Metric]:
        server, cluster = self.server, self.cluster
        known = {partition["name"] for partition in cluster.snapshot.partitions}
        queue: Counter[tuple[str, ...]] = Counter()
        for (partition, state), number in self.counts.queue.items():
            queue[partition if partition in known else OTHER, state] += number
        labels = ["partition", "state"]
        yield _make_gauges("sluice_queue_jobs", "Jobs that have not ended; tasks one by one.", labels, queue)
        finished = CounterMetricFamily("sluice_ended_jobs", "Jobs whose end was seen.", labels=["state"])
        for state, number in server.sampler.get_counter(cluster).finished.items():
            finished.add_metric([state], number)
        yield finished
        if self.users is not None:
            yield _make_gauges("sluice_user_jobs", "Rows of the queue by user.", ["user", "state"], self.users)

    def _collect_nodes(self) -> Iterator[Metric]:
        cluster, counts, labels = self.cluster, self.counts, ["partition", "state"]
        yield _make_gauges("sluice_partition_cpus", "CPUs of each partition.", labels, counts.partition_cpus)
        yield _make_gauges("sluice_partition_gpus", "GPUs of each partition.", labels, counts.partition_gpus)
        nodes = {(state,): number for state, number in states.count_states(cluster.snapshot.nodes).items()}
        yield _make_gauges("sluice_nodes", "Nodes by state.", ["state"], nodes)
        if not cluster.snapshot.nodes:
            return
        memory = None if counts.memory_mb is None else tuple(2**20 * value for value in counts.memory_mb)
        for name, pair in (("cpus", counts.cpus), ("memory_bytes", memory), ("gpus", counts.gpus)):
            parts = {} if pair is None else {("allocated",): pair[0], ("total",): pair[1]}
            yield _make_gauges(f"sluice_cluster_{name}", "Of nodes that are not down.", ["part"], parts)

    def _collect_store(self) -> Iterator[Metric]:
        store, server = self.server.store, self.server
        yield _make_gauges(
            "sluice_runs", "Runs, cells among them.", ["status"], _to_labels(server.run_list.count_statuses())
        )
        sweeps = Counter(entry.document.status for entry in store.sweeps.iterate_entries())
        yield _make_gauges("sluice_sweeps", "Sweeps by status.", ["status"], _to_labels(sweeps))
        outbox = Counter(entry.document.status for entry in store.deliveries.iterate_entries())
        yield _make_gauges("sluice_deliveries", "Notifications by status.", ["status"], _to_labels(outbox))
        alerts = (entry.document for entry in store.alerts.iterate_entries())
        current = Counter(alert.severity for alert in alerts if not alert.resolved)
        yield _make_gauges("sluice_alerts", "Alerts that are not resolved.", ["severity"], _to_labels(current))
        yield _make_gauge("sluice_store_problems", "Files that are wrong.", store.count_problems())
        yield _make_gauge("sluice_store_failing", "Whether writes fail.", 1 if store.files.failure else 0)
        yield _make_gauge("sluice_event_readers", "Who reads the change feed.", len(server.changes.readers))
        yield CounterMetricFamily("sluice_changes", "Changes that were told.", value=server.changes.position.number)


def _to_labels(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(name,): number for name, number in counts.items()}


def _make_gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _make_gauges(name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
