"""Projects of YAPTIDE's editor, converted to the files of a simulator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from store.errors import ConversionFailed
from store.exports.children import PROJECT_WORKER, Bounds, NotMade, Work, make_file
from store.jsons import load_json

BOUNDS = Bounds(memory_mb=2000, cpu_s=10, wall_s=20.0, file_bytes=100_000_000)


def convert_project(sim_type: str, project: Mapping[str, Any], bounds: Bounds = BOUNDS) -> dict[str, str]:
    """Convert a project to files by their names, in a child process.

    Blocks, at most as long as the bounds say. Raises ConversionFailed.
    """
    fd = os.memfd_create("project")
    try:
        make_file(PROJECT_WORKER, {"sim_type": sim_type, "project": project}, (), fd, bounds, Work())
        files: dict[str, str] = load_json(os.pread(fd, bounds.file_bytes, 0))
    except NotMade as problem:
        raise ConversionFailed(f"Conversion failed: {problem}") from None
    finally:
        os.close(fd)
    return files
