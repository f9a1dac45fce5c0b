"""The clusters that the table of behaviours is played on."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT
from tests.cluster.real import Cluster

BIN = ROOT / "slurm_shim" / "bin"


CONF = """\
ClusterName=embedded
SluicePython={python}
SluiceExecute=yes
MaxArraySize=1001
MinJobAge=300
KillWait=5
NodeName=node[01-04] CPUs=8 RealMemory=16000 TmpDisk=100000 Gres=gpu:4
PartitionName=cpu Nodes=node[01-02] Default=YES MaxTime=INFINITE DefaultTime=NONE State=UP
PartitionName=gpu Nodes=node[03-04] MaxTime=7-00:00:00 DefaultTime=NONE State=UP
"""


@dataclass(frozen=True)
class Asked:
    """A cluster that can be asked: the environment of its programs, and a slurm.conf that leads nowhere."""

    name: str
    env: Mapping[str, str]
    down: Path
    cluster_name: str
    threads: int


def environment(path: str, conf: Path) -> dict[str, str]:
    """The variables of every command, and no others: much of the environment changes what SLURM's programs print."""
    return {
        "PATH": path,
        "HOME": str(Path.home()),
        "USER": getpass.getuser(),
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(conf),
        "SLURM_BITSTR_LEN": "0",
    }


def start_embedded(folder: Path) -> Asked:
    """Start an embedded cluster of the same size as the real one."""
    text = CONF.format(python=sys.executable)
    for name, more in (("cluster", ""), ("down", "SluiceDown=yes\n")):
        (folder / name).mkdir(parents=True)
        (folder / name / "slurm.conf").write_text(text + more)
    path = f"{BIN}:{os.environ['PATH']}"
    return Asked(
        "embedded", environment(path, folder / "cluster/slurm.conf"), folder / "down/slurm.conf", "embedded", threads=6
    )


def real(folder: Path, cluster: Cluster) -> Asked:
    """A real cluster that is up."""
    wrong = folder / "down"
    wrong.mkdir(parents=True)
    lines = cluster.conf.read_text().splitlines(keepends=True)
    # Nobody listens on the discard port, so that is a controller that does not answer.
    text = "".join("SlurmctldPort=9\n" if line.startswith("SlurmctldPort=") else line for line in lines)
    (wrong / "slurm.conf").write_text(text)
    env = environment(os.environ["PATH"], cluster.conf)
    return Asked("real", env, wrong / "slurm.conf", "sluicetest", threads=24)
