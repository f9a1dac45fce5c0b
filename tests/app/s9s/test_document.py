"""Every example of the S9S API Documentation, literally: commands are run, bodies sent, answers compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app_client import Client
from tests.app_server import Server
from tests.contract_judge import CONTRACT, path_of, resolve
from tests.waiting import eventually

# --- cURL ------------------------------------------------------------------------------------------------------------

# The command as it stands in the document, the status that it gets, and what its answer has.
CURL: list[tuple[str, str, int, str]] = [
    ("a token", 'curl -H "Authorization: Bearer YOUR_TOKEN" \\\nhttps://api.example.com/v1/jobs', 200, "jobs"),
    ("an API key", 'curl -H "X-API-Key: YOUR_API_KEY" \\\nhttps://api.example.com/v1/jobs', 200, "jobs"),
    (
        "list jobs",
        'curl "https://api.example.com/v1/jobs?state=RUNNING&user=alice&limit=50"',
        200,
        "jobs total limit offset has_more",
    ),
    ("get job details", 'curl "https://api.example.com/v1/jobs/12345"', 200, "job_id environment resources"),
    (
        "submit a job",
        'curl -X POST "https://api.example.com/v1/jobs" \\\n-H "Content-Type: application/json" \\\n'
        '-H "Authorization: Bearer TOKEN" \\\n'
        '-d \'{ "job_name": "test_job", "script": "/home/alice/test.sh", "nodes": 1, "cpus_per_node": 4, '
        '"time_limit": "1:00:00" }\'',
        201,
        "job_id state message",
    ),
    (
        "hold a job",
        'curl -X PUT "https://api.example.com/v1/jobs/12345/hold" \\\n-H "Content-Type: application/json" \\\n'
        '-d \'{"reason": "Need to debug"}\'',
        200,
        "job_id state",
    ),
    ("cancel a job", 'curl -X DELETE "https://api.example.com/v1/jobs/12345?force=true"', 200, "job_id state message"),
    (
        "global search",
        'curl "https://api.example.com/v1/search?q=alice%20gpu&limit=20"',
        200,
        "results total query_time",
    ),
    (
        "test authentication",
        'curl -H "Authorization: Bearer $S9S_API_TOKEN" \\\n$S9S_API_URL/v1/status',
        200,
        "status user",
    ),
    (
        "list jobs by the environment",
        'curl -H "Authorization: Bearer $S9S_API_TOKEN" \\\n"$S9S_API_URL/v1/jobs?limit=10"',
        200,
        "jobs",
    ),
    (
        "submit a test job",
        'curl -X POST \\\n-H "Authorization: Bearer $S9S_API_TOKEN" \\\n-H "Content-Type: application/json" \\\n'
        '-d \'{"job_name":"test","script":"/bin/sleep 60","nodes":1}\' \\\n"$S9S_API_URL/v1/jobs"',
        201,
        "job_id state message",
    ),
]
# The schemes that are there decide which of the commands about credentials can be run.
SCHEMES = set(CONTRACT["components"]["securitySchemes"])


def can_be_run(command: str) -> bool:
    """Whether the contract has what the command asks for."""
    path = re.search(r"(?:example\.com|S9S_API_URL)(/[^?\"\s]*)", command)
    method = re.search(r"-X ([A-Z]+)", command)
    assert path
    item = CONTRACT["paths"].get(path_of(path[1]), {})
    operation = item.get((method[1] if method else "GET").lower())
    if operation is None or ("X-API-Key" in command and "api_key" not in SCHEMES):
        return False
    given = {resolve(part)["name"] for part in [*item.get("parameters", []), *operation.get("parameters", [])]}
    return set(re.findall(r"[?&](\w+)=", command)) <= given


# A cluster that has what the examples ask for.
CONFIG = """\
cluster: {nodes: 4, cpus: 32, memory_mb: 128000, gpus: 4, partitions: [{name: main}, {name: gpu}]}
poll: {min_s: 1, max_s: 1}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one server for all commands."""
    return tmp_path_factory.mktemp("document") / "store"


@pytest.fixture(scope="module")
def served(store: Path) -> Iterator[Server]:
    """A server on an embedded cluster of 4 nodes with 32 CPUs and 4 GPUs each."""
    store.mkdir()
    (store / "config.yaml").write_text(CONFIG)
    server = Server(store, "embedded")
    try:
        yield server.start()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("why", "command", "status", "fields"),
    [pytest.param(*row, id=row[0]) for row in CURL if can_be_run(row[1])],
)
def test_a_curl_command_of_the_document(
    served: Server, tmp_path: Path, why: str, command: str, status: int, fields: str
) -> None:
    assert shutil.which("curl"), "curl is missing"
    script = tmp_path / "test.sh"
    script.write_text("#!/bin/bash\nsleep 60\n")
    if "12345" in command:
        # One that waits until tomorrow can be held, looked at and cancelled.
        waiting = "#!/bin/bash\n#SBATCH --begin=now+1day\ntrue\n"
        body = {"name": "waits", "script_content": waiting}
        command = command.replace("12345", str(served.http.post("/api/jobs", json=body).json()["job_id"]))
    for given, real in {
        "https://api.example.com": served.url, "YOUR_TOKEN": served.tokens["read"],
        "Bearer TOKEN": f"Bearer {served.tokens['write']}",
        "/home/alice/test.sh": str(script),
    }.items():  # fmt: skip
        command = command.replace(given, real)
    environment = {"S9S_API_URL": served.url, "S9S_API_TOKEN": served.tokens["write"], "PATH": os.environ["PATH"]}
    line = command.replace("curl", "curl -s -w '\\n%{http_code}'", 1)
    done = subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    answer, _, code = done.stdout.rpartition("\n")
    assert int(code) == status, answer
    assert set(fields.split()) <= set(json.loads(answer)), answer


# --- JSON ------------------------------------------------------------------------------------------------------------

JOB_EXAMPLE = """{ "job_id": "12345", "job_name": "simulation_run", "user": "alice", "account": "research",
        "partition":
"gpu", "state": "RUNNING", "submit_time": "2023-12-15T10:30:00Z", "start_time": "2023-12-15T10:32:15Z",
        "end_time": null,
"elapsed_time": "2:15:30", "time_limit": "4:00:00", "nodes": ["node001", "node002"], "node_count": 2,
        "cpu_count": 32,
"memory": "128GB", "gpus": 4, "priority": 1000, "qos": "normal", "working_directory": "/home/alice/simulations","""
# What answers a request, and the document's example of the answer; objects with names of one's own (environment, states
# that are counted) are empty here.
ANSWERS: list[tuple[str, str, str, str | None, str]] = [
    (
        "the list of jobs", "GET", "/v1/jobs?limit=50", None,
        '{ "jobs": [ ' + JOB_EXAMPLE + """ "standard_output": "/home/alice/logs/job_12345.out", "standard_error":
        "/home/alice/logs/job_12345.err", "exit_code": null, "reason": null } ], "total": 156, "limit": 50,
        "offset": 0,
        "has_more": true }""",
    ),
    (
        "the details of a job", "GET", "/v1/jobs/JOB", None,
        JOB_EXAMPLE + """ "command": "/home/alice/scripts/run_simulation.sh", "environment": { },
        "resources": { "cpu_efficiency": 0.85,
        "memory_efficiency": 0.67, "gpu_utilization": 0.92, "max_memory_used": "89GB", "max_cpu_time": "127.5h" },
        "dependencies": [], "array_job_id": null, "array_task_id": null }""",
    ),
    (
        "a submission with everything", "POST", "/v1/jobs",
        """{ "job_name": "my_simulation", "script": "/home/alice/scripts/simulation.sh", "partition": "gpu",
        "nodes": 2,
        "cpus_per_node": 16, "memory": "64GB", "gpus": 2, "time_limit": "4:00:00", "account": "research",
        "qos": "normal",
        "working_directory": "/home/alice/simulations", "standard_output": "/home/alice/logs/%j.out",
        "standard_error":
        "/home/alice/logs/%j.err", "environment": { "CUDA_VISIBLE_DEVICES": "0,1" },
        "dependencies": [ { "type": "afterok",
        "job_id": "12344" } ] }""",
        '{ "job_id": "12346", "state": "PENDING", "message": "Job submitted successfully" }',
    ),
    (
        "a bulk operation", "POST", "/v1/jobs/bulk",
        """{ "action": "cancel", "job_ids": ["12345", "12346", "12347"], "options": { "force": true, "reason":
        "Emergency maintenance" } }""",
        """{ "batch_id": "batch_xyz789", "results": [ { "job_id": "12345", "status": "success",
        "message": "Job cancelled" },
        { "job_id": "12346", "status": "error", "message": "Job already completed" } ], "summary": { "total": 3,
        "successful": 2, "failed": 1 } }""",
    ),
    (
        "a new priority", "PUT", "/v1/jobs/JOB/priority", '{ "priority": 1500 }',
        '{"job_id": "12345", "priority": 1500}',
    ),
    (
        "a hold with its reason", "PUT", "/v1/jobs/JOB/hold", '{ "reason": "Debugging required" }',
        '{"job_id": "12345"}',
    ),
    (
        "the list of nodes", "GET", "/v1/nodes", None,
        """{ "nodes": [ { "node_name": "node001", "state": "MIXED", "partitions": ["gpu", "normal"],
        "cpu_total": 32,
        "cpu_allocated": 16, "cpu_load": 14.2, "memory_total": "128GB", "memory_allocated": "64GB",
        "memory_free": "58GB",
        "gpus_total": 4, "gpus_allocated": 2, "features": ["gpu", "cuda", "infiniband"],
        "architecture": "x86_64", "os":
        "Linux 5.4.0-74-generic", "boot_time": "2023-12-01T08:30:00Z", "last_busy": "2023-12-15T12:45:30Z", "jobs":
        ["12345", "12347"], "reason": null } ], "total": 256 }""",
    ),
    (
        "a drain with a time-out", "PUT", "/v1/nodes/node02/drain",
        '{ "reason": "Hardware maintenance", "timeout": "2h" }', '{"node_name": "node02", "state": "DRAIN"}',
    ),
    (
        "a new state of a node", "PUT", "/v1/nodes/node03/state",
        '{ "state": "DOWN", "reason": "Hardware failure" }', '{"node_name": "node03", "state": "DOWN"}',
    ),
    (
        "the list of users", "GET", "/v1/users", None,
        """{ "users": [ { "username": "alice", "default_account": "research", "admin_level": "none",
        "jobs_running": 15,
        "jobs_pending": 3, "cpu_time_used": "1247h", "associations": [ { "account": "research",
        "partition": "gpu", "qos":
        ["normal", "high"] } ] } ] }""",
    ),
    (
        "the list of partitions", "GET", "/v1/partitions", None,
        """{ "partitions": [ { "name": "gpu", "state": "UP", "nodes_total": 32, "nodes_idle": 8,
        "nodes_allocated": 20,
        "nodes_mixed": 4, "cpus_total": 1024, "cpus_allocated": 756, "default_time": "2:00:00",
        "max_time": "7-00:00:00",
        "max_nodes": 16, "priority": 1000, "qos": "normal", "features": ["gpu", "cuda"] } ] }""",
    ),
    (
        "the metrics of the cluster", "GET", "/v1/metrics/cluster", None,
        """{ "timestamp": "2023-12-15T14:30:00Z", "cluster_utilization": { "cpu_percent": 78.5,
        "memory_percent": 65.2,
        "gpu_percent": 84.7 }, "job_counts": { }, "node_counts": { }, "queue_stats": { "avg_wait_time": "12m 34s",
        "max_wait_time": "2h 15m", "throughput": 145.7 } }""",
    ),
    (
        "the metrics over time", "GET", "/v1/metrics/performance?interval=1h", None,
        """{ "metrics": [ { "timestamp": "2023-12-15T14:00:00Z", "cpu_utilization": 76.8,
        "memory_utilization": 63.5,
        "gpu_utilization": 82.1, "jobs_submitted": 45, "jobs_completed": 38, "avg_queue_time": 720 } ],
        "interval": "1h",
        "count": 24 }""",
    ),
    (
        "a search", "GET", "/v1/search?q=waits&limit=20", None,
        """{ "results": [ { "type": "job", "id": "12345", "title": "alice's GPU simulation", "description":
        "Running on gpu partition", "url": "/v1/jobs/12345", "score": 0.95 } ], "total": 15,
        "query_time": 0.045 }""",
    ),
    (
        "an export", "POST", "/v1/export",
        """{ "type": "jobs", "format": "csv", "filter": { "state": "COMPLETED", "user": "alice", "start_time":
        "2023-12-01T00:00:00Z", "end_time": "2023-12-31T23:59:59Z" }, "fields": ["job_id", "job_name", "user",
        "state",
        "runtime"], "options": { "include_headers": true, "delimiter": ",",
        "filename": "alice_december_jobs.csv" } }""",
        """{ "export_id": "exp_abc123", "status": "processing", "download_url": null, "created_at":
        "2023-12-15T14:30:00Z", "expires_at": "2023-12-16T14:30:00Z" }""",
    ),
    (
        "the state of an export", "GET", "/v1/exports/EXPORT", None,
        """{ "export_id": "exp_abc123", "status": "completed", "download_url":
        "https://api.example.com/v1/exports/exp_abc123/download", "file_size": 2048576, "record_count": 1247,
        "created_at":
        "2023-12-15T14:30:00Z", "completed_at": "2023-12-15T14:32:15Z", "expires_at": "2023-12-16T14:30:00Z" }""",
    ),
    (
        "an error", "GET", "/v1/jobs/99999", None,
        """{ "error": { "code": "RESOURCE_NOT_FOUND", "message": "Job 99999 not found",
        "details": { "resource_type": "job",
        "resource_id": "99999" }, "request_id": "req_abc123", "timestamp": "2023-12-15T14:30:00Z" } }""",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app on an embedded cluster, with one job that waits."""
    place = tmp_path_factory.mktemp("answers") / "store"
    place.mkdir()
    (place / "config.yaml").write_text(CONFIG)
    made = Client(place, "embedded")
    try:
        yield made.start()
    finally:
        made.stop()


