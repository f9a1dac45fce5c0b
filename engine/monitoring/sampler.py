"""The sampler: what the cluster has and does, a line every minute.

Samples stay in memory too, so that no request reads the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from engine.monitoring.job_counter import Events, JobCounter
from slurm_shim.cluster import Cluster
from slurm_shim.queue.answers import split_changes
from store.config.log_format import Throttle
from store.disk.samples import SampleFiles
from store.documents.configuration import SamplesConfig
from store.errors import StoreError
from store.indexes.samples import SampleIndex
from store.rules.monitoring.samples import DAY_S, Row, Sample, to_row
from store.rules.nodes import states
from store.store import Store

log = logging.getLogger("sluice")

# Old days are looked for so often, in samples.
TIDY_AFTER = 60
# So many jobs are looked at before others have their turn.
AT_ONCE = 1000


class Sampler:
    """The samples of one store, and the counts of its clusters.

    `find_cluster()` gives the cluster in force. `clock` gives epoch seconds.
    """

    def __init__(
        self, store: Store, find_cluster: Callable[[], Cluster], clock: Callable[[], float] = time.time
    ) -> None:
        self.store, self.find_cluster, self.clock = store, find_cluster, clock
        self.files = SampleFiles(store.join_path("samples"), store.files)
        self.index = SampleIndex()
        self._counters: WeakKeyDictionary[Cluster, JobCounter] = WeakKeyDictionary()
        self._beginning: dict[Cluster, asyncio.Task[None]] = {}
        self._failures = Throttle()
        self._is_loaded = False
        self._taken = 0

    @property
    def settings(self) -> SamplesConfig:
        """How often, and for how long."""
        return self.store.config.samples

    async def load(self) -> None:
        """Read the samples that are kept."""
        since = self.clock() - self.settings.keep_days * DAY_S
        found = await asyncio.to_thread(lambda: list(self.files.load(since)))
        for sample in found:
            self.index.add(sample)
        self._is_loaded = True
        self.follow_jobs(self.find_cluster(), None)

    def follow_jobs(self, cluster: Cluster, changed: Iterable[str] | None) -> None:
        """Count what jobs of a cluster did; None stands for all of its jobs."""
        if not self._is_loaded:
            return
        jobs = cluster.snapshot.jobs
        if cluster in self._counters and self._counters[cluster].has_followed and changed is not None:
            self._counters[cluster].follow_jobs(changed, jobs)
        elif cluster in self._beginning:
            self.get_counter(cluster).follow_jobs(changed or (), jobs, goes_on=True)
        elif cluster in self._counters or cluster.snapshot.taken_at_epoch is not None:
            counter = self.get_counter(cluster)
            if len(jobs) <= AT_ONCE:
                counter.follow_jobs(jobs, jobs)
            else:
                self._beginning[cluster] = asyncio.ensure_future(self._begin(cluster, counter))

    async def _begin(self, cluster: Cluster, counter: JobCounter) -> None:
        """Count for the first time what very many jobs did, part by part."""
        try:
            for part in await asyncio.to_thread(
                lambda job_ids: list(split_changes(job_ids)), list(cluster.snapshot.jobs)
            ):
                counter.follow_jobs(part, cluster.snapshot.jobs, goes_on=True)
                await asyncio.sleep(0)
            counter.follow_jobs((), cluster.snapshot.jobs)
        finally:
            del self._beginning[cluster]

    def get_counter(self, cluster: Cluster) -> JobCounter:
        """Return the counts of a cluster, which go on from its last sample."""
        if cluster not in self._counters:
            last = self.index.last.get(cluster.name)
            # Without a sample, what is in the queue now was there before us.
            since = cluster.snapshot.taken_at_epoch or self.clock() if last is None else last.at
            since += cluster.slurm.clock_offset_s
            self._counters[cluster] = JobCounter(since, None if last is None else last.finished)
        return self._counters[cluster]

    async def run_forever(self) -> None:
        """Take a sample in every interval, while SLURM answers."""
        await self.load()
        while True:
            await self.take_sample()
            interval_s = self.settings.interval_s
            await asyncio.sleep(interval_s - self.clock() % interval_s)

    async def take_sample(self) -> Sample | None:
        """Take a sample and write it down; None while SLURM does not answer.

        What could not be written stays in memory.
        """
        cluster = self.find_cluster()
        at = cluster.snapshot.taken_at_epoch
        if not cluster.is_answering or at is None or self._is_stale(cluster):
            return None
        if (beginning := self._beginning.get(cluster)) is not None:
            await asyncio.shield(beginning)
        await self._follow_all(cluster)
        counts, counter = await cluster.fetch_counts(), self.get_counter(cluster)
        events = counter.take_events(cluster.snapshot.jobs)
        has_nodes = cluster.snapshot.nodes_error is None and bool(cluster.snapshot.nodes)
        sample = Sample(
            at,
            cluster.name,
            cpus=counts.cpus if has_nodes else None,
            memory_mb=counts.memory_mb if has_nodes else None,
            gpus=counts.gpus if has_nodes else None,
            **events._asdict(),
            jobs=dict(counts.jobs),
            nodes=states.count_states(cluster.snapshot.nodes) if has_nodes else {},
            finished=dict(counter.finished),
        )
        self.index.add(sample)
        try:
            await self.files.append(sample)
            await self._tidy_days()
        except StoreError as problem:
            if self._failures.admit("samples"):
                log.warning("a sample could not be written: %s", problem)
        return sample

    async def _follow_all(self, cluster: Cluster) -> None:
        """Count what was not told, as after a failure; let others work meanwhile."""
        job_ids = list(cluster.snapshot.jobs)
        for at in range(0, len(job_ids), AT_ONCE):
            self.follow_jobs(cluster, job_ids[at : at + AT_ONCE])
            await asyncio.sleep(0)

    def _is_stale(self, cluster: Cluster) -> bool:
        """Return whether the snapshot was sampled already, or is too old."""
        last, at = self.index.last.get(cluster.name), cluster.snapshot.taken_at_epoch
        return cluster.snapshot.problem is not None or (last is not None and at is not None and last.at >= at)

    async def _tidy_days(self) -> None:
        self._taken += 1
        if self._taken % TIDY_AFTER == 1:
            before = self.clock() - self.settings.keep_days * DAY_S
            self.index.drop_before(before)
            await self.files.remove_old(before)

    def list_rows(self, cluster: Cluster, since: float, until: float) -> list[Row]:
        """List the samples of a period, with what was not sampled yet."""
        rows = self.index.list_rows(cluster.name, since, until)
        counter, now = self._counters.get(cluster), self.clock()
        if counter is not None and counter.events != Events() and since <= now < until:
            rows.append(to_row(Sample(now, cluster.name, **counter.events._asdict())))
        return rows
