"""Simulations are submitted: checked completely, then written."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.callers.yaptide.batch import check_batch_allowed
from engine.server import Server
from engine.simulations import folders, lists, owners
from slurm_shim.cluster import EMBEDDED
from store.access import Caller
from store.documents import BatchOptions, Simulation
from store.errors import Invalid, NotFound, TooManyOpen, make_problem, suggest_word
from store.exports import projects
from store.jsons import dump_json
from store.kinds import Key
from store.rules import requests
from store.rules.simulations import advance, batch_options, inputs, simulators, splitting
from store.rules.simulations.simulators import Simulator
from store.times import to_rfc3339
from store.views import yaptide

Platform = Literal["DIRECT", "BATCH"]
Files = Mapping[str, str]
# The cluster in force, as clients of YAPTIDE call it.
DEFAULT_CLUSTERS = (None, "", "default")
DELETED = "this key was used before, for a simulation that is deleted"


@dataclass(frozen=True)
class Plan:
    """A simulation that was checked, with what is written beside it."""

    simulation: Simulation
    files: Files
    project: Mapping[str, Any] | None


async def submit_direct(
    server: Server, body: dict[str, Any], idempotency_key: str | None, caller: Caller
) -> dict[str, Any]:
    """Run a simulation on this machine; raise Invalid for what is wrong.

    Raises also ConversionFailed, TooManyOpen, StoreUnavailable, StoreFull.
    """
    return yaptide.to_submitted_json(await _submit_simulation(server, "DIRECT", body, idempotency_key, caller))


async def submit_batch(
    server: Server, body: dict[str, Any], idempotency_key: str | None, caller: Caller
) -> dict[str, Any]:
    """Run a simulation on a cluster; raise Denied, and as `submit_direct`."""
    check_batch_allowed(server, caller)
    return yaptide.to_submitted_json(await _submit_simulation(server, "BATCH", body, idempotency_key, caller))


async def _submit_simulation(
    server: Server, platform: Platform, body: dict[str, Any], key: str | None, caller: Caller
) -> Simulation:
    """Submit a simulation; return the one that the same request has made."""
    owner = owners.make_owner(caller)
    unique = requests.make_id(owner, "simulation", key)
    request_hash = await server.check(requests.hash_request, platform, body)
    if (before := find_submitted(server, unique, request_hash)) is not None:
        return before
    plan = await plan_simulation(server, platform, body)
    async with server.locks.hold(Key("start", f"simulations of {owner}")):
        if (before := find_submitted(server, unique, request_hash)) is not None:
            return before
        check_room(server, owner)
        now = time.time()
        name = advance.make_id(unique, platform, time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)))
        given = {"owner": owner, "id": name, "run_id": advance.make_run_id(name), "created_at": to_rfc3339(now)}
        given |= {"request_key": key and unique, "request_hash": request_hash}
        simulation = plan.simulation.model_copy(update=given)
        await save_document(
            server,
            simulation,
            {name: text.encode() for name, text in plan.files.items()},
            None if plan.project is None else dump_json(plan.project),
        )
    return simulation


def find_submitted(server: Server, run_id: str, request_hash: str) -> Simulation | None:
    """Find the simulation that this request has made before.

    Raises Invalid for another request with the same key, and where the simulation is deleted.
    """
    name = server.simulation_index.find_by_run(run_id)
    if name is not None:
        simulation: Simulation = server.store.simulations.get(name)
        requests.refuse_other_request(simulation, request_hash)
        return simulation
    if run_id in server.store.runs or ("run", run_id) in server.store.archive:
        raise Invalid([make_problem(DELETED, ("header", "Idempotency-Key"), type="idempotency_key")])
    return None


def check_room(server: Server, owner: str) -> None:
    """Raise TooManyOpen where the owner has too many open ones."""
    most = server.store.config.yaptide.max_open
    if server.simulation_index.count_open(owner) >= most:
        raise TooManyOpen(
            f"{most} of your simulations have not ended: wait for one, or cancel it (yaptide.max_open in config.yaml)"
        )


async def save_document(
    server: Server, simulation: Simulation, files: Mapping[str, bytes], project: bytes | None
) -> None:
    """Write a new simulation: its folder first, then the document.

    A crash between leaves a folder without a document. Raises StoreUnavailable, StoreFull.
    """
    folder = folders.find_folder(server, simulation.id)
    await asyncio.to_thread(server.store.files.make_dirs, folder / folders.INPUT)
    paths = {folder / folders.INPUT / name: data for name, data in files.items()}
    paths |= {} if project is None else {folder / folders.PROJECT: project}
    await asyncio.gather(*[server.store.files.write(path, data) for path, data in paths.items()])
    await server.store.simulations.create(simulation.id, simulation)


# --- what is asked for


async def plan_simulation(server: Server, platform: Platform, body: Mapping[str, Any]) -> Plan:
    """Check what is asked for; raise Invalid and ConversionFailed."""
    known = {entry.name: entry.document for entry in server.store.simulators.iterate_entries()}
    sim_type = body["sim_type"].strip()
    simulator = _find_simulator(server, known, sim_type)
    given = {key: value for key, value in (body.get("batch_options") or {}).items() if value is not None}
    if platform == "BATCH":
        cluster = find_cluster(server, given.get("cluster_name"))
        options = await server.check(batch_options.check_batch_options, given)
    else:
        cluster, limit = EMBEDDED, server.store.config.yaptide.direct_time
        options = BatchOptions(array={"time": limit} if limit else {})
    if platform == "DIRECT" or server.clusters.find_label(cluster) == EMBEDDED:
        has_own_path = bool(simulator.prepare or options.array_lines)
        await server.check(require_program, sim_type, simulator, has_own_path)
    files, project = read_body(body)
    if project is not None:
        files = await server.check(projects.convert_project, sim_type, project)
    most = server.store.config.yaptide.max_tasks
    simulation = await server.check(draft_simulation, sim_type, known, files, project, body, most)
    return Plan(
        simulation.model_copy(update={"platform": platform, "cluster": cluster, "options": options}), files, project
    )


def _find_simulator(server: Server, known: Mapping[str, Simulator], sim_type: str) -> Simulator:
    """Find a simulator; of one whose file is wrong tell what is."""
    if sim_type not in known and (problems := server.store.simulators.describe_problems(sim_type)):
        raise Invalid([make_problem(f"its file is wrong: {problems}", ["body", "sim_type"], input=sim_type)])
    return simulators.find_simulator(known, sim_type)


def find_cluster(server: Server, name: str | None) -> str:
    """Find the name of a cluster as documents have it.

    Raises Invalid with the near name. An SSH profile is `ssh:NAME` until it is known what its cluster calls itself.
    """
    if name in DEFAULT_CLUSTERS or name is None:
        return server.cluster.name
    names = lists.list_names(server)
    wanted = f"ssh:{name}" if name in names and server.clusters.find_profile(f"ssh:{name}") == name else name
    try:
        return server.clusters.resolve(wanted).name
    except NotFound:
        near = suggest_word(name, names) or f"; known are {', '.join(['default', *names])}"
        place = ("body", "batch_options", "cluster_name")
        raise Invalid([make_problem(f"there is no cluster '{name[:100]}'{near}", place, input=name[:100])]) from None


def require_program(sim_type: str, simulator: Simulator, has_own_path: bool) -> None:
    """Raise Invalid where the simulator's program is not on this machine.

    Where lines before it may change the path, only a program with its whole path is looked for. Blocks.
    """
    program = simulators.get_program(simulator)
    is_whole = program is not None and Path(program).is_absolute()
    if program is None or (not is_whole and (has_own_path or "/" in program)):
        return
    if shutil.which(program) is None:
        message = simulators.describe_missing_program(sim_type, program)
        if Path(program).is_file():
            message = f"{program} of simulator {sim_type} may not be run: make it executable (chmod +x {program})"
        raise Invalid([make_problem(message, ("body", "sim_type"), input=sim_type)])


def read_body(body: Mapping[str, Any]) -> tuple[Files, Mapping[str, Any] | None]:
    """Return the files that were sent, or none and the project.

    Raises Invalid where the one that input_type names is missing.
    """
    is_project = body["input_type"] == "editor"
    field = "input_json" if is_project else "input_files"
    given = next((name for name in (field, "sim_data") if body.get(name)), None)
    if given is None:
        message = f"input_type is {body['input_type']}, so {field} (or sim_data) is needed"
        raise Invalid([make_problem(message, ("body", field))])
    if is_project:
        return {}, body[given]
    files: Files = body[given]
    for name, text in files.items():
        if not isinstance(text, str):
            raise Invalid([make_problem("the content of a file is a text", ("body", given, name[:200]))])
    return files, None


def draft_simulation(
    sim_type: str,
    known: Mapping[str, Simulator],
    files: Files,
    project: Mapping[str, Any] | None,
    body: Mapping[str, Any],
    most_tasks: int,
) -> Simulation:
    """Draft the simulation, without what makes it this one; raise Invalid."""
    simulator = known[sim_type]
    found = inputs.check_input(sim_type, known, files)
    total = found.primaries
    if total is None and project is not None:
        total = inputs.find_project_primaries(project)
    count = splitting.count_tasks(int(body["ntasks"]), total, most_tasks)
    tasks = splitting.build_tasks(total, count, simulator.first_seed)
    for task in (tasks[0], tasks[-1]):
        inputs.build_task_files(simulator, files, task)
    return Simulation(
        id="",
        owner="",
        run_id="",
        created_at="",
        title=(body.get("title") or "").strip(),
        platform="DIRECT",
        sim_type=sim_type,
        input_type="FILES" if project is None else "EDITOR",
        requested_primaries=total,
        tasks=tasks,
        outputs=[] if project is None else inputs.list_project_outputs(project),
    )
