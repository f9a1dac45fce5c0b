"""Jobs submitted with the fields of the S9S API."""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from engine import jobs, workdirs
from engine.server import Server
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.commands import Needs
from slurm_shim.directives import read_options
from slurm_shim.errors import FolderRefused, SlurmInvalid
from slurm_shim.times import parse_duration
from store import access
from store.config import masks
from store.disk.audit import MakeLine
from store.disk.reading import read_slice_blocking
from store.errors import Denied, Invalid, NotFound, TooLarge, make_problem
from store.indexes.bodies import Answer
from store.outside_files import mount_calls
from store.rules import requests

SCRIPT_BYTES = 1_000_000
WRAPPED = "#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{command}\n"
MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What sbatch, or the programs that start it, would take for themselves.
RESERVED = ("SLURM_", "SBATCH_", "LD_")
# sbatch's options by the fields that are handed on as they are.
OPTIONS = {
    "partition": "partition", "nodes": "nodes", "account": "account", "qos": "qos", "standard_output": "output",
    "standard_error": "error",
}  # fmt: skip
# What stands in sbatch's refusal, and the field that it is about.
PHRASES = {
    "partition": "partition", "--time": "time_limit", "time limit": "time_limit", "memory": "memory",
    "account": "account", "qos": "qos", "dependency": "dependencies", "node count": "nodes",
    "batch script": "script", "unable to open file": "script",
}  # fmt: skip


class Script(NamedTuple):
    """The text of a job's script, and what was given in place of it.

    `name` is that of the job unless it has another.
    """

    text: str
    command: str | None
    name: str


async def submit_job(
    server: Server,
    body: dict[str, Any],
    idempotency_key: str | None,
    caller: access.Caller,
    base_url: str,
    make_line: MakeLine | None = None,
) -> Answer:
    """Submit a job; raise Invalid with everything that is wrong."""
    await server.clusters.wait_for_first_answer()
    server.check_ready(server.cluster)
    body = {key: value for key, value in body.items() if value not in ("", None)}
    options = build_options(body)
    await check_dependencies(server, body.get("dependencies") or [])
    script = await load_script(server, server.cluster, body["script"])
    name = body.get("job_name") or read_options(script.text).get("job-name") or script.name
    work_dir = await find_folder(server.cluster, body.get("working_directory"))
    if work_dir is not None:
        options["chdir"] = work_dir
    environment = body.get("environment") or {}
    wish = jobs.Wish(
        options={"job_name": name, **options},
        place=("body", "script"),
        asked=["s9s", body],
        kept={"command": script.command, "environment": mask_environment(environment)},
    )
    needs = Needs(list_folders(body, work_dir), environment)
    given = {"name": name, "script_content": script.text, "notify": False}
    record_id = requests.make_id(caller.name, "job", idempotency_key)
    try:
        record = await jobs.submit_job(server, given, record_id, caller, needs, wish, make_line)
    except FolderRefused as problem:
        field = "working_directory" if problem.field == "work_dir" else problem.field
        raise Invalid([make_problem(problem.reason, ["body", field], input=body.get(field))]) from None
    except SlurmInvalid as problem:
        raise name_field(problem, body) from None
    answer = {"job_id": record.job_id, "state": "PENDING", "message": "Job submitted successfully"}
    return Answer(answer, location=f"{base_url}/jobs/{record.job_id}")


def name_field(refusal: SlurmInvalid, body: Mapping[str, Any]) -> Exception:
    """Name the field that sbatch complains about, with all that it says.

    The refusal itself where it is about no field that was given.
    """
    reason = refusal.reason.lower()
    field = next((field for phrase, field in PHRASES.items() if phrase in reason and field in body), None)
    if field is None:
        return refusal
    return Invalid([make_problem(f"sbatch failed: {refusal}", ["body", field], input=body[field])])


# --- fields -----------------------------------------------------------------------------------------------------------


