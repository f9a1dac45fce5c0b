"""Workflow files: listed, checked, saved, composed from JSON."""

from __future__ import annotations

from typing import Any

from engine.server import Server
from engine.workflow_folders import WorkflowFolder
from store import errors
from store.indexes.bodies import Body, Versioned
from store.jsons import load_json
from store.rules import workflows
from store.workflow_files import cells, edits, words

WORKFLOW_BYTES = 1_000_000


async def list_workflows(server: Server, mount: str | None) -> Body:
    """List the workflows that parse, by file name."""
    return (await server.workflow_folders.find(mount)).rows.get_all()


async def get_workflow(server: Server, name: str, mount: str | None) -> Versioned:
    """Get one workflow with its jobs, and its ETag."""
    workflow_folder = await server.workflow_folders.find(mount)
    entry = workflow_folder.get_entry(name)
    return Versioned(workflow_folder.rows.get_row(name), entry.etag)


async def validate_workflow(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Check a workflow text and list its errors."""
    wrong = await server.check(workflows.list_complaints, body.get("yaml") or "", server.renderer)
    if wrong:
        return {"valid": False, "errors": wrong}
    limit = server.store.config.sweeps.max_cells
    warnings = await server.check(cells.list_warnings, body["yaml"].encode(), server.renderer, limit)
    return {"valid": True, **({"warnings": warnings} if warnings else {})}


async def upload_workflow(server: Server, body: dict[str, Any], mount: str | None, if_match: str | None) -> Versioned:
    """Check and save a workflow text; return the workflow."""
    name = workflows.parse_uploaded_name(body["filename"])
    folder = await server.workflow_folders.find(body.get("mount") or mount)
    return await save_workflow(server, folder, name, body["yaml"].encode(), if_match)


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
