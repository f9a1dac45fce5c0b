"""How the memory of a server grows while it is used: samples, and a line through those of the second half."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

EVERY_S = 5.0
# What a work may leave: its document in the indexes, and its jobs, two or three, in the list for six hours.
WORK_KB = 12.0
# Memory that grows by less in an hour is flat.
HOUR_MB = 2.0
# In less than this caches still fill.
TELLING_H = 0.4


class Sample(NamedTuple):
    """Memory of the server's own (no file's), and how many works were asked for."""

    at_s: float
    memory_mb: float
    works: int


class Growth(NamedTuple):
    """How memory and works grew by the hour, the memory at the end, and how long the line is."""

    memory_mb: float
    mb_an_hour: float
    works_an_hour: float
    hours: float = 0.0

    @property
    def kb_a_work(self) -> float:
        """What each work has left."""
        return 1000 * self.mb_an_hour / self.works_an_hour if self.works_an_hour else 0.0

    @property
    def is_flat(self) -> bool:
        """Whether memory grew by no more than what is to be kept."""
        return self.mb_an_hour <= HOUR_MB + WORK_KB * self.works_an_hour / 1000

    @property
    def is_leak(self) -> bool:
        """Whether memory grew for so long that it is not caches that fill."""
        return self.hours >= TELLING_H and not self.is_flat

    def __str__(self) -> str:
        return (
            f"{self.memory_mb:.0f} MB, {self.mb_an_hour:+.1f} MB/h with {self.works_an_hour:.0f} works/h: "
            f"{self.kb_a_work:.1f} KB a work, {'flat' if self.is_flat else 'not flat'}"
        )


def measure_growth(samples: Sequence[Sample]) -> Growth | None:
    """Fit a line through the second half by least squares; None of too few."""
    half = [sample for sample in samples if 2 * sample.at_s >= samples[0].at_s + samples[-1].at_s]
    if len(half) < 3:
        return None
    hours = [sample.at_s / 3600 for sample in half]
    lines = [statistics.linear_regression(hours, [sample[column] for sample in half]) for column in (1, 2)]
    memory_mb = lines[0].slope * hours[-1] + lines[0].intercept
    return Growth(memory_mb, lines[0].slope, lines[1].slope, hours[-1] - hours[0])


def read_own_mb(pid: int) -> float:
    """Read the memory that is the process's own: proc(5), RssAnon."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6


class Sampler(threading.Thread):
    """Samples a process every few seconds until it is told to end."""

    def __init__(self, pid: int, count_works: Callable[[], int]) -> None:
        super().__init__(name="sampler", daemon=True)
        self.pid, self.count_works = pid, count_works
        self.samples: list[Sample] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Sample."""
        while not self.over.wait(EVERY_S):
            self.samples.append(Sample(time.monotonic(), read_own_mb(self.pid), self.count_works()))

    def end(self) -> Growth | None:
        """End sampling; return how memory grew."""
        self.over.set()
        self.join()
        return measure_growth(self.samples)
