"""Profiles and mounts: every change is made in profiles.yaml, beside what people write there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.config import profiles
from store.errors import Changed, Conflict, Exists, Invalid, NoProfile, NotFound
from tests.app.operations.profile_calls import FILE, MOUNT, NEW
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with two profiles, the first of them current."""
    write_files(tmp_path / "store", {"profiles.yaml": FILE})
    return tmp_path / "store"


@asynchronous
async def test_profiles_are_listed_with_the_current_one_and_without_secrets(root: Path) -> None:
    async with open_server(root) as server:
        answer = profiles.list_profiles(server)
    assert answer.value["current"] == "dgx" and list(answer.value["profiles"]) == ["dgx", "lab"]
    assert answer.value["profiles"]["dgx"]["env_vars"] == {"HF_TOKEN": "***", "NCCL_DEBUG": "INFO"}
    assert answer.value["profiles"]["dgx"]["mounts"][0]["local"] == str(Path("~/ml").expanduser())


@asynchronous
async def test_a_profile_is_created_updated_activated_and_deleted(root: Path) -> None:
    async with open_server(root) as server:
        created = await profiles.create_profile(server, {**NEW, "description": ""}, None)
        assert (created["hostname"], created["port"], created["description"]) == ("new.example.com", 22, None)
        updated = await profiles.update_profile(server, "new", {"port": 2222, "hostname": None}, None)
        assert (updated["hostname"], updated["port"]) == ("new.example.com", 2222), "null keeps what is needed"
        assert await profiles.activate_profile(server, "new", None) == {"ok": True}
    async with open_server(root) as server:
        assert profiles.list_profiles(server).value["current"] == "new", "also after a restart"
        assert await profiles.delete_profile(server, "new", None) == {"ok": True}
        answer = profiles.list_profiles(server).value
        assert (answer["current"], list(answer["profiles"])) == (None, ["dgx", "lab"])
    assert "# the big one" in (root / "profiles.yaml").read_text()


@asynchronous
async def test_what_is_refused_changes_nothing(root: Path) -> None:
    async with open_server(root) as server:
        with pytest.raises(Exists, match="Profile 'lab' already exists"):
            await profiles.create_profile(server, {**NEW, "name": "lab"}, None)
        with pytest.raises(Invalid) as refused:
            await profiles.update_profile(server, "lab", {"hostname": "-oProxyCommand=id"}, None)
        assert refused.value.problems[0]["loc"] == ["body", "hostname"]
        with pytest.raises(Exists, match="Mount 'ml-project' already exists"):
            await profiles.add_profile_mount(server, "dgx", {**MOUNT, "name": "ml-project"}, None)
        with pytest.raises(Conflict, match="already has the folder"):
            await profiles.add_mount(server, {**MOUNT, "local": "~/ml/"}, None)
        with pytest.raises(NotFound, match="Mount 'data' not found"):
            await profiles.delete_mount(server, "data", None)
    assert (root / "profiles.yaml").read_text() == FILE


@asynchronous
async def test_a_profile_that_does_not_exist_is_named(root: Path) -> None:
    async with open_server(root) as server:
        for change in (
            profiles.update_profile(server, "nope", {"port": 1}, None),
            profiles.delete_profile(server, "nope", None),
            profiles.activate_profile(server, "nope", None),
            profiles.add_profile_mount(server, "nope", MOUNT, None),
            profiles.delete_profile_mount(server, "nope", "data", None),
        ):
            with pytest.raises(NotFound, match="Profile 'nope' not found"):
                await change
    assert (root / "profiles.yaml").read_text() == FILE


