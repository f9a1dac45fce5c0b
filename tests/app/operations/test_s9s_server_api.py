"""State and health of the server over the S9S API."""

from __future__ import annotations

import pytest

from tests.app_client import Client


def test_the_state_tells_who_calls_and_what_slurm_is(client: Client) -> None:
    found = client.get("/v1/status", token="read").json()
    assert (found["status"], found["api_version"], found["user"]["scopes"]) == ("ok", "v1", ["read"])
    assert found["slurm"]["controller"] == "UP" and found["slurm"]["error"] is None
    assert found["slurm"]["version"] and found["slurm"]["age_seconds"] is not None


@pytest.mark.parametrize("path", ["/v1/health", "/api/v1/health"])
def test_health_needs_no_credentials(client: Client, path: str) -> None:
    assert client.get(path, token=None).json()["status"] == "healthy"
