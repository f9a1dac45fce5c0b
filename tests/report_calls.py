"""Calls of the Status API, as jobs and dashboards make them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.app_client import Client

JOBS = "/srtslurm/api/jobs"


def put(client: Client, path: str, json: Any, **more: Any) -> httpx.Response:
    """PUT."""
    answer: httpx.Response = client.request("PUT", path, json=json, **more)
    return answer


def post(client: Client, job_id: str, **more: Any) -> httpx.Response:
    """The answer to a submission that is told."""
    body = {"job_id": job_id, "job_name": "bench", "submitted_at": "2026-03-30T12:00:00.000000Z"}
    return client.post(JOBS, {**body, **more})


def page(client: Client, **query: Any) -> list[str]:
    """The ids on a page of the list."""
    return [job["job_id"] for job in client.get(JOBS, params=query).json()["jobs"]]
