"""Bring a simulation's results and logs here, from its work folder.

Everything is copied into a folder beside, checked there, and put in place together; a server that was killed meanwhile
begins again. Names and contents were made on nodes, so nothing is taken for granted: names are plain, files are regular
and lie in the work folder, sizes are bounded, and results have their form.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import orjson

from engine import workdirs
from engine.server import Server
from engine.simulations.folders import LOGS, RESULTS, find_folder
from engine.simulations.result_files import UnreadableResults, check_estimator
from slurm_shim.cluster import RemoteCluster
from store.disk.reading import ReadSlices, read_slice
from store.documents import EstimatorFacts, Run, Simulation
from store.errors import Denied, Invalid, NotFound, StoreError, StoreUnavailable
from store.kinds import Key
from store.outside_files.job_files import JobPlace
from store.rules.simulations.advance import Summary, parse_summary, record_results
from store.rules.simulations.states import COLLECT, TASKS, find_attempt
from store.simulation_files import work_folders
from store.times import to_epoch

log = logging.getLogger("sluice")

# What is being copied, beside results and logs; nothing reads it.
NEW = "new"
SUMMARY = "summary.json"
SUMMARY_BYTES = 16_000_000
# So much is read at once: over SSH each piece is one command.
PIECE_BYTES = 1_000_000
# The end of each log, all logs, and how many there are at most.
LOG_BYTES, ALL_LOGS_BYTES, MOST_LOGS = 65_536, 1_000_000, 200
# Files may be seen a while after a node has written them.
UNSEEN_S = 20.0


class Unusable(Exception):
    """The results cannot be used, for a reason that stays."""


@dataclass(frozen=True)
class Source:
    """Where the run of a simulation worked; `read` reads files below `work`."""

    work: str
    read: ReadSlices

    async def read_part(self, name: str, offset: int, most_bytes: int) -> tuple[bytes, int]:
        """Read part of a file, and its size. Raises Unusable, NotFound.

        Also SlurmError and StoreUnavailable for what may be over in a while.
        """
        [piece] = await self.read([(f"{self.work}/{name}", offset, most_bytes)], None)
        if isinstance(piece, NotFound):
            raise piece
        if isinstance(piece, StoreError):
            raise Unusable(str(piece))
        return piece


async def fetch_results(server: Server, simulation: Simulation, run: Run) -> None:
    """Copy results and logs of the simulation here, and record that.

    Not to be called with its lock held. What is wrong with the results for good is recorded as the reason why there are
    none. Raises SlurmError, StoreUnavailable for what is to be tried again.
    """
    simulation_id = simulation.id
    new = find_folder(server, simulation_id, NEW)
    await server.store.files.discard_folder(new)
    summary: Summary | None = None
    error: str | None = None
    try:
        source = make_source(server, run)
        await copy_logs(server, source, simulation, run, new / LOGS)
        summary = await copy_results(server, source, run, new / RESULTS)
    except Unusable as problem:
        error = str(problem)
        log.warning("simulation %s: its results cannot be used: %s", simulation_id, error)
    results_key, own_key = Key("simulation results", simulation_id), Key("simulation", simulation_id)
    async with server.locks.hold(results_key), server.locks.hold(own_key):
        if simulation_id in server.store.simulations:
            simulation = server.store.simulations.get(simulation_id)
            await put_in_place(server, simulation_id, with_results=simulation.results is None and error is None)
            # Somebody may have sent them in the meantime.
            if simulation.results is None:
                await server.store.simulations.put(simulation_id, record_results(simulation, summary, error))
    await server.store.files.discard_folder(new)


def make_source(server: Server, run: Run) -> Source:
    """Make what reads the run's work folder. Raises Unusable, SlurmError."""
    if run.work_dir is None:
        raise Unusable("its run has no work folder")
    place = JobPlace(own=(run.work_dir,))
    return Source(run.work_dir.rstrip("/"), workdirs.make_reader(server.clusters.get(run.cluster), place))


async def put_in_place(server: Server, simulation_id: str, with_results: bool) -> None:
    """Put what was copied where it is read."""
    files = server.store.files
    new, logs, results = (find_folder(server, simulation_id, name) for name in (NEW, LOGS, RESULTS))
    names = await asyncio.to_thread(_list_names, new / LOGS)
    await asyncio.to_thread(files.make_dirs, logs)
    for name in names:
        await files.move(new / LOGS / name, logs / name)
    if with_results and await asyncio.to_thread((new / RESULTS).is_dir):
        await files.discard_folder(results)
        await files.move(new / RESULTS, results)


# --- results


async def copy_results(server: Server, source: Source, run: Run, target: Path) -> Summary | None:
    """Copy the merged results; return what they are, None without a merge.

    Raises Unusable.
    """
    merge = find_attempt(run, COLLECT)
    try:
        data, size_bytes = await source.read_part(SUMMARY, 0, SUMMARY_BYTES)
    except NotFound:
        if merge is None or merge.state != "COMPLETED":
            return None  # why, its job says
        if time.time() - (to_epoch(merge.ended_at) or 0) < UNSEEN_S:
            raise StoreUnavailable(errno.ESTALE, "the summary of the merge is not seen here yet") from None
        raise Unusable("the merge left no summary") from None
    if size_bytes > SUMMARY_BYTES:
        raise Unusable(f"the summary of the merge has more than {SUMMARY_BYTES} bytes")
    try:
        summary = await asyncio.to_thread(lambda: parse_summary(orjson.loads(data)))
    except (orjson.JSONDecodeError, Invalid) as problem:
        raise Unusable(
            str(problem) if isinstance(problem, Invalid) else "the summary of the merge is no JSON"
        ) from None
    room_bytes = server.store.config.yaptide.results_mb * 1_000_000
    await asyncio.to_thread(server.store.files.make_dirs, target)
    found: list[EstimatorFacts] = []
    for name in dict.fromkeys(estimator.file for estimator in summary.estimators):
        path = target / name
        try:
            room_bytes -= await copy_file(server, source, f"results/{name}", path, room_bytes)
            facts = await asyncio.to_thread(check_estimator, path)
        except NotFound:
            raise Unusable(f"results/{name} is not there") from None
        except UnreadableResults as problem:
            raise Unusable(f"results/{name} cannot be read: {problem}") from None
        found.append(EstimatorFacts(name=PurePosixPath(name).stem, file=name, pages=facts))
    return Summary(found, summary.left_out)


