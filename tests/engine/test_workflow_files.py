"""Workflow files of the store and of mounts: what is saved, refused, and kept when a form saves only a part."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import workflow_files
from store.errors import Changed, Exists, Invalid, NotFound, TooLarge
from store.indexes.bodies import Versioned
from store.rules import workflows
from tests.engine.servers.pretended import FLOW, WORKFLOW, World, open_server
from tests.pretended import asynchronous

JOB = {"name": "a", "command": "true"}


def make_files(tmp_path: Path) -> dict[str, str]:
    """Make the file of a profile with the mount `ml`, which lies in `project`."""
    mount = f"{{name: ml, local: {tmp_path / 'project'}, remote: /unused}}"
    return {"store/profiles.yaml": f"current: own\nprofiles: {{own: {{mounts: [{mount}]}}}}\n"}


async def list_names(world: World, mount: str | None = None) -> list[str]:
    return [row["name"] for row in orjson.loads((await workflow_files.list_workflows(world.server, mount)).data)]


def read_row(answer: Versioned) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(answer.value.data)
    return row


async def upload(world: World, text: str, mount: str | None = None, if_match: str | None = None) -> Versioned:
    body = {"filename": "flow.yaml", "yaml": text, "mount": mount}
    return await workflow_files.upload_workflow(world.server, body, None, if_match)


async def create(world: World, if_match: str | None = None, **more: Any) -> Versioned:
    body = {"name": "flow", "jobs": [JOB], "overwrite": False, **more}
    return await workflow_files.create_workflow(world.server, body, None, if_match)


@asynchronous
async def test_the_answer_is_what_the_list_shows_with_the_tag_of_the_file(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        saved = await upload(world, WORKFLOW)
        found = await workflow_files.get_workflow(world.server, "flow", None)
        assert (read_row(saved), saved.etag) == (read_row(found), found.etag)
        assert orjson.loads((await workflow_files.list_workflows(world.server, None)).data) == [read_row(saved)]
        assert (tmp_path / "store" / "workflows" / "flow.yaml").read_text() == WORKFLOW, "as it was sent"
        with pytest.raises(Changed):
            await upload(world, WORKFLOW.replace("n: 1", "n: 2"), if_match="0" * 64)
        again = await upload(world, WORKFLOW.replace("n: 1", "n: 2"), if_match=saved.etag)
        assert again.etag != saved.etag


@pytest.mark.parametrize(
    ("why", "text", "error"),
    [
        ("it has no jobs", "name: flow\n", Invalid),
        ("it cannot be rendered", WORKFLOW.replace("{{ n }}", "{{ n + }}"), Invalid),
        ("one byte too many", "#" * (workflow_files.WORKFLOW_BYTES + 1 - len(WORKFLOW)) + "\n" + WORKFLOW, TooLarge),
    ],
)
@asynchronous
async def test_what_is_refused_leaves_the_old_file(tmp_path: Path, why: str, text: str, error: type[Exception]) -> None:
    async with open_server(tmp_path, FLOW) as world:
        with pytest.raises(error):
            await upload(world, text)
        assert (tmp_path / "store" / "workflows" / "flow.yaml").read_text() == WORKFLOW, why


@asynchronous
async def test_a_file_of_the_largest_size_is_taken(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        padding = "#" * (workflow_files.WORKFLOW_BYTES - len(WORKFLOW) - 1) + "\n"
        await upload(world, padding + WORKFLOW)
        assert await list_names(world) == ["flow"]


@asynchronous
async def test_of_many_that_create_the_same_workflow_one_does(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        commands = [f"echo {number}" for number in range(5)]
        answers = await asyncio.gather(
            *(create(world, jobs=[{**JOB, "command": command}]) for command in commands), return_exceptions=True
        )
        (saved,) = (answer for answer in answers if isinstance(answer, Versioned))
        assert all(isinstance(answer, Exists) for answer in answers if answer is not saved)
        assert read_row(await workflow_files.get_workflow(world.server, "flow", None)) == read_row(saved)


@pytest.mark.parametrize(
    ("why", "more", "is_replaced"),
    [
        ("nobody said that it may be overwritten", {}, False),
        ("it may be", {"overwrite": True}, True),
        ("that one is the store's, this one is the mount's", {"mount": "ml"}, None),
        ("the project of a workflow is the mount that it lies in", {"default_project": "ml"}, None),
    ],
)
@asynchronous
async def test_what_a_creation_replaces(
    tmp_path: Path, why: str, more: dict[str, Any], is_replaced: bool | None
) -> None:
    (tmp_path / "project").mkdir()
    async with open_server(tmp_path, FLOW | make_files(tmp_path)) as world:
        path = tmp_path / "store" / "workflows" / "flow.yaml"
        if is_replaced is False:
            with pytest.raises(Exists, match="flow"):
                await create(world, **more)
        else:
            await create(world, **more)
        assert (path.read_text() == WORKFLOW) is (is_replaced is not True), why
        assert (tmp_path / "project" / ".srunx" / "workflows" / "flow.yaml").exists() is (is_replaced is None)


@asynchronous
async def test_a_form_that_only_repeats_what_it_was_shown_keeps_the_templates(tmp_path: Path) -> None:
    text = WORKFLOW + "sweep: {matrix: {n: [1, 2]}}\n"
    async with open_server(tmp_path, {"store/workflows/flow.yaml": text}) as world:
        row = read_row(await workflow_files.get_workflow(world.server, "flow", None))
        rendered = row["jobs"][0]["command"]
        jobs = [{"name": name, "command": rendered} for name in ("a", "b")]
        await create(world, jobs=jobs, overwrite=True)
        first, second = world.store.workflows.get("flow").jobs
        assert (first.command, second.command) == ("echo {{ n }}", ["echo 1"]), "the second one is new"
        assert world.store.workflows.get("flow").sweep.matrix == {"n": [1, 2]}, "the form does not know of it"


@asynchronous
async def test_a_creation_sees_an_edit_that_it_has_not_shown(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        etag = (await workflow_files.get_workflow(world.server, "flow", None)).etag
        await upload(world, WORKFLOW.replace("n: 1", "n: 2"))
        with pytest.raises(Changed):
            await create(world, if_match=etag, overwrite=True)
        with pytest.raises(Changed):
            await create(world, if_match=etag, name="gone")


@asynchronous
async def test_a_mount_is_followed_from_its_first_use_on(tmp_path: Path) -> None:
    async with open_server(tmp_path, make_files(tmp_path)) as world:
        with pytest.raises(NotFound, match="its folder is not there"):
            await list_names(world, "ml")
        with pytest.raises(NotFound, match="none"):
            await list_names(world, "none")
        (tmp_path / "project").mkdir()
        assert await list_names(world, "ml") == await list_names(world, "ml") == []
        world.read_changes("workflow")
        await upload(world, WORKFLOW, "ml")
        change = world.reader.take()
        assert change is not None and (change.id, change.parent, change.action) == ("flow", "ml", "created")
        assert world.take_changes() == [], "it is followed once, however often it was listed"
        assert (await list_names(world, "ml"), await list_names(world)) == (["flow"], [])
        await workflow_files.delete_workflow(world.server, "flow", "ml", None)
        assert await list_names(world, "ml") == []


@asynchronous
async def test_a_workflow_is_checked_with_the_defaults_of_its_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked_with: list[Any] = []
    check = workflows.check_workflow

    def note_defaults(data: bytes, *, defaults: Any, **more: Any) -> Any:
        checked_with.append(defaults["resources"].get("nodes"))
        return check(data, defaults=defaults, **more)

    monkeypatch.setattr(workflows, "check_workflow", note_defaults)
    files = {**make_files(tmp_path), "project/srunx.json": '{"resources": {"nodes": 4}}'}
    async with open_server(tmp_path, files) as world:
        await upload(world, WORKFLOW, "ml")
        await upload(world, WORKFLOW)
        assert checked_with[0] == 4 != checked_with[1]


@asynchronous
async def test_a_validation_names_everything_and_saves_nothing(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        assert await workflow_files.validate_workflow(world.server, {"yaml": WORKFLOW}) == {"valid": True}
        wrong = "name: flow\njobs:\n  - {name: a, command: x, depends_on: [b]}\n  - {name: c, nodes: []}\n"
        found = await workflow_files.validate_workflow(world.server, {"yaml": wrong})
        assert found["valid"] is False and len(found["errors"]) >= 2
        assert (await workflow_files.validate_workflow(world.server, {}))["valid"] is False
        assert await list_names(world) == []
