"""Runs and sweeps are started once for each request, wherever it comes from; nothing is kept of what cannot be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine import start
from slurm_shim.errors import SlurmRefused, SlurmUnreachable
from store.documents import Run, Sweep
from store.errors import Invalid, NotFound
from tests.engine.servers.pretended import CALLER, FLOW, WORKFLOW, World, make_cell, make_sweep, open_server, to_cell_id
from tests.pretended import asynchronous

SWEEP = {"sweep": {"matrix": {"n": [1, 2, 3]}}}


async def begin(world: World, body: dict[str, Any], key: str | None = "key", name: str = "flow") -> dict[str, Any]:
    return await start.start_workflow(world.server, name, None, body, key, CALLER)


@pytest.fixture
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files in the inbox count as complete, and as given up, at once."""
    monkeypatch.setattr("store.rules.inbox.SETTLED_S", -1)
    monkeypatch.setattr("store.rules.inbox.GIVEN_UP_S", -1)


async def drop_request(world: World, text: str) -> None:
    """Drop a file into the inbox, and have it looked at."""
    (world.store.root / "inbox" / "request.yaml").write_text(text)
    await empty_inbox(world)


async def empty_inbox(world: World) -> None:
    await start.empty_inbox(world.server)
    await asyncio.gather(*world.server.tasks.running.values())


def list_dropped(world: World) -> list[str]:
    """List the folders in which dropped files are now."""
    return [path.parent.name for path in (world.store.root / "inbox").rglob("request*.yaml")]


@pytest.mark.parametrize(("why", "body", "folder"), [("a run", {}, "runs"), ("a sweep", SWEEP, "sweeps")])
@asynchronous
async def test_one_request_starts_one_thing(tmp_path: Path, why: str, body: dict[str, Any], folder: str) -> None:
    async with open_server(tmp_path, FLOW) as world:
        first = await begin(world, body)
        await world.store.workflows.delete("flow")
        assert await begin(world, body) == first, "whatever has become of its workflow"
        assert len(getattr(world.store, folder)) == 1, why
        with pytest.raises(Invalid, match="another body"):
            await begin(world, body | {"args_override": {"n": 9}})


@pytest.mark.parametrize(("why", "body", "folder"), [("a run", {}, "runs"), ("a sweep", SWEEP, "sweeps")])
@asynchronous
async def test_one_request_that_comes_several_times_at_once(
    tmp_path: Path, why: str, body: dict[str, Any], folder: str
) -> None:
    async with open_server(tmp_path, FLOW) as world:
        await asyncio.gather(*(begin(world, body) for _ in range(3)))
        assert len(getattr(world.store, folder)) == 1 and len(world.slurm.submitted) == (folder == "runs"), why


@asynchronous
async def test_a_workflow_with_a_sweep_of_its_own_is_started_as_one(tmp_path: Path) -> None:
    text = WORKFLOW + "sweep: {matrix: {n: [1, 2]}}\n"
    async with open_server(tmp_path, {"store/workflows/flow.yaml": text}) as world:
        await begin(world, {})
        (sweep,) = (entry.document for entry in world.store.sweeps.iterate_entries())
        assert (sweep.cell_count, len(world.store.runs)) == (2, 0)


@pytest.mark.parametrize(("why", "body"), [("a run", {}), ("a sweep", SWEEP)])
@asynchronous
async def test_a_preview_starts_nothing(tmp_path: Path, why: str, body: dict[str, Any]) -> None:
    async with open_server(tmp_path, FLOW) as world:
        plan = await begin(world, body | {"dry_run": True})
        assert "echo 1" in str(plan), why
        assert len(world.store.runs) == len(world.store.sweeps) == 0 and world.slurm.submitted == []


@pytest.mark.parametrize(
    ("why", "name", "body", "error"),
    [
        ("there is no such workflow", "none", {}, NotFound),
        ("there is no such job", "flow", {"single_job": "none"}, Invalid),
        ("a matrix without values", "flow", {"sweep": {"matrix": {"n": []}}}, Invalid),
        ("nobody could be notified", "flow", {"notify": True, "endpoint_id": 5}, (Invalid, NotFound)),
    ],
)
@asynchronous
async def test_what_cannot_be_started_leaves_nothing(
    tmp_path: Path, why: str, name: str, body: dict[str, Any], error: Any
) -> None:
    async with open_server(tmp_path, FLOW) as world:
        with pytest.raises(error):
            await begin(world, body, name=name)
        assert len(world.store.runs) == len(world.store.sweeps) == 0, why


