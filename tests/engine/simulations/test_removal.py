"""Simulations go with all their files; what stands in the way of that is removed later."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.simulations import removal
from engine.simulations.removal import GIVEN_UP_S, UNBORN_S
from store.errors import NotFound
from store.kinds import Key
from store.times import to_rfc3339
from tests.engine.servers.worked import Worked, make_worked
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, NOW, RUN_ID, make_simulation

OTHER = "20261121-163917-1b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6fBATCH"


async def end_work(worked: Worked) -> None:
    """Wait until the removal of the work folder is over."""
    task = worked.server.tasks.running.get(Key("removal", ID))
    if task is not None:
        await task


@asynchronous
async def test_all_of_a_simulation_is_deleted_but_its_run(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        worked.write_results("dose")
        for name in ("input/a", "results/dose.json", "logs/a", "new/results/a"):
            (worked.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (worked.folder / name).touch()
        outside = tmp_path / "outside"
        outside.mkdir()
        (worked.work / "link").symlink_to(outside)
        await removal.delete_simulation(worked.server, ID)
        await end_work(worked)
        assert ID not in worked.server.store.simulations and RUN_ID in worked.server.store.runs
        assert not worked.folder.exists() and not worked.work.exists() and outside.is_dir()
        with pytest.raises(NotFound):
            await removal.delete_simulation(worked.server, ID)


@pytest.mark.parametrize("work", ["/tmp", "..", "../runs", "other"])
@asynchronous
async def test_no_other_folder_is_removed_than_one_of_ours(tmp_path: Path, work: str) -> None:
    async with make_worked(tmp_path) as worked:
        place = (worked.work.parent / work).absolute()
        run = worked.server.store.runs.get(RUN_ID)
        await worked.server.store.runs.put(RUN_ID, run.model_copy(update={"work_dir": str(place)}))
        (worked.work.parent / "other").mkdir()
        await removal.delete_simulation(worked.server, ID)
        await end_work(worked)
        assert place.is_dir() and worked.work.is_dir() and not worked.folder.exists()


@asynchronous
async def test_a_cluster_that_does_not_answer_is_asked_again_by_the_tidy(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        run = worked.server.store.runs.get(RUN_ID)
        away = {"cluster": "ssh:lab:gone", "work_dir": f"/home/ann/.sluice/work/{RUN_ID}"}
        await worked.server.store.runs.put(RUN_ID, run.model_copy(update=away))
        await removal.delete_simulation(worked.server, ID)
        await end_work(worked)
        now = worked.folder.stat().st_mtime
        for later_s in (0.0, GIVEN_UP_S - 1):
            await removal.tidy_simulations(worked.server, now + later_s)
            assert [path.name for path in worked.folder.iterdir()] == ["removal.json"]
        await removal.tidy_simulations(worked.server, now + GIVEN_UP_S)
        assert not worked.folder.exists()


@asynchronous
async def test_the_tidy_removes_what_is_old_and_what_was_left_behind(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        server, root = worked.server, worked.folder.parent
        over = {"state": "COMPLETED", "settled_at": to_rfc3339(NOW), "ended_at": to_rfc3339(NOW)}
        await server.store.simulations.put(ID, make_simulation(**over))
        for name in (OTHER, OTHER.replace("1b5a", "2b5a"), "notes", ID):
            (root / name / "input").mkdir(parents=True, exist_ok=True)
            os.utime(root / name, (NOW, NOW))
        (root / f"{OTHER.replace('1b5a', '2b5a')}.json").write_text("{")
        await removal.tidy_simulations(server, NOW + UNBORN_S - 1)
        assert (root / OTHER).is_dir(), "its document may come in a moment"
        await removal.tidy_simulations(server, NOW + UNBORN_S)
        assert not (root / OTHER).exists()
        assert (root / "notes").is_dir() and (root / OTHER.replace("1b5a", "2b5a")).is_dir() and worked.folder.is_dir()
        assert ID in server.store.simulations, "without limits everything is kept"
        config = server.store.join_path("config.yaml")
        config.write_text("retention: {age_days: 1}\n")
        await server.store.single["config"].refresh([config.name])
        await removal.tidy_simulations(server, NOW + 86_400)
        assert ID in server.store.simulations
        await removal.tidy_simulations(server, NOW + 86_401)
        await end_work(worked)
        assert ID not in server.store.simulations and not worked.folder.exists() and not worked.work.exists()


@asynchronous
async def test_the_tidy_leaves_a_removal_alone_that_goes_on(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        folder, key = worked.folder, Key("removal", ID)
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def remove() -> None:
            begun.set()
            await go_on.wait()
            await removal.finish_removal(worked.server, ID)

        await worked.server.store.simulations.delete(ID)
        folder.mkdir(exist_ok=True)
        (folder / "removal.json").write_text("{}")
        going_on = worked.server.tasks.spawn(key, remove)
        await begun.wait()
        await removal.tidy_simulations(worked.server, NOW)
        assert folder.is_dir()
        go_on.set()
        await going_on
        assert not folder.exists()


@asynchronous
async def test_a_folder_that_somebody_else_removes_too_is_gone(tmp_path: Path) -> None:
    gone = itertools.chain([errno.ENOENT, None, errno.ENOENT], itertools.repeat(None))

    def unlink(path: str) -> None:
        """Unlink; somebody else was sometimes faster."""
        Path(path).unlink()
        if fault := next(gone):
            raise OSError(fault, os.strerror(fault))

    async with make_worked(tmp_path) as worked:
        for name in ("a/1", "a/2", "b/1", "b/2"):
            (worked.work / name).parent.mkdir(exist_ok=True)
            (worked.work / name).touch()
        files = worked.server.store.files
        files.ops = SimpleNamespace(unlink=unlink, rmdir=os.rmdir, open=os.open, fsync=os.fsync, close=os.close)
        await files.discard_folder(worked.work)
        files.ops = os
        assert not worked.work.exists()
