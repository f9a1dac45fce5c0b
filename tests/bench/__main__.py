"""Speed as ratios, measured side by side in one run: `just bench [ROW …] [--check]`.

Each row tells ours, the bare thing beside it, their ratio and the target. Without names all rows are measured; `--list`
tells their names. The exit status says whether targets are met only with `--check`. `just bench page` measures the page
in a headless browser, and prints figures of its own.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import (
    answers,
    embedded,
    exports,
    memory,
    page,
    queue,
    readers,
    reports,
    rows,
    search,
    sockets,
    store,
    sweeps,
    writes,
)
from tests.bench.figures import HEAD, Bench
from tests.bench.large import measures
from tests.bench.on_slurm import peers, submission
from tests.bench.simulations import following, merge, task_posts

BENCHES: tuple[Bench, ...] = (
    *answers.BENCHES,
    *submission.BENCHES,
    *peers.BENCHES,
    *sweeps.BENCHES,
    *embedded.BENCHES,
    *rows.BENCHES,
    *queue.BENCHES,
    *search.BENCHES,
    *memory.BENCHES,
    *readers.BENCHES,
    *sockets.BENCHES,
    *reports.BENCHES,
    *writes.BENCHES,
    *exports.BENCHES,
    *following.BENCHES,
    *task_posts.BENCHES,
    *merge.BENCHES,
    *measures.BENCHES,
    *store.BENCHES,
)
# Those that print figures of their own.
OTHERS: Mapping[str, Callable[[list[str]], None]] = {"page": page.main}


def main(words: Sequence[str], benches: Sequence[Bench] = BENCHES) -> int:
    """Measure what is asked for; return the exit status."""
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="what to measure (all)")
    parser.add_argument("--check", action="store_true", help="end with status 1 when a target is missed")
    parser.add_argument("--list", action="store_true", help="tell what can be measured")
    given = parser.parse_args(words)
    by_name = {bench.name: bench for bench in benches}
    if given.list:
        for bench in benches:
            print(f"{bench.name:<20} {bench.what}")
        return 0
    for name in given.rows:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 1)
            parser.error(f"no row '{name}'{f', perhaps {near[0]}' if near else ''}; --list tells all")
    return measure([by_name[name] for name in given.rows] or benches, given.check)


def measure(benches: Sequence[Bench], check: bool) -> int:
    """Print the table of these; return 1 if a target was missed and that is asked for.

    So does a row that cannot be measured here.
    """
    missed = 0
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} processors")
    print(HEAD)
    for bench in benches:
        figures = []
        with tempfile.TemporaryDirectory() as folder:
            for figure in bench.measure(Path(folder)):
                print(figure.format_row(), flush=True)
                figures.append(figure)
        missed += sum(not figure.is_met for figure in figures) if figures else 1
    if missed:
        print(f"{missed} missed")
    return int(check and missed > 0)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in OTHERS:
        OTHERS[sys.argv[1]](sys.argv[2:])
        sys.exit()
    sys.exit(main(sys.argv[1:]))
