"""A simulation begins: as a run of two jobs, tasks and their merge.

The run's id follows from the simulation's, so one that was begun is found again.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from engine import start, workdirs
from engine.server import Server
from slurm_shim import script as batch
from slurm_shim.cluster import EMBEDDED, Cluster
from store import errors
from store.documents import Run, RunJob, Simulation
from store.rules.simulations import advance, simulators
from store.rules.simulations.states import COLLECT, TASKS
from store.times import to_rfc3339

WORKFLOW = "simulation"
ONE_NODE = {"nodes": 1}


async def start_run(server: Server, simulation: Simulation) -> Simulation:
    """Create the simulation's run, unless it is there; return the simulation.

    It has failed where no run can be planned. While its cluster does not answer it waits, and says so as its error.
    """
    try:
        cluster = await choose_cluster(server, simulation)
        if not cluster.is_answering:
            problem = cluster.snapshot.error
            return simulation.model_copy(update={"error": problem and f"waits for cluster {cluster.name}: {problem}"})
        run = await plan_run(server, simulation, cluster)
    except errors.StoreUnavailable:
        raise
    except (errors.StoreError, ValueError) as problem:
        return advance.fail_unstarted(simulation, str(problem), time.time())
    await start.create_run(server, run)
    return simulation.model_copy(update={"error": None})


async def choose_cluster(server: Server, simulation: Simulation) -> Cluster:
    """Choose the cluster that the tasks run on; raise NotFound.

    `direct` is always this machine, also where it has a real SLURM.
    """
    if simulation.platform == "DIRECT":
        cluster = await server.clusters.require_embedded()
        return server.clusters.resolve(cluster.name)
    return server.clusters.resolve(simulation.cluster or None)


async def plan_run(server: Server, simulation: Simulation, cluster: Cluster) -> Run:
    """Plan the run of a simulation; write nothing.

    Raises NotFound without its simulator, ValueError for options that no script can hold.
    """
    simulator: simulators.Simulator = server.store.simulators.get(simulation.sim_type)
    place = await workdirs.choose_workdir(server, cluster, None, simulation.run_id)
    work = str(place.root)
    python = sys.executable if cluster.label == EMBEDDED else "python3"
    options, count = simulation.options, len(simulation.tasks)
    name = batch.to_job_name(str(options.array.get("job-name") or simulation.title or simulation.sim_type))
    merge_name = batch.to_job_name(str(options.collect.get("job-name") or f"{name}_collect"))
    tasks = batch.render_program_script(
        options.array,
        [*options.array_lines, *simulator.prepare],
        work,
        [python, f"{work}/programs/run_task.py", work, batch.TASK_NUMBER],
        "task_%4a.log",
        array=f"1-{count}",
    )
    collect = batch.render_program_script(
        options.collect, options.collect_lines, work, [python, f"{work}/programs/merge.py", work], "collect.log"
    )
    return Run(
        id=simulation.run_id,
        workflow_name=WORKFLOW,
        args={"simulation": simulation.id, "title": simulation.title},
        cluster=cluster.name,
        status="submitting",
        work_dir=work,
        started_at=to_rfc3339(time.time()),
        triggered_by="yaptide",
        simulation=simulation.id,
        jobs=[
            build_job(TASKS, name, tasks, work, options.array),
            build_job(COLLECT, merge_name, collect, work, options.collect, f"afterany:{TASKS}"),
        ],
    )


def build_job(name: str, job_name: str, script: str, work: str, options: dict[str, Any], *depends_on: str) -> RunJob:
    """Build a job of the run, with what lists show of its resources."""
    resources = {"time_limit": options.get("time"), "partition": options.get("partition")}
    return RunJob(
        name=name,
        depends_on=list(depends_on),
        script=script,
        options={"job_name": job_name},
        resources={**ONE_NODE, **{key: value for key, value in resources.items() if value}},
        work_dir=work,
        log_dir=f"{work}/logs",
    )
