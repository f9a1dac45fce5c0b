"""What a search over ten thousand jobs costs, and the counting of a request."""

from __future__ import annotations

import statistics
import time

from engine.monitoring.request_counts import RequestCounts
from engine.search import global_search
from engine.search.text_cache import TextCache
from slurm_shim.job_groups import build_waiting_job

JOBS, USERS, ROUNDS, REQUESTS = 10_000, 2000, 20, 100_000
SEARCH_MS, REQUEST_US = 20.0, 20.0
QUERIES = (["user7"], ["gpu"], ["user7", "gpu"], ["nothing"])


def main() -> None:
    """Print the medians and their bounds."""
    rows = [
        build_waiting_job(str(number), name=f"simulation_{number % 97}", user=f"user{number % 50}", partition="gpu")
        for number in range(JOBS)
    ]
    accounts = {f"user{number}": ["physics", "chemistry"] for number in range(USERS)}
    caches = TextCache(), TextCache(), TextCache()
    sources = global_search.Sources(rows, [], [], [], [], accounts, *caches, 1, 1)
    for words in QUERIES:
        took_ms = []
        for _ in range(ROUNDS + 1):
            began = time.thread_time()
            global_search.find_results(sources, words, list(global_search.SHELVES), 20, "/v1")
            took_ms.append(1000 * (time.thread_time() - began))
        middle = statistics.median(took_ms[1:])
        what = f"search for {' '.join(words)}"
        print(f"{what:<28} {middle:6.1f} ms of CPU over {JOBS} jobs (first {took_ms[0]:.0f}); at most {SEARCH_MS:g}")
    counts, began = RequestCounts(), time.perf_counter()
    for _ in range(REQUESTS):
        counts.observe_request("srunx_list_jobs", 200, 0.01)
    each_us = 1e6 * (time.perf_counter() - began) / REQUESTS
    print(f"counting a request {each_us:6.1f} us; at most {REQUEST_US:g}")


if __name__ == "__main__":
    main()
