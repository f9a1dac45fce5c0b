"""A server that lacks descriptors, threads or memory for a while says so, and goes on when it has them again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from slurm_shim import programs
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.starting import process, starts
from slurm_shim.starting.calls import Call
from slurm_shim.starting.starter import Starter, StartError
from slurm_shim.threads import start_threads
from store import errors
from store.disk.files import Files
from store.documents import Run, to_json
from store.store import Store
from tests.app_server import Server
from tests.pretended import asynchronous, world
from tests.waiting import eventually

JOB = {"name": "x", "script_content": "#!/bin/bash\ntrue\n"}
WORKFLOW = "name: late\njobs:\n  - {name: a, command: 'true'}\n"


def count_descriptors(pid: int | str) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Starved:
    """A running server whose descriptors can be taken away."""

    def __init__(self, server: Server) -> None:
        assert server.process is not None
        self.server, self.pid = server, server.process.pid
        self.limits = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def starve(self) -> None:
        """Leave it no more descriptors than are open, and await that it notices."""
        self.get("/health")  # the connection is open from now on
        count = count_descriptors(self.pid)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (count, self.limits[1]))
        eventually(lambda: not self.get("/health")["slurm"]["answers"], 30, "it notices")

    def feed(self) -> None:
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.limits)
        eventually(lambda: self.get("/health")["status"] == "healthy", 60, self.server.log())

    def get(self, path: str) -> Any:
        return self.server.http.get(path).json()

    def submit(self) -> httpx.Response:
        return self.server.http.post("/api/jobs", json=JOB)


def test_a_moment_without_descriptors(server: Server) -> None:
    starved = Starved(server)
    assert starved.submit().status_code == 201
    for _ in range(2):  # what is left open by the first time would be missed the second time
        starved.starve()
        (server.store / "workflows" / "late.yaml").write_text(WORKFLOW)
        for _ in range(5):
            refused = starved.submit()
            assert refused.status_code == 503 and "Too many open files" in refused.text, refused.text
            assert server.http.post("/api/workflows/late/run").status_code in (404, 503)
        assert starved.get("/health")["status"] == "degraded" and starved.get("/api/jobs")
        starved.feed()
        assert starved.get("/api/store/problems") == []
        assert server.http.post("/api/workflows/late/run").status_code == 202
        path = f"/api/jobs/{starved.submit().json()['job_id']}?wait=60"
        assert starved.get(path)["status"] == "COMPLETED"
        (server.store / "workflows" / "late.yaml").unlink()
    assert "failed and is started again" not in server.log()
    starved.starve()
    assert server.end() in (0, -signal.SIGTERM)
    assert "INFO sluice: stopped" in server.log() and "Traceback" not in server.log()
    server.start()


@contextlib.contextmanager
def without_memory(pid: int) -> Iterator[None]:
    """Leave it too little memory for another thread, and enough for what is small."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 32_000_000
    before = resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            resource.prlimit(pid, resource.RLIMIT_AS, before)


def test_a_moment_without_memory(server: Server) -> None:
    assert server.process is not None
    (server.store / "workflows" / "late.yaml").write_text(WORKFLOW)
    with without_memory(server.process.pid):
        eventually(lambda: not server.http.get("/health").json()["slurm"]["answers"], 60, "it notices")
        for _ in range(20):  # more than there are threads: none of them waits for ever
            refused = server.http.post("/api/jobs", json=JOB)
            assert refused.status_code == 503 and "no memory" in refused.text, refused.text
        assert server.http.get("/api/jobs").status_code == 200
    eventually(lambda: server.http.get("/health").json()["status"] == "healthy", 60, server.log())
    run = server.http.post("/api/workflows/late/run").json()
    eventually(lambda: server.http.get(f"/api/workflows/runs/{run['id']}").json()["status"] == "completed", 60)
    with without_memory(server.process.pid):
        assert server.end() in (0, -signal.SIGTERM)
    assert "INFO sluice: stopped" in server.log() and "Traceback" not in server.log()
    server.start()


