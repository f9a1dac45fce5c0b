"""Workflow files: saved after a check, composed from JSON."""

from __future__ import annotations

from typing import Any

import orjson

from engine.server import Server, WorkflowFolder, run_in_thread
from store import errors
from store.indexes.bodies import Body
from store.rules import workflows

WORKFLOW_BYTES = 1_000_000


async def save_workflow(
    server: Server, workflow_folder: WorkflowFolder, name: str, data: bytes, if_match: str | None
) -> tuple[Body, str]:
    """Save a workflow; return it as answers show it, and its ETag.

    Raises Invalid with all that is wrong: then nothing is written.
    """
    if len(data) > WORKFLOW_BYTES:
        raise errors.TooLarge(WORKFLOW_BYTES, "the YAML content")
    defaults = await server.store.configuration.load_job_defaults(workflow_folder.root)
    await run_in_thread(workflows.check_workflow, data, stem=name, defaults=defaults, renderer=server.renderer)
    entry = await workflow_folder.folder.put(name, data, if_match=if_match)
    return workflow_folder.rows.get_row(name), entry.etag


def compose_workflow(workflow_folder: WorkflowFolder, body: dict[str, Any]) -> bytes:
    """Write the YAML for a workflow given as JSON.

    What the body omits stays as in the old file, if there is one.
    """
    wanted = {key: value for key, value in body.items() if key in ("name", "jobs", "args", "default_project")}
    if body["name"] in workflow_folder.folder:
        old = workflow_folder.folder.get(body["name"])
        wanted = workflows.merge_workflow(old, wanted, orjson.loads(workflow_folder.rows.get_row(body["name"]).data))
    return workflows.compose_yaml(wanted)
