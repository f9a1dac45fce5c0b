"""Following output: what is told when, with a pause and a clock of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from engine.queue.output_follow import HEARTBEAT_S, follow_output, stream_frames
from store.errors import NotFound
from tests.engine.servers.pretended import World, open_server
from tests.pretended import asynchronous, job


class Writer:
    """A job that does the next step in each pause of its follower."""

    def __init__(self, world: World, log: Path, steps: list[Any]) -> None:
        self.world, self.log, self.steps = world, log, steps
        self.time_s = 0.0

    async def pause(self, seconds: float) -> None:
        self.time_s += seconds
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, bytes):
            with self.log.open("ab") as file:
                file.write(step)
        elif isinstance(step, float):
            self.time_s += step
        elif step == "anew":
            self.log.write_bytes(b"")
        elif callable(step):
            step()
        elif step is not None:
            await self.world.show_queue(*step)

    async def follow(self, start: int = 0) -> list[dict[str, Any]]:
        frames = follow_output(
            self.world.server, self.world.cluster, "stdout", "7", start, self.pause, lambda: self.time_s
        )
        return [frame async for frame in frames]


def make_job(tmp_path: Path, state: str, **more: Any) -> Any:
    return job("7", state, start_time=1, stdout=str(tmp_path / "work" / "log"), work_dir=str(tmp_path / "work"), **more)


def tell(data: str, offset: int, following: int) -> dict[str, Any]:
    return {"type": "output", "stream": "stdout", "offset": offset, "next_offset": following, "data": data}


PING = {"type": "ping"}
ROWS: list[tuple[str, int, list[Any], list[dict[str, Any]]]] = [
    ("what it writes, piece by piece", 0, [b"one\n", b"two\n"], [PING, tell("one\n", 0, 4), tell("two\n", 4, 8)]),
    ("from an offset on", 4, [b"one\ntwo\n"], [PING, tell("two\n", 4, 8)]),
    ("a character in two pieces", 0, [b"a\xc3", b"\xa9b"], [PING, tell("a", 0, 1), tell("éb", 1, 4)]),
    ("a character that is never whole", 0, [b"a\xc3"], [PING, tell("a", 0, 1), tell("�", 1, 2)]),
    ("a file that is written anew", 0, [b"one\n", "anew", b"x"],
     [PING, tell("one\n", 0, 4), {"type": "truncated", "stream": "stdout", "offset": 0}, tell("x", 0, 1)]),
    ("nothing for long", 0, [HEARTBEAT_S, b"x"], [PING, PING, tell("x", 0, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "start", "steps", "expected"), ROWS, ids=[row[0] for row in ROWS])
@asynchronous
async def test_what_a_follower_is_told(
    tmp_path: Path, why: str, start: int, steps: list[Any], expected: list[dict[str, Any]]
) -> None:
    (tmp_path / "work").mkdir()
    async with open_server(tmp_path) as world:
        await world.show_queue(make_job(tmp_path, "RUNNING"))
        end = [make_job(tmp_path, "FAILED", exit_code=3)]
        frames = await Writer(world, tmp_path / "work" / "log", [*steps, end]).follow(start)
        last = frames.pop()
        assert (last["type"], last["state"], last["exit_code"]) == ("end", "FAILED", 3)
        assert frames == expected


@asynchronous
async def test_what_was_written_before_the_end_was_seen_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    log = tmp_path / "work" / "log"
    async with open_server(tmp_path) as world:
        log.write_bytes(b"x" * 150_000)
        await world.show_queue(make_job(tmp_path, "CANCELLED", exit_code=0, exit_signal=9))
        frames = await Writer(world, log, []).follow()
        assert [len(frame.get("data", "")) for frame in frames] == [0, 65_536, 65_536, 18_928, 0]
        assert frames[-1] == {"type": "end", "state": "CANCELLED", "exit_code": 137, "offset": 150_000}


@asynchronous
async def test_a_job_that_slurm_forgets_ends_the_stream(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    async with open_server(tmp_path) as world:
        world.slurm.accounting = False
        await world.show_queue(make_job(tmp_path, "RUNNING"))
        frames = await Writer(world, tmp_path / "work" / "log", [[job("8")]]).follow()
        assert frames == [PING, {"type": "end", "state": "RUNNING", "exit_code": None, "offset": 0}]
        with pytest.raises(NotFound):
            await Writer(world, tmp_path / "log", []).follow()


@asynchronous
async def test_a_job_that_waits_is_asked_about_when_its_file_is_there(tmp_path: Path) -> None:
    """Else its first lines would come with the next snapshot, which may be long in coming."""
    (tmp_path / "work").mkdir()
    log, running = tmp_path / "work" / "log", make_job(tmp_path, "RUNNING")
    async with open_server(tmp_path) as world:

        def begin() -> None:
            world.slurm.rows = [running]
            log.write_bytes(b"first\n")

        await world.show_queue({**running, "state": "PENDING", "start_time": None})
        end = [make_job(tmp_path, "COMPLETED", exit_code=0)]
        frames = await Writer(world, log, [None, begin, b"second\n", end]).follow()
        assert frames[:-1] == [PING, tell("first\n", 0, 6), tell("second\n", 6, 13)], "one by one"


@asynchronous
async def test_the_file_of_another_job_is_asked_about_once_in_each_snapshot(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    waiting = {**make_job(tmp_path, "PENDING"), "start_time": None}
    async with open_server(tmp_path) as world:
        await world.show_queue(waiting)
        end = [{**waiting, "state": "CANCELLED"}]
        with patch.object(world.slurm, "squeue", wraps=world.slurm.squeue) as squeue:
            steps = [b"another's\n", b"more\n", b"more\n", [waiting], b"more\n", end]
            frames = await Writer(world, tmp_path / "work" / "log", steps).follow()
        assert [frame["type"] for frame in frames] == ["ping", "end"], "nothing of it is told"
        assert sum(call.args == (["7"],) for call in squeue.call_args_list) == 2


@asynchronous
async def test_messages_as_events(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "log").write_bytes(b"hi\n")
    async with open_server(tmp_path) as world:
        await world.show_queue(make_job(tmp_path, "COMPLETED", exit_code=0))
        frames = follow_output(world.server, world.cluster, "stdout", "7")
        pieces = [piece async for piece in stream_frames(await anext(frames), frames)]
        assert pieces == [
            b"retry: 2000\n\n",
            b"id: 3\nevent: output\ndata: "
            b'{"type":"output","stream":"stdout","offset":0,"next_offset":3,"data":"hi\\n"}\n\n',
            b'id: 3\nevent: end\ndata: {"type":"end","state":"COMPLETED","exit_code":0,"offset":3}\n\n',
        ]