def build_options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Build sbatch's options from the fields; raise Invalid."""
    problems: list[dict[str, Any]] = []
    options = {option: body[field] for field, option in OPTIONS.items() if field in body}
    if "cpus_per_node" in body:
        options |= {"ntasks_per_node": 1, "cpus_per_task": body["cpus_per_node"]}
    if body.get("gpus"):
        options["gpus"] = body["gpus"]
    if "memory" in body:
        options["mem"] = _read_memory(body["memory"], problems)
    if "time_limit" in body:
        options["time"] = _read_time(body["time_limit"], problems)
    if body.get("dependencies"):
        options["dependency"] = _join_dependencies(body["dependencies"], problems)
    if body.get("environment"):
        _check_environment(body["environment"], problems)
        options["export"] = "ALL"  # also where the script says otherwise: sbatch gets nothing but these
    if problems:
        raise Invalid(problems)
    return options


def _read_memory(text: str, problems: list[dict[str, Any]]) -> str | None:
    """Read an amount of memory; sbatch takes whole numbers only."""
    match = MEMORY.fullmatch(text.strip())
    if match is None:
        message = f"{text[:40]!r} is no amount of memory, such as 64GB or 1.5GB"
        problems.append(make_problem(message, ["body", "memory"], input=text))
        return None
    return f"{math.ceil(float(match[1]) * 1024.0 ** ('KMGTP'.index(match[2].upper() or 'M') - 1))}M"


def _read_time(text: str, problems: list[dict[str, Any]]) -> str:
    try:
        parse_duration(text)
    except ValueError:
        message = f"{text!r} is no time limit, such as 30 (minutes), 4:00:00, 7-00:00:00 or UNLIMITED"
        problems.append(make_problem(message, ["body", "time_limit"], input=text))
    return text.strip()


def _join_dependencies(dependencies: list[dict[str, Any]], problems: list[dict[str, Any]]) -> str:
    words = []
    for at, dependency in enumerate(dependencies):
        kind, job_id = dependency["type"], dependency.get("job_id")
        if (kind == "singleton") != (job_id is None):
            message = "singleton has no job_id" if job_id is not None else f"{kind} needs it"
            problems.append(make_problem(message, ["body", "dependencies", at, "job_id"], input=job_id))
        words.append(kind if job_id is None else f"{kind}:{job_id}")
    return ",".join(words)


def _check_environment(environment: Mapping[str, str], problems: list[dict[str, Any]]) -> None:
    for name, value in environment.items():
        place = ["body", "environment", name[:80]]
        if not VARIABLE.fullmatch(name):
            problems.append(make_problem("this cannot be the name of a variable", place, input=name))
        elif name.startswith(RESERVED):
            problems.append(make_problem("variables of this name belong to SLURM or the loader", place, input=name))
        elif "\0" in value:
            problems.append(make_problem("a NUL character cannot be part of a variable", place, input=value))


