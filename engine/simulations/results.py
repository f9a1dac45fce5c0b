"""Input, logs and results of a simulation, from its folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from engine.server import Server
from engine.simulations import folders, owners
from engine.simulations.folders import INPUT, PROJECT, RESULTS, find_folder
from engine.simulations.work_files import read_input
from store.access import Caller
from store.documents import Simulation
from store.errors import Invalid, NotYet, make_problem
from store.jsons import load_json
from store.rules.simulations import inputs
from store.views import yaptide, yaptide_results

# Up to so many bytes of results are read before they are sent; more are sent piece by piece.
WHOLE_BYTES, PIECE_BYTES = 1_000_000, 256_000


def list_estimators(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """List the estimators of a simulation; raise NotFound and Denied."""
    return yaptide.to_estimators_json(owners.get_owned(server, job_id, caller))


async def get_results(
    server: Server,
    job_id: str,
    estimator_name: str | None,
    page_number: int | None,
    page_numbers: str | None,
    caller: Caller,
) -> Any:
    """Get results: all, an estimator, a page or some pages of it.

    Raises NotFound, Denied, and Invalid for pages of no estimator.
    """
    simulation = owners.get_owned(server, job_id, caller)
    numbers = None if page_numbers is None else yaptide.parse_page_numbers(page_numbers)
    if page_number is not None and numbers is not None:
        raise Invalid([make_problem("stands beside page_numbers: give one of both", ("query", "page_number"))])
    if estimator_name is None and (page_number is not None or numbers is not None):
        raise Invalid([make_problem("is needed to name a page", ("query", "estimator_name"))])
    found = yaptide.list_estimators(simulation, estimator_name)
    paths = [find_folder(server, simulation.id, RESULTS, estimator.file) for estimator in found]
    if page_number is None and numbers is None:
        return await _send_estimators(simulation, paths, estimator_name is not None)
    wanted = [page_number] if page_number is not None else numbers or []
    pages = await asyncio.to_thread(_read_pages, simulation, paths[0], wanted)
    return yaptide_results.wrap_page(pages[0]) if page_number is not None else yaptide_results.wrap_pages(pages)


def _read_pages(simulation: Simulation, path: Path, numbers: Sequence[int]) -> list[bytes]:
    """Read some pages of an estimator as JSON; raise NotFound. Blocks."""
    try:
        with path.open("rb") as file:
            return yaptide_results.read_pages(file, numbers)
    except FileNotFoundError:
        raise _make_gone(simulation) from None
    except ValueError as problem:
        text = f"{yaptide.NO_RESULTS}: {path.name} cannot be read ({problem})"
        raise NotYet("Results", simulation.id, text) from None


async def _send_estimators(simulation: Simulation, paths: Sequence[Path], is_one: bool) -> Any:
    """Send the files of estimators as they are, which are JSON already."""
    try:
        size_bytes = await asyncio.to_thread(lambda: sum(path.stat().st_size for path in paths))
    except FileNotFoundError:
        raise _make_gone(simulation) from None
    pieces = _read_estimators(paths, is_one)
    return pieces if size_bytes > WHOLE_BYTES else b"".join([piece async for piece in pieces])


async def _read_estimators(paths: Sequence[Path], is_one: bool) -> AsyncIterator[bytes]:
    """Read the files of estimators piece by piece, with their frame."""
    yield yaptide_results.ONE_BEGIN if is_one else yaptide_results.ALL_BEGIN
    for number, path in enumerate(paths):
        with await asyncio.to_thread(path.open, "rb") as file:
            # Of one estimator the object goes on behind the message.
            skipped = await asyncio.to_thread(file.read, 1) if is_one else b""
            yield b"" if skipped or not number else b","
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece
    yield b"" if is_one else yaptide_results.ALL_END


def _make_gone(simulation: Simulation) -> NotYet:
    return NotYet("Results", simulation.id, yaptide.NO_RESULTS)


async def get_logfiles(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """Get the logs of a simulation; raise NotFound and Denied."""
    owners.get_owned(server, job_id, caller)
    return yaptide.to_logs_json(job_id, await asyncio.to_thread(_read_logs, server, job_id))


def _read_logs(server: Server, simulation_id: str) -> dict[str, str]:
    """Read the logs. Blocks."""
    folder = find_folder(server, simulation_id, folders.LOGS)
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes()[-100_000:].decode(errors="replace") for path in sorted(folder.iterdir())[:10]}


async def get_inputs(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """Get the input of a simulation; raise NotFound and Denied."""
    simulation = owners.get_owned(server, job_id, caller)
    files, project = await asyncio.to_thread(_read_input, server, simulation)
    return yaptide.to_input_json(simulation, files, project)


def _read_input(server: Server, simulation: Simulation) -> tuple[dict[str, str], Any]:
    """Read the files of a task, and the project if there is one. Blocks."""
    given = read_input(find_folder(server, simulation.id, INPUT))
    if not given:
        raise NotYet("Input", simulation.id, "Inputs are unavailable")
    files = {name: data.decode(errors="replace") for name, data in given.items()}
    if simulation.tasks and simulation.sim_type in server.store.simulators:
        simulator = server.store.simulators.get(simulation.sim_type)
        files = inputs.set_primaries(simulator, files, simulation.tasks[0].requested_primaries)
    if simulation.input_type == "FILES":
        return files, None
    project = find_folder(server, simulation.id, PROJECT)
    return files, load_json(project.read_bytes()) if project.is_file() else None
