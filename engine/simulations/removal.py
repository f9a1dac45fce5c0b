"""Remove simulations: documents, their folders, and work folders.

What is left of a removal that was cut off, or whose cluster did not answer, is removed in the hourly tidy: the folder
of the simulation stays until then, with a note of where its run worked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from pathlib import Path

import orjson

from engine.runs import find_run
from engine.server import Server
from engine.simulations import following
from engine.simulations.folders import INPUT, LOGS, RESULTS, find_folder
from engine.workdirs import OWN_WORK
from slurm_shim.cluster import RemoteCluster
from slurm_shim.errors import SlurmError
from store.disk.reading import read_file
from store.documents import Simulation
from store.errors import NotFound, StoreError
from store.jsons import dump_json
from store.kinds import Key
from store.rules import runs
from store.rules.simulations.advance import ID

log = logging.getLogger("sluice")

NOTE, NOTE_BYTES = "removal.json", 10_000
# A submission writes its folder first: one without a document is left over when it has been so for this long.
UNBORN_S = 3600.0
# A cluster that nobody reached for so long keeps what was there.
GIVEN_UP_S = 14 * 86_400.0


async def delete_simulation(server: Server, simulation_id: str) -> None:
    """Delete the simulation with its files; raise NotFound.

    A run that goes on is cancelled, and stays for as long as others do. Its work folder is removed beside that, since
    that may be large, or far away.
    """
    async with server.locks.hold(Key("simulation", simulation_id)):
        simulation: Simulation = server.store.simulations.get(simulation_id)
        run = await find_run(server, simulation.run_id)
        if run is not None and run.work_dir is not None:
            note = {"run_id": run.id, "cluster": run.cluster, "work_dir": run.work_dir}
            await asyncio.to_thread(server.store.files.make_dirs, find_folder(server, simulation_id))
            await server.store.files.write(find_folder(server, simulation_id, NOTE), dump_json(note))
        await server.store.simulations.delete(simulation_id)
    if run is not None and runs.is_open(run):
        await following.cancel_run(server, run.id)
    for name in (INPUT, RESULTS, LOGS):
        await server.store.files.discard_folder(find_folder(server, simulation_id, name))
    server.tasks.spawn(Key("removal", simulation_id), functools.partial(finish_removal, server, simulation_id))


async def finish_removal(server: Server, simulation_id: str) -> None:
    """Remove what is left of a simulation without a document.

    Nothing yet while its run goes on. Raises SlurmError while the cluster of its run cannot be reached.
    """
    try:
        note, _ = await asyncio.to_thread(read_file, find_folder(server, simulation_id, NOTE), NOTE_BYTES)
        noted = orjson.loads(note)
        place = str(noted["cluster"]), str(noted["run_id"]), str(noted["work_dir"])
    except (NotFound, ValueError, TypeError, KeyError):
        pass  # it never had a run
    else:
        if place[1] in server.store.runs and runs.is_open(server.store.runs.get(place[1])):
            return
        await remove_work_folder(server, *place)
    await server.store.files.discard_folder(find_folder(server, simulation_id))


async def remove_work_folder(server: Server, cluster_name: str, run_id: str, work_dir: str) -> None:
    """Remove the folder where a run worked, if it is one that we made."""
    own = server.store.join_path("work", run_id)
    if Path(work_dir) == own:
        await server.store.files.discard_folder(own)
        return
    cluster = server.clusters.get(cluster_name)
    if isinstance(cluster, RemoteCluster) and work_dir == f"{cluster.home}/{OWN_WORK}/{run_id}":
        await cluster.remove_folder(work_dir)


async def tidy_simulations(server: Server, now: float) -> None:
    """Remove simulations that are old, and what others left behind."""
    retention = server.store.config.retention
    for simulation_id in server.simulation_index.list_expired(retention.age_days, retention.count, now):
        with contextlib.suppress(NotFound):  # somebody else was faster
            await delete_simulation(server, simulation_id)
    for simulation_id, is_due in (await asyncio.to_thread(list_left_over, server, now)).items():
        if Key("removal", simulation_id) in server.tasks.running:
            continue
        try:
            await finish_removal(server, simulation_id)
        except (SlurmError, StoreError) as problem:
            log.info("the work folder of the removed simulation %s is still there: %s", simulation_id, problem)
            if is_due:
                await server.store.files.discard_folder(find_folder(server, simulation_id))


def list_left_over(server: Server, now: float) -> dict[str, bool]:
    """List folders that have no document, and whether to give them up. Blocks."""
    found = {}
    root = server.store.simulations.path
    for entry in list(os.scandir(root)):
        # A document that somebody spoiled is one all the same.
        if not ID.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
            continue
        if entry.name in server.store.simulations or (root / f"{entry.name}.json").exists():
            continue
        with contextlib.suppress(OSError):  # it was removed meanwhile
            age_s = now - entry.stat(follow_symlinks=False).st_mtime
            if age_s >= UNBORN_S or (Path(entry.path) / NOTE).exists():
                found[entry.name] = age_s >= GIVEN_UP_S
    return found
