"""What a search over ten thousand jobs costs, and the counting of a request."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from engine.monitoring.request_counts import RequestCounts
from engine.search import global_search
from engine.search.text_cache import TextCache
from slurm_shim.job_groups import build_waiting_job
from tests.bench.figures import Bench, Figure
from tests.bench.queue import time_ms

JOBS, USERS, ROUNDS, REQUESTS = 10_000, 2000, 20, 20_000
SEARCH_MS, REQUEST_US = 20.0, 20.0
QUERIES = (["user7"], ["gpu"], ["user7", "gpu"], ["nothing"])


def measure_search(_folder: Path) -> Iterator[Figure]:
    """Measure searches over a long queue, and the counting of requests."""
    rows = [
        build_waiting_job(str(number), name=f"simulation_{number % 97}", user=f"user{number % 50}", partition="gpu")
        for number in range(JOBS)
    ]
    accounts = {f"user{number}": ["physics", "chemistry"] for number in range(USERS)}
    caches = TextCache(), TextCache(), TextCache()
    sources = global_search.Sources(rows, [], [], [], ([], [], []), accounts, *caches, 1, 1)
    shelves = list(global_search.SHELVES)
    for words in QUERIES:
        search = functools.partial(global_search.find_results, sources, words, shelves, 20, "/v1")
        search()  # what is searched is made once
        yield Figure(
            f"search {JOBS} jobs for {' '.join(words)}", "ms CPU", time_ms(search, ROUNDS), None, SEARCH_MS, True
        )
    counts = RequestCounts()

    def count_requests() -> None:
        for _ in range(REQUESTS):
            counts.observe_request("srunx_list_jobs", 200, 0.01)

    took_us = 1000 * time_ms(count_requests, 5) / REQUESTS
    yield Figure("counting a request", "us CPU", took_us, None, REQUEST_US, True)


BENCHES = (Bench("search", "searches over a long queue", measure_search),)
