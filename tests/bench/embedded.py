"""What the embedded cluster's programs take: CPU of each call, with nothing in the queue and with a thousand jobs."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from slurm_shim.parse import JOB_FIELDS, build_format
from tests import ROOT
from tests.bench.figures import Bench, Figure

TIMES, JOBS = 21, 1000
SUBMIT = ("sbatch", "-H", "-o", "/dev/null", "--comment", "x" * 40, "--wrap", "true")
# Those that fill the queue wait for each other, so that each pass has all of them to look at.
FILL = ("sbatch", "-Q", "-o", "/dev/null", "-n", "99", "--exclusive", "--dependency", "singleton", "--wrap", "true")
CONF = """\
ClusterName=embedded
SluicePython={python}
SluiceExecute={execute}
NodeName=node[01-04] CPUs=8 RealMemory=16000 Gres=gpu:4
PartitionName=main Nodes=ALL Default=YES
"""


def make_cluster(folder: Path, execute: bool = True) -> dict[str, str]:
    """Make a cluster in a folder of its own; return the environment that leads to it."""
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(python=sys.executable, execute="yes" if execute else "no"))
    path = f"{ROOT / 'slurm_shim' / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "SLURM_CONF": str(conf), "HOME": str(folder), "LANG": "C.UTF-8"}


def measure_ms(env: dict[str, str], *argv: str) -> float:
    """Measure the CPU of a command and of what it starts: the median of some calls, after one that is not counted."""
    found = []
    for _ in range(TIMES + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, env=env, cwd=env["HOME"], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return statistics.median(found[1:])


def measure_programs(folder: Path) -> Iterator[Figure]:
    """Measure the programs, beside a Python that does nothing."""
    env = make_cluster(folder / "cluster")
    python = measure_ms(env, sys.executable, "-I", "-S", "-c", "pass")
    sbatch = measure_ms(env, *SUBMIT)
    yield Figure("sbatch, beside a Python that does nothing", "ms CPU", sbatch, python)
    yield Figure("  by itself", "ms CPU", sbatch, target=15, is_most=True)
    began = time.monotonic()
    for _ in range(JOBS):
        subprocess.run(FILL, env=env, cwd=env["HOME"], check=True)
    yield Figure(f"{JOBS} submissions in a row", "/s", JOBS / (time.monotonic() - began))
    yield Figure(f"sbatch, {JOBS} jobs wait", "ms CPU", measure_ms(env, *SUBMIT))
    form = build_format(JOB_FIELDS, "~4f1c9a~")
    yield Figure(f"squeue of {JOBS} jobs, all fields", "ms CPU", measure_ms(env, "squeue", "-h", "-a", "-O", form))
    yield Figure("squeue of one job", "ms CPU", measure_ms(env, "squeue", "-h", "-j", "1"))
    yield Figure("sinfo", "ms CPU", measure_ms(env, "sinfo"))
    yield Figure("scontrol ping", "ms CPU", measure_ms(env, "scontrol", "ping"))
    yield Figure(f"sacct of {JOBS} jobs", "ms CPU", measure_ms(env, "sacct", "-X", "-P", "-n"))
    subprocess.run(["scancel", "--me"], env=env, check=True)
    yield Figure("sbatch -W, from start to end", "ms CPU", measure_ms(env, "sbatch", "-W", *SUBMIT[2:]))


BENCHES = (Bench("embedded", "the programs of the embedded cluster, beside a bare start of Python", measure_programs),)
