"""The child process that converts projects, within kernel limits.

Run as table_worker.py is, with the same bounds; the only place that loads yaptide-converter, which people install
themselves. One line of JSON comes in, `{"sim_type", "project": {…}}`, a project of YAPTIDE's editor; standard output is
`{NAME: TEXT}`, the files of the simulator.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import threading
from typing import Any

MISSING = "yaptide-converter is not installed beside the server: install it, or send the files of the simulator"


def convert_project(sim_type: str, project: dict[str, Any]) -> dict[str, str]:
    """Convert a project to files by their names."""
    try:
        from converter.api import get_parser_from_str, run_parser
    except ImportError as problem:
        name = (problem.name or "").partition(".")[0]
        raise ImportError(MISSING if name == "converter" else f"yaptide-converter: {problem}") from None
    files = run_parser(get_parser_from_str(sim_type), project)
    return {str(name): str(text) for name, text in files.items()}


def end_with_input(lines: Any) -> None:
    """End this process when its input ends: nobody wants the files."""
    lines.read()
    os._exit(1)


def main() -> int:
    """Write the files; return the exit status."""
    memory_bytes, cpu_s, file_bytes = map(int, sys.argv[1:4])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    # -I hides packages that a user installed for himself only; the parent says where it found its own.
    sys.path.extend(sys.argv[4:])
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    wanted = json.loads(lines.readline() or b"{}")
    threading.Thread(target=end_with_input, args=(lines,), daemon=True).start()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it may print what it does
            files = convert_project(wanted["sim_type"], wanted["project"])
        out.write(json.dumps(files).encode())
        out.flush()
    except ImportError as problem:
        return end_badly(str(problem))
    except Exception as problem:
        return end_badly(f"{type(problem).__name__}: {problem}")
    os._exit(0)


def end_badly(text: str) -> int:
    """Tell why in one line, and end."""
    sys.stderr.write("\n" + " ".join(text.split())[:900] + "\n")
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
