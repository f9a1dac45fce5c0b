"""What the programs of a simulation report of it while they run.

They have no credentials but the simulation's update key, which stands in each body. What they say only brings the
simulation on; how it ends is known from SLURM and from the results.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import mmap
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.server import Server
from engine.simulations.folders import LOGS, RESULTS, find_folder
from engine.simulations.report_batches import Change
from engine.simulations.update_keys import check_update_key
from slurm_shim.simulators.convert import clean_name
from store import jsons
from store.access import WrongCredentials
from store.documents import Simulation
from store.errors import Conflict, Invalid, NotFound, TooLarge, make_problem
from store.indexes.bodies import Answer
from store.kinds import Key
from store.rules.simulations import advance, states
from store.rules.simulations.states import ENDED

if TYPE_CHECKING:
    from engine.simulations.posted_results import Posted

LOG_FILES = 100
# Of one body with results.
MOST_MB = 100
PIECE_BYTES = 4_000_000
# In a body that is too large to be taken apart before it is known who sends it.
NAMED_ID = re.compile(rb'"(?:simulation_id|sim_id)"\s*:\s*"([^"\\]{1,200})"')
NAMED_KEY = re.compile(rb'"update_key"\s*:\s*"([A-Za-z0-9_.-]{1,500})"')


class WrongUpdateKey(WrongCredentials):
    """The update key is not the simulation's; such failures are counted."""


class NoSimulation(WrongUpdateKey):
    """There is no simulation of this id."""


def require_update_key(server: Server, body: Mapping[str, Any]) -> str:
    """Return the id of the simulation that the body is about.

    Raises Invalid without one or without a key, WrongUpdateKey.
    """
    given = body.get("simulation_id") if body.get("simulation_id") is not None else body.get("sim_id")
    missing = [name for name, value in (("simulation_id", given), ("update_key", body.get("update_key"))) if not value]
    if missing:
        raise Invalid([make_problem("Field required", ("body", name), type="missing") for name in missing])
    simulation_id = str(given)
    if simulation_id not in server.store.simulations:
        raise NoSimulation(f"Simulation {simulation_id[:100]} does not exist")
    if not check_update_key(server, str(body["update_key"]), simulation_id):
        raise WrongUpdateKey("Invalid update key")
    return simulation_id


async def update_job(server: Server, body: dict[str, Any]) -> Answer:
    """Record the state of a simulation, and its logs, as its job reports."""
    simulation_id = require_update_key(server, body)
    if (state := body.get("job_state")) is not None:

        def change(simulation: Simulation, now: float) -> Simulation:
            return advance.report_state(simulation, state, now)

        await apply_change(server, simulation_id, change)
    if logs := body.get("log"):
        await _write_logs(server, simulation_id, logs)
    return make_answer("Task updated", simulation_id)


async def update_task(server: Server, body: dict[str, Any]) -> Answer:
    """Record how far a task is, as it reports."""
    simulation_id = require_update_key(server, body)
    report = states.parse_update(body["update_dict"])

    def change(simulation: Simulation, now: float) -> Simulation:
        return advance.report_task(simulation, body["task_id"], report, now)

    await apply_change(server, simulation_id, change)
    return make_answer("Task updated", simulation_id)


async def save_logfiles(server: Server, body: dict[str, Any]) -> Answer:
    """Save logs of a simulation by their names."""
    simulation_id = require_update_key(server, body)
    await _write_logs(server, simulation_id, body["logfiles"])
    return make_answer("Log files saved", simulation_id)


async def save_results(server: Server, body: AsyncIterator[bytes]) -> Answer:
    """Save the results of a simulation, in place of those sent before.

    A body that is larger than others may be says first whose it is, and goes through a file.
    """
    from engine.simulations.posted_results import parse_posted  # here, since it brings a library along

    most_bytes = server.store.config.limits.body_bytes
    head = bytearray()
    async for piece in body:
        head += piece
        if len(head) > most_bytes:
            break
    else:
        posted = await asyncio.to_thread(parse_posted, bytes(head))
        return await _keep_results(server, posted)
    found = {"simulation_id": NAMED_ID.search(head), "update_key": NAMED_KEY.search(head)}
    named = {name: match[1].decode("utf-8", "replace") for name, match in found.items() if match}
    simulation_id = require_update_key(server, named)
    path = find_folder(server, simulation_id, RESULTS) / f".posted-{secrets.token_hex(8)}"
    try:
        await _write_body(server, path, head, body)
        posted = await asyncio.to_thread(lambda: parse_posted(_open_map(path)))
        return await _keep_results(server, posted)
    finally:
        with contextlib.suppress(NotFound):
            await server.store.files.delete(path)


