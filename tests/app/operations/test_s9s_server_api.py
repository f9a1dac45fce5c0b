"""State and health of the server over the S9S API."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

from store.contract_export import export_family
from tests.app_client import Client
from tests.contract_judge import CONTRACT
from tests.waiting import eventually


def test_the_state_tells_who_calls_and_what_slurm_is(client: Client) -> None:
    # On a busy machine SLURM may not answer in time at first.
    found: Any = eventually(lambda: (seen := client.get("/v1/status", token="read").json())["status"] == "ok" and seen)
    assert (found["api_version"], found["user"]["scopes"]) == ("v1", ["read"])
    assert found["slurm"]["controller"] == "UP" and found["slurm"]["error"] is None
    assert found["slurm"]["version"] and found["slurm"]["age_seconds"] is not None


def test_a_server_with_a_problem_is_degraded_and_answers(client: Client) -> None:
    client.server.store.note_problems("jobs", {"jobs/x.json": "it is wrong"})
    answer = client.get("/v1/status", token="read")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    client.server.store.note_problems("jobs", {})


@pytest.mark.parametrize("path", ["/v1/health", "/api/v1/health"])
def test_health_needs_no_credentials(client: Client, path: str) -> None:
    assert client.get(path, token=None).json()["status"] == "healthy"


@pytest.mark.parametrize("root", ["/v1", "/api/v1"])
def test_the_api_is_served_as_openapi_3_0(client: Client, root: str) -> None:
    answer = client.get(f"{root}/openapi.json", token=None)
    document = answer.json()
    assert document == export_family(CONTRACT, "s9s", ("/api/v1", "/v1"))
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []
    known = {"if-none-match": answer.headers["etag"]}
    assert client.get(f"{root}/openapi.json", token=None, headers=known).status_code == 304
    for accept, kind in [("*/*", "application/yaml"), ("text/yaml", "text/yaml")]:
        written = client.get(f"{root}/openapi.yaml", token=None, headers={"accept": accept})
        assert written.headers["content-type"] == kind
        assert yaml.safe_load(written.content) == document