async def copy_file(server: Server, source: Source, name: str, target: Path, room_bytes: int) -> int:
    """Copy a file piece by piece; return its size. Raises Unusable, NotFound."""
    offset, size_bytes = 0, None
    while size_bytes is None or offset < size_bytes:
        data, now_bytes = await source.read_part(name, offset, PIECE_BYTES)
        if now_bytes > room_bytes:
            limit_mb = server.store.config.yaptide.results_mb
            raise Unusable(f"the results have more than {limit_mb} MB in all (yaptide.results_mb in config.yaml)")
        if size_bytes not in (None, now_bytes) or (not data and offset < now_bytes):
            raise Unusable(f"{name} was changed while it was copied")
        await server.store.files.write_at(target, offset, data)
        offset, size_bytes = offset + len(data), now_bytes
    return size_bytes


# --- logs


async def copy_logs(server: Server, source: Source, simulation: Simulation, run: Run, target: Path) -> None:
    """Copy the ends of logs, first those of the merge and of failed tasks.

    What cannot be read is left out.
    """
    wanted = await list_logs_there(server, source, simulation, run)
    if not wanted:
        return
    most_bytes = min(LOG_BYTES, ALL_LOGS_BYTES // len(wanted))
    pieces = await source.read([(path, -most_bytes, most_bytes) for path in wanted.values()], None)
    await asyncio.to_thread(server.store.files.make_dirs, target)
    for name, piece in zip(wanted, pieces, strict=True):
        if not isinstance(piece, StoreError) and piece[0]:
            await server.store.files.write(target / name, piece[0])


async def list_logs_there(server: Server, source: Source, simulation: Simulation, run: Run) -> dict[str, str]:
    """List where the run's logs lie, by the names that they get here."""
    found: dict[str, str | None] = {}
    merge, tasks = find_attempt(run, COLLECT), find_attempt(run, TASKS)
    if merge is not None:
        found["collect.log"] = merge.stdout
    ordered = sorted(simulation.tasks, key=lambda task: (task.state == "COMPLETED", task.task_id))[:MOST_LOGS]
    folders = [f"{task.task_id:04d}" for task in ordered]
    programs = await list_program_logs(server, source, run, folders)
    for task, folder in zip(ordered, folders, strict=True):
        part = tasks.parts.get(f"{tasks.job_id}_{task.task_id}") if tasks is not None else None
        own = part.stdout if part is not None else None
        # What the simulator prints is in both, and in the first also why SLURM ended it.
        found[f"task_{folder}.log"] = own or f"{source.work}/tasks/{folder}/output.log"
        for file in programs.get(folder, ()):
            found[f"task_{folder}_{file}"] = f"{source.work}/tasks/{folder}/{file}"
    return {name: path for name, path in list(found.items())[:MOST_LOGS] if path}


async def list_program_logs(
    server: Server, source: Source, run: Run, folders: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """List the logs that simulators wrote themselves, by task's folder."""
    cluster = server.clusters.get(run.cluster)
    place = f"{source.work}/tasks"
    if isinstance(cluster, RemoteCluster):
        paths = await cluster.list_files(place, folders, ".log", MOST_LOGS)
    else:
        paths = await asyncio.to_thread(work_folders.list_files, Path(place), folders, ".log", MOST_LOGS)
    found: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.partition("/")
        if name != "output.log":
            found.setdefault(folder, []).append(name)
    return found


async def list_logs(server: Server, simulation_id: str) -> dict[str, str]:
    """Read the simulation's logs, by name: the end of each, 1 MB in all."""
    folder = find_folder(server, simulation_id, LOGS)
    sizes = await asyncio.to_thread(_find_sizes, folder)
    logs = {}
    for name, most_bytes in split_room(sizes, ALL_LOGS_BYTES).items():
        with contextlib.suppress(NotFound, Denied):  # removed meanwhile, or a link
            data, _ = await read_slice(folder / name, -most_bytes, most_bytes)
            logs[name] = data.decode("utf-8", "replace")
    return dict(sorted(logs.items()))


def split_room(sizes: Mapping[str, int], room_bytes: int) -> dict[str, int]:
    """Split the room among files, so that small ones are whole.

    >>> split_room({"a": 100, "b": 10, "c": 70}, 120)
    {'b': 10, 'c': 55, 'a': 55}
    """
    shares = {}
    for count, (name, size_bytes) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        shares[name] = min(size_bytes, room_bytes // (len(sizes) - count))
        room_bytes -= shares[name]
    return shares


def _list_names(folder: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(path.name for path in folder.iterdir())
    return []


def _find_sizes(folder: Path) -> dict[str, int]:
    return {
        name: (folder / name).stat(follow_symlinks=False).st_size
        for name in _list_names(folder)
        if not name.startswith(".") and (folder / name).is_file()
    }
