"""Make one file in a child process, by one of the workers beside this.

Nothing of Sluice is imported, so that a child begins at once. It has bounds, is told in its first line what is wanted,
then comes a row in each line up to an empty one, and it ends when its input does: nobody waits for the file then.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_worker(path: str) -> Any:
    """Load the worker in this file: `write_file(out, wanted, rows)`."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    worker = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    return worker


def read_rows(lines: Any) -> Iterator[Any]:
    """Yield the rows up to the empty line; end the process without one."""
    for line in lines:
        if line == b"\n":
            threading.Thread(target=end_with_input, args=(lines,), daemon=True).start()
            return
        yield json.loads(line)
    os._exit(3)


def end_with_input(lines: Any) -> None:
    """End the process when its input ends: nobody waits for the file."""
    lines.read()
    os._exit(3)


def describe_problem(problem: Exception) -> str:
    """Describe why there is no file, in one line."""
    if isinstance(problem, OSError | MemoryError | ImportError) or getattr(problem, "is_told", False):
        text = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    else:
        text = f"{type(problem).__name__}: {problem}"
    return " ".join(text.split())[:900]


def main() -> int:
    """Write the file; return the exit status."""
    memory_bytes, cpu_s, file_bytes = map(int, sys.argv[2:5])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    # -I hides packages that a user installed for himself only; the parent says where it found its own.
    sys.path.extend(sys.argv[5:])
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    wanted = json.loads(lines.readline() or b"{}")
    try:
        load_worker(sys.argv[1]).write_file(out, wanted, read_rows(lines))
        out.flush()
    except Exception as problem:
        sys.stderr.write(f"\n{describe_problem(problem)}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
