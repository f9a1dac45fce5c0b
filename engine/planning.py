"""Planning: a run with all its scripts, before anything is written.

Scripts refer to secrets, whose values are looked up when a job is submitted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine import workdirs
from engine.server import Server
from engine.workflow_folders import WORKFLOWS_PATH
from slurm_shim import script as batch
from slurm_shim.script_checks import ScriptProblem, find_problems, is_known_good
from store.config import masks
from store.documents import Run, RunJob
from store.errors import Conflict, Invalid, NotFound, StoreError, make_problem
from store.outside_files import mount_calls
from store.rendering import templates
from store.rules import run_drafts, workflows

# Larger scripts are checked alone, and never looked up on the event loop.
GATHERED_CHARS = 50_000


async def plan_run(
    server: Server, workflow: workflows.Workflow, body: Mapping[str, Any], run_id: str, given: Mapping[str, Any]
) -> Run:
    """Plan a run with every script rendered; write nothing."""
    (planned,) = await plan_runs(server, workflow, given, [(run_id, body, given.get("cell", 0))])
    if isinstance(planned, Exception):
        raise planned
    return planned


async def plan_runs(
    server: Server,
    workflow: workflows.Workflow,
    given: Mapping[str, Any],
    wanted: Sequence[tuple[str, Mapping[str, Any], int]],
) -> list[Run | Exception]:
    """Plan runs of one workflow on one cluster and mount; write nothing.

    Each is wanted by its id, body and cell; one that is wrong gives an error of the store, or a ValueError.
    """
    cluster = server.clusters.get(given["cluster"])
    places = [await workdirs.choose_workdir(server, cluster, given["mount"], wanted[0][0])]
    if given["mount"] is None:
        places += [await workdirs.choose_workdir(server, cluster, None, run_id) for run_id, _, _ in wanted[1:]]
    places += places * (len(wanted) - len(places))
    defaults = await server.store.configuration.load_job_defaults(places[0].local)
    given = {**given, "syncs": places[0].is_copied and await workdirs.is_sync_wanted(server, places[0])}

    def plan(body: Mapping[str, Any], cell: int) -> workflows.Plan:
        chosen = {key: body.get(key) for key in ("args_override", "from_job", "to_job", "single_job")}
        return workflows.plan_workflow(workflow, **chosen, cell=cell, defaults=defaults, renderer=server.renderer)

    plans = await server.check_each(plan, [(body, cell) for _, body, cell in wanted])
    for at, found in enumerate(plans):
        try:
            for job in () if isinstance(found, Exception) else found["jobs"]:
                await workdirs.expand_homes(server, job, ("jobs", job["name"]), cluster)
        except (StoreError, ValueError) as problem:
            plans[at] = problem

    def build(found: workflows.Plan | Exception, place: workdirs.WorkDir, run_id: str) -> Run:
        if isinstance(found, Exception):
            raise found
        return build_run(server, workflow, found, place, run_id, given)

    ids = [run_id for run_id, _, _ in wanted]
    return await server.check_each(build, list(zip(plans, places, ids, strict=True)))


def build_run(
    server: Server,
    workflow: workflows.Workflow,
    plan: workflows.Plan,
    place: workdirs.WorkDir,
    run_id: str,
    given: Mapping[str, Any],
) -> Run:
    """Build the run of a plan with all of its scripts; for a thread."""
    # Scripts are read here, also where they will run on a copy of the mount.
    scripts = place.local or server.workflow_folders.own.folder.path
    wanted = run_drafts.place_jobs(plan, place.root, run_id, place.local if place.is_copied else None)
    draft = run_drafts.draft_run(run_id, workflow.name, plan["args"], wanted, place.root, given, time.time())
    own = {job.name: job.environment.model_dump() for job in workflow.jobs}
    for job, placed in zip(draft.jobs, wanted, strict=True):
        placed["environment"], references = hide_secrets(placed["environment"])
        try:
            job.script = render_script(server, placed, scripts)
            job.options = batch.build_options(placed)
        except ValueError as error:
            raise Invalid([make_problem(str(error), ("jobs", job.name))]) from error
        job.secrets = {
            variable: "workflow" if _has_place(own[job.name], variable) else "config"
            for variable, reference in references.items()
            if reference in job.script
        }
    return draft


def hide_secrets(environment: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Put references in place of secrets; return them by place too."""
    references = {place: batch.refer_to_secret(place) for place in masks.find_secrets(environment)}
    return masks.replace_secrets(environment, references), references


