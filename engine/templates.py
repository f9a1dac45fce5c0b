"""Script templates: read, saved and applied; a template of people's own stands in for the script that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import jobs
from engine.server import Here, in_thread
from slurm_shim import script as batch
from slurm_shim.template import TEXT
from store import access
from store.errors import Invalid, problem
from store.rendering import templates
from store.rendering.templates import BASE
from store.rules import requests
from store.views import srunx


def listed(server: Here) -> list[dict[str, Any]]:
    """All templates, the built-in one first."""
    own = server.store.templates
    return [
        templates.shown(BASE, None),
        *(templates.shown(name, own.get(name)) for name in own.names() if name != BASE),
    ]


def shown(server: Here, name: str) -> tuple[dict[str, Any], str | None]:
    """A template with its text, and its ETag; the built-in one has none. NotFound says which there are."""
    if name == BASE:
        return {"name": BASE, **templates.TOLD, "content": TEXT}, None
    entry = server.store.templates.entry(found(server, name))
    return {"name": name, **vars(entry.document)}, entry.etag


def found(server: Here, name: str) -> str:
    """The name itself, when people have a template of that name; NotFound."""
    if name == BASE:
        raise templates.BuiltIn
    if name not in server.store.templates:
        raise templates.Missing(name, server.store.templates.names())
    return name


async def create(server: Here, body: dict[str, Any]) -> dict[str, Any]:
    """The new template as lists show it; Conflict, Exists, Invalid."""
    name, own = body["name"], server.store.templates
    entry = await own.create(name, templates.made(name, body, own.file_of))
    return templates.shown(name, entry.document)


async def change(
    server: Here, name: str, body: dict[str, Any], if_match: str | None
) -> tuple[dict[str, Any], str | None]:
    """The changed template with its text, and its ETag; a change from outside that happened meanwhile is not undone."""
    entry = server.store.templates.entry(found(server, name))
    data = templates.changed(entry.document, body)
    await server.store.templates.put(name, data, if_match=if_match or entry.etag)
    return shown(server, name)


async def delete(server: Here, name: str, if_match: str | None) -> None:
    """Nothing; the template's file is gone; NotFound."""
    await server.store.templates.delete(found(server, name), if_match=if_match)


async def preview(server: Here, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{script, template_used}` for a job that is described but not submitted."""
    name = body.get("template_name") or BASE
    defaults = await server.store.configuration.defaults()
    job = templates.job(body["name"], {**PREVIEWED, **_said(body)}, defaults)
    return {"script": await in_thread(_script, server, name, job), "template_used": name}


PREVIEWED = {"work_dir": ".", "log_dir": "."}


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def _script(server: Here, name: str, job: dict[str, Any]) -> str:
    try:
        if name == BASE:
            return batch.render(job)
        text = server.store.templates.get(found(server, name)).content
        return templates.render(text, batch.variables(job), server.renderer, name=name)
    except ValueError as error:
        raise Invalid([problem(str(error), ["body"])]) from error


async def apply(
    server: Here, name: str, body: dict[str, Any], key: str | None, caller: access.Caller
) -> dict[str, Any]:
    """The script that the template makes of the job, or with `preview_only` false the job submitted with it."""
    wanted = {**_said(body), "name": body["job_name"], "template_name": name}
    if body["preview_only"]:
        return await preview(server, wanted)
    folders = {part: _absolute(server, body, part) for part in PREVIEWED}
    root = server.shelf(body["mount_name"]).root if body.get("mount_name") else None
    job = templates.job(body["job_name"], {**wanted, **folders}, await server.store.configuration.defaults(root))
    script = await in_thread(_script, server, name, job)
    for folder in folders.values():
        if folder is not None:
            await in_thread(server.store.files.make_dirs, Path(folder))
    asked = {"name": body["job_name"], "script_content": script, "mount_name": body.get("mount_name"), "notify": False}
    record = await jobs.submit(server, asked, requests.made_id(caller.name, "job", key), caller)
    return srunx.submitted(record.name, record.job_id or "")


def _absolute(server: Here, body: Mapping[str, Any], part: str) -> str | None:
    """A folder of the job, below the mount's root where it is relative; None where the body does not say."""
    given = body.get(part)
    if not given:
        return None
    mount = body.get("mount_name")
    root = server.shelf(mount).root if mount else None
    if root is None and not Path(given).is_absolute():
        raise Invalid(
            [problem("must be absolute, or relative to a mount that mount_name names", ["body", part], input=given)]
        )
    return str(Path(root or "/") / given)
