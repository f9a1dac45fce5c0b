"""What is wrong with a batch script, found before it is submitted.

Blocking; call in a thread.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shlex
import shutil
import threading
from collections.abc import Sequence
from typing import NamedTuple

from slurm_shim.directives import PROGRAM_LINE, read_options
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.past.missing_jobs import store_bounded
from slurm_shim.programs import build_user_environment, run_program

_TIMEOUT_S = 10.0
_SHELL = re.compile(rf"{PROGRAM_LINE}(?:ba)?sh(?=\s|$)")
# One process reads many scripts; complaints come separated by NUL. `set -n` in a subshell lets it read a script without
# running it; only where that finds something wrong is the script given to a shell of its own, whose lines are right. A
# script that is not run cannot switch on extended patterns, so either way of reading it will do.
_READING = """\
read_plain() { printf %s "$1" | bash -n /dev/stdin; }
read_extended() { printf %s "$1" | bash -O extglob -n /dev/stdin; }
check() {
    (eval "set -n; $1") 2>/dev/null || read_plain "$1" 2>/dev/null || read_extended "$1" 2>&1
    printf '\\0'
}
"""
_COMPLAINT = re.compile(r"/dev/stdin: line (\d+): (?!warning: )(.*)")
# A shell that runs the script does not read what follows, such as an archive that unpacks itself.
_END = re.compile(r"^(?:exit\b|exec\s+[A-Za-z_./~\"'$]).*\n", re.MULTILINE)
_MOST_ENDS = 10  # that are looked at
_MOST_KNOWN = 10_000  # good scripts, which are submitted again and again
_LONGEST_COMMENT = 90_000  # bytes, as it is handed over as one word; SLURM takes less
_MOST_PROBLEMS = 20  # each may take programs of its own to tell


class ScriptProblem(NamedTuple):
    """What is wrong, and in which line (from 1; None for no certain one)."""

    text: str
    line: int | None = None


def find_problems(scripts: Sequence[str]) -> list[ScriptProblem | None]:
    """Find what is wrong with each of the scripts; None for a good one."""
    found = [_find_wrong_form(script) or _find_wrong_option(script) for script in scripts]
    checked = [
        at for at, script in enumerate(scripts) if found[at] is None and _SHELL.match(script) and not _GOOD.has(script)
    ]
    for at, complaint in zip(checked, _read_by_bash([scripts[at] for at in checked]), strict=False):
        if len(found) - found.count(None) < _MOST_PROBLEMS:
            found[at] = _read_complaint(scripts[at], complaint)
            if found[at] is None:
                _GOOD.add(scripts[at])
    return found


class _GoodScripts:
    """Scripts that bash has read without a complaint; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[bytes, None] = {}

    def has(self, script: str) -> bool:
        return _hash_script(script) in self._known

    def add(self, script: str) -> None:
        with self._lock:
            store_bounded(self._known, _hash_script(script), None, _MOST_KNOWN)


def _hash_script(script: str) -> bytes:
    return hashlib.sha256(script.encode(errors="surrogatepass")).digest()


_GOOD = _GoodScripts()


def is_known_good(script: str) -> bool:
    """Return whether the same script was found good before."""
    return _GOOD.has(script)


def _find_wrong_form(script: str) -> ScriptProblem | None:
    if not script.startswith("#!"):
        return ScriptProblem("a batch script begins with #!, such as #!/bin/bash", 1)
    wrong = re.search("\0|\r\n", script)
    if wrong is None:
        return None
    line = script.count("\n", 0, wrong.start()) + 1
    return ScriptProblem(f"line {line}: a batch script has no NUL and no DOS line breaks", line)


def _find_wrong_option(script: str) -> ScriptProblem | None:
    options = read_options(script)
    if "test-only" in options:
        return ScriptProblem("with #SBATCH --test-only nothing is submitted: take it out to submit the job")
    if len((options.get("comment") or "").encode(errors="replace")) > _LONGEST_COMMENT:
        return ScriptProblem(f"a comment of #SBATCH --comment has at most {_LONGEST_COMMENT} bytes")
    return None


def _read_by_bash(scripts: Sequence[str]) -> list[str]:
    bash = shutil.which("bash") if scripts else None
    if bash is None:
        return []
    given = (_READING + "".join(f"check {shlex.quote(script)}\n" for script in scripts)).encode(errors="replace")
    environment = build_user_environment() | {"LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    try:
        ended = run_program(bash, ["bash", "/dev/stdin"], environment, given, _TIMEOUT_S, by_shell=True)
    except SlurmUnreachable:
        return []
    return ended.out.decode(errors="replace").split("\0")[:-1]


def _read_complaint(script: str, complaint: str) -> ScriptProblem | None:
    match = _COMPLAINT.search(complaint)
    if match is None:
        return None
    lines = script.splitlines()
    line = min(int(match[1]), len(lines))  # what is missing at the end is missed after it
    before = "".join(f"{text}\n" for text in lines[: line - 1])
    ends = itertools.islice(_END.finditer(before), _MOST_ENDS)
    # What reads well up to its end is over there; else that end is part of a command, as of an `if`.
    if "" in _read_by_bash([before[: end.end()] for end in ends]):
        return None
    return ScriptProblem(f"line {line}: {match[2]}", line)