def submit_waiting(client: Client) -> str:
    """The id of a job that waits until tomorrow."""
    return str(client.submit("#!/bin/bash\n#SBATCH --begin=now+1day\ntrue\n", "waits"))


def has_shape(example: Any, answer: Any) -> list[str]:
    """What the answer lacks of the example's keys, or has of another kind; null is what SLURM does not tell."""
    if answer is None or example is None:
        return []
    if isinstance(example, Mapping):
        if not isinstance(answer, Mapping):
            return [f"{answer!r} is no object"]
        missing = [f"no {key}" for key in example if key not in answer]
        return missing + [
            f"{key}: {said}" for key in example if key in answer for said in has_shape(example[key], answer[key])
        ]
    if isinstance(example, list):
        if not isinstance(answer, list):
            return [f"{answer!r} is no list"]
        return [said for row in answer[:1] for said in has_shape(example[0], row)] if example else []
    numbers = (int, float)
    fits = isinstance(answer, numbers) if isinstance(example, numbers) else isinstance(answer, type(example))
    return [] if fits else [f"{answer!r} instead of {example!r}"]


@pytest.mark.parametrize(
    ("why", "method", "path", "body", "example"),
    [pytest.param(*row, id=row[0]) for row in ANSWERS if path_of(row[2].partition("?")[0])
     and row[1].lower() in CONTRACT["paths"][path_of(row[2].partition("?")[0])]],
)  # fmt: skip
def test_an_answer_has_the_shape_of_the_document_s_example(
    client: Client, tmp_path: Path, why: str, method: str, path: str, body: str | None, example: str
) -> None:
    job = submit_waiting(client)
    path = path.replace("JOB", job)
    if "EXPORT" in path:
        made = client.post("/v1/export", json={"type": "jobs", "format": "csv"}).json()["export_id"]
        path = path.replace("EXPORT", made)
        eventually(lambda: client.get(path).json()["status"] != "processing", 60)
    headers = {"content-type": "application/json"} if body is not None else {}
    content = localize(body, job, tmp_path, client) if body is not None else None
    answer = client.request(method, path, token="admin", content=content, headers=headers)
    assert answer.status_code == (404 if "99999" in path else 201 if "201" in declared(method, path) else 200), (
        answer.text
    )
    shape = json.loads(example)
    assert has_shape(shape, answer.json()) == [], answer.text
    check_values(shape, answer)


def localize(body: str, job: str, folder: Path, client: Client) -> str:
    """The document's body with ids, files and names that are there."""
    script = folder / "simulation.sh"
    script.write_text("#!/bin/bash\ntrue\n")
    for given, real in {
        "12344": job, "12345": job, "12346": submit_waiting(client), "12347": "99999",
        "/home/alice/scripts/simulation.sh": str(script), "/home/alice": str(folder),
    }.items():  # fmt: skip
        body = body.replace(given, real)
    return json.dumps(json.loads(body))


def declared(method: str, path: str) -> set[str]:
    """The statuses that the contract has for a request."""
    return set(CONTRACT["paths"][path_of(path.partition("?")[0])][method.lower()]["responses"])


def check_values(example: Any, answer: httpx.Response) -> None:
    """What an example says in words is said in the same words."""
    said = answer.json()
    for key in ("message", "code"):
        for holder, expected in ((said, example), (said.get("error", {}), example.get("error", {}))):
            if key in expected:
                assert holder[key] == expected[key]
