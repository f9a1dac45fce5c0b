"""Whose a MUNGE credential is: by programs that pretend, and by the real munged."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.callers import munge
from slurm_shim.errors import ClusterUnreachable
from tests.cluster.munged import Munged, run_munged
from tests.waiting import eventually

GOOD = "MUNGE:AwQFAABd5s9lLZoKr+vj6z/T+bsTLi5NH6KQJOXy=:"


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Have a program in the place of unmunge."""
    path = folder / "unmunge"
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


ANSWERS = [  # why, the program, uid or a part of the reason
    ("the usual", "cat >/dev/null; echo 'UID:             1000'", 1000),
    ("with a name", "echo 'UID:              ann (1000)'", 1000),
    ("root", "echo 'UID:             0'", 0),
    ("used before", "echo 'UID:  1000'; echo 'unmunge: Error: Replayed credential' >&2; exit 17", "used before"),
    ("expired", "echo 'UID:  1000'; exit 15", "has expired"),
    ("from the future", "echo 'UID:  1000'; exit 16", "the clocks of the two machines differ"),
    ("of another key", "exit 14", "another key"),
    ("damaged", "exit 8", "not one of this cluster"),
    ("for somebody else", "exit 18", "for somebody else"),
]


@pytest.mark.parametrize(("why", "code", "found"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_what_unmunge_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str, code: str, found: int | str
) -> None:
    pretend(monkeypatch, tmp_path, code)
    identity = munge.decode_credential(GOOD)
    if isinstance(found, int):
        assert identity == munge.Identity(found)
        return
    assert identity.uid is None and found in identity.problem


@pytest.mark.parametrize(
    ("why", "code"),
    [
        ("no munged", "echo 'unmunge: Error: Failed to access \"/nope\": No such file' >&2; exit 6"),
        ("no answer in time", "exec sleep 600"),
        ("no uid", "echo 'GID: 7'"),
        ("a uid that is none", "echo 'UID: x'"),
        ("out of memory", "exit 5"),
    ],
)
def test_no_answer_is_no_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str, code: str) -> None:
    pretend(monkeypatch, tmp_path, code)
    with pytest.raises(ClusterUnreachable, match="munged does not answer"):
        munge.decode_credential(GOOD, timeout_s=0.5 if "sleep" in code else 60)


def test_the_credential_goes_in_by_standard_input_and_nothing_else_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("SECRET", "x")
    pretend(monkeypatch, tmp_path, f"{{ echo \"$@\"; env; cat; }} >{seen}; echo 'UID: 7'")
    assert munge.decode_credential(GOOD, "/run/other").uid == 7
    words, *rest = seen.read_text().splitlines()
    assert GOOD not in words and "--socket=/run/other" in words.split() and rest[-1] == GOOD
    assert not [line for line in rest if line.startswith("SECRET")]


def test_without_munge_no_credential_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert munge.decode_credential(GOOD) == munge.Identity(None, "MUNGE is not installed here")


@given(text=st.one_of(st.text(), st.from_regex(r"MUNGE:[A-Za-z0-9+/=\n -]{0,80}:?"), st.just(f"{GOOD}\n{GOOD}")))
def test_what_has_not_the_form_starts_no_program(text: str) -> None:
    if not re.fullmatch(r"MUNGE:[A-Za-z0-9+/]{20,60000}={0,2}:", text):
        identity = munge.decode_credential(text)  # no program is on the way: a real one would say something else
        assert identity.uid is None and "not the form" in identity.problem


@pytest.fixture(scope="module")
def munged() -> Iterator[Munged]:
    """A real munged."""
    with run_munged() as made:
        yield made


@pytest.mark.slurm
def test_the_real_munged(munged: Munged) -> None:
    where = str(munged.socket)
    for uid in (0, 54321):
        credential = munged.make_credential(uid=uid)
        assert munge.decode_credential(credential, where) == munge.Identity(uid)
        assert "used before" in munge.decode_credential(credential, where).problem, "once"
    restricted = munged.make_credential("--restrict-uid=54321")
    assert "for somebody else" in munge.decode_credential(restricted, where).problem
    changed = munged.make_credential()
    changed = changed[:60] + ("A" if changed[60] != "A" else "B") + changed[61:]
    found = munge.decode_credential(changed, where)
    assert found.uid is None and found.problem
    with pytest.raises(ClusterUnreachable, match="does not answer"):
        munge.decode_credential(munged.make_credential(), "/nowhere/socket")


@pytest.mark.slurm
def test_a_credential_of_the_real_munged_ends(munged: Munged) -> None:
    credential = munged.make_credential("--ttl=1")
    eventually(lambda: "has expired" in munge.decode_credential(credential, str(munged.socket)).problem, 30)


@pytest.mark.slurm
def test_a_munged_of_another_cluster_makes_no_callers(munged: Munged) -> None:
    with run_munged() as other:
        found = munge.decode_credential(other.make_credential(), str(munged.socket))
    assert found.uid is None and "another key" in found.problem
