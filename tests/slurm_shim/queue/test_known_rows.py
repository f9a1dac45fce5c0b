"""Rows of the queue that are made anew only where SLURM prints something else."""

from __future__ import annotations

import pytest

from slurm_shim import parse
from slurm_shim.errors import UnreadableAnswer
from slurm_shim.queue import known_rows
from slurm_shim.queue.known_rows import KnownRows
from tests.slurm_shim.test_parse import NONCE, recorded


@pytest.fixture(params=[1, 700, known_rows.BLOCK_CHARS])
def known(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> KnownRows:
    """No rows yet; answers are read in blocks of one record, of a few, and whole."""
    monkeypatch.setattr(known_rows, "BLOCK_CHARS", request.param)
    return KnownRows()


def test_rows_are_those_of_the_plain_parser(known: KnownRows) -> None:
    for name in ("squeue", "squeue-names"):
        assert known.read_rows(recorded(name), NONCE) == parse.parse_jobs(recorded(name), NONCE)


def test_a_row_that_reads_as_before_is_the_same_object(known: KnownRows) -> None:
    text = recorded("squeue")
    first = known.read_rows(text, NONCE)
    assert all(job is again for job, again in zip(first, known.read_rows(text, NONCE), strict=True))
    changed = text.replace(f"{NONCE}0:12{NONCE}1-00:00:00", f"{NONCE}0:14{NONCE}1-00:00:00")
    second = known.read_rows(changed, NONCE)
    again = [row is other for row, other in zip(first, second, strict=True)]
    assert again.count(False) == 1
    assert second[again.index(False)]["elapsed_s"] == 14
    lines = changed.split(f"{NONCE}E\n")
    moved = known.read_rows(f"{NONCE}E\n".join([lines[1], lines[0], *lines[2:]]), NONCE)
    assert [id(row) for row in moved] == [id(row) for row in (second[1], second[0], *second[2:])]
    assert known.read_rows("", NONCE) == []
    assert all(row is not other for row, other in zip(known.read_rows(changed, NONCE), second, strict=True))


def test_a_name_that_begins_like_the_end_of_a_record(known: KnownRows) -> None:
    text = recorded("squeue")
    fields = text.split(f"{NONCE}E\n")[0].split(NONCE)
    odd = NONCE.join([*fields[:-1], f"E\n{fields[-1]}"]) + f"{NONCE}E\n"
    rows = known.read_rows(text + odd + text, NONCE)
    plain = parse.parse_jobs(text, NONCE)
    assert rows[len(plain)]["name"] == f"E\n{fields[-1]}"
    assert rows[: len(plain)] == plain == rows[len(plain) + 1 :]


@pytest.mark.parametrize("end", ["", "x", f"1{NONCE}2{NONCE}E\n", "\0"])
def test_an_answer_of_another_form_leaves_what_was_known(known: KnownRows, end: str) -> None:
    text = recorded("squeue")
    rows = known.read_rows(text, NONCE)
    with pytest.raises(UnreadableAnswer):
        known.read_rows((text + end) if end else text[:-1], NONCE)
    assert all(row is again for row, again in zip(rows, known.read_rows(text, NONCE), strict=True))


def test_what_jobs_have_in_common_is_one_text() -> None:
    first, second = parse.parse_jobs(
        2 * recorded("squeue").partition(f"{NONCE}E\n")[0].join(["", f"{NONCE}E\n"]), NONCE
    )
    assert first == second
    shared = ("user", "account", "partition", "qos", "state", "work_dir", "command", "time_limit", "tres")
    assert [name for name in shared if first[name] is not second[name]] == []
