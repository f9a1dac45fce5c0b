"""Figures of the embedded cluster: `python -m tests.bench.embedded [JOBS]`. It prints; it judges nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FIELD_NAMES = """JobArrayID JobID ArrayJobID ArrayTaskID HetJobID HetJobOffset UserName UserID Account Partition
QOS State Reason SubmitTime StartTime EndTime TimeUsed TimeLimit NumNodes NumCPUs MinMemory tres-alloc
tres-per-node PriorityLong NodeList SchedNodes BatchHost Dependency exit_code RestartCnt Command WorkDir STDOUT
STDERR Comment Name"""


def timed_ms(env: dict[str, str], *argv: str, times: int = 7) -> float:
    """The median wall time of a command, with its output thrown away."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, check=True)
        found.append((time.perf_counter() - begun) * 1000)
    return statistics.median(found)


def main(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "slurm.conf"
        conf.write_text(
            f"ClusterName=embedded\nSluicePython={sys.executable}\n"
            "NodeName=node[01-04] CPUs=8 RealMemory=16000 Gres=gpu:4\n"
            "PartitionName=main Nodes=ALL Default=YES\n"
        )
        env = {"PATH": f"{ROOT / 'slurm_shim/bin'}:{os.environ['PATH']}", "SLURM_CONF": str(conf), "HOME": folder}
        os.chdir(folder)
        sbatch_words = ("sbatch", "-H", "-o", "/dev/null", "--comment", "x" * 40, "--wrap", "true")
        print(f"sbatch, empty queue          {timed_ms(env, *sbatch_words):8.1f} ms")
        filler = (
            "sbatch",
            "-Q",
            "-o",
            "/dev/null",
            "-n",
            "99",
            "--exclusive",
            "--dependency",
            "singleton",
            "--wrap",
            "true",
        )
        begun = time.perf_counter()
        for _ in range(jobs):
            subprocess.run(filler, env=env, check=True)
        rate = jobs / (time.perf_counter() - begun)
        print(f"{jobs} submissions in a row    {rate:8.1f} /s")
        print(f"sbatch, {jobs} queued         {timed_ms(env, *sbatch_words):8.1f} ms")
        form = ",".join(f"{name}:~4f1c9a~" for name in FIELD_NAMES.split()) + "E"
        print(f"squeue, 36 fields, {jobs} jobs {timed_ms(env, 'squeue', '-h', '-a', '-t', 'all', '-O', form):8.1f} ms")
        print(f"squeue, one job               {timed_ms(env, 'squeue', '-h', '-j', '1'):8.1f} ms")
        print(f"sinfo                         {timed_ms(env, 'sinfo'):8.1f} ms")
        print(f"scontrol ping                 {timed_ms(env, 'scontrol', 'ping'):8.1f} ms")
        print(f"sacct, {jobs} jobs            {timed_ms(env, 'sacct', '-X', '-P', '-n'):8.1f} ms")
        subprocess.run(["scancel", "--me"], env=env, check=True)
        whole = timed_ms(env, "sbatch", "-W", "-o", "/dev/null", "--wrap", "true", times=5)
        print(f"sbatch -W (start to end)      {whole:8.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
