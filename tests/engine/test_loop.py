"""A pass of the loop: what it begins, and that documents at rest cost nothing. The cluster is pretended."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from engine import loop
from engine.open_documents import LostDocuments, OpenDocuments
from engine.tasks import Locks, Tasks
from store.kinds import Key, OpenDocument
from tests.pretended import asynchronous

MANY = 5_000


async def list_none(_server: Any) -> list[str]:
    """List no reports that accounting is asked about."""
    return []


class Pretended:
    """A server with a cluster that answers, and what is done for its documents, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        self.settled: list[list[str]] = []
        self.wake = asyncio.Event()
        self.open_documents = OpenDocuments(self.wake.set)
        self.lost_documents = LostDocuments()
        self.tasks, self.locks = Tasks(self.open_documents.mark, lambda _key: None), Locks()
        snapshot = SimpleNamespace(
            list_missing=lambda job_ids: [job_id for job_id in ["7"] if job_id in job_ids], version=1
        )
        self.report_index = SimpleNamespace(is_due=lambda _version, _pause_s: True)
        self.cluster: Any = SimpleNamespace(
            name="here", is_answering=True, snapshot=snapshot, resolve_missing=self.settle
        )
        self.clusters = SimpleNamespace(poll_needed=lambda _names: None, find=lambda name: self.by_name.get(name))
        self.by_name = {"here": self.cluster}
        self.answering: dict[str, Any] = {}
        self.notifications, self.inbox = (
            SimpleNamespace(list_foreign_watches=list),
            SimpleNamespace(is_due=lambda _pause_s: True),
        )
        self.sampler = SimpleNamespace(follow_jobs=lambda _cluster, _job_ids: None)
        self.store = SimpleNamespace(
            by_kind={"job": {}, "run": {}},
            files=SimpleNamespace(find_loss=lambda: None),
            note_problems=lambda _folder, _reasons: None,
        )
        monkeypatch.setattr(loop, "RECONCILERS", {"job": self.follow, "run": self.follow})
        monkeypatch.setattr("engine.start.empty_inbox", self.empty_inbox)
        monkeypatch.setattr("engine.reports.settle_ended_jobs", list_none)
        monkeypatch.setattr("engine.reports.on_jobs_changed", lambda _server, _job_ids: None)
        monkeypatch.setattr("engine.change_sources.add_jobs", lambda _server, _cluster, _job_ids: None)
        monkeypatch.setattr("engine.change_sources.add_nodes", lambda _server, _cluster: None)

    async def follow(self, _server: Any, name: str) -> None:
        self.done[name] += 1

    async def settle(self, job_ids: list[str]) -> None:
        self.settled.append(job_ids)

    async def empty_inbox(self, _server: Any) -> None:
        """There is none."""

    async def reconcile(self) -> Counter[str]:
        """What one pass does for which document."""
        self.done.clear()
        await loop.reconcile(self)  # type: ignore[arg-type]
        await asyncio.gather(*self.tasks.running.values())
        return Counter(self.done)


def fill(server: Pretended) -> None:
    for number in range(MANY):
        server.open_documents.put(Key("job", f"r{number}"), OpenDocument("here", [str(number)]))


@asynchronous
async def test_what_a_request_works_on_is_looked_at_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    server, held, other = Pretended(monkeypatch), Key("job", "held"), Key("job", "other")
    for number, key in enumerate((held, other)):
        server.open_documents.put(key, OpenDocument("here", [str(number)]))
    async with server.locks.hold(held):
        assert await server.reconcile() == {"other": 1}
        assert await server.reconcile() == {}
    assert await server.reconcile() == {"held": 1}


@asynchronous
async def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Pretended(monkeypatch)
    fill(server)
    assert sum((await server.reconcile()).values()) == MANY, "everything once after a start"
    assert await server.reconcile() == {}, "a pass in which nothing changed does nothing"
    loop.on_jobs_changed(server, server.cluster, {"17"})  # type: ignore[arg-type]
    assert await server.reconcile() == {"r17": 1}, "one changed job leads to one"
    assert server.settled[-1] == ["7"], "accounting is only asked about what left the queue"


def test_documents_at_rest_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    at_rest(monkeypatch)


@asynchronous
async def away(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Pretended(monkeypatch)
    server.open_documents.put(Key("run", "a"), OpenDocument("here", ["1"]))
    server.cluster.is_answering = False
    assert await server.reconcile() == {}
    server.cluster.is_answering = True
    assert await server.reconcile() == {"a": 1}
    server.cluster.is_answering = False
    await server.reconcile()
    server.cluster.is_answering = True
    assert await server.reconcile() == {"a": 1}, "whatever happened while it was away"


def test_a_cluster_that_answers_again_is_looked_at_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    away(monkeypatch)
