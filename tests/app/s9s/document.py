"""The S9S API Documentation as data: its commands, requests, answers and names, as they stand there."""

from __future__ import annotations

import re

# The endpoints in the document's order, each with the parameters of its query.
ENDPOINTS = {
    "POST /oauth/token": "",
    "GET /v1/jobs": "state user partition limit offset sort order",
    "GET /v1/jobs/{job_id}": "",
    "POST /v1/jobs": "",
    "DELETE /v1/jobs/{job_id}": "signal force",
    "PUT /v1/jobs/{job_id}/hold": "",
    "PUT /v1/jobs/{job_id}/release": "",
    "PUT /v1/jobs/{job_id}/priority": "",
    "GET /v1/jobs/{job_id}/output": "lines follow",
    "GET /v1/jobs/{job_id}/error": "lines follow",
    "GET /v1/nodes": "state partition features available",
    "GET /v1/nodes/{node_name}": "",
    "PUT /v1/nodes/{node_name}/drain": "",
    "PUT /v1/nodes/{node_name}/resume": "",
    "PUT /v1/nodes/{node_name}/state": "",
    "GET /v1/users": "",
    "GET /v1/users/{username}": "",
    "GET /v1/partitions": "",
    "GET /v1/metrics/cluster": "",
    "GET /v1/metrics/performance": "start_time end_time interval",
    "GET /v1/metrics/efficiency": "user partition min_runtime",
    "GET /v1/search": "q type limit",
    "POST /v1/export": "",
    "GET /v1/exports/{export_id}": "",
    "GET /v1/exports/{export_id}/download": "",
    "POST /v1/reports": "",
    "GET /v1/reports": "",
    "GET /v1/ws": "",
    "POST /v1/jobs/bulk": "",
    "GET /v1/openapi.json": "",
    "GET /v1/openapi.yaml": "",
    "GET /v1/status": "",  # of the first cURL example under Testing
}

