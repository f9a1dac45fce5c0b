"""Script templates: read, saved, and applied to jobs.

A template of the user's own replaces the built-in script.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import jobs, planning, workdirs
from engine.server import Server
from slurm_shim import script as batch
from slurm_shim.commands import Needs
from slurm_shim.template import TEXT
from store import access
from store.config import masks
from store.disk.entries import is_named
from store.errors import Changed, Invalid, make_problem
from store.indexes.bodies import Versioned
from store.rendering import templates
from store.rendering.templates import BASE
from store.rules import requests, run_drafts
from store.views import srunx


def list_templates(server: Server) -> list[dict[str, Any]]:
    """List all templates, the built-in one first."""
    folder = server.store.templates
    return [
        templates.to_template_row(BASE, None),
        *(templates.to_template_row(name, folder.get(name)) for name in folder.list_names() if name != BASE),
    ]


def get_template(server: Server, template_name: str) -> Versioned:
    """Return a template with its text, and its ETag.

    The built-in one has no ETag. NotFound says which templates there are.
    """
    if template_name == BASE:
        return Versioned({"name": BASE, **templates.BUILT_IN, "content": TEXT}, None)
    entry = server.store.templates.get_entry(check_name(server, template_name))
    return Versioned({"name": template_name, **vars(entry.document)}, entry.etag)


def check_name(server: Server, name: str) -> str:
    """Return the name if there is such a template to edit; NotFound."""
    if name == BASE:
        raise templates.BuiltInTemplate
    if name not in server.store.templates:
        raise templates.MissingTemplate(name, server.store.templates.list_names())
    return name


async def create_template(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Create a template; return its row in lists.

    Raises Conflict, Exists, Invalid.
    """
    name, folder = body["name"], server.store.templates
    entry = await folder.create(name, templates.build_new_file(name, body, folder.filenames))
    return templates.to_template_row(name, entry.document)


async def change_template(server: Server, template_name: str, body: dict[str, Any], if_match: str | None) -> Versioned:
    """Change a template; return it with its text, and its ETag.

    A change from outside that happened meanwhile is not undone.
    """
    entry = server.store.templates.get_entry(check_name(server, template_name))
    if if_match is not None and not is_named(if_match, entry.etag):
        raise Changed("Template", template_name, entry.etag)
    data = templates.build_changed_file(entry.document, body)
    await server.store.templates.put(template_name, data, if_match=entry.etag)
    return get_template(server, template_name)


async def delete_template(server: Server, template_name: str, if_match: str | None) -> None:
    """Delete the template's file; NotFound."""
    await server.store.templates.delete(check_name(server, template_name), if_match=if_match)


async def preview_script(server: Server, body: Mapping[str, Any]) -> dict[str, Any]:
    """Render the script of a job that is not submitted.

    The result has `script` and `template_used`.
    """
    name = body.get("template_name") or BASE
    defaults = await server.store.configuration.load_job_defaults()
    job = templates.build_job(body["name"], {**PREVIEW_FOLDERS, **_drop_nulls(body)}, defaults)
    await workdirs.expand_homes(server, job, ("body",))
    script, _secrets = await server.check(_render_script, server, name, job)
    return {"script": batch.mask_references(script), "template_used": name}


PREVIEW_FOLDERS = {"work_dir": ".", "log_dir": "."}


def _drop_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def _render_script(server: Server, name: str, job: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Render the job's script; return it with the secrets that it uses."""
    secrets = masks.find_secrets(job["environment"])
    environment, references = planning.hide_secrets(job["environment"])
    job = {**job, "environment": environment}
    try:
        if name == BASE:
            script = batch.render_script(job)
        else:
            text = server.store.templates.get(check_name(server, name)).content
            script = templates.render_text(text, batch.build_variables(job), server.renderer, name=name)
        used = [place for place in secrets if references[place] in script]
        return script, {batch.make_secret_variable(place): secrets[place] for place in used}
    except ValueError as error:
        raise Invalid([make_problem(str(error), ["body"])]) from error


async def apply_template(
    server: Server, template_name: str, body: dict[str, Any], idempotency_key: str | None, caller: access.Caller
) -> dict[str, Any]:
    """Preview a template's script, or submit a job with it.

    It is only submitted with `preview_only` false.
    """
    wanted = {**_drop_nulls(body), "name": body["job_name"], "template_name": template_name}
    if body["preview_only"]:
        return await preview_script(server, wanted)
    body = dict(body)
    await workdirs.expand_homes(server, body, ("body",))
    folders = {part: folder for part in PREVIEW_FOLDERS if (folder := await _resolve_folder(server, body, part))}
    root = (await server.workflow_folders.find(body["mount_name"])).root if body.get("mount_name") else None
    job = templates.build_job(
        body["job_name"], {**wanted, **folders}, await server.store.configuration.load_job_defaults(root)
    )
    await workdirs.expand_homes(server, job, ("body",))
    script, secrets = await server.check(_render_script, server, template_name, job)
    submission = {
        "name": body["job_name"],
        "script_content": script,
        "mount_name": body.get("mount_name"),
        "notify": False,
    }
    record_id = requests.make_id(caller.name, "job", idempotency_key)
    record = await jobs.submit_job(server, submission, record_id, caller, Needs(folders, secrets))
    return srunx.to_submission_json(record.name, record.job_id or "")


async def _resolve_folder(server: Server, body: Mapping[str, Any], part: str) -> str | None:
    """Return the absolute path of the job's folder; None if not given.

    A relative one lies below the mount's root, where the job will run.
    """
    given, mount = body.get(part), body.get("mount_name")
    if not given:
        return None
    if mount is None and not Path(given).is_absolute():
        raise Invalid(
            [
                make_problem(
                    "must be absolute, or relative to a mount that mount_name names", ["body", part], input=given
                )
            ]
        )
    place = await workdirs.choose_workdir(server, server.cluster, mount, "")
    return str(run_drafts.resolve_folder(given, place.root, place.root, place.local))