@asynchronous
async def test_nothing_is_started_while_the_cluster_is_away(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        await world.lose_cluster()
        for body in ({}, SWEEP):
            with pytest.raises(SlurmUnreachable):
                await begin(world, body)
        assert len(world.store.runs) == len(world.store.sweeps) == 0


@asynchronous
async def test_a_run_that_is_refused_is_kept_as_failed(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        world.slurm.refusal = SlurmRefused("sbatch", 1, "sbatch: error: no such partition")
        with pytest.raises(SlurmRefused, match="no such partition"):
            await begin(world, {})
        (run,) = (entry.document for entry in world.store.runs.iterate_entries())
        assert (run.status, run.error_kind) == ("failed", "refused")


@asynchronous
async def test_the_number_of_a_sweep_is_given_once(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        await world.store.sweeps.create("7", make_sweep())
        await world.store.runs.put(to_cell_id(0), make_cell(0, status="completed"))
        await world.store.sweeps.delete("7")
        assert (await begin(world, SWEEP))["sweep_run_id"] == 8, "the run of a cell still names the seventh"


@asynchronous
async def test_a_cell_is_started_as_the_sweep_says(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        await world.store.sweeps.create("7", make_sweep())
        await world.store.workflows.delete("flow")
        await start.start_cells(world.server, make_sweep(), [2])
        run: Run = world.store.runs.get(to_cell_id(2))
        assert (run.sweep_run_id, run.args, run.status) == (7, {"n": 2}, "submitting")
        assert "echo 2" in (run.jobs[0].script or ""), "with the workflow as of the sweep's start"
        await start.start_cells(world.server, make_sweep(), [2])
        assert world.store.runs.get(to_cell_id(2)) == run, "once"


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("its workflow names a template that is gone", {"template": "gone"}),
        ("its mount is in no profile", {"mount": "gone"}),
    ],
)
@asynchronous
async def test_a_cell_that_cannot_be_planned_is_a_failed_run(tmp_path: Path, why: str, change: dict[str, Any]) -> None:
    text = WORKFLOW.replace("name: a,", f"name: a, template: {change.get('template', 'base')},")
    sweep = make_sweep(workflow_text=text, mount=change.get("mount"))
    async with open_server(tmp_path, FLOW) as world:
        await world.store.sweeps.create("7", sweep)
        await start.start_cells(world.server, sweep, [0])
        run: Run = world.store.runs.get(to_cell_id(0))
        assert run.status == "failed" and "gone" in (run.error or ""), why


@pytest.mark.parametrize(
    ("why", "fail_fast", "after"),
    [
        ("what is wrong with one is no matter of the others", False, {0: "submitting", 1: "failed", 2: "submitting"}),
        ("but none starts after one has failed where that ends the sweep", True, {0: "submitting", 1: "failed"}),
    ],
)
@asynchronous
async def test_cells_are_started_together(
    tmp_path: Path, why: str, fail_fast: bool, after: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build = start.planning.build_run

    def refuse_one(server: Any, workflow: Any, plan: Any, place: Any, run_id: str, given: Any) -> Run:
        if run_id == to_cell_id(1):
            raise ValueError("no such thing")
        return build(server, workflow, plan, place, run_id, given)

    monkeypatch.setattr(start.planning, "build_run", refuse_one)
    async with open_server(tmp_path, FLOW) as world:
        sweep = make_sweep(fail_fast=fail_fast)
        await world.store.sweeps.create("7", sweep)
        await start.start_cells(world.server, sweep, [0, 1, 2])
        found = {
            index: world.store.runs.get(to_cell_id(index))
            for index in range(3)
            if to_cell_id(index) in world.store.runs
        }
        assert {index: run.status for index, run in found.items()} == after, why
        assert found[1].error == "no such thing" and found[0].args == {"n": 0}
        assert len({run.work_dir for run in found.values() if run.jobs}) == len(after) - 1, (
            "each in a folder of its own"
        )


@asynchronous
async def test_a_cell_that_is_to_run_again_begins_again(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        await world.store.sweeps.create("7", make_sweep())
        await world.store.runs.put(to_cell_id(0), make_cell(0, status="pending"))
        await start.start_cells(world.server, make_sweep(), [0])
        assert world.store.runs.get(to_cell_id(0)).status == "submitting"


@pytest.mark.parametrize(
    ("why", "text", "place"),
    [
        ("it is carried out", "workflow: flow\n", "done"),
        ("no request", "nothing: at all\n", "failed"),
        ("there is no such workflow", "workflow: none\n", "failed"),
    ],
)
@asynchronous
async def test_where_a_dropped_request_goes(
    tmp_path: Path, settled_at_once: None, why: str, text: str, place: str
) -> None:
    async with open_server(tmp_path, FLOW) as world:
        await drop_request(world, text)
        assert list_dropped(world) == [place], why


@asynchronous
async def test_a_request_waits_in_the_inbox_while_the_cluster_is_away(tmp_path: Path, settled_at_once: None) -> None:
    async with open_server(tmp_path, FLOW) as world:
        await world.lose_cluster()
        await drop_request(world, "workflow: flow\n")
        assert list_dropped(world) == ["inbox"] and len(world.store.runs) == 0
        await world.show_queue()
        await empty_inbox(world)
        assert list_dropped(world) == ["done"] and len(world.store.runs) == 1


@asynchronous
async def test_a_file_that_is_still_open_waits(tmp_path: Path, settled_at_once: None) -> None:
    async with open_server(tmp_path, FLOW) as world:
        with (world.store.root / "inbox" / "request.yaml").open("a"):
            await drop_request(world, "workflow: flow\n")
            assert list_dropped(world) == ["inbox"]
        await empty_inbox(world)
        assert list_dropped(world) == ["done"]


@asynchronous
async def test_what_was_started_is_found_by_its_request(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        started = await start.start_requested(world.server, "flow", None, SWEEP, "k", "web")
        assert isinstance(started, Sweep)
        assert await start.find_sweep(world.server, "k", started.request_hash or "") == started
        assert await start.find_sweep(world.server, "other", started.request_hash or "") is None
        assert await start.find_run(world.server, "k", started.request_hash or "") is None
