"""Projects: the srunx.json of each mount of the current profile, shown, begun and changed."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from engine.config import projects
from engine.config.profiles import delete_profile
from store.config import layers
from store.errors import Changed, Conflict, Invalid, NoProfile, NotFound
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store whose current profile has two mounts; the folder of the second is not there."""
    (tmp_path / "ml").mkdir()
    mounts = ", ".join(f"{{name: {name}, local: {tmp_path / name}, remote: /far/{name}}}" for name in ("ml", "gone"))
    write_files(tmp_path / "store", {"profiles.yaml": f"current: p\nprofiles:\n  p: {{mounts: [{mounts}]}}\n"})
    return tmp_path / "store"


def get_file(root: Path) -> Path:
    """Get the path of the project's file."""
    return root.parent / "ml" / "srunx.json"


@asynchronous
async def test_each_mount_is_a_project(root: Path) -> None:
    async with open_server(root) as server:
        first, second = await projects.list_projects(server)
        assert first == {
            "mount_name": "ml", "local_path": str(root.parent / "ml"), "remote_path": "/far/ml",
            "config_exists": False, "config_path": str(get_file(root)),
        }  # fmt: skip
        assert (second["mount_name"], second["config_exists"]) == ("gone", False)
        assert (await projects.get_project(server, "ml")).value["config"] is None
        get_file(root).write_text("{}")
        assert [row["config_exists"] for row in await projects.list_projects(server)] == [True, False]


@asynchronous
async def test_a_project_is_begun_once(root: Path) -> None:
    async with open_server(root) as server:
        begun = await projects.init_project(server, "ml")
        written = json.loads(get_file(root).read_text())
        assert begun.value["exists"] and begun.value["config"] == layers.add_defaults(written)
        before = get_file(root).read_bytes()
        with pytest.raises(Conflict, match="already exists"):
            await projects.init_project(server, "ml")
        assert get_file(root).read_bytes() == before


@asynchronous
async def test_who_may_read_the_file_is_the_user_s_to_say(root: Path) -> None:
    before = os.umask(0o027)
    try:
        async with open_server(root) as server:
            await projects.init_project(server, "ml")
            assert get_file(root).stat().st_mode & 0o777 == 0o640
            get_file(root).chmod(0o664)
            await projects.update_project(server, "ml", {"resources": {"nodes": 4}}, None)
            assert get_file(root).stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)


@asynchronous
async def test_of_many_who_begin_it_at_once_one_does(root: Path) -> None:
    async with open_server(root) as server:
        answers = await asyncio.gather(*(projects.init_project(server, "ml") for _ in range(4)), return_exceptions=True)
    assert sorted(isinstance(answer, Conflict) for answer in answers) == [False, True, True, True]


@asynchronous
async def test_a_change_replaces_our_keys_and_leaves_those_of_others(root: Path) -> None:
    get_file(root).write_text('{"profiles": {"p": 1}, "resources": {"nodes": 3}, "log_dir": "l"}')
    async with open_server(root) as server:
        changed = await projects.update_project(server, "ml", {"resources": {"nodes": 4, "partition": None}}, None)
        assert changed.value["config"] == layers.add_defaults({"resources": {"nodes": 4}})
        assert json.loads(get_file(root).read_text()) == {"profiles": {"p": 1}, "resources": {"nodes": 4}}
    async with open_server(root) as server:
        again = await projects.get_project(server, "ml")
        assert (again.value, again.etag) == (changed.value, changed.etag), "also after a restart"


@asynchronous
async def test_a_change_of_an_older_version_is_refused(root: Path) -> None:
    async with open_server(root) as server:
        none_yet = (await projects.get_project(server, "ml")).etag
        first = await projects.update_project(server, "ml", {"log_dir": "first"}, none_yet)
        with pytest.raises(Changed):
            await projects.update_project(server, "ml", {"log_dir": "late"}, none_yet)
        get_file(root).write_text('{"log_dir": "by hand"}')
        with pytest.raises(Changed):
            await projects.update_project(server, "ml", {"log_dir": "late"}, first.etag)
        seen = await projects.get_project(server, "ml")
        assert seen.value["config"] == layers.add_defaults({"log_dir": "by hand"}) and seen.etag != first.etag
        await projects.update_project(server, "ml", {"log_dir": "now"}, seen.etag)
    assert json.loads(get_file(root).read_text()) == {"log_dir": "now"}


@asynchronous
async def test_what_is_wrong_is_refused_or_shown(root: Path) -> None:
    async with open_server(root) as server:
        with pytest.raises(Invalid) as refused:
            await projects.update_project(server, "ml", {"resources": {"nodes": 0}}, None)
        assert refused.value.problems[0]["loc"] == ["resources", "nodes"] and not get_file(root).exists()
        get_file(root).write_text("{")
        broken = (await projects.get_project(server, "ml")).value
        assert broken["exists"] and broken["problems"][0]["line"] == 1
        with pytest.raises(Conflict, match="cannot be read"):
            await projects.update_project(server, "ml", {"log_dir": "x"}, None)
    assert get_file(root).read_text() == "{"


@asynchronous
async def test_secrets_leave_masked_and_come_back(root: Path) -> None:
    text = '{"environment": {"env_vars": {"HF_TOKEN": "hf_verysecret"}}}'
    get_file(root).write_text(text)
    async with open_server(root) as server:
        config = (await projects.get_project(server, "ml")).value["config"]
        assert config == layers.add_defaults({"environment": {"env_vars": {"HF_TOKEN": "***"}}})
        await projects.update_project(server, "ml", config, None)
    assert json.loads(get_file(root).read_text()) == json.loads(text)


@asynchronous
async def test_a_project_needs_a_mount_its_folder_and_a_profile(root: Path) -> None:
    async with open_server(root) as server:
        with pytest.raises(NotFound, match="Mount 'nope' not found in profile 'p'"):
            await projects.get_project(server, "nope")
        for change in (projects.init_project(server, "gone"), projects.update_project(server, "gone", {}, None)):
            with pytest.raises(NotFound, match="its folder is not there"):
                await change
        assert not (root.parent / "gone").exists()
        await delete_profile(server, "p", None)
        assert await projects.list_projects(server) == []
        with pytest.raises(NoProfile, match="No active SSH profile"):
            await projects.get_project(server, "ml")