# --- starting a program ----------------------------------------------------------------------------------------------


def run_cat() -> programs.Outcome:
    return programs.run_program("/bin/sh", ["sbatch", "-c", "cat"], {"PATH": "/bin"}, b"said", 60)


def run_cat_here() -> bytes:
    """What the process that starts programs does, in this one; raises SlurmUnreachable as the server does then."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        given.write(b"said")
        given.seek(0)
        request = {"program": "/bin/sh", "words": ["-c", "cat"], "environment": {"PATH": "/bin"}}
        request |= {"descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "most_bytes": None}
        fds: list[int] = []
        process.ROOM = starts.Room()
        try:
            for file in (given, out, out):
                fds.append(os.dup(file.fileno()))
            kind, said, uncertain = process.run_program(request, fds, Call())
        finally:
            process.close_all(fds)
        if kind != "ended":
            raise programs.make_start_error("sbatch", StartError(said, uncertain))
        out.seek(0)
        return out.read()


@pytest.mark.parametrize("run", [lambda: run_cat().out, run_cat_here], ids=["in the server", "where it is started"])
def test_no_descriptor_is_lost_wherever_they_run_out(run: Callable[[], bytes]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert run() == b"said"
    before, highest = count_descriptors("self"), max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    failures = 0
    limits = range(before, highest + 80)
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            run()
        except OSError as problem:  # of the test's own files
            failures += 1
            assert problem.errno == errno.EMFILE
        except SlurmUnreachable as problem:
            failures += 1
            assert "sbatch could not be started: Too many open files" in str(problem) and not problem.uncertain
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 0 < failures < len(limits)
    assert count_descriptors("self") == before


def test_a_program_has_the_first_limit_and_no_descriptor_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "DESCRIPTORS", 40)
    held = os.open(tmp_path / "held", os.O_RDWR | os.O_CREAT)
    ours = [held, *(os.dup(2) for _ in range(100))]  # more than the program may have
    try:
        for number in ours:
            os.set_inheritable(number, True)
        words = ["sbatch", "-c", "ulimit -Sn; cd /proc/$$/fd; for number in *; do readlink $number; done"]
        ended = programs.run_program("/bin/sh", words, {"PATH": "/bin"}, b"", 60, hold_fd=held)
    finally:
        for number in ours:
            os.close(number)
    limit, *files = ended.out.decode().splitlines()
    own = "/memfd:sluice (deleted)"
    assert limit == "40" and sorted(files) == [own, own, own, str(tmp_path / "held")], ended


@pytest.mark.parametrize("left", range(8))
def test_any_thread_may_be_the_last(left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def start_while_some_are_left(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) > left:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_while_some_are_left)
        try:
            assert run_cat_here() == b"said"
            assert left >= 7, "it needs more threads than that"
        except SlurmUnreachable as problem:
            # Who finds its child gone as well tells that: it was lost sight of.
            assert "can't start new thread" in str(problem) or "lost sight of" in str(problem)
            # What may have been started may have submitted something.
            assert problem.uncertain == (left >= starts.SPARE_THREADS)
    assert run_cat_here() == b"said"


STARVATIONS: list[tuple[str, str, Callable[[], Any], Exception]] = [
    ("no memory for a process", "fork", run_cat_here, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))),
    ("no process more", "fork", run_cat_here, OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))),
    ("no descriptor in the whole machine", "memfd_create", run_cat, OSError(errno.ENFILE, os.strerror(errno.ENFILE))),
    ("no memory for Python", "memfd_create", run_cat, MemoryError()),
]


@pytest.mark.parametrize(
    ("call", "run", "error"), [row[1:] for row in STARVATIONS], ids=[row[0] for row in STARVATIONS]
)
def test_what_a_start_may_lack(
    call: str, run: Callable[[], Any], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(SlurmUnreachable, match=r"sbatch could not be started: .*(memory|unavailable|open files)"):
            run()
    run()


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), MemoryError()], ids=type)
def test_the_process_that_starts_programs_cannot_be_started(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "STARTER", Starter())
    before = count_descriptors("self")

    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", fail)
        with pytest.raises(SlurmUnreachable, match=r"sbatch could not be started: .*memory") as caught:
            run_cat()
    assert not caught.value.uncertain and count_descriptors("self") == before
    assert run_cat().out == b"said"
    programs.STARTER.close()


# --- what goes on ----------------------------------------------------------------------------------------------------


class Barren(Executor):
    """A pool that cannot start its threads; the work stands in its queue all the same."""

    def submit(self, *_work: Any, **_more: Any) -> Future[Any]:  # type: ignore[override]
        raise RuntimeError("can't start new thread")


@asynchronous
async def test_polling_outlives_a_pool_without_threads() -> None:
    async with world(min_s=2) as made:
        fertile, made.snapshot._executor = made.snapshot._executor, Barren()
        polls = made.cluster.polls
        made.snapshot.wake()
        await made.clock.advance(2)
        assert "can't start new thread" in (made.snapshot.error or "") and made.cluster.polls == polls
        made.snapshot._executor = fertile
        made.snapshot.wake()
        await made.clock.advance(2)
        assert made.snapshot.error is None and made.cluster.polls == polls + 1


def test_a_pool_has_its_threads_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = start_threads(3, "test")

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert list(pool.map(abs, [-1, -2, -3, -4])) == [1, 2, 3, 4]
        with pytest.raises(SlurmUnreachable, match="no threads for more"):
            start_threads(3, "more")
    pool.shutdown()


@asynchronous
async def test_the_writer_of_the_store_starts_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            await files.write(tmp_path / "x", b"1")
    await asyncio.wait_for(files.write(tmp_path / "x", b"2"), 60)
    files.close()


UNREAD: list[tuple[str, Exception]] = [
    ("no descriptor", errors.StoreUnavailable(errno.EMFILE, "cannot read r.json: Too many open files")),
    ("a disk that fails", errors.StoreUnavailable(errno.EIO, "cannot read r.json: Input/output error")),
    ("no memory", MemoryError()),
    ("no permission for now", errors.Denied("r.json cannot be opened for reading")),
]


@pytest.mark.parametrize("error", [row[1] for row in UNREAD], ids=[row[0] for row in UNREAD])
@asynchronous
async def test_a_file_that_could_not_be_read_is_read_again(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "data")
    store.open()
    await store.runs.put("known", Run(id="known", workflow_name="old"))
    for name in ("known", "unseen"):
        store.join_path("runs", f"{name}.json").write_bytes(to_json(Run(id=name, workflow_name="new")))

    def fail(*_arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("store.disk.folders.read_file", fail)
        await store.runs.refresh(["known.json", "unseen.json"])
        assert [row["path"] for row in store.list_problems()] == ["runs/known.json", "runs/unseen.json"]
        assert store.runs.get("known").workflow_name == "old" and "unseen" not in store.runs
    await store.runs.refresh(await store.runs.find_differing())
    assert store.list_problems() == []
    assert {store.runs.get(name).workflow_name for name in ("known", "unseen")} == {"new"}
    await store.close()


REASONS: list[tuple[str, Exception, int | None]] = [
    ("descriptors", OSError(errno.EMFILE, "x"), errno.EMFILE),
    ("memory of the machine", OSError(errno.ENOMEM, "x"), errno.ENOMEM),
    ("memory of the process", MemoryError(), errno.ENOMEM),
    ("threads", RuntimeError("can't start new thread"), errno.EAGAIN),
    ("a defect of ours stays one", RuntimeError("dictionary changed size during iteration"), None),
    ("so does a file that nobody handled", FileNotFoundError(errno.ENOENT, "x"), None),
]


@pytest.mark.parametrize(("problem", "number"), [row[1:] for row in REASONS], ids=[row[0] for row in REASONS])
def test_what_starvation_is_told_as(problem: Exception, number: int | None) -> None:
    found = errors.explain_starvation(problem)
    assert found is problem if number is None else isinstance(found, errors.StoreUnavailable) and found.errno == number
