"""Endpoints: created, changed and deleted in their files, without ever telling an address."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.notify import endpoints, watches
from engine.server import Server
from store.documents import Run
from store.errors import Exists, Invalid, NotFound
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous

SLACK = "https://hooks.slack.com/services/T000/B000/" + "secret"


async def create_endpoint(server: Server, name: str, kind: str = "slack_webhook", url: str = SLACK) -> Any:
    """Create an endpoint; return it."""
    return await endpoints.create_endpoint(server, {"kind": kind, "name": name, "config": {"webhook_url": url}})


def list_names(server: Server, include_disabled: bool = True) -> list[str]:
    """List the names of the endpoints."""
    return [row["name"] for row in endpoints.list_endpoints(server, include_disabled)]


@asynchronous
async def test_an_endpoint_is_kept_in_a_file_and_shown_without_its_address(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        created = await create_endpoint(server, "group")
        assert (created["id"], created["kind"], created["name"]) == (1, "slack_webhook", "group")
        assert created["config"] == {"webhook_url": "https://hooks.slack.com/services/***"}
    file = tmp_path / "store" / "endpoints" / "1.yaml"
    assert SLACK in file.read_text() and file.stat().st_mode & 0o077 == 0
    async with open_server(tmp_path / "store") as server:
        assert endpoints.list_endpoints(server, True) == [created], "also after a restart"


@asynchronous
async def test_disabled_ones_are_listed_only_on_demand(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        for name in ("a", "b", "c"):
            await create_endpoint(server, name)
        disabled = await endpoints.disable_endpoint(server, 2)
        assert disabled["disabled_at"] and not server.notifications.is_listening(2)
        assert await endpoints.disable_endpoint(server, 2) == disabled, "once more changes nothing"
        assert (list_names(server), list_names(server, False)) == (["a", "b", "c"], ["a", "c"])
        assert (await endpoints.enable_endpoint(server, 2))["disabled_at"] is None
        assert list_names(server, False) == ["a", "b", "c"] and server.notifications.is_listening(2)


@asynchronous
async def test_a_change_keeps_comments_and_what_it_does_not_name(tmp_path: Path) -> None:
    file = tmp_path / "store" / "endpoints" / "5.yaml"
    text = f"# ask Ann before changing this\nkind: slack_webhook\nname: old\nwebhook_url: {SLACK}\n"
    write_files(tmp_path / "store", {"endpoints/5.yaml": text})
    async with open_server(tmp_path / "store") as server:
        (row,) = endpoints.list_endpoints(server, True)
        changed = await endpoints.change_endpoint(server, 5, {"name": "new", "config": row["config"]})
        assert changed == {**row, "name": "new"}
        assert file.read_text() == text.replace("name: old", "name: new"), "the mask keeps the address"
        other = SLACK.replace("B000", "B111")
        await endpoints.change_endpoint(server, 5, {"config": {"webhook_url": other}})
        assert other in file.read_text() and "# ask Ann" in file.read_text()
        assert (await create_endpoint(server, "next"))["id"] == 6


@asynchronous
async def test_what_is_refused_changes_nothing_and_tells_no_address(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await create_endpoint(server, "first")
        await create_endpoint(server, "second")
        before = endpoints.list_endpoints(server, True)
        with pytest.raises(Invalid, match="hooks") as refused:
            await create_endpoint(server, "elsewhere", url="https://example.org/secret-word")
        assert "secret-word" not in str(refused.value)
        with pytest.raises(Invalid, match="mask"):
            await endpoints.create_endpoint(
                server, {"kind": "webhook", "name": "x", "config": {"webhook_url": "https://example.org/***"}}
            )
        with pytest.raises(Exists):
            await endpoints.change_endpoint(server, 2, {"name": "first"})
        assert (await endpoints.change_endpoint(server, 1, {"name": "first"}))["name"] == "first"
        assert endpoints.list_endpoints(server, True) == before


@asynchronous
async def test_a_name_is_taken_once_for_each_kind(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        answers = await asyncio.gather(*(create_endpoint(server, "same") for _ in range(4)), return_exceptions=True)
        assert sorted(isinstance(answer, Exists) for answer in answers) == [False, True, True, True]
        await create_endpoint(server, "same", "webhook", "https://example.org/")
        assert list_names(server) == ["same", "same"]


@asynchronous
async def test_one_that_does_not_exist_is_not_found(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        for change in (
            endpoints.change_endpoint(server, 9, {"name": "x"}),
            endpoints.disable_endpoint(server, 9),
            endpoints.enable_endpoint(server, 9),
            endpoints.delete_endpoint(server, 9),
        ):
            with pytest.raises(NotFound, match="endpoint not found"):
                await change


@asynchronous
async def test_it_is_deleted_with_its_subscriptions_and_its_number_is_not_given_again(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        gone, stays = [(await create_endpoint(server, name))["id"] for name in ("gone", "stays")]
        await server.store.runs.put("r", Run(id="r", workflow_name="w", status="running"))
        for number in (gone, stays):
            body = {"kind": "workflow_run", "run_id": "r", "endpoint_id": number, "preset": "all"}
            await watches.create_watch(server, body)
        await endpoints.delete_endpoint(server, gone)
        rows = watches.list_subscriptions(server, None, None, 10)
        assert [row["endpoint_id"] for row in rows] == [stays]
        await endpoints.delete_endpoint(server, stays)
        assert watches.list_subscriptions(server, None, None, 10) == [] and list_names(server) == []
        assert (await create_endpoint(server, "later"))["id"] == 3
