"""What a script's `#SBATCH` lines say, as SLURM's own sbatch reads them, and the comment that carries our tag."""

from __future__ import annotations

import pytest

from slurm_shim.directives import LONGEST_COMMENT, add_tag, read_options

TAG = "sluice:" + "0" * 32


@pytest.mark.parametrize(
    ("why", "lines", "options"),
    [
        ("all ways to give a value", "#SBATCH -J a --mem=1 -n2", {"job-name": "a", "mem": "1", "ntasks": "2"}),
        ("letters that share a dash", "#SBATCH -HJx", {"hold": None, "job-name": "x"}),
        ("a name cut short", "#SBATCH --comm=a", {"comment": "a"}),
        ("the last one wins", "#SBATCH --comment=1 --comment 2", {"comment": "2"}),
        ("quotes, backslashes", "#SBATCH --comment='a\\'b' -J \"a \"'b'c\\#", {"comment": "a'b", "job-name": "a bc#"}),
        ("no quotes, no number sign", "#SBATCH --comment=a#b -n 2", {"comment": "a"}),
        ("a value on the next line", "#SBATCH -J\n#SBATCH -n2", {"job-name": "-n2"}),
        ("an option as a value", "#SBATCH --comment '--test-only'", {"comment": "--test-only"}),
        ("nothing between", "#SBATCH-J y", {"job-name": "y"}),
        ("SLURM's older word", "#SLURM -J y", {"job-name": "y"}),
        ("no directives", "  #SBATCH -J a\n# SBATCH -J a\n#sbatch -J a\n##SBATCH -J a", {}),
        ("not after a command", "#SBATCH -J a\n\n# c\ntrue\n#SBATCH -J late", {"job-name": "a"}),
        ("only the first part", "#SBATCH -J a\n#SBATCH hetjob\n#SBATCH -J b", {"job-name": "a"}),
        ("words after --", "#SBATCH -n 1 -- -J a", {"ntasks": "1"}),
        ("what a later SLURM may know", "#SBATCH --frobnicate=1 -J a", {"job-name": "a"}),
        ("a quote that is not closed", "#SBATCH -J a\n#SBATCH --comment='b", {}),
    ],
)
def test_options_of_a_script(why: str, lines: str, options: dict[str, str | None]) -> None:
    assert read_options(f"#!/bin/sh\n{lines}\n") == options, why


@pytest.mark.parametrize(
    ("why", "comment", "tagged"),
    [
        ("none", None, TAG),
        ("a user's own", "mine: a b", f"mine: a b {TAG}"),
        ("cut to make room, between letters", "ä" * 512, "ä" * ((LONGEST_COMMENT - len(TAG) - 1) // 2) + f" {TAG}"),
        ("too long by itself: SLURM says so", "x" * 1025, "x" * 1025 + f" {TAG}"),
    ],
)
def test_a_comment_keeps_what_the_user_wrote(why: str, comment: str | None, tagged: str) -> None:
    assert add_tag(comment, TAG) == tagged, why