def mask_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Mask the secrets among variables, by their names and values."""
    masked: dict[str, dict[str, str]] = masks.mask_secrets({"env": dict(environment)})
    return masked["env"]


async def check_dependencies(server: Server, dependencies: list[dict[str, Any]]) -> None:
    """Raise Invalid for jobs that nobody has: sbatch takes any number.

    Such a job would begin at once.
    """

    async def find_problem(at: int, job_id: str) -> dict[str, Any] | None:
        try:
            await jobs.find_trace(server, job_id.removesuffix("_*"), server.cluster)
        except NotFound as problem:
            return make_problem(str(problem), ["body", "dependencies", at, "job_id"], input=job_id)
        return None

    wanted = [(at, item["job_id"]) for at, item in enumerate(dependencies) if "job_id" in item]
    problems = await asyncio.gather(*(find_problem(at, job_id) for at, job_id in wanted))
    if found := [problem for problem in problems if problem is not None]:
        raise Invalid(found)


# --- folders ----------------------------------------------------------------------------------------------------------


async def find_folder(cluster: Cluster, text: str | None) -> str | None:
    """Find the work folder that is asked for, homes expanded; raise Invalid."""
    if text is None:
        return None
    place, folder = ["body", "working_directory"], text
    if match := workdirs.TILDE.match(text):
        home = await workdirs.find_home(cluster, match[1])
        if home is None:
            raise Invalid([make_problem(f"there is no user '{match[1]}' on {cluster.name}", place, input=text)])
        folder = home + text[match.end() :]
    if not folder.startswith("/"):
        raise Invalid([make_problem("this must be an absolute path, or begin with ~", place, input=text)])
    return folder


def list_folders(body: Mapping[str, Any], work_dir: str | None) -> dict[str, str]:
    """List the folders that the job needs, by the fields that name them.

    Where a pattern stands in the folder of a file, SLURM alone knows it.
    """
    folders = {} if work_dir is None else {"work_dir": work_dir}
    for field in ("standard_output", "standard_error"):
        folder = PurePath(body.get(field, "")).parent
        if folder.is_absolute() and "%" not in str(folder) and str(folder) != "/dev":
            folders[field] = str(folder)
    return folders


# --- scripts ----------------------------------------------------------------------------------------------------------


async def load_script(server: Server, cluster: Cluster, given: str) -> Script:
    """Load what is given as a script: its text, its path, or a command.

    Raises Invalid for a path that leads to no script and no program.
    """
    text = given.strip()
    if not text:
        raise Invalid([make_problem("this is empty", ["body", "script"], input=given)])
    if text.startswith("#!") or "\n" in text:
        return Script(given.lstrip() if text.startswith("#!") else f"#!/bin/bash\n{given}", None, "sbatch")
    if not text.startswith(("/", "~")) or len(text.split()) != 1:
        return Script(WRAPPED.format(command=text), text, "wrap")
    path = await _expand_path(cluster, text)
    try:
        data, is_program = await _read_script(server, cluster, path)
        if data.startswith(b"#!"):
            return Script(data.decode(), path, PurePath(path).name)
    except UnicodeDecodeError:
        raise Invalid([make_problem(f"{path} is not UTF-8", ["body", "script"], input=given)]) from None
    except (NotFound, Denied, TooLarge) as problem:
        raise Invalid(
            [make_problem(f"Unable to open file {path}: {problem}", ["body", "script"], input=given)]
        ) from None
    if not is_program:
        message = f"{path} does not begin with #! and is no program"
        raise Invalid([make_problem(message, ["body", "script"], input=given)])
    return Script(WRAPPED.format(command=text), text, "wrap")


async def _expand_path(cluster: Cluster, text: str) -> str:
    match = workdirs.TILDE.match(text)
    home = await workdirs.find_home(cluster, match[1]) if match else None
    return text if match is None or home is None else home + text[match.end() :]


async def _read_script(server: Server, cluster: Cluster, path: str) -> tuple[bytes, bool]:
    """Read a file where the cluster is; tell also whether it is a program.

    The reason not to open it is told by NotFound, Denied and TooLarge.
    """
    if not isinstance(cluster, RemoteCluster):
        roots = server.store.list_mount_roots()
        return await mount_calls.run_below(roots, path, _read_script_blocking, path)
    (piece,), _real = await cluster.read_files([(path, 0, SCRIPT_BYTES + 1)], None, [])
    if piece.refused is not None:
        raise Denied(f"it {piece.refused}")
    if piece.size_bytes is None:
        raise NotFound("file", path)
    if piece.data.startswith(b"#!") and piece.size_bytes > SCRIPT_BYTES:
        raise TooLarge(SCRIPT_BYTES, "a script")
    return piece.data, True


def _read_script_blocking(path: str) -> tuple[bytes, bool]:
    real = Path(path).resolve()
    data, size_bytes = read_slice_blocking(real, 0, SCRIPT_BYTES + 1)
    if data.startswith(b"#!") and size_bytes > SCRIPT_BYTES:
        raise TooLarge(SCRIPT_BYTES, "a script")
    return data, os.access(real, os.X_OK)
