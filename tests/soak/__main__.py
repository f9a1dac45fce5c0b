"""Use a server on the embedded cluster in every way at once, kill it at random, and tell what went wrong.

`just soak MINUTES` ends with a table, and exits with 1 if anything was lost, doubled, wrong, answered with 5xx, cut off
or leaked. For most of the time the server is ended at random; the last life is left alone, and what it holds at its end
is compared with what it held at its first settled moment. Of its memory a line is told as well, which `--killed 0`
shows best: most caches are full after some minutes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

from tests.app_server import Server
from tests.soak.callers import EVERYBODY, Viewer
from tests.soak.findings import KINDS, Findings
from tests.soak.growth import Growth, Sampler
from tests.soak.judge import Judge
from tests.soak.keeper import Keeper
from tests.soak.readings import Reading, read
from tests.soak.works import COUNTED, EDITED, WORKFLOW, Book
from tests.waiting import eventually

CONFIG = """\
cluster: {nodes: 2, cpus: 8, memory_mb: 16000}
poll: {min_s: 1, max_s: 1}
"""
# The share of the time with kills, and the share of the last life before its first reading.
KILLED, FIRST = 0.6, 0.375
ANYTHING = Reading(1e9, 10**9, 10**9)


class Soak:
    """One soak: the server, those who use it, and what was found."""

    def __init__(self, folder: Path, seed: int) -> None:
        (folder / "ledgers").mkdir()
        workflows = folder / "store" / "workflows"
        workflows.mkdir(parents=True)
        (workflows / "two.yaml").write_text(WORKFLOW)
        (workflows / "edited.yaml").write_text(EDITED.format(number=0))
        (folder / "store" / "config.yaml").write_text(CONFIG)
        self.server, self.findings = Server(folder / "store", "embedded"), Findings()
        self.keeper = Keeper(self.server, self.findings, random.Random(seed))
        self.book = Book(folder / "ledgers")
        self.callers = [
            kind(self.keeper, self.book, place) for kind, count in EVERYBODY.items() for place in range(count)
        ]
        self.closer = Viewer(self.keeper, self.book, 0)
        self.growth: Growth | None = None

    def run(self, seconds: float, killed: float = KILLED) -> None:
        """Use the server for so long, kill it in this share of the time, judge it, and print the table."""
        self.keeper.start()
        assert self.server.http.post("/api/templates", json=COUNTED).status_code == 201
        for caller in self.callers:
            caller.start()
        self.keeper.flow.set()
        self.keeper.torment(killed * seconds)
        alone_s = (1 - killed) * seconds
        assert self.server.process is not None
        sampler = Sampler(self.server.process.pid, lambda: len(self.book.works))
        sampler.start()
        time.sleep(FIRST * alone_s)
        self.drain()
        first = self.settle(ANYTHING)
        self.keeper.flow.set()
        time.sleep((1 - FIRST) * alone_s)
        self.growth = sampler.end()
        self.drain()
        last = self.settle(first)
        Judge(self.server.http, self.book, self.findings).judge()
        for caller in self.callers:
            caller.check()
        self.keeper.end(signal.SIGTERM)
        left = self.settle(ANYTHING)
        for excess in last.list_excess(first) + left.list_excess(Reading()):
            self.findings.add("leaked", excess)
        self.print_table(first, replace(last, strays=last.strays + left.strays))

    def drain(self) -> None:
        """Hold all callers, and wait until everything that they asked for has ended."""
        self.keeper.flow.clear()
        for caller in self.callers:
            eventually(caller.idle.is_set, 60, f"{caller.name} holds still")

        def is_done() -> bool:
            for work in self.book.list_open():
                self.closer.look_at(work)
            return not self.book.list_open()

        try:
            eventually(is_done, 60, "all works are over")
        except AssertionError as error:
            self.findings.add("lost", str(error))  # each work is a finding of its own, later

    def settle(self, first: Reading) -> Reading:
        """Read what is held once it is no more than at first, or when that does not come."""
        process = self.server.process

        def read_now() -> Reading:
            return read(process.pid if process else None, self.server.store)

        try:
            eventually(lambda: not read_now().list_excess(first), 10)
        except AssertionError:
            return read_now()
        return read_now()

    def print_table(self, first: Reading, last: Reading) -> None:
        """Print what was done, what went wrong, and what was held."""
        print(
            f"{'works':<28} " + ", ".join(f"{n} {kind}" for kind, n in Counter(w.kind for w in self.book.works).items())
        )
        for answer, count in sorted(self.findings.answers.items()):
            print(f"{answer:<28} {count:8}")
        print()
        for kind in KINDS:
            print(f"{kind:<28} {self.findings.counts[kind]:8}")
            for note in self.findings.notes[kind]:
                print(f"    {note}")
        print(f"\n{'':<28} {'start':>8} {'end':>8}")
        for field in fields(Reading):
            print(f"{field.name:<28} {getattr(first, field.name):8} {getattr(last, field.name):8}")
        print(f"{'memory over the last life':<28} {self.growth or 'too short to tell'}")


def main() -> int:
    """Return the exit code: 0 if nothing was found, and memory has not grown."""
    parser = argparse.ArgumentParser(
        prog="soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("minutes", type=float)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="repeats the times of kills and calls"
    )
    parser.add_argument("--killed", type=float, default=KILLED, help="the share of the time with kills (%(default)s)")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="soak"))
    soak = Soak(folder, given.seed)
    try:
        soak.run(60 * given.minutes, given.killed)
    finally:
        soak.keeper.over.set()
        soak.keeper.flow.set()
        soak.keeper.up.set()
        if soak.server.process is not None:
            soak.server.close()
    if soak.findings.counts.total() or (soak.growth is not None and soak.growth.is_leak):
        print(f"\nkept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
