"""GPUs and nodes per partition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim import parse, resources
from slurm_shim.inventory.nodes import parse_nodes
from slurm_shim.job_groups import build_waiting_job
from slurm_shim.resources import make_empty_row, summarize_partitions


def node(
    name: str, state: str = "IDLE", gpus: int = 4, used: int = 0, tracked: bool = True, host: str = ""
) -> parse.Node:
    configured = f"cpu=8,gres/gpu={gpus}" if tracked else "cpu=8"
    line = f"NodeName={name} NodeHostName={host or name} CPUTot=8 Gres=gpu:{gpus} State={state}"
    return parse_nodes(f"{line} CfgTRES={configured} AllocTRES=gres/gpu={used if tracked else 0}")[0]


def partition(name: str, *nodes: str) -> parse.Partition:
    return {"name": name, "nodes": list(nodes)}


def job(nodes: str, gpus: int, state: str = "RUNNING", partition: str = "gpu") -> parse.Job:
    return build_waiting_job("1", state=state, nodes=nodes, gpus=gpus, partition=partition)


@pytest.mark.parametrize(
    ("why", "nodes", "jobs", "expected"),
    [
        ("all free", [node("a"), node("b")], [], {"total_gpus": 8, "gpus_in_use": 0, "nodes_idle": 2}),
        (
            "four slurmds on one host are four nodes",
            [node("a", host="vm"), node("b", host="vm"), node("c", host="vm"), node("d", host="vm")],
            [],
            {"nodes_total": 4, "total_gpus": 16},
        ),
        (
            "a job on two nodes counts its GPUs once",
            [node("a", "MIXED", used=2), node("b", "MIXED", used=2)],
            [job("[a-b]", 4)],
            {"gpus_in_use": 4, "gpus_available": 4, "gpu_utilization": 0.5, "jobs_running": 1, "nodes_idle": 0},
        ),
        (
            "GPUs that SLURM does not count come from the jobs, spread over their nodes",
            [node("n1", "MIXED", tracked=False), node("n2", "MIXED", tracked=False)],
            [job("n[1-2]", 3), job("n1", 1)],
            {"gpus_in_use": 4, "gpus_available": 4},
        ),
        (
            "GPUs of a drained node that still works are neither there nor in use",
            [node("a", "MIXED+DRAIN", used=4), node("b")],
            [job("a", 4)],
            {"total_gpus": 4, "gpus_in_use": 0, "nodes_down": 1, "nodes_total": 2, "jobs_running": 1},
        ),
        (
            "down, silent, reserved",
            [node("a", "DOWN"), node("b", "IDLE+NOT_RESPONDING"), node("c", "IDLE+MAINTENANCE+RESERVED")],
            [],
            {"total_gpus": 0, "nodes_down": 3, "nodes_idle": 0, "gpu_utilization": 0.0, "has_available_gpus": False},
        ),
        (
            "a full node counts",
            [node("a", "ALLOCATED", used=4)],
            [],
            {"total_gpus": 4, "gpus_available": 0, "gpu_utilization": 1.0, "has_available_gpus": False},
        ),
        (
            "waiting and finished jobs use nothing",
            [node("n1", tracked=False)],
            [job("n1", 4, "COMPLETED"), job("", 4, "PENDING")],
            {"gpus_in_use": 0, "jobs_running": 0},
        ),
        (
            "a job that is just ending still holds them",
            [node("n1", tracked=False)],
            [job("n1", 4, "COMPLETING")],
            {"gpus_in_use": 4},
        ),
        ("no GPUs at all", [node("a", gpus=0)], [], {"total_gpus": 0, "gpu_utilization": 0.0}),
    ],
)
def test_one_partition(why: str, nodes: list[parse.Node], jobs: list[parse.Job], expected: dict[str, Any]) -> None:
    row = summarize_partitions([partition("gpu", *(node["name"] for node in nodes))], nodes, jobs)[0]
    assert {name: row[name] for name in expected} == expected, why


def test_partitions_are_sorted_and_share_nodes() -> None:
    nodes = [node("a", "MIXED", used=1), node("b")]
    rows = summarize_partitions(
        [partition("z", "a"), partition("all", "a", "b", "gone")], nodes, [job("a", 1, partition="z")]
    )
    assert [(row["partition"], row["total_gpus"], row["gpus_in_use"], row["jobs_running"]) for row in rows] == [
        ("all", 8, 1, 0),
        ("z", 4, 1, 1),
    ]
    assert make_empty_row("nope") == {
        name: type(value)(0) for name, value in rows[0].items() if name != "partition"
    } | {"partition": "nope"}


STATES = st.sampled_from(["IDLE", "MIXED", "ALLOCATED", "DOWN", "MIXED+DRAIN", "IDLE*"])
NODES = st.lists(st.tuples(STATES, st.integers(0, 8), st.integers(0, 9), st.booleans()), max_size=5)
JOBS = st.lists(st.tuples(st.sets(st.integers(0, 6), max_size=3), st.integers(0, 20)), max_size=6)


@given(NODES, JOBS)
def test_never_more_in_use_than_there_is(
    made: list[tuple[str, int, int, bool]], busy: list[tuple[set[int], int]]
) -> None:
    nodes = [node(f"n{i}", state, gpus, used, tracked) for i, (state, gpus, used, tracked) in enumerate(made)]
    jobs = [job(",".join(f"n{i}" for i in sorted(where)), gpus) for where, gpus in busy]
    row = summarize_partitions([partition("gpu", *(node["name"] for node in nodes))], nodes, jobs)[0]
    assert 0 <= row["gpus_in_use"] <= row["total_gpus"]
    assert 0.0 <= row["gpu_utilization"] <= 1.0
    assert row["gpus_available"] == row["total_gpus"] - row["gpus_in_use"]
    assert row["nodes_idle"] + row["nodes_down"] <= row["nodes_total"] == len(nodes)


def test_memory_that_slurm_does_not_count_is_null() -> None:
    busy = {"name": "n1", "state": "MIXED", "flags": [], "usable": True, "cpus": 8, "cpus_allocated": 2, "gpus": 0,
            "memory_mb": 1000, "memory_allocated_mb": 0, "gpus_allocated": 0, "gpus_tracked": True}  # fmt: skip
    down = busy | {"name": "n2", "state": "DOWN", "usable": False, "cpus_allocated": 0}
    found = resources.count_cluster([{"name": "main", "nodes": ["n1", "n2"]}], [busy, down], [])
    assert (found.cpus, found.memory_mb, found.unavailable) == ((2, 8), None, 1)
    assert found.partition_cpus == {("main", "allocated"): 2, ("main", "idle"): 6, ("main", "other"): 8}
    idle = resources.count_cluster([], [busy | {"cpus_allocated": 0}], [])
    assert idle.memory_mb == (0, 1000)


def test_jobs_count_by_partition_and_state_tasks_one_by_one() -> None:
    rows = [
        build_waiting_job("8_[0-3]", partition="main", array_task_id="0-3", array_job_id=8, submit_time=50),
        build_waiting_job("9", partition="main", submit_time=40),
        build_waiting_job("10", state="RUNNING", partition="gpu", submit_time=10),
        build_waiting_job("11", state="COMPLETED", partition="gpu", submit_time=5),
    ]
    found = resources.count_cluster([], [], rows)
    assert found.queue == {("main", "PENDING"): 5, ("gpu", "RUNNING"): 1}
    assert (dict(found.jobs), found.waiting_since) == ({"PENDING": 5, "RUNNING": 1}, 40)
