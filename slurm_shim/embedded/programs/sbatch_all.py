"""Several calls of sbatch at once, for a server that has many to make.

One start of Python, one scheduling pass and one write for all of them. Standard input has three pieces for each call:
its words, its variables besides our own (both separated by NUL) and its standard input. Printed are three for each:
exit status, standard output and standard error. The working directory and the umask of all are ours.
"""

from __future__ import annotations

import io
import os
import sys

from .. import cluster
from ..blobs import pack_blobs, unpack_blobs
from ..states import Refused
from . import sbatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..state import State


class Call:
    """One call: what it was given, and what it says."""

    def __init__(self, words: bytes, variables: bytes, given: bytes) -> None:
        self.argv = [os.fsdecode(word) for word in words.split(b"\0")]
        pairs = (os.fsdecode(pair).partition("=") for pair in variables.split(b"\0") if pair)
        self.variables = {name: value for name, _, value in pairs}
        self.stdin, self.out, self.err = io.TextIOWrapper(io.BytesIO(given)), io.StringIO(), io.StringIO()
        self.code, self.raw_id = 0, 0
        self.submission: sbatch.Submission | None = None

    def read(self, conf: dict[str, Any]) -> None:
        """Read what is to be submitted, with its own variables."""
        before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        read = self._run(lambda: sbatch.read_submission(conf, self.argv[1:]))
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if isinstance(read, sbatch.Submission):
            self.submission = read
        elif read is not None:
            self.code = read

    def insert(self, conf: dict[str, Any], state: State) -> None:
        """Put the job into the queue; one that is refused leaves nothing."""
        if self.submission is not None:
            submission = self.submission
            state.db.execute("SAVEPOINT call")
            self.raw_id = self._run(lambda: sbatch.insert_jobs(conf, state, submission)) or 0
            if not self.raw_id:
                state.db.execute("ROLLBACK TO call")
            state.db.execute("RELEASE call")

    def print_id(self, conf: dict[str, Any]) -> None:
        """Print the id of the job, or why it fails."""
        if self.submission is not None and self.raw_id:
            submission = self.submission
            self._run(lambda: sbatch.print_id(conf, submission, self.raw_id))

    def _run(self, work: Callable[[], Any]) -> Any:
        """Do a part of the work with its own streams; None if it is refused."""
        kept = sys.stdin, sys.stdout, sys.stderr
        sys.stdin, sys.stdout, sys.stderr = self.stdin, self.out, self.err
        try:
            return work()
        except Refused as refusal:
            for line in refusal.lines:
                print(line, file=sys.stderr)
            self.code = int(refusal.code)
            return None
        finally:
            sys.stdin, sys.stdout, sys.stderr = kept


def main(conf: dict[str, Any], _argv: list[str]) -> int:
    """Make all calls; return 0, whatever becomes of each."""
    pieces = list(unpack_blobs(sys.stdin.buffer.read()))
    calls = [Call(*pieces[at : at + 3]) for at in range(0, len(pieces), 3)]
    for call in calls:
        call.read(conf)
    with cluster.change_state(conf) as state:
        for call in calls:
            call.insert(conf, state)
    for call in calls:  # nothing is said before it is true
        call.print_id(conf)
    said = ((b"%d" % call.code, _encode(call.out), _encode(call.err)) for call in calls)
    sys.stdout.buffer.write(pack_blobs(piece for pieces in said for piece in pieces))
    return 0


def _encode(said: io.StringIO) -> bytes:
    return said.getvalue().encode("utf-8", "surrogateescape")
