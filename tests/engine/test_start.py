"""Runs and sweeps are started once for each request, wherever it comes from; nothing is kept of what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import start
from slurm_shim.errors import SlurmRefused, SlurmUnreachable
from store.documents import Run, Sweep
from store.errors import Invalid, NotFound
from store.rules import inbox
from tests.engine.pretended_server import CALLER, World, cell_id, make_cell, make_sweep, opened
from tests.pretended import asynchronous

SWEEP = {"sweep": {"matrix": {"n": [1, 2, 3]}}}


async def begin(world: World, body: dict[str, Any], key: str | None = "key", name: str = "flow") -> dict[str, Any]:
    return await start.start_workflow(world.server, name, None, body, key, CALLER)


@pytest.mark.parametrize(("why", "body", "folder"), [("a run", {}, "runs"), ("a sweep", SWEEP, "sweeps")])
@asynchronous
async def test_one_request_starts_one_thing(tmp_path: Path, why: str, body: dict[str, Any], folder: str) -> None:
    async with opened(tmp_path) as world:
        first = await begin(world, body)
        await world.server.store.workflows.delete("flow")
        assert await begin(world, body) == first, "whatever has become of its workflow"
        assert len(getattr(world.server.store, folder)) == 1, why
        with pytest.raises(Invalid, match="another body"):
            await begin(world, body | {"args_override": {"n": 9}})


@pytest.mark.parametrize(("why", "body"), [("a run", {}), ("a sweep", SWEEP)])
@asynchronous
async def test_a_preview_starts_nothing(tmp_path: Path, why: str, body: dict[str, Any]) -> None:
    async with opened(tmp_path) as world:
        shown = await begin(world, body | {"dry_run": True})
        assert "echo 1" in str(shown), why
        assert len(world.server.store.runs) == len(world.server.store.sweeps) == 0 and world.slurm.submitted == []


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
    async with opened(tmp_path) as world:
        with pytest.raises(error):
            await begin(world, body, name=name)
        assert len(world.server.store.runs) == len(world.server.store.sweeps) == 0, why


@asynchronous
async def test_nothing_is_started_while_the_cluster_is_away(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await world.lose()
        for body in ({}, SWEEP):
            with pytest.raises(SlurmUnreachable):
                await begin(world, body)
        assert len(world.server.store.runs) == len(world.server.store.sweeps) == 0


@asynchronous
async def test_a_run_that_is_refused_is_kept_as_failed(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        world.slurm.refusal = SlurmRefused("sbatch", 1, "sbatch: error: no such partition")
        with pytest.raises(SlurmRefused, match="no such partition"):
            await begin(world, {})
        (run,) = (entry.document for entry in world.server.store.runs.iterate_entries())
        assert (run.status, run.error_kind) == ("failed", "refused")


@asynchronous
async def test_the_number_of_a_sweep_is_given_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await world.server.store.sweeps.create("7", make_sweep())
        await world.server.store.runs.put(cell_id(0), make_cell(0, status="completed"))
        await world.server.store.sweeps.delete("7")
        assert (await begin(world, SWEEP))["sweep_run_id"] == 8, "the run of a cell still names the seventh"


@asynchronous
async def test_a_cell_is_started_as_the_sweep_says(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await world.server.store.sweeps.create("7", make_sweep())
        await world.server.store.workflows.delete("flow")
        await start.start_cell(world.server, make_sweep(), 2)
        run: Run = world.server.store.runs.get(cell_id(2))
        assert (run.sweep_run_id, run.args, run.status) == (7, {"n": 2}, "submitting")
        assert "echo 2" in (run.jobs[0].script or ""), "with the workflow as of the sweep's start"
        await start.start_cell(world.server, make_sweep(), 2)
        assert world.server.store.runs.get(cell_id(2)) == run, "once"


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("its workflow names a template that is gone", {"template": "gone"}),
        ("its mount is in no profile", {"mount": "gone"}),
    ],
)
@asynchronous
async def test_a_cell_that_cannot_be_planned_is_a_failed_run(tmp_path: Path, why: str, change: dict[str, Any]) -> None:
    text = "name: flow\njobs:\n  - {name: a, template: %s, command: 'true'}\n" % change.get("template", "base")
    sweep = make_sweep(workflow_text=text, mount=change.get("mount"))
    async with opened(tmp_path) as world:
        await world.server.store.sweeps.create("7", sweep)
        await start.start_cell(world.server, sweep, 0)
        run: Run = world.server.store.runs.get(cell_id(0))
        assert run.status == "failed" and "gone" in (run.error or ""), why


@asynchronous
async def test_a_cell_that_is_to_run_again_begins_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await world.server.store.sweeps.create("7", make_sweep())
        await world.server.store.runs.put(cell_id(0), make_cell(0, status="pending"))
        await start.start_cell(world.server, make_sweep(), 0)
        assert world.server.store.runs.get(cell_id(0)).status == "submitting"


@pytest.mark.parametrize(
    ("why", "text", "refusal", "is_away", "place"),
    [
        ("it is carried out", "workflow: flow\n", None, False, "done"),
        ("no request", "nothing: at all\n", None, False, "failed"),
        ("there is no such workflow", "workflow: none\n", None, False, "failed"),
        ("SLURM refuses it", "workflow: flow\n", SlurmRefused("sbatch", 1, "sbatch: error: no"), False, "failed"),
        ("SLURM is away: it waits", "workflow: flow\n", None, True, "."),
    ],
)
@asynchronous
async def test_where_a_dropped_request_goes(
    tmp_path: Path, why: str, text: str, refusal: Exception | None, is_away: bool, place: str
) -> None:
    async with opened(tmp_path) as world:
        folder = tmp_path / "store" / "inbox"
        (folder / "request.yaml").write_text(text)
        dropped = inbox._examine_file(folder / "request.yaml")
        assert dropped is not None
        world.slurm.refusal = refusal
        if is_away:
            await world.lose()
        await start.carry_out_request(world.server, dropped)
        assert [path.parent.name for path in folder.rglob("request*.yaml")] == [place.replace(".", "inbox")], why


@asynchronous
async def test_what_was_started_is_found_by_its_request(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        started = await start.start_requested(world.server, "flow", None, SWEEP, "k", "web")
        assert isinstance(started, Sweep)
        assert await start.find_sweep(world.server, "k", started.request_hash or "") == started
        assert await start.find_sweep(world.server, "other", started.request_hash or "") is None
        assert await start.find_run(world.server, "k", started.request_hash or "") is None
