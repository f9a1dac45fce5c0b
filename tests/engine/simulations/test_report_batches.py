"""Many reports of a simulation are few writes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.simulations import report_batches, workers
from store.errors import StoreFull
from tests.app_client import Client
from tests.engine.simulations.reporting import Worker


def test_many_reports_are_few_writes(quiet_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, folder, writes = Worker(quiet_client, 100), quiet_client.server.store.simulations, 0
    put, pauses = folder.put, asyncio.Semaphore(0)

    async def count_put(*given: Any) -> Any:
        nonlocal writes
        writes += 1
        return await put(*given)

    async def pause(_seconds: float) -> None:
        await pauses.acquire()

    monkeypatch.setattr(folder, "put", count_put)
    monkeypatch.setattr(quiet_client.server, "report_batches", report_batches.ReportBatches(pause))

    async def report() -> list[Any]:
        def change(number: int) -> Any:
            update = {"task_state": "RUNNING", "simulated_primaries": number}
            return workers.update_task(
                quiet_client.server,
                {"simulation_id": worker.id, "update_key": worker.key, "task_id": number, "update_dict": update},
            )

        first = await change(1)  # at once
        others = [asyncio.ensure_future(change(number)) for number in range(2, 102)]
        while quiet_client.server.report_batches._waiting.get(worker.id, []) == [] or len(
            quiet_client.server.report_batches._waiting[worker.id]
        ) < len(others):
            await asyncio.sleep(0)
        pauses.release()
        answers = await asyncio.gather(*others, return_exceptions=True)
        pauses.release()
        return [first, *answers]

    answers = quiet_client.run(report())
    assert writes == 2
    assert [task.simulated_primaries for task in worker.simulation.tasks] == list(range(1, 101))
    assert "Task 101 does not exist" in str(answers[-1]), "it fails alone"
    assert all(isinstance(answer, workers.Answer) for answer in answers[:-1])


def test_a_full_disk_is_told_to_all_and_forgotten(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = worker.client.server.store.simulations

    async def fail(*_: Any) -> None:
        raise StoreFull(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "put", fail)
        assert worker.report_task(task_state="RUNNING").status_code == 507
    assert worker.simulation.state == "PENDING"
    assert worker.report_task(task_state="RUNNING").status_code == 202


def test_who_leaves_or_ends_holds_up_nobody(worker: Worker) -> None:
    batches, simulation = report_batches.ReportBatches(), worker.simulation

    async def leave() -> None:
        server = worker.client.server
        leaving = asyncio.ensure_future(batches.apply(server, worker.id, lambda given, _now: given))
        await asyncio.sleep(0)
        leaving.cancel()
        await batches.apply(server, worker.id, lambda given, _now: given.model_copy(update={"title": "new"}))
        waiting = asyncio.ensure_future(batches.apply(server, worker.id, lambda given, _now: given))
        await asyncio.sleep(0)
        batches._writers[worker.id].cancel()  # the server ends
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        assert not batches._writers and not batches._waiting

    worker.client.run(leave())
    assert worker.simulation == simulation.model_copy(update={"title": "new"})
