"""Samples in memory, as few numbers each, in order of time."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort

from store.rules.monitoring.samples import Row, Sample, to_row

# Of one sample some 40 bytes; as many as are kept on disk.
_FIELDS = len(Row._fields) - 1


class SampleIndex:
    """The samples of each cluster by time, and the last one of each."""

    def __init__(self) -> None:
        self.version = 0
        self.last: dict[str, Sample] = {}
        self._times: dict[str, array[float]] = {}
        self._columns: dict[str, list[array[float]]] = {}

    def add(self, sample: Sample) -> None:
        """Add a sample; one of the same moment takes no second place."""
        times = self._times.setdefault(sample.cluster, array("d"))
        columns = self._columns.setdefault(sample.cluster, [array("f") for _ in range(_FIELDS)])
        if times and times[-1] >= sample.at:
            place = bisect_left(times, sample.at)
            if times[place] == sample.at:
                return
        else:
            place = len(times)
            self.last[sample.cluster] = sample
        insort(times, sample.at)
        for column, value in zip(columns, to_row(sample)[1:], strict=True):
            column.insert(place, math.nan if value is None else value)
        self.version += 1

    def list_rows(self, cluster: str, since: float, until: float = math.inf) -> list[Row]:
        """List the samples of a cluster from `since` on, before `until`."""
        times = self._times.get(cluster)
        if times is None:
            return []
        part = slice(bisect_left(times, since), bisect_left(times, until))
        columns = [column[part] for column in self._columns[cluster]]
        return [
            Row(at, _restore_share(cpu), _restore_share(memory), _restore_share(gpu), *events)
            for at, cpu, memory, gpu, *events in zip(times[part], *columns, strict=True)
        ]

    def drop_before(self, at: float) -> None:
        """Drop samples from before this time."""
        for cluster, times in self._times.items():
            count = bisect_left(times, at)
            for column in (times, *self._columns[cluster]):
                del column[:count]


def _restore_share(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
