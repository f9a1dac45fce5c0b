"""A client that does what each page of the srunx Web UI does, and reads the fields that it reads: no banner comes up.

Pages and fields are those of that front end's calls; it shows a banner for every answer that is not 2xx JSON.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.app_client import Client, serving
from tests.cluster.beyond import Beyond
from tests.cluster.sshd import needed
from tests.waiting import eventually

LIVE = ("completed", "failed", "cancelled")
WORKFLOW = """\
name: chain
args: {n: 3}
jobs:
  - {name: first, command: [echo, "n {{ n }}"]}
  - {name: second, command: [echo, done], depends_on: [first]}
"""
BUILT = {
    "name": "built",
    "args": {"lr": "0.1"},
    "default_project": "ml",
    "jobs": [
        {
            "name": "prepare",
            "command": ["echo", "{{ lr }}"],
            "depends_on": [],
            "resources": {"nodes": 1, "memory_per_node": "100M", "time_limit": "0:05:00"},
            "exports": {"data": "here"},
        },
        {"name": "train", "command": ["echo", "{{ deps.prepare.data }}"], "depends_on": ["prepare"]},
    ],
}


class Page:
    """The front end: every call must be answered with 2xx; `get` and `send` give the parsed answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def _check_answer(self, answer: Any, what: str) -> Any:
        assert 200 <= answer.status_code < 300, f"a banner: {what}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str, /, **query: Any) -> Any:
        """What GET gives."""
        return self._check_answer(self.client.get(path, params=query), f"GET {path} {query}")

    def send(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """What POST, PUT, PATCH or DELETE gives."""
        given = {} if body is None else {"json": body}
        return self._check_answer(
            self.client.request(method, path, params=query, token="admin", **given), f"{method} {path} {body}"
        )


def reads(rows: Any, fields: str, what: str) -> None:
    """Nothing; each row (or the one object) has these fields, dotted ones within others."""
    for row in rows if isinstance(rows, list) else [rows]:
        for field in fields.split():
            inside: Any = row
            for key in field.split("."):
                assert isinstance(inside, Mapping) and key in inside, f"{what} lacks {field}: {row}"
                inside = inside[key]


def some(rows: Iterable[Any], what: str) -> list[Any]:
    """The rows, of which there is one at least."""
    found = list(rows)
    assert found, f"no {what}"
    return found


@pytest.fixture(scope="module", params=["here", pytest.param("over ssh", marks=pytest.mark.ssh)])
def page(request: pytest.FixtureRequest, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The front end over a store whose current profile has a mount: on this machine, or on one behind SSH."""
    root = tmp_path_factory.mktemp("front")
    mount = {"name": "ml", "local": str(root / "ml"), "remote": str(root / "ml")}
    (root / "ml" / "data").mkdir(parents=True)
    (root / "ml" / "train.sh").write_text("#!/bin/bash\necho trained\n")
    with contextlib.ExitStack() as undo:
        profile, environment = {"mounts": [mount]}, {}
        if request.param == "over ssh":
            needed()
            beyond = undo.enter_context(Beyond(root / "beyond", cluster))
            profile = beyond.profile(mounts=[{**mount, "remote": str(beyond.home / "ml")}])
            environment = {"SLUICE_SSH_CONFIG": str(beyond.sshd.config)}
        (root / "store").mkdir()
        # JSON is YAML too.
        (root / "store" / "profiles.yaml").write_text(json.dumps({"current": "here", "profiles": {"here": profile}}))
        page = Page(undo.enter_context(serving(root / "store", cluster, **environment)))
        # What a person sees who opens the page a moment later.
        eventually(lambda: page.client.get("/api/resources").status_code == 200, 60)
        yield page


def test_the_dashboard(page: Page) -> None:
    page.client.submit("#!/bin/bash\ntrue\n", "shown")
    jobs = some(page.get("/api/jobs"), "jobs")
    reads(jobs, "status name job_id resources.partition resources.gpus_per_node gpus", "a job of the dashboard")
    reads(some(page.get("/api/resources"), "partitions"), "gpus_available total_gpus gpus_in_use", "a partition")
    reads(page.get("/api/history/stats"), "completed failed total", "the statistics")


def test_the_jobs_page(page: Page) -> None:
    job_id = page.client.submit("#!/bin/bash\nsleep 600\n", "listed")
    row = next(job for job in page.get("/api/jobs") if job["job_id"] == job_id)
    reads(row, "name user status command elapsed_time", "a row")
    reads(row, "resources.partition resources.nodes resources.gpus_per_node resources.time_limit", "a row")
    assert isinstance(row["command"], list)
    reads(page.get("/api/config"), "notifications.default_endpoint_name notifications.default_preset", "the config")
    endpoint = made_endpoint(page, "jobs-page")
    watched = page.send(
        "POST", "/api/watches", {"kind": "job", "job_id": job_id, "endpoint_id": endpoint, "preset": "terminal"}
    )
    reads(watched, "watch_id subscription_id created", "the new watch")
    open_ones = some(page.get("/api/watches", open="true", kind="job"), "watches")
    reads(open_ones, "id target_ref", "a watch")
    assert str(job_id) in [watch["target_ref"].split(":")[-1] for watch in open_ones]
    page.send("POST", f"/api/watches/{watched['watch_id']}/close")
    page.send("DELETE", f"/api/jobs/{job_id}")
    assert page.client.job(job_id)["status"] == "CANCELLED"


def test_a_job_and_its_log(page: Page) -> None:
    job_id = page.client.submit("#!/bin/bash\necho one\necho two >&2\n", "log")
    page.client.job(job_id)
    job = page.get(f"/api/jobs/{job_id}")
    reads(job, "name job_id status partition nodes gpus elapsed_time resources.nodes resources.partition", "the job")
    reads(job, "resources.time_limit resources.memory_per_node", "the job")
    log = eventually(lambda: _log(page, job_id, "one"))
    reads(log, "stdout stderr stdout_offset stderr_offset", "the log")
    more = page.get(f"/api/jobs/{job_id}/logs", stdout_offset=log["stdout_offset"], stderr_offset=log["stderr_offset"])
    assert more["stdout"] == "" and more["stdout_offset"] == log["stdout_offset"]
    page.get("/api/watches", kind="job", target_ref=f"job:local:{job_id}", open="true")
    page.get("/api/watches", kind="job", open="true")


def _log(page: Page, job_id: int, text: str) -> Any:
    log = page.get(f"/api/jobs/{job_id}/logs")
    return log if text in log["stdout"] else None


def test_the_workflow_pages(page: Page) -> None:
    mounts = some(page.get("/api/files/mounts"), "mounts")
    reads(mounts, "name remote", "a mount")
    mount = mounts[0]["name"]
    page.send("POST", "/api/workflows/upload", {"yaml": WORKFLOW, "filename": "chain.yaml", "mount": mount})
    workflows = some(page.get("/api/workflows", mount=mount), "workflows")
    reads(workflows, "name jobs", "a workflow")
    workflow = page.get("/api/workflows/chain", mount=mount)
    reads(workflow["jobs"], "name command depends_on resources exports status", "a job of the workflow")
    endpoint = made_endpoint(page, "workflow-page")
    dry = page.send("POST", "/api/workflows/chain/run", {"dry_run": True, "args_override": {"n": "7"}}, mount=mount)
    reads(dry["jobs"], "name script depends_on resources", "a dry job")
    assert "n 7" in dry["jobs"][0]["script"] and dry["execution_order"] == ["first", "second"]
    body = {"notify": True, "endpoint_id": endpoint, "preset": "terminal", "args_override": {"n": "5"}}
    run = page.send("POST", "/api/workflows/chain/run", body, mount=mount)
    reads(run, "id workflow_name status job_ids job_statuses started_at completed_at error", "the run")
    ended = page.client.await_run(run["id"])
    assert ended["status"] == "completed"
    full_run = page.get(f"/api/workflows/runs/{run['id']}")
    assert set(full_run["job_statuses"]) == {"first", "second"}
    again = page.send("POST", "/api/workflows/chain/run", {"single_job": "second"}, mount=mount)
    page.client.await_run(again["id"])
    assert page.send("DELETE", "/api/workflows/chain", mount=mount) == {"status": "deleted", "name": "chain"}


def test_the_builder(page: Page) -> None:
    reads(some(page.get("/api/templates"), "templates"), "name description use_case user_defined", "a template")
    reads(some(page.get("/api/files/mounts/config"), "mounts"), "name local remote exclude_patterns", "a mount")
    entries = page.get("/api/files/browse", mount="ml", path="")
    reads(entries, "entries remote_prefix mount_name", "a folder")
    reads(some(entries["entries"], "entries"), "name type size accessible target_kind", "an entry")
    preview = page.send("POST", "/api/jobs/preview", {"command": ["python", "x.py"], "resources": {"nodes": 1}})
    reads(preview, "script template_used", "a preview")
    made = page.send("POST", "/api/workflows/create", BUILT, mount="ml")
    reads(made["jobs"], "name command depends_on resources", "a job")
    edited = {**BUILT, "overwrite": True, "jobs": BUILT["jobs"][:1]}
    assert len(page.send("POST", "/api/workflows/create", edited, mount="ml")["jobs"]) == 1
    page.send("DELETE", "/api/workflows/built", mount="ml")


def test_the_sweep_pages(page: Page) -> None:
    page.send(
        "POST",
        "/api/workflows/upload",
        {"yaml": WORKFLOW, "filename": "chain.yaml", "mount": "ml"},
    )
    body = {"sweep": {"matrix": {"n": [1, 2]}, "fail_fast": False, "max_parallel": 2}}
    begun = page.send("POST", "/api/workflows/chain/run", body, mount="ml")
    reads(begun, "sweep_run_id status cell_count", "the new sweep")
    number = begun["sweep_run_id"]
    reads(
        some(page.get("/api/sweep_runs"), "sweeps"),
        "id name status matrix cell_count cells_completed started_at",
        "a sweep",
    )
    cells = some(page.get(f"/api/sweep_runs/{number}/cells"), "cells")
    reads(cells, "id status args started_at completed_at error", "a cell")
    cell = page.get(f"/api/workflows/runs/{cells[0]['id']}")
    reads(cell, "id status workflow_name job_ids job_statuses sweep_run_id", "the run of a cell")
    eventually(lambda: page.get(f"/api/sweep_runs/{number}")["status"] == "completed", 60)
    other = page.send("POST", "/api/workflows/chain/run", body, mount="ml")["sweep_run_id"]
    stopped = page.send("POST", f"/api/sweep_runs/{other}/cancel")
    assert stopped["cancel_requested_at"]
    eventually(lambda: page.get(f"/api/sweep_runs/{other}")["status"] in LIVE, 60)


def test_the_resources_page(page: Page) -> None:
    rows = some(page.get("/api/resources"), "partitions")
    fields = "partition total_gpus gpus_in_use gpus_available gpu_utilization has_available_gpus"
    reads(rows, f"{fields} nodes_total nodes_idle nodes_down jobs_running timestamp", "a partition")


def test_the_explorer(page: Page) -> None:
    page.get("/api/files/browse", mount="ml", path="data")
    read = page.get("/api/files/read", mount="ml", path="train.sh")
    reads(read, "content path mount", "a file")
    page.send("POST", "/api/files/sync", {"mount": "ml"})
    body = {"name": "train", "script_content": read["content"], "job_name": "train", "mount_name": "ml"}
    job = page.send("POST", "/api/jobs", {**body, "notify_slack": False})
    reads(job, "job_id name status", "the new job")
    assert page.client.job(job["job_id"])["status"] == "COMPLETED"


def test_the_notification_pages(page: Page) -> None:
    endpoint = made_endpoint(page, "centre")
    job_id = page.client.submit("#!/bin/bash\nsleep 600\n", "watched")
    watch = page.send(
        "POST", "/api/watches", {"kind": "job", "job_id": job_id, "endpoint_id": endpoint, "preset": "all"}
    )["watch_id"]
    page.get("/api/deliveries")
    page.get("/api/deliveries", status="pending", limit=50)
    reads(page.get("/api/deliveries/stuck"), "count older_than_sec", "stuck deliveries")
    reads(some(page.get("/api/watches", open="true"), "watches"), "id kind target_ref created_at closed_at", "a watch")
    subscriptions = some(page.get("/api/subscriptions", watch_id=watch), "subscriptions")
    reads(subscriptions, "id watch_id endpoint_id preset created_at", "a subscription")
    page.send("DELETE", f"/api/jobs/{job_id}")
    page.send("POST", f"/api/watches/{watch}/close")


def test_the_endpoints_of_the_settings(page: Page) -> None:
    number = made_endpoint(page, "temporary")
    endpoints = some(page.get("/api/endpoints", include_disabled="true"), "endpoints")
    reads(endpoints, "id kind name config created_at disabled_at", "an endpoint")
    assert page.send("PATCH", f"/api/endpoints/{number}", {"name": "renamed"})["name"] == "renamed"
    assert page.send("POST", f"/api/endpoints/{number}/disable")["disabled_at"]
    assert page.send("POST", f"/api/endpoints/{number}/enable")["disabled_at"] is None
    page.send("DELETE", f"/api/endpoints/{number}")
    assert number not in [endpoint["id"] for endpoint in page.get("/api/endpoints")]


def test_the_settings(page: Page) -> None:
    config = page.get("/api/config")
    fields = "nodes gpus_per_node ntasks_per_node cpus_per_task memory_per_node time_limit nodelist partition"
    reads(config["resources"], fields, "resources")
    reads(config, "environment.conda environment.venv environment.container environment.env_vars", "the config")
    reads(config, "notifications.slack_webhook_url log_dir work_dir", "the config")
    changed = page.send("PUT", "/api/config", {**config, "resources": {**config["resources"], "nodes": 2}})
    assert changed["resources"]["nodes"] == 2 and page.get("/api/config")["resources"]["nodes"] == 2
    reads(some(page.get("/api/config/paths"), "paths"), "path exists source", "a path")
    page.get("/api/config/env")
    assert page.send("POST", "/api/config/reset")["resources"]["nodes"] == 1
    reads(page.get("/api/config/ssh/status"), "connected profile_name", "the state of the connection")


def test_the_profiles_of_the_settings(page: Page) -> None:
    given = {"name": "spare", "hostname": "127.0.0.1", "username": "nobody", "key_filename": "~/.ssh/none", "port": 1}
    page.send("POST", "/api/config/ssh/profiles", given)
    profiles = page.get("/api/config/ssh/profiles")
    reads(profiles, "current profiles", "the profiles")
    reads(
        profiles["profiles"]["spare"],
        "hostname username key_filename port description ssh_host proxy_jump mounts",
        "a profile",
    )
    page.send("PUT", "/api/config/ssh/profiles/spare", {"description": "not there"})
    tested = page.send("POST", "/api/config/ssh/profiles/spare/test")
    reads(tested, "ssh_connected slurm_available hostname user slurm_version error", "a test")
    assert tested["ssh_connected"] is False and tested["error"]
    page.send("DELETE", "/api/config/ssh/profiles/spare")
    assert page.get("/api/config/ssh/profiles")["current"] == "here"


def test_the_projects_of_the_settings(page: Page) -> None:
    projects = some(page.get("/api/config/projects"), "projects")
    reads(projects, "mount_name local_path remote_path config_exists config_path", "a project")
    begun = page.send("POST", "/api/config/projects/ml/init")
    reads(begun, "mount_name local_path config_path exists config", "the new project")
    saved = page.send("PUT", "/api/config/projects/ml", {"resources": {"nodes": 1}})
    assert saved["exists"] and page.get("/api/config/projects/ml")["config"]["resources"]["nodes"] == 1
    Path(projects[0]["config_path"]).unlink()


def test_the_templates_page(page: Page) -> None:
    given = {"name": "mine", "description": "own", "use_case": "tests", "content": "#!/bin/bash\n{{ command }}\n"}
    page.send("POST", "/api/templates", given)
    reads(page.get("/api/templates/mine"), "name description use_case content", "a template")
    page.send("PUT", "/api/templates/mine", {"description": "changed"})
    assert page.get("/api/templates/mine")["description"] == "changed"
    preview = page.send("POST", "/api/templates/mine/apply", {"command": ["echo", "hi"], "preview_only": True})
    assert "echo hi" in preview["script"]
    job = page.send("POST", "/api/templates/mine/apply", {"command": ["echo", "hi"], "job_name": "from-template"})
    assert page.client.job(job["job_id"])["status"] == "COMPLETED"
    page.send("DELETE", "/api/templates/mine")


def made_endpoint(page: Page, name: str) -> int:
    """The id of a new endpoint; nothing is ever sent to it by these tests, since it is no address of anybody."""
    url = "https://hooks.slack.com/services/T0000/B0000/none"
    made = page.send("POST", "/api/endpoints", {"kind": "slack_webhook", "name": name, "config": {"webhook_url": url}})
    reads(made, "id kind name config created_at disabled_at", "the endpoint")
    number: int = made["id"]
    return number
