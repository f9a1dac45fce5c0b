"""Scripts that accounting has kept. Pure.

Source: sacct(1), --batch-script; AccountingStoreFlags=job_script of slurm.conf(5).
"""

from __future__ import annotations

import re

# One block for each task or component, whose scripts are alike or begin with the whole job's.
_HEAD = re.compile(r"Batch Script for (?P<id>\S+)\n-+\n")
_NONE = "NONE\n"


def build_argv(job_id: str) -> list[str]:
    """Build the call of sacct for a script, by SLURM's own number of the job."""
    return ["sacct", "-a", "--batch-script", f"--jobs={job_id}"]


def parse_script(text: str) -> str | None:
    """Parse what sacct printed; None where no script was kept.

    >>> parse_script("Batch Script for 7\\n--\\n#!/bin/sh\\n\\n"), parse_script("Batch Script for 7\\n--\\nNONE\\n\\n")
    ('#!/bin/sh\\n', None)
    """
    head = _HEAD.match(text)
    if head is None:
        return None
    whole = re.match(r"\d*", head["id"])
    others = re.compile(rf"^Batch Script for {whole[0] if whole else ''}[_+]\S+\n-+\n", re.MULTILINE)
    script = others.split(text[head.end() :], maxsplit=1)[0].removesuffix("\n")
    return None if script == _NONE else script
