"""A submission waits for sbatch without a thread, at first; whoever stops waiting leaves it to go on to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from slurm_shim import programs as programs_module
from slurm_shim.errors import SlurmInvalid, SlurmUnreachable
from slurm_shim.starting import work
from slurm_shim.starting.starter import Starter
from tests.pretended import asynchronous
from tests.slurm_programs import Programs
from tests.waiting import eventually

# It tells that it runs, and by whom it was started, waits for a word, and gives its own number for an id.
GATED = """\
mkfifo {0}/go.$$; echo $PPID > {0}/new.$$; mv {0}/new.$$ {0}/began.$$
read word < {0}/go.$$; echo $$"""


class Gated:
    """An sbatch that waits until it may end, and a pool of one thread."""

    def __init__(self, programs: Programs, pool: ThreadPoolExecutor, timeout_s: float = 60.0) -> None:
        self.programs, self.pool, self.folder = programs, pool, programs.folder
        programs.write("sbatch", GATED.format(self.folder))
        self.slurm = programs.slurm(timeout_s)

    def submit(self) -> asyncio.Task[str]:
        return asyncio.create_task(work.follow_work(self.slurm.submit("#!/bin/sh\n", {}), self.pool))

    def list_begun(self) -> list[str]:
        return [path.suffix[1:] for path in self.folder.glob("began.*")]

    async def wait_for_begun(self, count: int) -> None:
        await asyncio.to_thread(eventually, lambda: len(self.list_begun()) == count, 60, "it begins")

    def end(self) -> str:
        """Let the first that began end; return its id."""
        first = self.list_begun()[0]
        (self.folder / f"go.{first}").write_text("\n")
        return first

    def is_counted(self) -> bool:
        return self.slurm.calls.list_counts() == {"sbatch": (1, 0)}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def gated(programs: Programs, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> Gated:
    monkeypatch.setattr(work, "SOON_S", 600.0)
    return Gated(programs, pool)


@asynchronous
async def test_many_wait_without_a_thread(gated: Gated) -> None:
    waiting = [gated.submit() for _ in range(3)]
    await gated.wait_for_begun(3)  # with one thread
    assert await asyncio.to_thread(gated.pool.submit(lambda: "is free").result, 60) == "is free"
    for _ in range(3):
        first = gated.end()
        done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert [task.result() for task in done] == [first]
        waiting = list(left)
        (gated.folder / f"began.{first}").unlink()


@asynchronous
async def test_a_slow_one_is_waited_for_by_a_thread(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SOON_S", 0.0)
    waiting = gated.submit()
    await gated.wait_for_begun(1)
    first = gated.end()
    assert await waiting == first


@pytest.mark.parametrize("soon_s", [0.0, 0.25])
@asynchronous
async def test_one_that_takes_too_long_is_ended(
    programs: Programs, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, soon_s: float
) -> None:
    monkeypatch.setattr(work, "SOON_S", soon_s)
    with pytest.raises(SlurmUnreachable, match=r"no answer within 0\.3 s") as caught:
        await Gated(programs, pool, 0.3).submit()
    assert caught.value.uncertain


def test_an_end_in_time_counts_also_where_nobody_looks_before_the_time_is_over() -> None:
    begun = programs_module.call_program("/bin/sh", ["sbatch", "-c", "exit 3"], {"PATH": "/bin"}, b"", 0.0)
    eventually(next(begun).has_ended, 60, "it ends")
    assert work.finish_work(begun).exit_code == 3


@asynchronous
async def test_what_is_wrong_is_raised(programs: Programs, pool: ThreadPoolExecutor) -> None:
    programs.write("sbatch", "echo 'sbatch: error: invalid partition specified: no' >&2; exit 1")
    with pytest.raises(SlurmInvalid):
        await work.follow_work(programs.slurm().submit("#!/bin/sh\n", {}), pool)
    with pytest.raises(ValueError, match="NUL"):
        await work.follow_work(programs.slurm().submit("#!/bin/sh\n", {"comment": "\0"}), pool)


@asynchronous
async def test_one_that_is_lost_sight_of_is_uncertain(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    starter = Starter()
    monkeypatch.setattr(programs_module, "STARTER", starter)
    try:
        waiting = gated.submit()
        await gated.wait_for_begun(1)
        (began,) = gated.folder.glob("began.*")
        os.kill(int(began.read_text()), signal.SIGKILL)
        with pytest.raises(SlurmUnreachable, match="lost sight of") as caught:
            await waiting
        assert caught.value.uncertain
    finally:
        starter.close()
        gated.end()


@pytest.mark.parametrize("soon_s", [0.0, 600.0], ids=["in a thread", "on the loop"])
@asynchronous
async def test_whoever_stops_waiting_leaves_it_to_go_on(
    gated: Gated, monkeypatch: pytest.MonkeyPatch, soon_s: float
) -> None:
    monkeypatch.setattr(work, "SOON_S", soon_s)
    waiting = gated.submit()
    await gated.wait_for_begun(1)
    await cancel(waiting)
    assert not gated.is_counted()
    gated.end()
    await asyncio.to_thread(eventually, gated.is_counted, 60, "it is followed to its end")


@asynchronous
async def test_whoever_stops_waiting_before_its_start_leaves_it_to_go_on(gated: Gated) -> None:
    is_asked, may_begin = threading.Event(), threading.Event()

    def check_ready() -> None:
        is_asked.set()
        assert may_begin.wait(60)

    gated.slurm.check_ready = check_ready
    waiting = gated.submit()
    assert await asyncio.to_thread(is_asked.wait, 60)
    never = gated.submit()  # for which there is no thread
    await cancel(waiting)
    await cancel(never)
    may_begin.set()
    await gated.wait_for_begun(1)
    gated.end()
    await asyncio.to_thread(eventually, gated.is_counted, 60, "it is followed to its end")
    assert len(gated.programs.calls("sbatch")) == 1, "what never began is not begun for nobody"


async def cancel(waiting: asyncio.Task[str]) -> None:
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
