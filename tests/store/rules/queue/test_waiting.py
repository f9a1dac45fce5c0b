"""Why jobs wait: each reason of SLURM in a sentence, with numbers where they are known."""

from __future__ import annotations

from typing import Any

import pytest

from slurm_shim.ids import count_tasks
from store.rules.queue.pressure import PartitionLoad, choose_load, measure_load
from store.rules.queue.waiting import SENTENCES, explain_wait
from tests.pretended import job

GPU = PartitionLoad(
    "gpu", max_time_s=86_400, nodes_total=3, nodes_usable=2, nodes_idle=0, cpus=16, cpus_used=12, gpus=8, gpus_used=6,
    waiting=(10, 500, 600, 700), counts=(4, 5, 6, 7),
)  # fmt: skip
PLAIN = PartitionLoad("gpu", nodes_total=2, nodes_usable=2, cpus=16)
DOWN = PartitionLoad("gpu", state="DOWN")


def wait(reason: str | None, **more: Any) -> dict[str, Any]:
    """Make a job of ann that waits in partition gpu."""
    own = {"reason": reason, "partition": "gpu", "user": "ann", "account": "lab", "qos": "normal", "node_count": 1,
           "cpu_count": 2, "gpus": 0, "priority": 400}  # fmt: skip
    return job("7", "PENDING", **(own | more))


def depend(kind: str, job_id: str | None, state: str = "unfulfilled", job_state: str | None = None) -> dict[str, Any]:
    return {"type": kind, "job_id": job_id, "state": state, "job_state": job_state}


