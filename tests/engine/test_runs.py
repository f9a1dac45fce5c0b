"""A run taken as far as it can go: what is submitted, cancelled and written when SLURM takes, refuses or is silent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine import planning, runs
from slurm_shim.errors import SlurmRefused, SlurmUnreachable
from store.documents import Run
from store.errors import Conflict, NotFound
from store.kinds import Key
from store.rules.runs import CancelJobs, ReadResult, Step, SubmitJob, SyncMount
from tests.engine.servers.pretended import HERE, TWO, World, make_cell, make_sweep, open_server, to_cell_id
from tests.pretended import asynchronous, job


async def plan(world: World, **change: Any) -> None:
    """Write the run `r`: b after a."""
    given = {"cluster": HERE, "mount": None, "source": "web"}
    run = await planning.plan_run(world.server, world.store.workflows.get("two"), {}, "r", given)
    await world.store.runs.create("r", run.model_copy(update=change))


def run_of(world: World) -> Run:
    run: Run = world.store.runs.get("r")
    return run


@asynchronous
async def test_what_depends_on_nothing_open_is_submitted(tmp_path: Path) -> None:
    async with open_server(tmp_path, TWO) as world:
        await plan(world)
        assert await runs.advance_run(world.server, "r") == []
        first, second = (options for _, options in world.slurm.submitted)
        attempts = [found.attempts[-1] for found in run_of(world).jobs]
        assert [attempt.job_id for attempt in attempts] == ["101", "102"] and run_of(world).status == "running"
        assert [first["comment"], second["comment"]] == [attempt.tag for attempt in attempts]
        assert (first["dependency"], second["dependency"]) == (None, "afterok:101")
        await runs.advance_run(world.server, "r")
        assert len(world.slurm.submitted) == 2, "what was submitted is not submitted again"


@asynchronous
async def test_the_end_of_its_jobs_is_the_end_of_the_run(tmp_path: Path) -> None:
    async with open_server(tmp_path, TWO) as world:
        await plan(world)
        await runs.advance_run(world.server, "r")
        result = Path((run_of(world).jobs[0].result_path or "").replace("%j", "101"))
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text('{"loss": 1}')
        tags = [found.attempts[-1].tag for found in run_of(world).jobs]
        await world.show_queue(*(job(str(101 + at), "COMPLETED", comment=tag) for at, tag in enumerate(tags)))
        await runs.advance_run(world.server, "r")
        assert run_of(world).status == "completed" and run_of(world).jobs[0].result == {"loss": 1}


@asynchronous
async def test_a_cell_is_written_before_sbatch_and_with_what_came_of_it(tmp_path: Path) -> None:
    """Twice to submit its jobs, and once when they have ended, however much is learned then."""
    async with open_server(tmp_path, TWO) as world:
        await world.store.sweeps.create("7", make_sweep(status="running"))
        await plan(world, sweep_run_id=7)
        written: list[list[tuple[bool, bool]]] = []
        world.store.runs.listeners.append(
            lambda _name, _old, new: written.append(
                [(bool(found.attempts and found.attempts[-1].job_id), found.result_read) for found in new.document.jobs]
            )
        )
        await runs.advance_run(world.server, "r")
        assert written == [[(False, False)] * 2, [(True, False)] * 2], "intended, then submitted"
        tags = [found.attempts[-1].tag for found in run_of(world).jobs]
        await world.show_queue(*(job(str(101 + at), "COMPLETED", comment=tag) for at, tag in enumerate(tags)))
        await runs.advance_run(world.server, "r")
        assert written[2:] == [[(True, True)] * 2] and run_of(world).status == "completed"


@pytest.mark.parametrize(
    ("why", "refusal", "status", "kind", "warned"),
    [
        ("SLURM said no", SlurmRefused("sbatch", 1, "sbatch: error: no such thing"), "failed", "refused", False),
        ("nobody knows why", RuntimeError("a defect"), "failed", "refused", False),
        ("SLURM was not reached", SlurmUnreachable("sbatch", "away"), "submitting", None, True),
    ],
)
@asynchronous
async def test_a_job_that_is_not_taken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
    refusal: Exception,
    status: str,
    kind: str | None,
    warned: bool,
) -> None:
    async with open_server(tmp_path, TWO) as world:
        await plan(world)
        world.slurm.refusal = refusal
        tried_later: list[Key] = []
        monkeypatch.setattr(world.server.open_documents, "retry_later", tried_later.append)
        warnings = await runs.advance_run(world.server, "r")
        assert (run_of(world).status, run_of(world).error_kind, bool(warnings)) == (status, kind, warned), why
        assert tried_later == ([Key("run", "r")] if warned else [])


@asynchronous
async def test_a_run_of_a_cluster_that_is_not_in_view_waits(tmp_path: Path) -> None:
    async with open_server(tmp_path, TWO) as world:
        await plan(world, cluster="elsewhere")
        before = run_of(world)
        (warning,) = await runs.advance_run(world.server, "r")
        assert "cluster elsewhere" in warning and run_of(world) == before and world.slurm.submitted == []


@asynchronous
async def test_a_cancelled_run_ends_its_jobs(tmp_path: Path) -> None:
    async with open_server(tmp_path, TWO) as world:
        await plan(world)
        await runs.advance_run(world.server, "r")
        tags = [found.attempts[-1].tag for found in run_of(world).jobs]
        await world.show_queue(*(job(str(101 + at), "RUNNING", comment=tag) for at, tag in enumerate(tags)))
        assert await runs.cancel_run(world.server, "r") == {"status": "cancelled", "run_id": "r"}
        assert sorted(world.slurm.cancelled) == ["101", "102"]
        with pytest.raises(Conflict, match="already cancelled"):
            await runs.cancel_run(world.server, "r")


@asynchronous
async def test_a_cancellation_that_slurm_does_not_hear_is_a_warning(tmp_path: Path) -> None:
    async with open_server(tmp_path, TWO) as world:
        await plan(world)
        await runs.advance_run(world.server, "r")
        world.slurm.refusal = SlurmUnreachable("scancel", "away")
        answer = await runs.cancel_run(world.server, "r")
        assert answer["status"] == run_of(world).status == "cancelled" and len(answer["warnings"]) == 1
        world.slurm.refusal = None
        await runs.advance_run(world.server, "r")
        assert sorted(world.slurm.cancelled) == ["101", "102"], "it is told once it listens"


@asynchronous
async def test_a_cell_that_waits_is_cancelled_without_a_job(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep())
        await runs.cancel_run(world.server, to_cell_id(1))
        assert world.store.runs.get(to_cell_id(1)).status == "cancelled" and world.slurm.cancelled == []
        with pytest.raises(NotFound):
            await runs.cancel_run(world.server, to_cell_id(3))


@pytest.mark.parametrize(
    ("why", "in_sweep", "steps", "is_placed", "waits_for"),
    [
        ("a run of its own submits at once", False, [SubmitJob("a")], False, None),
        ("a cell waits for a slot", True, [SubmitJob("a")], False, SubmitJob("a")),
        ("a cell that has one goes on", True, [SubmitJob("a")], True, None),
        ("a mount is copied first", False, [SyncMount("ml")], False, SyncMount("ml")),
        ("also for a cell that has a slot", True, [SyncMount("ml")], True, SyncMount("ml")),
        ("what frees the cluster needs no slot", True, [CancelJobs(("1",)), ReadResult("a", "/r")], False, None),
        ("nothing to do", True, [], False, None),
    ],
)
def test_what_is_waited_for(
    why: str, in_sweep: bool, steps: list[Step], is_placed: bool, waits_for: Step | None
) -> None:
    run = make_cell(0) if in_sweep else Run(id="r", workflow_name="w")
    assert runs.find_wait(run, steps, is_placed) == waits_for, why


@pytest.mark.parametrize(
    ("why", "cluster", "status", "age_s"),
    [
        ("nothing new will be known of it", HERE, "completed", 0.0),
        ("as old as the cluster's last answer", HERE, "running", 5.0),
        ("its cluster has not answered since our start", "elsewhere", "running", 1000.0),
    ],
)
@asynchronous
async def test_the_age_of_what_is_known_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, cluster: str, status: Any, age_s: float
) -> None:
    async with open_server(tmp_path) as world:
        await world.store.runs.put("r", Run(id="r", workflow_name="w", cluster=cluster, status=status))
        snapshot = world.cluster.snapshot
        monkeypatch.setattr(snapshot, "_now", lambda: (snapshot.taken_at or 0.0) + 5.0)
        now = time.monotonic()
        world.server.began = now - 1000
        with monkeypatch.context() as still:
            still.setattr(time, "monotonic", lambda: now)
            answer = await runs.get_run(world.server, "r")
        assert answer.age_s == pytest.approx(age_s), why
