"""The configuration: merged from its layers, changed in config.yaml only, and what is wrong with it."""

from __future__ import annotations

import asyncio
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from engine.config import configuration
from engine.config.projects import update_project
from engine.server import Server
from store.errors import Changed, Conflict, Invalid, NotFound
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous

HOOK = "https://hooks.slack.com/services/T0/B0/" + "verysecret"
USER = "# ours\npoll: {min_s: 1, max_s: 1}\nresources:\n  nodes: 2  # we have few\nlog_dir: outs\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a configuration and a mount, served from a folder without a project."""
    for name in ("started", "ml"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "started")
    profiles = f"current: here\nprofiles:\n  here: {{mounts: [{{name: ml, local: {tmp_path / 'ml'}, remote: /far}}]}}\n"
    write_files(tmp_path / "store", {"config.yaml": USER, "profiles.yaml": profiles})
    return tmp_path / "store"


@asynchronous
async def test_a_mount_has_the_layer_of_its_project_too(root: Path) -> None:
    write_files(root.parent, {"ml/srunx.json": '{"resources": {"nodes": 7}}', "system.json": '{"work_dir": "/w"}'})
    async with open_server(root) as server:
        common = (await configuration.get_config(server, False, None)).value
        own = (await configuration.get_config(server, False, "ml")).value
        assert (common["resources"]["nodes"], own["resources"]["nodes"]) == (2, 7)
        assert common["work_dir"] == own["work_dir"] == "/w" and common["log_dir"] == own["log_dir"] == "outs"
        with pytest.raises(NotFound, match="Mount 'nope' not found"):
            await configuration.get_config(server, False, "nope")


@asynchronous
async def test_each_value_tells_where_it_comes_from(root: Path) -> None:
    write_files(root.parent, {"ml/srunx.json": '{"resources": {"cpus_per_task": 7}}'})
    async with open_server(root) as server:
        plain = (await configuration.get_config(server, False, "ml")).value
        explained = (await configuration.get_config(server, True, "ml")).value
    origins = explained.pop("explain")
    assert explained.pop("problems") == [] and explained == plain
    assert origins["resources.nodes"] == {"source": "user", "path": str(root / "config.yaml")}
    assert origins["resources.cpus_per_task"] == {"source": "project", "path": str(root.parent / "ml" / "srunx.json")}
    assert origins["resources.memory_per_node"] == {"source": "default"}


@asynchronous
async def test_a_change_is_merged_and_is_there_after_a_restart(root: Path) -> None:
    async with open_server(root) as server:
        before = await configuration.get_config(server, False, None)
        after = await configuration.update_config(server, {"resources": {"nodes": 3}}, before.etag)
        assert (after.value["resources"]["nodes"], after.value["log_dir"]) == (3, "outs")
        assert after.etag != before.etag
    assert (root / "config.yaml").read_text() == USER.replace("nodes: 2", "nodes: 3")
    async with open_server(root) as server:
        again = await configuration.get_config(server, False, None)
        assert (again.value, again.etag) == (after.value, after.etag)


@asynchronous
async def test_a_change_of_an_older_version_is_refused(root: Path) -> None:
    async with open_server(root) as server:
        seen = (await configuration.get_config(server, False, None)).etag
        by_hand = USER.replace("we have few", "we have plenty")
        write_files(root, {"config.yaml": by_hand})
        with pytest.raises(Changed):
            await configuration.update_config(server, {"log_dir": "x"}, seen)
        with pytest.raises(Changed):
            await configuration.reset_config(server, seen)
        assert (root / "config.yaml").read_text() == by_hand
        await configuration.update_config(server, {"log_dir": "x"}, None)
        assert (root / "config.yaml").read_text() == by_hand.replace("outs", "x")


