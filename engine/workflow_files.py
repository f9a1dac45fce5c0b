"""Workflow files: listed, checked, saved, composed from JSON."""

from __future__ import annotations

from typing import Any

from engine.server import Server
from engine.workflow_folders import WorkflowFolder
from store import errors
from store.access import Caller
from store.disk.entries import describe_reason
from store.indexes.bodies import Body, Versioned
from store.jsons import load_json
from store.rules import workflows
from store.workflow_files import cells, edits, schemas, texts, words

WORKFLOW_BYTES = 1_000_000


async def list_workflows(server: Server, mount: str | None) -> Body:
    """List the workflows that parse, by file name."""
    return (await server.workflow_folders.find(mount)).rows.get_all()


async def get_workflow(server: Server, name: str, mount: str | None) -> Versioned:
    """Get one workflow with its jobs, and its ETag."""
    workflow_folder = await server.workflow_folders.find(mount)
    entry = workflow_folder.get_entry(name)
    return Versioned(workflow_folder.rows.get_row(name), entry.etag)


async def get_text(server: Server, name: str, mount: str | None, caller: Caller) -> Versioned:
    """Get the text of a workflow's file, also of a wrong one, and its ETag.

    Who may not write sees it without the secrets in it, and of a wrong file what it said before.
    """
    workflow_folder = await server.workflow_folders.find(mount)
    folder = workflow_folder.folder
    found = await texts.read_text(folder, name)
    may_write = "write" in caller.scopes
    data = found.data if may_write else folder.get_entry(name).data
    try:
        text = data.decode() if may_write else await server.check(edits.mask_environments, data, folder.get(name))
    except UnicodeDecodeError as error:
        raise errors.Conflict(f"{found.path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    problems = [row for row in folder.list_problems() if row["path"] == found.path]
    in_force = load_json(workflow_folder.rows.get_row(name).data) if name in folder else None
    body = {"name": name, "mount": mount, "path": found.path, "text": text, "masked": not may_write}
    return Versioned({**body, "valid": not found.is_wrong, "problems": problems, "workflow": in_force}, found.etag)


async def validate_workflow(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Check a workflow text and list its errors."""
    text = body.get("yaml") or ""
    wrong = await server.check(workflows.find_complaints, text, server.renderer)
    warnings = []
    if not wrong:
        limit = server.store.config.sweeps.max_cells
        warnings = await server.check(cells.find_warnings, text.encode(), server.renderer, limit)
    plain: dict[str, Any] = {"valid": not wrong}
    if wrong:
        plain["errors"] = [errors.describe_problem(entry) for entry in wrong]
    if warnings:
        plain["warnings"] = [errors.describe_problem(entry) for entry in warnings]
    if not body.get("details"):
        return plain
    problems = [
        *(_to_problem_row(entry, "error") for entry in wrong),
        *(_to_problem_row(entry, "warning") for entry in warnings),
    ]
    workflow = None if wrong else await server.check(_render_text, text.encode(), server)
    return {**plain, "problems": problems, "workflow": workflow}


def _to_problem_row(problem: dict[str, Any], severity: str) -> dict[str, Any]:
    place = {"line": problem["line"], "column": problem["column"]}
    return {**place, "reason": describe_reason(problem), "severity": severity}


def _render_text(data: bytes, server: Server) -> dict[str, Any]:
    return workflows.to_rendered_json(workflows.parse_workflow(data), server.renderer)


def get_schema(kind: str) -> dict[str, Any]:
    """Get the JSON Schema of a kind of file that people write."""
    return schemas.build_schema(kind)


async def upload_workflow(server: Server, body: dict[str, Any], mount: str | None, if_match: str | None) -> Versioned:
    """Check and save a workflow text; return the workflow."""
    name = workflows.parse_uploaded_name(body["filename"])
    folder = await server.workflow_folders.find(body.get("mount") or mount)
    return await save_workflow(
        server, folder, name, body["yaml"].encode(), if_match, is_new=body.get("overwrite") is False
    )


async def create_workflow(server: Server, body: dict[str, Any], mount: str | None, if_match: str | None) -> Versioned:
    """Create a workflow from JSON and save it as YAML; return it.

    Raises Exists where it would overwrite one without being asked to.
    """
    chosen = body.get("mount") or mount or body.get("default_project")
    workflow_folder, name = await server.workflow_folders.find(chosen), body["name"]
    if name in workflow_folder.folder and not body["overwrite"]:
        raise errors.Exists("Workflow", name)
    # Another request may save one of this name meanwhile.
    is_new = not body["overwrite"] and if_match is None
    if name in workflow_folder.folder:
        # A change from outside that happens meanwhile is not undone.
        if_match = if_match or workflow_folder.folder.get_entry(name).etag
    data = await server.check(compose_workflow, workflow_folder, body)
    return await save_workflow(server, workflow_folder, name, data, if_match, is_new=is_new)


async def delete_workflow(server: Server, name: str, mount: str | None, if_match: str | None) -> dict[str, Any]:
    """Delete a workflow; its runs stay."""
    await (await server.workflow_folders.find(mount)).folder.delete(name, if_match=if_match)
    return {"status": "deleted", "name": name}


async def save_workflow(
    server: Server,
    workflow_folder: WorkflowFolder,
    name: str,
    data: bytes,
    if_match: str | None,
    *,
    is_new: bool = False,
) -> Versioned:
    """Save a workflow; return it as answers show it, and its ETag.

    Raises Invalid with all that is wrong, and Exists for one that was to be new: then nothing is written.
    """
    if len(data) > WORKFLOW_BYTES:
        raise errors.TooLarge(WORKFLOW_BYTES, "the YAML content")
    defaults = await server.store.configuration.load_job_defaults(workflow_folder.root)
    await server.check(workflows.check_workflow, data, stem=name, defaults=defaults, renderer=server.renderer)
    folder = workflow_folder.folder
    entry = await (folder.create(name, data) if is_new else folder.put(name, data, if_match=if_match))
    return Versioned(workflow_folder.rows.get_row(name), entry.etag)


def compose_workflow(workflow_folder: WorkflowFolder, body: dict[str, Any]) -> bytes:
    """Write the YAML for a workflow given as JSON.

    What the body omits stays as in the old file, if there is one.
    """
    wanted = {key: value for key, value in body.items() if key in ("name", "jobs", "args", "default_project")}
    wanted["jobs"] = [{**job, "command": words.join_templates(job["command"])} for job in body["jobs"]]
    if body["name"] in workflow_folder.folder:
        old = workflow_folder.folder.get(body["name"])
        merged = edits.merge_workflow(old, wanted, load_json(workflow_folder.rows.get_row(body["name"]).data))
        return edits.edit_workflow(workflow_folder.folder.get_entry(body["name"]).data, old, merged)
    return edits.compose_yaml({**wanted, "jobs": edits.unmask_environments(wanted["jobs"], [{}] * len(wanted["jobs"]))})