@asynchronous
async def test_mounts_are_those_of_the_current_profile_or_of_a_named_one(root: Path) -> None:
    async with open_server(root) as server:
        assert await profiles.add_mount(server, MOUNT, None) == {**MOUNT, "exclude_patterns": []}
        await profiles.add_profile_mount(server, "lab", {**MOUNT, "name": "labs"}, None)
        assert profiles.list_mounts(server) == [
            {"name": "ml-project", "remote": "/home/researcher/ml"},
            {"name": "data", "remote": "/data"},
        ]
        assert [row["local"] for row in profiles.list_local_mounts(server)] == [
            str(Path("~/ml").expanduser()),
            "/srv/data",
        ]
        await profiles.activate_profile(server, "lab", None)
        assert [row["name"] for row in profiles.list_mounts(server)] == ["labs"]
        assert await profiles.delete_mount(server, "labs", None) == {"status": "deleted", "name": "labs"}
        assert await profiles.delete_profile_mount(server, "dgx", "data", None) == {"ok": True}
        kept = server.store.stored_profiles.profiles
        assert [[mount.name for mount in profile.mounts] for profile in kept.values()] == [["ml-project"], []]
    assert "# the big one" in (root / "profiles.yaml").read_text()


@asynchronous
async def test_without_a_current_profile_there_are_no_mounts_to_change(root: Path) -> None:
    async with open_server(root) as server:
        await profiles.delete_profile(server, "dgx", None)
        assert profiles.list_mounts(server) == profiles.list_local_mounts(server) == []
        for change in (profiles.add_mount(server, MOUNT, None), profiles.delete_mount(server, "ml-project", None)):
            with pytest.raises(NoProfile):
                await change


@asynchronous
async def test_a_profile_of_the_environment_alone_cannot_be_changed(root: Path) -> None:
    async with open_server(root) as server:
        server.store.environment = {"SRUNX_SSH_HOSTNAME": "h.example.com", "SRUNX_SSH_USERNAME": "me"}
        answer = profiles.list_profiles(server).value
        assert (answer["current"], list(answer["profiles"])) == ("me@h.example.com", ["dgx", "lab"])
        with pytest.raises(NoProfile):
            profiles.require_current(server)
    async with open_server(root) as server:  # a process keeps its environment
        server.store.environment = {"SRUNX_SSH_PROFILE": "lab"}
        assert profiles.require_current(server) == "lab"
        await profiles.add_mount(server, MOUNT, None)
        assert [mount.name for mount in server.store.stored_profiles.profiles["lab"].mounts] == ["data"]


@asynchronous
async def test_a_change_of_an_older_version_is_refused(root: Path) -> None:
    async with open_server(root) as server:
        seen = profiles.list_profiles(server).etag
        by_hand = FILE.replace("# a small one", "# a small one, to be repaired")
        write_files(root, {"profiles.yaml": by_hand})
        for change in (
            profiles.create_profile(server, NEW, seen),
            profiles.update_profile(server, "lab", {"port": 23}, seen),
            profiles.delete_profile(server, "lab", seen),
            profiles.activate_profile(server, "lab", seen),
            profiles.add_profile_mount(server, "lab", MOUNT, seen),
            profiles.delete_profile_mount(server, "dgx", "ml-project", seen),
            profiles.add_mount(server, MOUNT, seen),
            profiles.delete_mount(server, "ml-project", seen),
        ):
            with pytest.raises(Changed):
                await change
        assert (root / "profiles.yaml").read_text() == by_hand
        await profiles.activate_profile(server, "lab", profiles.list_profiles(server).etag)
    assert (root / "profiles.yaml").read_text() == by_hand.replace("current: dgx", "current: lab")


@asynchronous
async def test_many_changes_at_once_are_all_there(root: Path) -> None:
    async with open_server(root) as server:
        names = [f"m{number}" for number in range(8)]
        bodies = [{"name": name, "local": f"/srv/{name}", "remote": f"/{name}"} for name in names]
        await asyncio.gather(*(profiles.add_mount(server, body, None) for body in bodies))
        assert {row["name"] for row in profiles.list_mounts(server)} == {"ml-project", *names}


@asynchronous
async def test_a_file_that_cannot_be_read_is_not_written_over(root: Path) -> None:
    async with open_server(root) as server:
        broken = FILE + "  bad: {port: abc}\n"
        write_files(root, {"profiles.yaml": broken})
        with pytest.raises(Conflict, match="cannot be read"):
            await profiles.activate_profile(server, "lab", None)
        assert profiles.list_profiles(server).value["current"] == "dgx", "what it said before stays in force"
    assert (root / "profiles.yaml").read_text() == broken