async def apply_change(server: Server, simulation_id: str, change: Change) -> None:
    """Apply a change to the simulation, together with others that come soon."""
    try:
        await server.report_batches.apply(server, simulation_id, change)
    except NotFound:  # it was deleted meanwhile
        raise NoSimulation(f"Simulation {simulation_id} does not exist") from None


def make_answer(message: str, simulation_id: str) -> Answer:
    """Make an answer; the audit names the simulation in place of a caller."""
    return Answer({"message": message}, caller=f"simulation {simulation_id}")


async def _write_logs(server: Server, simulation_id: str, logs: Mapping[str, Any]) -> None:
    """Write each log into its file; raise Invalid for too many."""
    folder = find_folder(server, simulation_id, LOGS)
    texts = {clean_name(name): value if isinstance(value, str) else _dump_text(value) for name, value in logs.items()}
    async with server.locks.hold(Key("simulation logs", simulation_id)):
        there = await asyncio.to_thread(_list_names, folder)
        if len(there | set(texts)) > LOG_FILES:
            raise Invalid([make_problem(f"a simulation has at most {LOG_FILES} logs", ("body", "logfiles"))])
        await asyncio.gather(*(server.store.files.write(folder / name, texts[name].encode()) for name in texts))


def _dump_text(value: Any) -> str:
    return jsons.dump_json(value).decode()


def _list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


async def _write_body(server: Server, path: Path, head: bytearray, body: AsyncIterator[bytes]) -> None:
    """Write all of the body into the file, piece by piece."""
    limit_bytes, begin = min(server.store.config.yaptide.results_mb, MOST_MB) * 1_000_000, 0
    await asyncio.to_thread(server.store.files.make_dirs, path.parent)
    piece: bytes | None = b""  # the head may be all of it
    while piece is not None:
        head += piece
        if begin + len(head) > limit_bytes:
            raise TooLarge(limit_bytes, "the body")
        if len(head) >= PIECE_BYTES:
            await server.store.files.write_at(path, begin, bytes(head))
            begin += len(head)
            head.clear()
        piece = await anext(body, None)
    await server.store.files.write_at(path, begin, bytes(head))


def _open_map(path: Path) -> mmap.mmap:
    """Open a map of a file of ours; it ends with the last view of it."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


async def _keep_results(server: Server, posted: Posted) -> Answer:
    """Write the estimators into files, and what is known of them down."""
    from engine.simulations.posted_results import write_estimators

    given = {"simulation_id": posted.simulation_id, "sim_id": posted.sim_id, "update_key": posted.update_key}
    simulation_id = require_update_key(server, given)
    estimators = posted.estimators
    if estimators is None:
        raise Invalid([make_problem("Field required", ("body", "estimators"), type="missing")])
    folder = find_folder(server, simulation_id, RESULTS)
    async with server.locks.hold(Key("simulation results", simulation_id)):
        simulation: Simulation = server.store.simulations.get(simulation_id)
        refuse_ended(simulation)
        rows = await asyncio.to_thread(write_estimators, estimators, simulation.outputs, folder, server.store.files)
        summary = advance.parse_summary({"estimators": rows})
        await apply_change(server, simulation_id, functools.partial(_record_results, summary))
        kept = {estimator.file for estimator in summary.estimators}
        for name in await asyncio.to_thread(_list_names, folder):
            if name.endswith(".json") and name not in kept:
                await server.store.files.delete(folder / name)
    return make_answer("Results saved", simulation_id)


def _record_results(summary: advance.Summary, simulation: Simulation, now: float) -> Simulation:
    refuse_ended(simulation)
    recorded = advance.record_results(simulation, summary) if summary.estimators else simulation
    return advance.report_state(recorded, "MERGING_RUNNING", now)


def refuse_ended(simulation: Simulation) -> None:
    """Raise Conflict where the results are final."""
    if simulation.state in ENDED:
        raise Conflict(f"The job is in {simulation.state} state: its results stay as they are")
