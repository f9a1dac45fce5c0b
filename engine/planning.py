"""Workflows as their files say, and the runs that would be made of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from engine import workdirs
from engine.server import SHELF, Here, Shelf, in_thread
from slurm_shim import script as batch
from store import errors
from store.documents import Run
from store.indexes.bodies import Body
from store.rendering import templates
from store.rules import runs, workflows


async def save(server: Here, place: Shelf, name: str, data: bytes, if_match: str | None) -> tuple[Body, str]:
    """The saved workflow as answers show it, and its ETag; Invalid with all that is wrong: nothing is written then."""
    if len(data) > WORKFLOW_BYTES:
        raise errors.TooLarge(WORKFLOW_BYTES, "the YAML content")
    defaults = await server.store.configuration.defaults(place.root)
    await in_thread(workflows.check, data, stem=name, defaults=defaults, renderer=server.renderer)
    entry = await place.folder.put(name, data, if_match=if_match)
    return place.shown.one(name), entry.etag


WORKFLOW_BYTES = 1_000_000


def composed(place: Shelf, body: dict[str, Any]) -> bytes:
    """The YAML for a workflow given as JSON; over an old one, what the body does not mention stays."""
    wanted = {key: value for key, value in body.items() if key in ("name", "jobs", "args", "default_project")}
    if body["name"] in place.folder:
        old = place.folder.get(body["name"])
        wanted = workflows.merge(old, wanted, orjson.loads(place.shown.one(body["name"]).data))
    return workflows.compose(wanted)


async def drafted(
    server: Here, workflow: workflows.Workflow, body: Mapping[str, Any], run_id: str, given: Mapping[str, Any]
) -> Run:
    """The run that would be started: planned, every script rendered, nothing written."""
    chosen = {key: body.get(key) for key in ("args_override", "from_job", "to_job", "single_job")}
    place = workdirs.place(server, server.clusters.of(given["cluster"]), given["mount"], run_id)
    defaults = await server.store.configuration.defaults(place.local)
    plan = await in_thread(workflows.plan, workflow, **chosen, defaults=defaults, renderer=server.renderer)
    # Scripts are read here, also where they will run on a copy of the mount.
    scripts = [place.local, place.local / SHELF] if place.local else [server.own_shelf.folder.path]
    wanted = runs.placed(plan, place.root, run_id, place.local if place.copied else None)
    given = {**given, "syncs": place.copied and await workdirs.is_synced(server, place)}
    draft = runs.draft(run_id, workflow.name, plan["args"], wanted, place.root, given, time.time())
    for job, placed in zip(draft.jobs, wanted, strict=True):
        job.script, job.options = await in_thread(script_of, server, placed, scripts), batch.options(placed)
    return draft


def script_of(server: Here, job: dict[str, Any], roots: list[Path]) -> str:
    """The batch script of a placed job: its own file, its template, or the one made for its command."""
    path, template = job.get("script_path"), job.get("template")
    if path:
        text = templates.script(path, roots)
        script = templates.render(text, job.get("script_vars") or {}, server.renderer, name=path)
    elif template not in (None, templates.BASE):
        text = server.store.templates.get(template).content
        script = templates.render(text, batch.variables(job), server.renderer, name=template)
    else:
        script = batch.render(job)
    return batch.with_result(script, job["result_path"])