@asynchronous
async def test_what_is_wrong_changes_nothing(root: Path) -> None:
    async with open_server(root) as server:
        with pytest.raises(Invalid) as refused:
            await configuration.update_config(server, {"resources": {"nodes": 0}, "log_dir": 7}, None)
        assert [problem["loc"] for problem in refused.value.problems] == [["resources", "nodes"], ["log_dir"]]
        assert (root / "config.yaml").read_text() == USER
        write_files(root, {"config.yaml": "resources: {nodes: [}\n"})
        with pytest.raises(Conflict, match="cannot be read"):
            await configuration.update_config(server, {"log_dir": "x"}, None)
        assert (await configuration.get_config(server, False, None)).value["resources"]["nodes"] == 2
    assert (root / "config.yaml").read_text() == "resources: {nodes: [}\n"


@asynchronous
async def test_many_changes_at_once_are_all_there(root: Path) -> None:
    bodies = [
        {"resources": {"nodes": 5}},
        {"log_dir": "many"},
        {"work_dir": "/w"},
        {"sync": {"auto": False}},
    ]
    async with open_server(root) as server:
        await asyncio.gather(*(configuration.update_config(server, body, None) for body in bodies))
        found = (await configuration.get_config(server, False, None)).value
    assert (found["resources"]["nodes"], found["log_dir"], found["work_dir"]) == (5, "many", "/w")
    assert found["sync"]["auto"] is False


@asynchronous
async def test_a_reset_keeps_what_concerns_the_server_itself(root: Path) -> None:
    async with open_server(root) as server:
        await update_project(server, "ml", {"log_dir": "kept"}, None)
        found = (await configuration.reset_config(server, None)).value
        assert (found["resources"]["nodes"], found["log_dir"]) == (1, "logs")
        assert (await configuration.get_config(server, False, "ml")).value["log_dir"] == "kept", "another's file"
    text = (root / "config.yaml").read_text()
    assert "# ours" in text and "poll: {min_s: 1, max_s: 1}" in text and "resources" not in text


@asynchronous
async def test_secrets_leave_masked_and_come_back(root: Path) -> None:
    async with open_server(root) as server:
        secret = {"notifications": {"slack_webhook_url": HOOK}, "environment": {"env_vars": {"HF_TOKEN": "hf_x"}}}
        changed = (await configuration.update_config(server, secret, None)).value
        assert changed["notifications"]["slack_webhook_url"] == "https://hooks.slack.com/services/***"
        assert changed["environment"]["env_vars"] == {"HF_TOKEN": "***"}
        written = (root / "config.yaml").read_text()
        assert HOOK in written and "hf_x" in written
        await configuration.update_config(server, changed, None)
        assert (root / "config.yaml").read_text() == written, "a mask that is sent back keeps the secret"


@asynchronous
async def test_files_and_variables_are_listed(root: Path) -> None:
    async with open_server(root) as server:
        assert await configuration.list_paths(server) == [
            {"path": str(root.parent / "system.json"), "exists": False, "source": "system"},
            {"path": str(root / "config.yaml"), "exists": True, "source": "user"},
            {"path": str(root.parent / "started" / "srunx.json"), "exists": False, "source": "project"},
        ]
        server.store.environment = {"SLACK_WEBHOOK_URL": HOOK, "SRUNX_SSH_PORT": "22", "HOME": "/root"}
        assert [(row["name"], row["value"]) for row in configuration.list_variables(server)] == [
            ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/***"),
            ("SRUNX_SSH_PORT", "22"),
        ]


async def list_problems(server: Server) -> list[dict[str, Any]]:
    """The problems as they are answered."""
    body = configuration.list_problems(server)
    found: list[dict[str, Any]] = json.loads(await body if inspect.isawaitable(body) else body)
    return found


@asynchronous
async def test_files_that_are_wrong_are_listed_wherever_they_lie(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.config.configuration.LOOK_S", 0)
    write_files(root, {"workflows/bad.yaml": "name: ["})
    async with open_server(root) as server:
        assert [row["path"] for row in await list_problems(server)] == ["workflows/bad.yaml"]
        write_files(root.parent, {"system.json": "{"})
        system, bad = await list_problems(server)
        assert system["path"] == str(root.parent / "system.json") and "not JSON" in system["reason"]
        (root.parent / "system.json").unlink()
        assert await list_problems(server) == [bad], "what was mended is no problem any more"
