"""What becomes an update: jobs that come, change, end, go, and those of another cluster."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from engine.live.update_feed import UpdateFeed
from slurm_shim.job_groups import build_waiting_job
from store.rules.live.subscriptions import parse_subscription


class Cluster(SimpleNamespace):
    """As much of a cluster."""

    __hash__ = object.__hash__


class Listener:
    """One who writes down what it hears."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, str, Any]] = []
        self.versions: list[Any] = []  # of the row, with each update

    def wants(self, channel: str) -> bool:
        return True

    def add_update(self, update: Any, *versions: Any) -> None:
        self.updates.append((update.action, update.resource_id, update.data))
        self.versions.append(versions)


class Server:
    """As much of a server as the feed looks at."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.snapshot = SimpleNamespace(jobs={}, version=0, partitions=[], nodes=[], find=lambda _id: None)
        self.cluster = Cluster(name="here", snapshot=self.snapshot, list_resources=lambda _name: [])
        self.job_index = SimpleNamespace(get=lambda _cluster, job_id: self.entries.get(job_id))
        self.store = SimpleNamespace(alerts=SimpleNamespace(iterate_entries=list))
        self.queue_views: dict[Any, Any] = {}


@pytest.fixture
def parts() -> Iterator[tuple[Any, UpdateFeed, Listener]]:
    server, feed, listener = Server(), UpdateFeed(), Listener()
    feed.listeners.add(listener)
    feed._look_at(server)  # type: ignore[arg-type]
    yield server, feed, listener


def show(server: Any, feed: UpdateFeed, job_id: str, **row: Any) -> None:
    """Have SLURM show a job, or none without a row."""
    server.snapshot.version += 1
    if row:
        server.snapshot.jobs[job_id] = build_waiting_job(job_id, user="alice", partition="gpu", **row)
    else:
        server.snapshot.jobs.pop(job_id, None)
    feed._look_at_job(server, server.cluster, job_id)


def test_the_life_of_a_job_of_others(parts: Any) -> None:
    server, feed, listener = parts
    show(server, feed, "7", state="PENDING", reason="Priority")
    show(server, feed, "7", state="RUNNING", start_time=1_700_000_000, nodes="node[1-2]")
    show(server, feed, "7", state="RUNNING", start_time=1_700_000_000, nodes="node[1-2]", elapsed_s=9)
    show(
        server,
        feed,
        "7",
        state="COMPLETED",
        start_time=1_700_000_000,
        end_time=1_700_000_009,
        nodes="node[1-2]",
        exit_code=0,
    )
    show(server, feed, "7")
    show(server, feed, "7")
    created, started, ended, deleted = listener.updates
    assert created[:2] == ("created", "7") and created[2]["user"] == "alice"
    assert started[2].items() >= {"job_id": "7", "state": "RUNNING", "nodes": ["node1", "node2"]}.items()
    assert "user" not in started[2]
    assert ended[2] == {
        "job_id": "7", "state": "COMPLETED", "end_time": "2023-11-14T22:13:29Z", "exit_code": 0
    }, "as the document shows it"  # fmt: skip
    assert deleted == ("deleted", "7", {"job_id": "7", "state": "COMPLETED"})


def test_who_watches_running_jobs_hears_of_an_end_that_took_its_time(parts: Any) -> None:
    server, feed, listener = parts
    watching = parse_subscription({"channel": "jobs", "filter": {"state": "RUNNING"}}, "sub_1")
    for state in ("PENDING", "RUNNING", "COMPLETING", "COMPLETED"):
        show(server, feed, "7", state=state)
    assert [watching.accepts("jobs", *versions) for versions in listener.versions] == [False, True, True, True]


def test_the_jobs_of_another_cluster_are_no_news(parts: Any) -> None:
    server, feed, listener = parts
    show(server, feed, "7", state="PENDING")
    other = Server()
    other.snapshot.jobs["8"] = build_waiting_job("8", state="PENDING")
    feed._look_at(other)  # type: ignore[arg-type]
    feed._look_at_job(other, other.cluster, "8")  # type: ignore[arg-type]
    assert [update[1] for update in listener.updates] == ["7"]
