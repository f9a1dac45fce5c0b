"""What script and options say of a job, before SLURM does."""

from __future__ import annotations

from typing import Any

import pytest

from slurm_shim import expectations
from slurm_shim.job_groups import build_waiting_job

PARTITIONS = [
    {"name": "cpu", "is_default": True, "default_time_s": 600, "max_time_s": None},
    {"name": "gpu", "is_default": False, "default_time_s": None, "max_time_s": 7200},
]


def build(lines: str, partitions: Any = PARTITIONS, **options: Any) -> dict[str, Any]:
    """Build what is expected of a job with these expectations."""
    text = "".join(f"#SBATCH {line}\n" for line in lines.split("; ")) if lines else ""
    return expectations.build_expected_job(f"#!/bin/bash\n{text}\ntrue\n#SBATCH -p late\n", options, "ann", partitions)


@pytest.mark.parametrize(
    ("why", "lines", "key", "expected"),
    [
        ("the default partition", "", "partition", "cpu"),
        ("long with a sign", "--partition=gpu", "partition", "gpu"),
        ("long with a blank", "--partition gpu", "partition", "gpu"),
        ("short", "-p gpu", "partition", "gpu"),
        ("short without a blank", "-pgpu", "partition", "gpu"),
        ("quoted", "-p 'gpu'", "partition", "gpu"),
        ("several, as SLURM lists them", "-p cpu,gpu", "partition", "cpu,gpu"),
        ("the last one counts", "-p cpu; -p gpu", "partition", "gpu"),
        ("behind another option", "--exclusive -N 2 -p gpu", "partition", "gpu"),
        ("a remark", "-p gpu # fast", "partition", "gpu"),
        ("no limit of its own: the partition's default", "", "time_limit", "0:10:00"),
        ("or the partition's longest", "-p gpu", "time_limit", "2:00:00"),
        ("minutes", "-t 90", "time_limit", "1:30:00"),
        ("days", "--time=1-12", "time_limit", "1-12:00:00"),
        ("minutes and seconds, rounded up as by SLURM", "-t 5:30", "time_limit", "0:06:00"),
        ("0 is no limit of its own", "-t 0", "time_limit", "UNLIMITED"),
        ("nonsense, which sbatch refuses", "-t soon", "time_limit", None),
        ("of a partition that is not known", "-p other", "time_limit", None),
        ("none", "", "gpus", 0),
        ("of the job", "--gpus=3", "gpus", 3),
        ("with a type", "-G a100:2,v100:1", "gpus", 3),
        ("on each node", "-N 2; --gpus-per-node=a100:4", "gpus", 8),
        ("as GRES", "-N2 --gres=gpu:2,fs:1", "gpus", 4),
        ("as GRES with a type", "--gres=gpu:a100:2", "gpus", 2),
        ("for each task", "-n 4 --gpus-per-task=1", "gpus", 4),
        ("one node unless said", "", "node_count", 1),
        ("the least of a range", "--nodes=2-4", "node_count", 2),
        ("by tasks on each node", "-N 2 --ntasks-per-node=4 -c 2", "cpu_count", 16),
        ("by tasks", "-n 6", "cpu_count", 6),
        ("memory of each node", "-N 2 --mem=4G", "memory_mb", 8192),
        ("memory of each CPU", "-n 4 --mem-per-cpu=500", "memory_mb", 2000),
        ("memory that is not said", "", "memory_mb", None),
        ("who submits", "", "user", "ann"),
        ("a QOS", "-q high", "qos", "high"),
        ("the cluster's own QOS", "", "qos", None),
        ("what it depends on", "-d afterok:5,afterany:6", "dependency", "afterok:5,afterany:6"),
        ("nothing", "", "dependency", None),
        ("an array", "-a 1-5%2", "array_task_id", "1-5%2"),
        ("no array", "", "array_task_id", None),
    ],
)
def test_what_is_expected(why: str, lines: str, key: str, expected: Any) -> None:
    assert build(lines)[key] == expected, why


def test_options_win_over_the_script() -> None:
    assert build("-p gpu", partition="cpu", time_min=None)["partition"] == "cpu"


def test_before_the_cluster_has_told_its_partitions_nothing_is_guessed() -> None:
    job = build("", partitions=[])
    assert (job["partition"], job["time_limit"]) == (None, None)


@pytest.mark.parametrize(
    ("why", "lines", "stdout", "stderr"),
    [
        ("SLURM's default", "", "/w/slurm-8_2.out", "/w/slurm-8_2.out"),
        ("every symbol of a task", "-o %x-%A-%a-%j-%u-%N.log", "/w/n-8-2-10-ann-n03.log", "/w/n-8-2-10-ann-n03.log"),
        ("two files", "--output=/o/%a; -e /e/%a", "/o/2", "/e/2"),
        ("another folder", "-D /d; -o x", "/d/x", "/d/x"),
    ],
)
def test_where_a_task_writes_that_only_accounting_knows(why: str, lines: str, stdout: str, stderr: str) -> None:
    script = "#!/bin/bash\n" + "".join(f"#SBATCH {line}\n" for line in lines.split("; "))
    place = {"array_job_id": 8, "array_task_id": "2", "raw_id": 10, "work_dir": "/w", "nodes": "n[03-04]"}
    job = build_waiting_job("8_2", name="n", user="ann") | place
    assert expectations.build_expected_paths(script, {"job_name": "n"}, job) == {"stdout": stdout, "stderr": stderr}, (
        why
    )