# The command, the status that it gets, and what its answer has.
CURL: list[tuple[str, str, int, str]] = [
    ("a token", 'curl -H "Authorization: Bearer YOUR_TOKEN" \\\nhttps://api.example.com/v1/jobs', 200, "jobs"),
    ("an API key", 'curl -H "X-API-Key: YOUR_API_KEY" \\\nhttps://api.example.com/v1/jobs', 200, "jobs"),
    (
        "get an access token",
        'curl -X POST https://api.example.com/oauth/token \\\n-H "Content-Type: application/json" \\\n-d \'{ '
        '"client_id": "your_client_id", "client_secret": "your_client_secret", "grant_type": "client_credentials" }\'',
        200,
        "access_token token_type expires_in",
    ),
    (
        "use the access token",
        'curl -H "Authorization: Bearer ACCESS_TOKEN" \\\nhttps://api.example.com/v1/jobs',
        200,
        "jobs",
    ),
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

_JOB = """{ "job_id": "12345", "job_name": "simulation_run", "user": "alice", "account": "research", "partition": "gpu",
    "state": "RUNNING", "submit_time": "2023-12-15T10:30:00Z", "start_time": "2023-12-15T10:32:15Z", "end_time": null,
    "elapsed_time": "2:15:30", "time_limit": "4:00:00", "nodes": ["node001", "node002"], "node_count": 2,
    "cpu_count": 32, "memory": "128GB", "gpus": 4, "priority": 1000, "qos": "normal",
    "working_directory": "/home/alice/simulations","""

# What is sent where (JOB, EXPORT and NODE are filled in), and the answer: {} where only the request stands there.
EXAMPLES: list[tuple[str, str, str, str | None, str]] = [
    (
        "the list of jobs", "GET /v1/jobs", "/v1/jobs?limit=50", None,
        '{ "jobs": [ ' + _JOB + """ "standard_output": "/home/alice/logs/job_12345.out",
        "standard_error": "/home/alice/logs/job_12345.err", "exit_code": null, "reason": null } ],
        "total": 156, "limit": 50, "offset": 0, "has_more": true }""",
    ),
    (
        "the details of a job", "GET /v1/jobs/{job_id}", "/v1/jobs/JOB", None,
        _JOB + """ "command": "/home/alice/scripts/run_simulation.sh", "environment": { "PATH":
        "/usr/local/bin:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "0,1,2,3" }, "resources": { "cpu_efficiency": 0.85,
        "memory_efficiency": 0.67, "gpu_utilization": 0.92, "max_memory_used": "89GB", "max_cpu_time": "127.5h" },
        "dependencies": [], "array_job_id": null, "array_task_id": null }""",
    ),
    (
        "a submission with everything", "POST /v1/jobs", "/v1/jobs",
        """{ "job_name": "my_simulation", "script": "/home/alice/scripts/simulation.sh", "partition": "gpu", "nodes": 2,
        "cpus_per_node": 16, "memory": "64GB", "gpus": 2, "time_limit": "4:00:00", "account": "research",
        "qos": "normal", "working_directory": "/home/alice/simulations", "standard_output": "/home/alice/logs/%j.out",
        "standard_error": "/home/alice/logs/%j.err", "environment": { "CUDA_VISIBLE_DEVICES": "0,1" },
        "dependencies": [ { "type": "afterok", "job_id": "12344" } ] }""",
        '{ "job_id": "12346", "state": "PENDING", "message": "Job submitted successfully" }',
    ),
    (
        "a hold with its reason", "PUT /v1/jobs/{job_id}/hold", "/v1/jobs/JOB/hold",
        '{ "reason": "Debugging required" }', "{}",
    ),
    (
        "a new priority", "PUT /v1/jobs/{job_id}/priority", "/v1/jobs/JOB/priority", '{ "priority": 1500 }', "{}",
    ),
    (
        "a cancelled job", "DELETE /v1/jobs/{job_id}", "/v1/jobs/JOB?force=true", None,
        '{ "job_id": "12345", "state": "CANCELLED", "message": "Job cancelled successfully" }',
    ),
    (
        "the list of nodes", "GET /v1/nodes", "/v1/nodes", None,
        """{ "nodes": [ { "node_name": "node001", "state": "MIXED", "partitions": ["gpu", "normal"], "cpu_total": 32,
        "cpu_allocated": 16, "cpu_load": 14.2, "memory_total": "128GB", "memory_allocated": "64GB",
        "memory_free": "58GB", "gpus_total": 4, "gpus_allocated": 2, "features": ["gpu", "cuda", "infiniband"],
        "architecture": "x86_64",
        "os": "Linux 5.4.0-74-generic", "boot_time": "2023-12-01T08:30:00Z", "last_busy": "2023-12-15T12:45:30Z",
        "jobs": ["12345", "12347"], "reason": null } ], "total": 256 }""",
    ),
    (
        "a drain with a time-out", "PUT /v1/nodes/{node_name}/drain", "/v1/nodes/NODE/drain",
        '{ "reason": "Hardware maintenance", "timeout": "2h" }', "{}",
    ),
    (
        "a new state of a node", "PUT /v1/nodes/{node_name}/state", "/v1/nodes/NODE/state",
        '{ "state": "DOWN", "reason": "Hardware failure" }', "{}",
    ),
    (
        "the list of users", "GET /v1/users", "/v1/users", None,
        """{ "users": [ { "username": "alice", "default_account": "research", "admin_level": "none", "jobs_running": 15,
        "jobs_pending": 3, "cpu_time_used": "1247h", "associations": [ { "account": "research", "partition": "gpu",
        "qos": ["normal", "high"] } ] } ] }""",
    ),
    (
        "the list of partitions", "GET /v1/partitions", "/v1/partitions", None,
        """{ "partitions": [ { "name": "gpu", "state": "UP", "nodes_total": 32, "nodes_idle": 8, "nodes_allocated": 20,
        "nodes_mixed": 4, "cpus_total": 1024, "cpus_allocated": 756, "default_time": "2:00:00",
        "max_time": "7-00:00:00", "max_nodes": 16, "priority": 1000, "qos": "normal",
        "features": ["gpu", "cuda"] } ] }""",
    ),
    (
        "the metrics of the cluster", "GET /v1/metrics/cluster", "/v1/metrics/cluster", None,
        """{ "timestamp": "2023-12-15T14:30:00Z", "cluster_utilization": { "cpu_percent": 78.5, "memory_percent": 65.2,
        "gpu_percent": 84.7 }, "job_counts": { "RUNNING": 1247, "PENDING": 156, "COMPLETED": 45672, "FAILED": 234,
        "CANCELLED": 89 }, "node_counts": { "IDLE": 45, "MIXED": 89, "ALLOCATED": 112, "DOWN": 3, "DRAIN": 2 },
        "queue_stats": { "avg_wait_time": "12m 34s", "max_wait_time": "2h 15m", "throughput": 145.7 } }""",
    ),
    (
        "the metrics over time", "GET /v1/metrics/performance", "/v1/metrics/performance?interval=1h", None,
        """{ "metrics": [ { "timestamp": "2023-12-15T14:00:00Z", "cpu_utilization": 76.8, "memory_utilization": 63.5,
        "gpu_utilization": 82.1, "jobs_submitted": 45, "jobs_completed": 38, "avg_queue_time": 720 } ],
        "interval": "1h", "count": 24 }""",
    ),
    (
        "a search", "GET /v1/search", "/v1/search?q=waits&limit=20", None,
        """{ "results": [ { "type": "job", "id": "12345", "title": "alice's GPU simulation", "description":
        "Running on gpu partition", "url": "/v1/jobs/12345", "score": 0.95 }, { "type": "node", "id": "gpu001",
        "title": "GPU Node 001", "description": "4x NVIDIA A100 GPUs", "url": "/v1/nodes/gpu001", "score": 0.82 } ],
        "total": 15, "query_time": 0.045 }""",
    ),
    (
        "an export", "POST /v1/export", "/v1/export",
        """{ "type": "jobs", "format": "csv", "filter": { "state": "COMPLETED", "user": "alice",
        "start_time": "2023-12-01T00:00:00Z", "end_time": "2023-12-31T23:59:59Z" },
        "fields": ["job_id", "job_name", "user", "state", "runtime"], "options": { "include_headers": true,
        "delimiter": ",", "filename": "alice_december_jobs.csv" } }""",
        """{ "export_id": "exp_abc123", "status": "processing", "download_url": null,
        "created_at": "2023-12-15T14:30:00Z", "expires_at": "2023-12-16T14:30:00Z" }""",
    ),
    (
        "the state of an export", "GET /v1/exports/{export_id}", "/v1/exports/EXPORT", None,
        """{ "export_id": "exp_abc123", "status": "completed",
        "download_url": "https://api.example.com/v1/exports/exp_abc123/download", "file_size": 2048576,
        "record_count": 1247, "created_at": "2023-12-15T14:30:00Z", "completed_at": "2023-12-15T14:32:15Z",
        "expires_at": "2023-12-16T14:30:00Z" }""",
    ),
    (
        "a report", "POST /v1/reports", "/v1/reports",
        """{ "type": "utilization", "format": "pdf", "parameters": { "period": "month", "start_date": "2023-12-01",
        "end_date": "2023-12-31", "partitions": ["gpu", "cpu"], "include_charts": true },
        "delivery": { "method": "email", "email": "admin@example.com" } }""",
        "{}",
    ),
    (
        "a bulk operation", "POST /v1/jobs/bulk", "/v1/jobs/bulk",
        """{ "action": "cancel", "job_ids": ["12345", "12346", "12347"], "options": { "force": true,
        "reason": "Emergency maintenance" } }""",
        """{ "batch_id": "batch_xyz789", "results": [ { "job_id": "12345", "status": "success", "message":
        "Job cancelled" }, { "job_id": "12346", "status": "error", "message": "Job already completed" } ],
        "summary": { "total": 3, "successful": 2, "failed": 1 } }""",
    ),
]  # fmt: skip
ERROR = """{ "error": { "code": "RESOURCE_NOT_FOUND", "message": "Job 99999 not found", "details":
    { "resource_type": "job", "resource_id": "99999" }, "request_id": "req_abc123",
    "timestamp": "2023-12-15T14:30:00Z" } }"""
ERROR_CODES = (
    "INVALID_REQUEST", "AUTHENTICATION_FAILED", "PERMISSION_DENIED", "RESOURCE_NOT_FOUND", "RESOURCE_CONFLICT",
    "RATE_LIMIT_EXCEEDED", "VALIDATION_ERROR", "SLURM_ERROR",
)  # fmt: skip
STATUSES = (200, 201, 400, 401, 403, 404, 409, 429, 500, 503)
SUBSCRIPTION = '{ "action": "subscribe", "channel": "jobs", "filter": { "user": "alice", "state": "RUNNING" } }'
UPDATE = """{ "channel": "jobs", "action": "update", "resource_id": "12345", "timestamp": "2023-12-15T14:35:00Z",
    "data": { "job_id": "12345", "state": "COMPLETED", "end_time": "2023-12-15T14:34:45Z", "exit_code": 0 } }"""
CHANNELS = ("jobs", "nodes", "metrics", "alerts", "queue")
RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Window")

SDK = {
    "python": """\
from s9s_client import S9SClient
# Initialize client
client = S9SClient( base_url="https://api.example.com", token="your_token_here" )
# List jobs
jobs = client.jobs.list(state="RUNNING", user="alice")
# Submit job
job = client.jobs.submit( name="test_job", script="/home/alice/test.sh", nodes=2, cpus_per_node=16 )
# Get job details
job_details = client.jobs.get(job.job_id)
# Cancel job
client.jobs.cancel(job.job_id)
""",
    "js": """\
import { S9SClient } from '@s9s/client';
const client = new S9SClient({ baseUrl: 'https://api.example.com', token: 'your_token_here' });
// List jobs
const jobs = await client.jobs.list({ state: 'RUNNING', user: 'alice' });
// Submit job
const job = await client.jobs.submit({ name: 'test_job', script: '/home/alice/test.sh', nodes: 2, cpusPerNode: 16 });
""",
    "go": """\
package main
import ( "github.com/s9s/go-client" )
func main() { client := s9s.NewClient(&s9s.Config{ BaseURL: "https://api.example.com", Token: "your_token_here", })
// List jobs
jobs, err := client.Jobs.List(&s9s.JobListOptions{ State: "RUNNING", User: "alice", })
// Submit job
job, err := client.Jobs.Submit(&s9s.JobSubmitRequest{ Name: "test_job", Script: "/home/alice/test.sh", Nodes: 2,
CPUsPerNode: 16, }) }
""",
}


def squeeze(text: str) -> str:
    """The text without spaces and line ends, in which the document's examples are broken anyhow."""
    return re.sub(r"\s+", "", text)
