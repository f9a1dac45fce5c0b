"""What is found wrong with a script before it is submitted, and what is left to the shell that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurm_shim import script_checks
from slurm_shim.programs import Outcome
from slurm_shim.script_checks import find_problems

BASH = "#!/bin/bash\n"
GOOD = [
    ("plain", f"{BASH}echo a\n"),
    ("not read by a shell", "#!/usr/bin/env python3\nif )\n"),
    ("by another shell", "#!/bin/zsh\nif )\n"),
    ("by a program of a like name", "#!/opt/bash-lint\nif )\n"),
    ("extended patterns", f"{BASH}shopt -s extglob\ncase $x in @(a|b)) ;; esac\nls !(a)\n"),
    ("no extended pattern", f"{BASH}if !(cat <<E\n)\nE\n); then echo; fi\n"),
    ("an archive behind the end", f"{BASH}tail -n +4 $0 | tar x\nexit 0\n)PK(\n"),
    ("behind one of two ends", f"{BASH}if false; then\nexit 1\nfi\nexit 0\n)PK(\n"),
    ("or behind another program", f"{BASH}exec /bin/true\n)PK(\n"),
    ("a text without an end, a warning only", f"{BASH}cat <<EOF\na\n"),
    ("about --test-only, not with it", f"{BASH}#SBATCH --comment='--test-only'\ntrue\n#SBATCH --test-only\n"),
    ("--help submits", f"{BASH}#SBATCH --help\ntrue\n"),
]
BAD = [
    ("DOS line breaks", f"{BASH}echo\r\n", 2, "a batch script has no NUL and no DOS line breaks"),
    ("a word too many", f"{BASH}\necho )\n", 3, "syntax error near unexpected token `)'"),
    ("by sh", "#!/bin/sh -e\nfi\n", 2, "syntax error near unexpected token `fi'"),
    ("through env", "#!/usr/bin/env -S bash -l\nfi\n", 2, "syntax error near unexpected token `fi'"),
    ("no end", f"{BASH}if true; then\necho\n", 3, "syntax error: unexpected end of file"),
    ("a quote that is open", f"{BASH}echo 'a\necho b\n", 2, "unexpected EOF while looking for matching `''"),
    ("after an exit of an if", f"{BASH}if false; then\nexit 1\nfi\nfi\n", 5, "syntax error near unexpected token `fi'"),
    ("after a redirection", f"{BASH}exec >log 2>&1\nfi\n", 3, "syntax error near unexpected token `fi'"),
]


def test_scripts_are_read_together() -> None:
    scripts = [script for _, script in GOOD] + [script for _, script, _, _ in BAD]
    found = find_problems(scripts)
    assert {why: problem for (why, _), problem in zip(GOOD, found, strict=False) if problem} == {}
    texts = [(problem.line, problem.text) for problem in found[len(GOOD) :] if problem]
    assert texts == [(line, f"line {line}: {text}") for _, _, line, text in BAD]


def test_no_script_is_run(tmp_path: Path) -> None:
    ends = ["", "'", "\nfi\n", "\nset +n\nset +o noexec\n"]
    find_problems([f"{BASH}touch {tmp_path}/a\n$(touch {tmp_path}/b){end}; touch {tmp_path}/c" for end in ends])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--test-only", "--test", "-n 2 --test-only"])
def test_an_estimate_submits_nothing(option: str) -> None:
    (problem,) = find_problems([f"#!/usr/bin/python3\n#SBATCH {option}\n"])
    assert problem and "nothing is submitted" in problem.text


def test_a_comment_that_fits_into_no_word_is_told() -> None:
    (problem,) = find_problems([f"#!/usr/bin/python3\n#SBATCH --comment={'x' * 120_000}\n"])
    assert problem and "--comment has at most" in problem.text


def test_a_good_script_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    run = script_checks.run_program

    def note(
        program: str, argv: list[str], environment: dict[str, str], stdin: bytes, *more: Any, **bounds: Any
    ) -> Outcome:
        read.append(stdin.decode())
        return run(program, argv, environment, stdin, *more, **bounds)

    monkeypatch.setattr(script_checks, "run_program", note)
    good, bad = f"{BASH}echo good that nobody has read before\n", f"{BASH}fi # bad\n"
    for _ in range(2):
        first, second = find_problems([good, bad])
        assert first is None and second is not None
    assert sum("read before" in text for text in read) == 1 and sum("# bad" in text for text in read) == 2


def test_without_bash_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_problems([f"{BASH}fi\n"]) == [None]


def test_no_scripts() -> None:
    assert find_problems([]) == []
