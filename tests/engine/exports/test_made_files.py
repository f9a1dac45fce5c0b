"""What exports and reports have in common: a disk that refuses, and SLURM that answers late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.exports import exports, made_files
from slurm_shim.errors import SlurmUnreachable
from store.errors import StoreFull, StoreUnavailable
from tests.engine.exports.test_exports import begin
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous, job


@asynchronous
async def test_slurm_may_answer_late() -> None:
    answers: list[Any] = [SlurmUnreachable("sacct", "away"), SlurmUnreachable("sacct", "away"), "rows"]

    async def ask() -> str:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return str(answer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_files, "PAUSE_S", 0)
        assert await made_files.try_often(ask) == "rows"
        answers[:] = [SlurmUnreachable("sacct", "away")] * made_files.TRIES
        with pytest.raises(SlurmUnreachable):
            await made_files.try_often(ask)
        assert answers == []


@asynchronous
async def test_a_full_disk_is_the_reason_that_is_told(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        name = await begin(world)

        def refuse(*_: Any) -> Any:
            raise StoreFull(28, "cannot write exports: No space left on device")

        world.store.files.fill = refuse  # type: ignore[method-assign]
        await exports.carry_out_export(world.server, name)
        made = world.store.exports.get(name)
        assert (made.status, made.error) == ("failed", "cannot write exports: No space left on device")


@asynchronous
async def test_where_the_end_cannot_be_recorded_all_begins_again(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        name, put = await begin(world), world.store.exports.put

        async def refuse(*_: Any) -> Any:
            raise StoreUnavailable(5, "cannot write: Input/output error")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made_files, "PAUSE_S", 0)
            world.store.exports.put = refuse  # type: ignore[method-assign]
            with pytest.raises(StoreUnavailable):
                await exports.carry_out_export(world.server, name)
        world.store.exports.put = put  # type: ignore[method-assign]
        await exports.carry_out_export(world.server, name)
        assert world.store.exports.get(name).status == "completed"
