"""Records of single jobs, written before sbatch is called. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store.documents import JobRecord
from store.errors import Invalid, make_problem
from store.rules.runs import make_tag
from store.times import to_rfc3339


def check_submission(body: dict[str, Any]) -> None:
    """Check a submission; raise Invalid with everything that is wrong."""
    script, reasons = body.get("script_content"), []
    if (script is None) == (body.get("script_path") is None):
        reasons.append(("script_content", "Exactly one of script_content and script_path is needed"))
    elif script is not None and not script.startswith("#!"):
        reasons.append(("script_content", "A batch script begins with #!, such as #!/bin/bash"))
    elif script is not None and ("\0" in script or "\r\n" in script):
        reasons.append(("script_content", "A batch script has no NUL and no DOS line breaks"))
    if body.get("script_path") is not None and not body.get("mount_name"):
        reasons.append(("mount_name", "script_path needs mount_name"))
    if body["notify"] and body.get("endpoint_id") is None:
        reasons.append(("endpoint_id", "notify needs endpoint_id"))
    if reasons:
        raise Invalid([make_problem(message, ["body", key], input=body.get(key)) for key, message in reasons])


def build_record(record_id: str, body: dict[str, Any], work_dir: Path, given: dict[str, Any], now: float) -> JobRecord:
    """Build the record of a job that is about to be submitted.

    `given` has the cluster, the script's text, the user who asks, and the request's hash. `now` is epoch seconds.
    """
    return JobRecord(
        id=record_id,
        name=body.get("job_name") or body["name"],
        tag=make_tag(),
        work_dir=str(work_dir),
        source="web",
        intended_at=to_rfc3339(now),
        **given,
    )
