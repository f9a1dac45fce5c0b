"""What a batch script tells sbatch in its `#SBATCH` lines.

The lines are read by the same code as the embedded cluster's sbatch reads them, which does it as SLURM's own.
"""

from __future__ import annotations

import functools
from types import MappingProxyType

from slurm_shim.embedded.request import SAME, Request
from slurm_shim.embedded.script import SEPARATORS, read_directives
from slurm_shim.embedded.states import Refused

LONGEST_COMMENT = 1024  # bytes that slurmctld takes
# A pattern of what stands in a script's first line before the name of the program that runs it.
PROGRAM_LINE = r"#!\s*\S*/(?:env\s+(?:-S\s*)?)?"

_SBATCH = Request("sbatch", 0).options


@functools.lru_cache(maxsize=32)
def read_options(script: str) -> MappingProxyType[str, str | None]:
    """Read the options by their long names; the last of a name wins.

    None for one without a value. Of a heterogeneous job the options of its first part. Words that are not understood
    are left out: sbatch will refuse them, or knows more than we do.
    """
    try:
        rest = read_directives(script.encode(errors="replace"))[0][::-1]
    except Refused:
        return MappingProxyType({})
    found: dict[str, str | None] = {}
    while rest and (word := rest.pop()) not in ("--", *SEPARATORS):
        if not word.startswith("-") or word == "-":
            continue
        try:
            found |= {SAME.get(name, name): value for name, value in _SBATCH.parse_word(word, rest)}
        except Refused:
            continue
    return MappingProxyType(found)


def add_tag(comment: str | None, tag: str) -> str:
    """Add our tag to a job's own comment, which is cut to leave room.

    A comment that SLURM would refuse by itself stays as it is, to be refused.
    """
    given = (comment or "").encode(errors="replace")
    if len(given) <= LONGEST_COMMENT:
        given = given[: LONGEST_COMMENT - len(tag.encode()) - 1]
    return f"{given.decode(errors='ignore')} {tag}".strip()