def _has_place(environment: Any, place: str) -> bool:
    """Tell whether the environment has a value at this place."""
    for part in place.split("."):
        is_list = isinstance(environment, list)
        environment = environment[int(part)] if is_list else (environment or {}).get(part)
    return environment is not None


async def load_secrets(server: Server, run: Run, job: RunJob) -> dict[str, str]:
    """Load the job's secrets as they are now, by variable.

    Raises Conflict for those that are not where they were any more.
    """
    values: dict[str, dict[str, str]] = {}
    try:
        if "config" in job.secrets.values():
            root = (await workdirs.find_mount(server, run.mount, run.cluster)).root if run.mount else None
            defaults = await server.store.configuration.load_job_defaults(root)
            values["config"] = masks.find_secrets(defaults["environment"])
        if "workflow" in job.secrets.values():
            workflow = (await server.workflow_folders.find(run.mount)).folder.get(run.workflow_name)
            plan = await server.check(
                workflows.plan_workflow,
                workflow,
                args_override=run.args,
                single_job=job.name,
                renderer=server.renderer,
            )
            values["workflow"] = masks.find_secrets(plan["jobs"][0]["environment"])
    except (NotFound, Invalid) as problem:
        raise Conflict(f"the secrets of job '{job.name}' cannot be read any more: {problem}") from None
    if missing := [place for place, source in job.secrets.items() if place not in values[source]]:
        raise Conflict(f"secrets of job '{job.name}' are not there any more: environment.{', '.join(missing)}")
    return {batch.make_secret_variable(place): values[source][place] for place, source in job.secrets.items()}


def render_script(server: Server, job: dict[str, Any], root: Path) -> str:
    """Render the batch script of a placed job.

    It is the job's own file (its path begins at `root`), its template, or made for its command.
    """
    path, template = job.get("script_path"), job.get("template")
    if path:
        text = mount_calls.ask_mount(root, templates.read_script, path, root, server.store.root, WORKFLOWS_PATH)
        script = templates.render_text(text, job.get("script_vars") or {}, server.renderer, name=path)
    elif template not in (None, templates.BASE):
        text = server.store.templates.get(template).content
        script = templates.render_text(text, batch.build_variables(job), server.renderer, name=template)
    else:
        script = batch.render_script(job)
    return batch.add_result_export(batch.require_folder(script, job.get("work_dir") or ""), job["result_path"])


async def _find_problems(server: Server, scripts: list[str]) -> Sequence[ScriptProblem | None]:
    if sum(map(len, scripts)) > GATHERED_CHARS:
        return await server.check(find_problems, scripts)
    if all(map(is_known_good, scripts)):
        return [None] * len(scripts)
    return (
        [await server.script_checks.ask(scripts[0])]
        if len(scripts) == 1
        else await server.check(find_problems, scripts)
    )


async def check_scripts(server: Server, scripts: Mapping[tuple[str | int, ...], str]) -> None:
    """Check batch scripts by their places; raise Invalid for bad ones."""
    found = await _find_problems(server, list(scripts.values()))
    wrong = [
        make_problem(problem.text, place, input=None if problem.line is None else script.split("\n")[problem.line - 1])
        for (place, script), problem in zip(scripts.items(), found, strict=True)
        if problem is not None
    ]
    if wrong:
        raise Invalid(wrong)
