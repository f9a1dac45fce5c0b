"""Exports between requests: they go on after a kill, fail with a reason, expire, and are cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.exports import exports, made_files
from slurm_shim.errors import SlurmUnreachable
from store.access import INCLUDED, Caller
from store.errors import Conflict, Invalid, NotFound
from store.kinds import Key
from tests.engine.servers.pretended import CALLER, HERE, World, open_server
from tests.pretended import asynchronous, job

BASE = "http://here/v1"
BOB = Caller("bob", INCLUDED["write"])


async def begin(world: World, caller: Caller = CALLER, **more: Any) -> str:
    body = {"type": "jobs", "format": "csv", **more}
    answer = await exports.create_export(world.server, body, None, caller, BASE)
    assert answer.location == f"{BASE}/exports/{answer.value['export_id']}"
    return str(answer.value["export_id"])


@asynchronous
async def test_an_export_is_made_and_can_be_downloaded(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4", name="=cmd"), job("5"))
        name = await begin(world, fields=["id", "name"])
        with pytest.raises(Conflict):
            await exports.download_export(world.server, name, CALLER)
        await exports.carry_out_export(world.server, name)
        made = world.store.exports.get(name)
        assert (made.status, made.record_count, made.error) == ("completed", 2, None)
        answer = await exports.download_export(world.server, name, CALLER)
        assert answer.value.read_bytes().startswith(b"job_id,job_name\r\n4,'=cmd\r\n5,")
        assert answer.value.stat().st_size == made.file_size
        await exports.carry_out_export(world.server, name)
        assert world.store.exports.get(name) is made, "what is complete stays as it is"


@asynchronous
async def test_asked_for_twice_at_once_it_is_begun_once(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        body = {"type": "jobs", "format": "csv"}
        calls = (exports.create_export(world.server, body, "nightly", CALLER, BASE) for _ in range(5))
        names = {answer.value["export_id"] for answer in await asyncio.gather(*calls)}
        assert len(names) == 1 and len(list(world.store.exports.iterate_entries())) == 1
        with pytest.raises(Invalid):
            await exports.create_export(world.server, {**body, "format": "md"}, "nightly", CALLER, BASE)


@asynchronous
async def test_what_was_cut_off_begins_again(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        name = await begin(world)
        half = made_files.find_path(world.server, "export", name).parent / ".sluice-0123456789abcdef.new"
        half.parent.mkdir()
        half.write_text("half a row")
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        assert world.server.open_documents.take([None], time.monotonic()) == [Key("export", name)]
        await exports.carry_out_export(world.server, name)
        assert world.store.exports.get(name).status == "completed" and not half.exists()


@asynchronous
async def test_slurm_that_does_not_answer_is_asked_again_and_then_told(
    tmp_path: Path,
) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        name = await begin(world)
        world.slurm.failure, tries = SlurmUnreachable("sacct", "Problem talking to the database"), world.slurm.windows
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made_files, "PAUSE_S", 0)
            await exports.carry_out_export(world.server, name)
        made = world.store.exports.get(name)
        assert made.status == "failed" and "Problem talking to the database" in made.error and tries == []
        with pytest.raises(Conflict, match="Problem talking"):
            await exports.download_export(world.server, name, CALLER)
        assert not made_files.find_path(world.server, "export", name).parent.exists()


@asynchronous
async def test_deleting_cancels_what_is_being_made(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        name, begun, go_on = await begin(world), threading.Event(), threading.Event()

        def wait(*_: Any) -> Any:
            begun.set()
            go_on.wait(60)
            return iter(())

        world.slurm.iterate_window = wait  # type: ignore[method-assign]
        task = world.server.tasks.spawn(Key("export", name), lambda: exports.carry_out_export(world.server, name))
        await asyncio.to_thread(begun.wait, 60)
        deleting = asyncio.ensure_future(exports.delete_export(world.server, name, CALLER))
        await asyncio.sleep(0)
        go_on.set()
        await deleting
        assert task.done() and name not in world.store.exports
        assert not made_files.find_path(world.server, "export", name).parent.exists()
        with pytest.raises(NotFound):
            await exports.delete_export(world.server, name, CALLER)


@asynchronous
async def test_what_has_expired_is_told_then_forgotten(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        name, now = await begin(world), time.time()
        await exports.carry_out_export(world.server, name)
        path = made_files.find_path(world.server, "export", name)
        await made_files.remove_expired(world.server, now + 23 * 3600)
        assert path.is_file()
        await made_files.remove_expired(world.server, now + 25 * 3600)
        assert not path.parent.exists() and name in world.store.exports
        with pytest.raises(NotFound, match="its file is gone"):
            await exports.download_export(world.server, name, CALLER)
        await made_files.remove_expired(world.server, now + 49 * 3600)
        assert name not in world.store.exports


@asynchronous
async def test_nobody_else_but_an_administrator_sees_an_export(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        name = await begin(world, BOB)
        with pytest.raises(NotFound):
            exports.get_export(world.server, name, Caller("eve", INCLUDED["write"]), BASE)
        for caller, count in ((BOB, 1), (CALLER, 1), (Caller("eve", INCLUDED["write"]), 0)):
            assert b'"total":%d' % count in exports.list_exports(world.server, 10, 0, caller, BASE).data


@asynchronous
async def test_number_and_size_are_bounded(tmp_path: Path) -> None:
    config = {"store/config.yaml": "exports: {most_files: 3, most_files_per_caller: 2, file_mb: 1}\n"}
    async with open_server(tmp_path, config) as world:
        await world.show_queue(*(job(str(number), name="n" * 2000) for number in range(1, 1001)))
        first = await begin(world, BOB)
        await begin(world, BOB)
        with pytest.raises(Conflict, match="you have 2"):
            await begin(world, BOB)
        await begin(world)
        with pytest.raises(Conflict, match="there are 3"):
            await begin(world)
        await exports.carry_out_export(world.server, first)
        made = world.store.exports.get(first)
        assert (made.status, made.error) == ("failed", "the file would be larger than 1000000 bytes")


@asynchronous
async def test_many_at_once_are_bounded_as_well(tmp_path: Path) -> None:
    async with open_server(tmp_path, {"store/config.yaml": "exports: {most_files_per_caller: 2}\n"}) as world:
        await world.show_queue(job("4"))
        begun = await asyncio.gather(*(begin(world) for _ in range(5)), return_exceptions=True)
        assert [type(found) for found in begun].count(Conflict) == 3 and len(world.store.exports) == 2


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("an unknown column", {"fields": ["job_id", "usr"]}, "did you mean 'user'"),
    ("a column of another type", {"type": "nodes", "fields": ["job_id"]}, "nodes have no field 'job_id'"),
    ("a filter that says nothing", {"type": "nodes", "filter": {"user": "bob"}}, "does not apply to nodes"),
    ("a state that is none", {"filter": {"state": "RUNING"}}, "did you mean 'RUNNING'"),
    ("a time that is none", {"filter": {"start_time": "soon"}}, "is no time"),
    ("an end before the beginning", {"filter": {"start_time": "2026-02-01", "end_time": "2026-01-01"}},
     "after end_time"),
    ("two delimiters", {"options": {"delimiter": ";;"}}, "must be one character"),
    ("a delimiter that quotes", {"options": {"delimiter": '"'}}, "must be one character"),
    ("a delimiter that begins a formula after an empty cell", {"options": {"delimiter": "="}}, "must be one character"),
    ("a library that is missing", {"format": "parquet"}, "pip install pyarrow"),
]  # fmt: skip


@asynchronous
async def test_what_is_refused(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        for why, body, text in REFUSED:
            with pytest.raises(Invalid, match=text), pytest.MonkeyPatch.context() as patch:
                patch.setattr("importlib.util.find_spec", lambda _name: None)
                await begin(world, **body)
                pytest.fail(why)
        assert len(world.store.exports) == 0 and world.cluster.name == HERE