# why, the reason and what is special of the job, the load of its partition, the dependencies, the sentence
SENTENCE_ROWS: list[tuple[str, dict[str, Any], PartitionLoad | None, list[dict[str, Any]], str | None]] = [
    ("too few GPUs are free", wait("Resources", gpus=4), GPU, [],
     "waits for 2 more GPUs in partition gpu; 6 of 8 are in use; 3 jobs with higher priority wait before it"),
    ("one GPU, nobody before it", wait("Resources", gpus=3, priority=900), GPU, [],
     "waits for 1 more GPU in partition gpu; 6 of 8 are in use"),
    ("more GPUs than nodes at work have", wait("Resources", gpus=9, priority=900), GPU, [],
     "waits for 9 GPUs in partition gpu, where nodes that work have 8"),
    ("too few CPUs", wait("Resources", cpu_count=8, priority=650), GPU, [],
     "waits for 4 more CPUs in partition gpu; 12 of 16 are in use; 1 job with higher priority waits before it"),
    ("more nodes than work", wait("Resources", node_count=3, priority=900), GPU, [],
     "waits for 3 nodes in partition gpu, where 2 of 3 work"),
    ("enough in all, but not together", wait("Resources", gpus=2, priority=900), GPU, [],
     "waits until all that it asks for is free at once: 2 GPUs and 2 CPUs on 1 node"),
    ("nothing is known of the partition", wait("Resources"), None, [], "waits for free resources in partition gpu"),
    ("others come first", wait("Priority", gpus=1), GPU, [],
     "3 jobs with higher priority wait before it in partition gpu; 6 of 8 GPUs are in use"),
    ("others come first, no GPUs", wait("Priority", priority=5), GPU, [],
     "7 jobs with higher priority wait before it in partition gpu; 12 of 16 CPUs are in use"),
    ("nobody knows who", wait("Priority", priority=None), GPU, [],
     "waits for jobs with higher priority in partition gpu"),
    ("a job that must succeed", wait("Dependency"), GPU, [depend("afterok", "5", job_state="RUNNING")],
     "waits for job 5 (RUNNING) to succeed"),
    ("several jobs", wait("Dependency", dependency="afterany:5,afternotok:6"), GPU,
     [depend("afterany", "5"), depend("afternotok", "6")], "waits for job 5 to end and job 6 to fail"),
    ("any of several jobs", wait("Dependency", dependency="afterok:5?afterok:6"), GPU,
     [depend("afterok", "5"), depend("afterok", "6")], "waits for job 5 to succeed or job 6 to succeed"),
    ("singleton", wait("Dependency"), GPU, [depend("singleton", None)],
     "waits for other jobs of user ann with its name to end"),
    ("a dependency that is not told", wait("Dependency"), GPU, [], "waits for other jobs that it depends on"),
    ("never", wait("DependencyNeverSatisfied"), GPU, [depend("afterok", "5", "failed")],
     "will never start: it depends on a job that should end otherwise (job 5 did not succeed)"),
    ("never, and why is not told", wait("DependencyNeverSatisfied"),
     GPU, [], SENTENCES["DependencyNeverSatisfied"]),
    ("a time", wait("BeginTime", estimated_start_time=1_774_872_000), GPU, [],
     "starts 2026-03-30T12:00:00Z at the earliest"),
    ("put back", wait("BeginTime", restarts=1), GPU, [],
     "waits for the time at which it may begin, since it was put back into the queue"),
    ("tasks at once", wait("JobArrayTaskLimit", array_task_id="3-6%2"), GPU, [],
     "waits for other tasks of its array to end: at most 2 of them run at once"),
    ("tasks at once, unknown", wait("JobArrayTaskLimit"), GPU, [],
     "waits because as many tasks of its array run as may at once"),
    ("held by the user", wait("JobHeldUser"), GPU, [], "is held by its owner until it is released"),
    ("held by root", wait("JobHeldAdmin"), GPU, [],
     "is held by an administrator, or has the priority 0; only an operator can release it"),
    ("put back and held", wait("job requeued in held state"), GPU, [],
     "was put back into the queue and held; it waits until it is released"),
    ("too many nodes", wait("PartitionNodeLimit", node_count=8), GPU, [],
     "can not start: it asks for 8 nodes, and partition gpu has 3 nodes"),
    ("too many nodes for a limit", wait("PartitionNodeLimit", node_count=2), GPU, [],
     "can not start: it asks for 2 nodes, which gpu's limits do not allow; partition gpu has 3 nodes"),
    ("too long", wait("PartitionTimeLimit", time_limit_s=172_800), GPU, [],
     "can not start: it asks for 2-00:00:00, and partition gpu allows 1-00:00:00"),
    ("too long, limit unknown", wait("PartitionTimeLimit"), None, [],
     "can not start: its time limit is longer than partition gpu allows"),
    ("more nodes than a partition has", wait("PartitionConfig", node_count=99), GPU, [],
     "can not start: it asks for 99 nodes, and partition gpu has 3 nodes"),
    ("GPUs where there are none", wait("PartitionConfig", gpus=1, time_limit_s=60), PLAIN, [],
     "can not start: it asks for 1 GPU, and partition gpu has no GPUs"),
    ("more GPUs than those of the nodes that work", wait("PartitionConfig", gpus=9, time_limit_s=60), GPU, [],
     "can not start: it asks for what partition gpu does not allow"),
    ("more time than a partition allows", wait("PartitionConfig", time_limit_s=90_000), GPU, [],
     "can not start: it asks for 1-01:00:00, and partition gpu allows 1-00:00:00"),
    ("no room in its settings", wait("PartitionConfig", time_limit_s=60), GPU, [],
     "can not start: it asks for what partition gpu does not allow"),
    ("down", wait("PartitionDown"), DOWN, [], "waits because partition gpu is down (DOWN)"),
    ("inactive", wait("PartitionInactive"), GPU, [], "waits because partition gpu takes no jobs now"),
    ("nodes away", wait("ReqNodeNotAvail"), GPU, [], "asks for nodes that are not available now"),
    ("nodes reserved", wait("ReqNodeNotAvail, May be reserved for other job"), GPU, [],
     "asks for nodes that are not available now; they may be reserved for other jobs"),
    ("nodes under maintenance", wait("ReqNodeNotAvail, Reserved for maintenance"), GPU, [],
     "asks for nodes that are reserved for maintenance"),
    ("an account that a partition does not take",
     wait("Job's account not permitted to use this partition (gpu allows root not lab)"), GPU, [],
     "can not start: partition gpu does not take jobs of account lab (gpu allows root not lab)"),
    ("a QOS that a partition does not take",
     wait("Job's QOS not permitted to use this partition (gpu allows high not normal)"), GPU, [],
     "can not start: partition gpu does not take jobs of QOS normal (gpu allows high not normal)"),
    ("nodes named", wait("ReqNodeNotAvail, UnavailableNodes:node[03-04]"), GPU, [],
     "asks for nodes that are not available now: node[03-04]"),
    ("nodes down or reserved",
     wait("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"),
        GPU, [],
     "asks for nodes that are down, drained or reserved for jobs in partitions with a higher priority; 2 of 3 nodes of "
     "partition gpu work"),
    ("tasks of an array that differ, in one row", wait("JobArrayTaskLimit,JobHeldUser", array_task_id="3-6"), GPU, [],
     "its tasks wait for different reasons: one waits because as many tasks of its array run as may at once; one is "
     "held by its owner until it is released"),
    ("one of these that nobody knows", wait("JobHeldUser,Whatever"), GPU, [],
     "waits; SLURM says JobHeldUser,Whatever"),
    ("ended with an error before", wait("NonZeroExitCode"), GPU, [],
     "waits to run again: it ended with an error before"),
    ("could not be started", wait("JobLaunchFailure"), GPU, [], "could not be started and waits to be tried again"),
    ("a node failed", wait("NodeDown"), GPU, [],
     "waits because a node that it needs is down"),
    ("SLURM says None", wait(None), GPU, [], "waits for the scheduler to look at it"),
    ("licenses", wait("Licenses:matlab@lic"), GPU, [], "waits for licenses that others use: matlab@lic"),
    ("a signal", wait("RaisedSignal:53(Real-time_signal_19)"), GPU, [],
     "waits to run again: signal 53 ended it before"),
    ("an account", wait("InvalidAccount"), GPU, [], "can not start: account lab is not valid for it"),
    ("jobs of a user in a QOS", wait("QOSMaxJobsPerUserLimit"), GPU, [],
     "waits because the limit of running jobs for each user of QOS normal is reached; it starts when others "
     "have ended"),
    ("CPUs of a user in a QOS", wait("QOSMaxCpuPerUserLimit"), GPU, [],
     "waits because the limit of CPUs for each user of QOS normal is reached; it starts when others "
     "have ended"),
    ("GPUs of all in a QOS", wait("QOSGrpGRES"), GPU, [],
     "waits because the limit of GPUs or other generic resources for all jobs of QOS normal together is reached; it "
     "starts when others have ended"),
    ("memory of an account", wait("AssocGrpMemLimit"), GPU, [],
     "waits because the limit of memory for all jobs of account lab together is reached; it starts when "
     "others have ended"),
    ("jobs of an account", wait("AssocMaxJobsLimit"), GPU, [],
     "waits because the limit of running jobs for each user of account lab is reached; it starts when others "
     "have ended"),
    ("minutes are used up", wait("AssocGrpCPUMinutesLimit"), GPU, [],
     "waits because the CPU minutes that all jobs of account lab together may use are used up"),
    ("too long for a QOS", wait("QOSMaxWallDurationPerJobLimit"), GPU, [],
     "can not start: it asks for more running time than QOS normal allows a job"),
    ("too many nodes for a QOS", wait("QOSMaxNodePerJobLimit"), GPU, [],
     "can not start: it asks for more nodes than QOS normal allows a job"),
    ("too little for a QOS", wait("QOSMinGRES"), GPU, [],
     "can not start: it asks for less than the least of GPUs or other generic resources that QOS normal demands"),
    ("a limit per account", wait("MaxCpuPerAccount"), GPU, [],
     "waits because the limit of CPUs for each account of account lab is reached; it starts when others have ended"),
    ("a word of a later SLURM", wait("FrobLimitOfTheMoon"), GPU, [], "waits; SLURM says FrobLimitOfTheMoon"),
    ("a job that runs", job("8", "RUNNING", reason="Resources"), GPU, [], None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("why", "row", "load", "dependencies", "sentence"), SENTENCE_ROWS, ids=[row[0] for row in SENTENCE_ROWS]
)
def test_sentences(
    why: str, row: dict[str, Any], load: PartitionLoad | None, dependencies: list[dict[str, Any]], sentence: str | None
) -> None:
    assert explain_wait(row, load, dependencies) == sentence


@pytest.mark.parametrize("reason", sorted(SENTENCES))
def test_every_reason_has_a_sentence_without_gaps(reason: str) -> None:
    text = explain_wait(wait(reason), GPU, [])
    assert text is not None and "{" not in text and "SLURM says" not in text


LIMITS = """
    AssocGrpBB AssocGrpBBMinutes AssocGrpBBRunMinutes AssocGrpBilling AssocGrpBillingMinutes AssocGrpBillingRunMinutes
    AssocGrpCPUMinutesLimit AssocGrpCPURunMinutesLimit AssocGrpCpuLimit AssocGrpEnergy AssocGrpEnergyMinutes
    AssocGrpEnergyRunMinutes AssocGrpGRES AssocGrpGRESMinutes AssocGrpGRESRunMinutes AssocGrpJobsLimit
    AssocGrpLicense AssocGrpLicenseMinutes AssocGrpLicenseRunMinutes AssocGrpMemLimit AssocGrpMemMinutes
    AssocGrpMemRunMinutes AssocGrpNodeLimit AssocGrpNodeMinutes AssocGrpNodeRunMinutes AssocGrpSubmitJobsLimit
    AssocGrpUnknown AssocGrpWallLimit AssocMaxBBMinutesPerJob AssocMaxBBPerJob AssocMaxBBPerNode
    AssocMaxBillingMinutesPerJob AssocMaxBillingPerJob AssocMaxCPUMinutesPerJobLimit AssocMaxCpuPerJobLimit
    AssocMaxCpuPerNode AssocMaxEnergyMinutesPerJob AssocMaxGRESMinutesPerJob AssocMaxGRESPerJob AssocMaxGRESPerNode
    AssocMaxJobsLimit AssocMaxLicensePerJob AssocMaxMemMinutesPerJob AssocMaxMemPerJob AssocMaxMemPerNode
    AssocMaxNodeMinutesPerJob AssocMaxNodePerJobLimit AssocMaxSubmitJobLimit AssocMaxWallDurationPerJobLimit
    MaxBBPerAccount MaxBillingPerAccount MaxCpuPerAccount MaxEnergyPerAccount MaxGRESPerAccount MaxJobsPerAccount
    MaxMemPerAccount MaxNodePerAccount MaxSubmitJobsPerAccount QOSGrpBB QOSGrpCPUMinutesLimit QOSGrpCPURunMinutesLimit
    QOSGrpCpuLimit QOSGrpGRES QOSGrpGRESMinutes QOSGrpJobsLimit QOSGrpMemLimit QOSGrpNodeLimit QOSGrpSubmitJobsLimit
    QOSGrpWallLimit QOSMaxCPUMinutesPerJobLimit QOSMaxCpuPerJobLimit QOSMaxCpuPerNode QOSMaxCpuPerUserLimit
    QOSMaxGRESPerJob QOSMaxGRESPerNode QOSMaxGRESPerUser QOSMaxJobsPerUserLimit QOSMaxMemoryPerJob QOSMaxMemoryPerNode
    QOSMaxMemoryPerUser QOSMaxNodePerJobLimit QOSMaxNodePerUserLimit QOSMaxSubmitJobPerUserLimit
    QOSMaxWallDurationPerJobLimit QOSMinCpuNotSatisfied QOSMinGRES QOSMinMemory QOSMinNode
""".split()  # noqa: SIM905


@pytest.mark.parametrize("reason", LIMITS)
def test_every_limit_of_accounting_has_a_sentence(reason: str) -> None:
    text = explain_wait(wait(reason), GPU, [])
    assert text is not None and "SLURM says" not in text


def test_the_load_counts_what_works_and_who_waits_for_room() -> None:
    nodes = [
        {"name": "n1", "usable": True, "state": "MIXED", "cpus": 8, "cpus_allocated": 6},
        {"name": "n2", "usable": True, "state": "IDLE", "cpus": 8, "cpus_allocated": 0},
        {"name": "n3", "usable": False, "state": "DOWN", "cpus": 8, "cpus_allocated": 0},
    ]
    partitions = [{"name": "gpu", "state": "UP", "nodes": ["n1", "n2", "n3", "n9"], "max_time_s": None}]
    gpus = [{"partition": "gpu", "total_gpus": 8, "gpus_in_use": 6}]
    jobs = [
        wait("Priority", priority=10),
        wait("Resources", priority=20, array_task_id="0-9%2"),
        wait(None, priority=30, partition="cpu,gpu"),
        wait("Dependency", priority=99),  # it can not start yet, so it is before nobody
        wait("JobHeldUser", priority=0),
        job("9", "RUNNING", partition="gpu", priority=99),
    ]
    load = measure_load(partitions, nodes, gpus, jobs, count_tasks)["gpu"]
    assert (load.nodes_total, load.nodes_usable, load.nodes_idle) == (3, 2, 1)
    assert (load.cpus, load.cpus_used, load.gpus, load.gpus_used) == (16, 6, 8, 6)
    assert [load.count_before(priority) for priority in (5, 10, 20, 30, None)] == [12, 11, 1, 0, None]
    assert choose_load({"gpu": load}, "cpu,gpu") is load and choose_load({}, None) is None
