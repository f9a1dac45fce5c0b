"""SLURM's programs for a cluster of any size: they print files, in which rows are changed in place.

All rows have one width in each of their states, so a change is a few bytes written into a mapped file, and a poll costs
the stand-in what `cat` takes.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from slurm_shim import parse
from tests.bench.queue import CONFIG, build_nodes, describe_job
from tests.slurm_programs import Programs

# As long as what the server puts between fields, which the first squeue puts in its place.
NONCE = "~" + "0" * 8
WIDTH = 1000
SQUEUE = """\
n=${{SQUEUE_FORMAT2#*:}}; n=${{n%%,*}}
[ -e {folder}/nonce ] || {{ printf %s "$n" > {folder}/nonce.new && mv {folder}/nonce.new {folder}/nonce; }}
while [ ! -e {folder}/queue ]; do sleep 0.05; done
case "$*" in *--jobs=*) echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1;; esac
exec cat {folder}/queue
"""


def build_record(number: int, runs: bool, used: str, nonce: str) -> bytes:
    """Build the row of squeue for one job, WIDTH bytes long."""
    own = describe_job(number, runs, used)
    if runs:
        own["NodeList"] = own["BatchHost"] = f"node{1 + number % 9999:04}"
    own["WorkDir"] += "/"
    missing = WIDTH - len(nonce) * len(own) - sum(len(str(value)) for value in own.values()) - len("E\n")
    assert missing >= 0, own
    own["WorkDir"] += "w" * missing
    return (nonce.join(str(own[name]) for name in parse.JOB_FIELDS) + f"{nonce}E\n").encode()


class StandIn:
    """SLURM's programs in `folder`, and the queue and the nodes that they print.

    Every tenth job runs at first.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder, self.programs, self.nonce = folder, Programs(folder), NONCE
        self.count, self.began = 0, time.monotonic()
        self.running: set[int] = set()
        (folder / "config").write_text(CONFIG)
        self.free_mb = 58_000
        self.set_nodes(nodes)
        self.programs.write("squeue", SQUEUE.format(folder=folder))
        self.programs.write("sbatch")
        answers = f'"show config") exec cat {folder}/config;; *"show node") exec cat {folder}/nodes;;'
        self.programs.write("scontrol", f'case "$*" in {answers} ping) echo "Slurmctld(primary) at a is UP";; esac')

    @property
    def path(self) -> str:
        """The PATH on which these programs are."""
        return f"{self.programs.bin}:{os.environ['PATH']}"

    @property
    def polls(self) -> int:
        """How often the queue was asked for."""
        calls = self.folder / "squeue.calls"
        return calls.read_bytes().count(b"\n\n") if calls.exists() else 0

    @property
    def node_polls(self) -> int:
        """How often all nodes were asked for."""
        calls = self.folder / "scontrol.calls"
        return calls.read_bytes().count(b"\nshow\nnode\n\n") if calls.exists() else 0

    def time_squeue(self) -> float:
        """Time a call of squeue alone, in seconds."""
        environment = {"PATH": self.path, "SQUEUE_FORMAT2": f":{self.nonce},"}
        began = time.monotonic()
        subprocess.run([self.programs.bin / "squeue"], env=environment, stdout=subprocess.DEVNULL, check=True)
        return time.monotonic() - began

    def set_nodes(self, count: int) -> None:
        """Print so many nodes from now on; each has another amount of free memory than before."""
        self.free_mb += 1
        made = self.folder / "nodes.new"
        made.write_text(build_nodes(count).replace("FreeMem=58000 ", f"FreeMem={self.free_mb} "))
        made.rename(self.folder / "nodes")

    def set_rows(self, count: int) -> None:
        """Print so many jobs from now on; the server has asked once, or is about to."""
        place = self.folder / "nonce"
        while not place.exists():
            time.sleep(0.05)
        self.nonce, self.count = place.read_text(), count
        self.running = {number for number in range(1, count + 1) if number % 10 == 0}
        made = self.folder / "queue.new"
        with made.open("wb") as file:
            for number in range(1, count + 1):
                file.write(build_record(number, number in self.running, "0:00:00", self.nonce))
        made.rename(self.folder / "queue")
        with (self.folder / "queue").open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def write_rows(self, numbers: Iterable[int]) -> None:
        """Write these rows as they are now, with the time that they have run."""
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        used = f"1:{minutes % 60:02}:{seconds:02}"
        for number in numbers:
            at = (number - 1) * WIDTH
            self.map[at : at + WIDTH] = build_record(number, number in self.running, used, self.nonce)

    def change_rows(self, numbers: Iterable[int]) -> None:
        """Let what waits of these run, and put what runs back."""
        changed = list(numbers)
        self.running.symmetric_difference_update(changed)
        self.write_rows(changed)
