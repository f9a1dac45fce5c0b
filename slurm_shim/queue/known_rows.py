"""The rows of squeue's answers, kept from one answer to the next.

A row is made anew only where squeue prints something else of a job than before. Of what it printed only a hash is kept,
of 64 bits and with the nonce in it, which nobody outside of this process knows: the text takes as much memory again as
the row.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from slurm_shim.errors import UnreadableAnswer
from slurm_shim.parse import JOB_FIELDS, Job, parse_job, split_records, translate_errors

# Other threads get their turn between two blocks.
BLOCK_CHARS = 500_000
_END = "E\n"


class KnownRows:
    """The rows of the last answer, each with the hash of its text."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._rows: list[Job] = []

    def read_rows(self, text: str, nonce: str) -> list[Job]:
        """Read what `squeue -O build_format(JOB_FIELDS, nonce)` printed.

        Times must be those of SLURM_TIME_FORMAT=%s. The nonce is always the same. A record that reads as in the last
        answer gives the very same row again: rows are shared, so nobody may change them.
        """
        try:
            self._take_records(_split_in_blocks(text, nonce), nonce)
        except UnreadableAnswer:
            # Free text may begin like the end of a record: then all fields are counted.
            self._take_records([split_records(text, nonce, len(JOB_FIELDS), _END)], nonce)
        return list(self._rows)

    def _take_records(self, blocks: Iterable[list[str]], nonce: str) -> None:
        known = dict(zip(self._hashes, self._rows, strict=True))
        hashes, rows = array("q"), list[Job]()
        for records in blocks:
            keys = list(map(hash, records))
            for record, key, row in zip(records, keys, map(known.get, keys), strict=True):
                rows.append(row or _read_record(record, nonce))
                known[key] = rows[-1]
            hashes.extend(keys)
        self._hashes, self._rows = hashes, rows


def _read_record(record: str, nonce: str) -> Job:
    if record.count(nonce) != len(JOB_FIELDS) - 1:
        raise UnreadableAnswer(f"a record of SLURM does not have {len(JOB_FIELDS)} fields")
    with translate_errors():
        return parse_job(record.split(nonce))


def _split_in_blocks(text: str, nonce: str) -> Iterator[list[str]]:
    """Yield the records of an answer, some hundred at a time."""
    if "\0" in text:  # SLURM's own strings end at it
        raise UnreadableAnswer("SLURM's answer holds a NUL character")
    end, at = nonce + _END, 0
    while at < len(text):
        last = text.find(end, at + BLOCK_CHARS)
        until = len(text) if last < 0 else last + len(end)
        records = text[at:until].split(end)
        if records.pop():
            raise UnreadableAnswer("SLURM's answer ends within a record")
        yield records
        at = until
