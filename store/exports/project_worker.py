"""An editor's projects become files of a simulator, in a child process.

worker.py runs it; the only place that loads yaptide-converter, which people install themselves. Wanted:
`{"sim_type", "project": {…}}`, a project of YAPTIDE's editor; what is written is `{NAME: TEXT}`.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
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


def write_file(out: Any, wanted: dict[str, Any], rows: Iterator[Any]) -> None:
    """Write the files as one object of JSON; there are no rows."""
    next(rows, None)
    with contextlib.redirect_stdout(io.StringIO()):  # it may print what it does
        files = convert_project(wanted["sim_type"], wanted["project"])
    out.write(json.dumps(files).encode())
