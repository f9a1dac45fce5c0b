"""Speed as ratios, measured side by side in one run: `just bench [ROW …] [--check]`.

Each row tells ours, the bare thing beside it, their ratio and the target. Without names all rows are measured; `--list`
tells their names. The exit status says whether targets are met only with `--check`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.bench import answers, merge, page, simulations, task_posts
from tests.bench.figures import Bench

BENCHES: tuple[Bench, ...] = (*answers.BENCHES,)
# Those that print figures of their own.
OTHERS = {"page": page.main, "merge": merge.main, "simulations": simulations.main, "task-posts": task_posts.main}


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="what to measure (all)")
    parser.add_argument("--check", action="store_true", help="end with status 1 when a target is missed")
    parser.add_argument("--list", action="store_true", help="tell what can be measured")
    given = parser.parse_args(argv)
    by_name = {bench.name: bench for bench in BENCHES}
    if given.list:
        for bench in BENCHES:
            print(f"{bench.name:<20} {bench.what}")
        return 0
    if unknown := [name for name in given.rows if name not in by_name]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(by_name)}")
    missed = 0
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} processors")
    print(f"{'':<48} {'ours':>14} {'bare':>14} {'ratio':>7} {'target':>8}")
    for bench in BENCHES if not given.rows else [by_name[name] for name in given.rows]:
        with tempfile.TemporaryDirectory() as folder:
            for figure in bench.measure(Path(folder)):
                print(figure.format_row(), flush=True)
                missed += not figure.is_met
    if missed:
        print(f"{missed} missed")
    return int(given.check and missed > 0)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in OTHERS:
        OTHERS[sys.argv[1]](sys.argv[2:])
        sys.exit()
    sys.exit(main())
