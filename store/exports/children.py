"""Child processes that make a file: started, fed, watched and ended.

A child writes to a descriptor that store/disk has opened, has bounds of the kernel on memory, computing and size, and
ends by itself when its standard input does, so also when this process is killed. A table comes row by row, so that
neither side ever holds all of it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from store.errors import from_os_error
from store.jsons import dump_json

# Runs the others.
WORKER = Path(__file__).with_name("worker.py")
TABLE_WORKER = Path(__file__).with_name("table_worker.py")
REPORT_WORKER = Path(__file__).with_name("report_worker.py")
PROJECT_WORKER = Path(__file__).with_name("project_worker.py")
SAID_BYTES = 1000
# What may lie outside of the standard library, by worker.
LIBRARIES = {
    TABLE_WORKER: ("xlsxwriter", "pyarrow"), REPORT_WORKER: ("matplotlib",), PROJECT_WORKER: ("converter",),
}  # fmt: skip

# Libraries that begin a thread for each processor, or set much memory aside, would be over the bounds at once.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MPLCONFIGDIR": os.devnull, "LANG": "C.UTF-8", "PATH": os.defpath,
}  # fmt: skip


class NotMade(Exception):
    """The file could not be made; the text says why."""


@dataclass(frozen=True)
class Bounds:
    """What a child may use at most."""

    memory_mb: int
    cpu_s: int
    wall_s: float
    file_bytes: int


@dataclass
class Work:
    """What is known of one file while it is made, also from other threads."""

    rows: int = 0
    is_stopped: bool = False
    process: subprocess.Popen[bytes] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """End the child, and whatever feeds it."""
        with self.lock:
            self.is_stopped = True
            if self.process is not None:
                self.process.kill()


def make_file(
    worker: Path, wanted: dict[str, Any], batches: Iterable[list[Any]], fd: int, bounds: Bounds, work: Work
) -> None:
    """Have a child fill the file; raise NotMade, StoreUnavailable.

    Blocks. What `batches` raises is raised here, once the child has ended.
    """
    with contextlib.ExitStack() as undo:
        said = undo.enter_context(os.fdopen(os.memfd_create("said"), "w+b"))
        with work.lock:
            if work.is_stopped:
                raise NotMade("stopped")
            try:
                process = work.process = _start_child(worker, fd, said, bounds)
            except OSError as error:
                raise from_os_error(error, "start the process that makes the file") from error
        undo.callback(_end_child, process)
        timer = threading.Timer(bounds.wall_s, process.kill)
        timer.daemon = True
        timer.start()
        undo.callback(timer.cancel)
        try:
            _feed_child(process, wanted, batches, work)
            code = process.wait()
        except BrokenPipeError:
            code = process.wait()
        if code:
            raise NotMade(_explain_end(code, said, bounds, work))


def _start_child(worker: Path, fd: int, said: IO[bytes], bounds: Bounds) -> subprocess.Popen[bytes]:
    folders = {
        str(Path(spec.origin).parents[1])
        for name in LIBRARIES[worker]
        if (spec := importlib.util.find_spec(name)) is not None and spec.origin
    }
    limits = [bounds.memory_mb * 1_000_000, bounds.cpu_s, bounds.file_bytes]
    return subprocess.Popen(
        [sys.executable, "-I", "-W", "ignore", str(WORKER), str(worker), *map(str, limits), *sorted(folders)],
        stdin=subprocess.PIPE,
        stdout=fd,
        stderr=said,
        env=ENVIRONMENT,
        close_fds=True,
        start_new_session=True,
    )


def _feed_child(
    process: subprocess.Popen[bytes], wanted: dict[str, Any], batches: Iterable[list[Any]], work: Work
) -> None:
    assert process.stdin is not None
    process.stdin.write(dump_json(wanted) + b"\n")
    for batch in batches:
        if work.is_stopped or process.poll() is not None:
            return
        process.stdin.write(b"".join(dump_json(row) + b"\n" for row in batch))
        work.rows += len(batch)
    process.stdin.write(b"\n")
    process.stdin.flush()


def _end_child(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with contextlib.suppress(OSError):  # what was not read yet is lost with the child
        process.stdin.close()  # type: ignore[union-attr]


def _explain_end(code: int, said: IO[bytes], bounds: Bounds, work: Work) -> str:
    if work.is_stopped:
        return "stopped"
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - SAID_BYTES))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    if code == 1 and lines:
        if "File too large" in lines[-1]:
            return f"the file would be larger than {bounds.file_bytes} bytes"
        return lines[-1]
    if code < 0:
        return f"making the file took more than {bounds.wall_s:g} s, {bounds.cpu_s} s of computing, or was ended"
    return "the process that makes the file has ended"
