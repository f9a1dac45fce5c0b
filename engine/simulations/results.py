"""Input, logs and results of a simulation, from its folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from engine.server import Server
from engine.simulations import fetching, owners
from engine.simulations.folders import INPUT, PROJECT, find_folder
from engine.simulations.result_files import find_path, stream_estimator, stream_pages, stream_results
from engine.simulations.work_files import read_input
from store.access import Caller
from store.documents import EstimatorFacts, Simulation
from store.errors import Invalid, NotYet, make_problem
from store.jsons import load_json
from store.rules.simulations import inputs
from store.views import yaptide

# Up to so many bytes of results are read before they are sent; more are sent piece by piece.
WHOLE_BYTES = 1_000_000


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
    size_bytes = await asyncio.to_thread(_measure_files, server, simulation, found)
    if page_number is not None:
        pieces = stream_pages(server, simulation, found[0].name, [page_number], is_one=True)
    elif numbers is not None:
        pieces = stream_pages(server, simulation, found[0].name, numbers)
    elif estimator_name is not None:
        pieces = stream_estimator(server, simulation, found[0].name)
    else:
        pieces = stream_results(server, simulation)
    return pieces if size_bytes > WHOLE_BYTES else b"".join([piece async for piece in pieces])


def _measure_files(server: Server, simulation: Simulation, found: Sequence[EstimatorFacts]) -> int:
    """Measure the files of estimators; raise NotFound without one. Blocks."""
    try:
        return sum(find_path(server, simulation, estimator).stat().st_size for estimator in found)
    except FileNotFoundError:
        raise NotYet("Results", simulation.id, yaptide.NO_RESULTS) from None


async def get_logfiles(server: Server, job_id: str, caller: Caller) -> dict[str, Any]:
    """Get the logs of a simulation; raise NotFound and Denied."""
    simulation = owners.get_owned(server, job_id, caller)
    return yaptide.to_logs_json(simulation, await fetching.list_logs(server, job_id))


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
