"""Script templates: kept, changed beside people's edits, shown as scripts, and applied to jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine import templates
from engine.server import Server
from slurm_shim.template import TEXT
from store.errors import Changed, Conflict, Exists, Invalid, NotFound
from store.rendering.templates import BuiltInTemplate
from store.rules import states
from tests.app_client import CONFIG
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous

OWN = "#!/bin/bash\n#SBATCH --job-name={{ job_name }}\necho {{ command }} on {{ nodes }}\n"


async def create_own(server: Server, name: str, **more: Any) -> dict[str, Any]:
    """Create a template with the text OWN."""
    return await templates.create_template(server, {"name": name, "content": OWN, **more})


def build_request(**more: Any) -> dict[str, Any]:
    """Build a request to apply a template."""
    return {"job_name": "a", "command": ["echo", "a b"], "preview_only": False, **more}


@asynchronous
async def test_templates_are_listed_with_the_built_in_one_first(tmp_path: Path) -> None:
    write_files(tmp_path / "store", {"templates/base.sh": OWN, "templates/alpha.slurm": OWN})
    async with open_server(tmp_path / "store") as server:
        row = await create_own(server, "zeta", description="Last", use_case="Any")
        assert row == {"name": "zeta", "description": "Last", "use_case": "Any", "user_defined": True}
        assert [(row["name"], row["user_defined"]) for row in templates.list_templates(server)] == [
            ("base", False), ("alpha", True), ("zeta", True),
        ]  # fmt: skip
        built_in = templates.get_template(server, "base")
        assert (built_in.value["content"], built_in.etag) == (TEXT, None), "no file hides the built-in one"


@asynchronous
async def test_the_built_in_one_stays_as_it_is(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        with pytest.raises(BuiltInTemplate):
            await templates.change_template(server, "base", {"content": "x"}, None)
        with pytest.raises(BuiltInTemplate):
            await templates.delete_template(server, "base", None)
        with pytest.raises(Conflict, match="already exists"):
            await create_own(server, "base")


@asynchronous
async def test_a_missing_one_is_refused_with_those_there_are(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await create_own(server, "own")
        with pytest.raises(NotFound, match=r"Template 'none' not found\. Available templates: base, own"):
            templates.get_template(server, "none")
        with pytest.raises(NotFound):
            await templates.change_template(server, "none", {}, None)
        with pytest.raises(NotFound):
            await templates.delete_template(server, "none", None)
        with pytest.raises(NotFound):
            await templates.preview_script(server, {"name": "a", "command": ["x"], "template_name": "none"})


@asynchronous
async def test_a_change_names_the_version_that_it_is_based_on(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await create_own(server, "own", description="First")
        seen = templates.get_template(server, "own")
        changed = await templates.change_template(server, "own", {"description": "Second"}, seen.etag)
        assert (changed.value["description"], changed.value["content"]) == ("Second", OWN)
        assert changed.etag != seen.etag
        with pytest.raises(Changed):
            await templates.change_template(server, "own", {"description": "Third"}, seen.etag)
        with pytest.raises(Changed):
            await templates.delete_template(server, "own", seen.etag)
        await templates.delete_template(server, "own", changed.etag)
        assert not (tmp_path / "store" / "templates" / "own.sh").exists()


@asynchronous
async def test_a_change_undoes_no_edit_that_nobody_has_told_us_of(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await create_own(server, "own")
        edited = OWN + "# by hand, and longer than before\n"
        write_files(tmp_path / "store", {"templates/own.sh": edited})
        with pytest.raises(Changed):
            await templates.change_template(server, "own", {"description": "Mine"}, None)
        assert (tmp_path / "store" / "templates" / "own.sh").read_text() == edited
        await server.store.templates.refresh(["own.sh"])
        changed = await templates.change_template(server, "own", {"description": "Mine"}, None)
        assert (changed.value["description"], changed.value["content"]) == ("Mine", edited)


@asynchronous
async def test_a_name_is_taken_once_by_many_at_the_same_moment(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        texts = [f"#!/bin/sh\necho {number}\n" for number in range(4)]
        bodies = [{"name": "once", "content": text} for text in texts]
        answers = await asyncio.gather(
            *(templates.create_template(server, body) for body in bodies), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert len(refused) == 3 and all(isinstance(problem, Conflict | Exists) for problem in refused)
        winner = next(number for number, answer in enumerate(answers) if not isinstance(answer, BaseException))
        assert templates.get_template(server, "once").value["content"] == texts[winner]


@asynchronous
async def test_a_preview_has_the_defaults_of_the_configuration(tmp_path: Path) -> None:
    write_files(tmp_path / "store", {"config.yaml": "resources: {nodes: 3, partition: fast}\n"})
    async with open_server(tmp_path / "store") as server:
        body = {"name": "look", "command": ["echo", "a b"], "work_dir": None, "template_name": None}
        answer = await templates.preview_script(server, body)
        assert answer["template_used"] == "base"
        for line in ("#SBATCH --nodes=3\n", "#SBATCH --partition=fast\n", "#SBATCH --chdir=.\n", "echo 'a b'"):
            assert line in answer["script"]
        await create_own(server, "own", description="Is no part of the script")
        answer = await templates.preview_script(server, {**body, "template_name": "own"})
        assert answer == {
            "script": "#!/bin/bash\n#SBATCH --job-name=look\necho echo 'a b' on 3\n",
            "template_used": "own",
        }


@asynchronous
async def test_a_template_that_cannot_be_rendered_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await create_own(server, "wrong", content="#!/bin/bash\n{{ nodez }}\n")
        with pytest.raises(Invalid, match="'nodez' is undefined"):
            await templates.preview_script(server, {"name": "a", "command": ["x"], "template_name": "wrong"})
        with pytest.raises(Invalid, match="nodes"):
            await templates.preview_script(server, {"name": "a", "command": ["x"], "resources": {"nodes": 0}})


@asynchronous
async def test_applied_for_a_look_it_submits_nothing(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await create_own(server, "own")
        body = build_request(preview_only=True, work_dir="relative")
        answer = await templates.apply_template(server, "own", body, None, server.callers.own)
        assert answer["template_used"] == "own" and "echo 'a b' on 1" in answer["script"]
        assert len(server.store.jobs) == 0


@asynchronous
async def test_a_folder_below_nothing_is_refused(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        for part in ("work_dir", "log_dir"):
            with pytest.raises(Invalid) as refused:
                await templates.apply_template(
                    server, "base", build_request(**{part: "relative"}), None, server.callers.own
                )
            assert refused.value.problems[0]["loc"] == ["body", part]
        assert len(server.store.jobs) == 0


@asynchronous
async def test_it_is_applied_below_a_mount_and_only_once_for_a_key(tmp_path: Path) -> None:
    mount = tmp_path / "ml"
    mount.mkdir()
    profiles = f"current: here\nprofiles:\n  here: {{mounts: [{{name: ml, local: {mount}, remote: /far}}]}}\n"
    write_files(tmp_path / "store", {"profiles.yaml": profiles, "config.yaml": CONFIG})
    async with open_server(tmp_path / "store", cluster=True) as server:
        text = "#!/bin/bash\n#SBATCH --output={{ log_dir }}/out\necho {{ work_dir }}\n"
        await create_own(server, "own", content=text)
        body = build_request(mount_name="ml", work_dir="w", log_dir="l")
        first = await templates.apply_template(server, "own", body, "key", server.callers.own)
        assert await templates.apply_template(server, "own", body, "key", server.callers.own) == first
        (record,) = [entry.document for entry in server.store.jobs.iterate_entries()]
        assert str(first["job_id"]) == record.job_id and record.name == "a"
        async with asyncio.timeout(120):
            state = None
            while state not in states.TERMINAL:
                await server.cluster.snapshot.refresh()
                row = await server.cluster.look_up_job(record.job_id or "")
                state = row["state"] if row else None
        assert state == "COMPLETED"
        assert (mount / "l" / "out").read_text() == f"{mount}/w\n"
        assert (mount / "w").is_dir()
