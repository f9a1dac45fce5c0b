"""Alerts over the S9S API."""

from __future__ import annotations

from typing import Any

import pytest

from engine.monitoring import alerts
from tests.app_client import Client


@pytest.fixture
def alert(client: Client) -> dict[str, Any]:
    """An alert that is there because a file of the store is wrong."""
    client.server.store.note_problems("jobs", {"jobs/x.json": "it is wrong"})
    client.run(alerts.check_alerts(client.server))
    rows = client.get("/v1/alerts", params={"resolved": "false", "type": "System"}).json()["alerts"]
    return next(row for row in rows if row["title"] == "Files that are wrong")


def test_an_alert_is_listed_acknowledged_and_resolved(client: Client, alert: dict[str, Any]) -> None:
    path = f"/api/v1/alerts/{alert['alert_id']}"
    seen = client.request("PUT", f"{path}/acknowledge").json()
    assert seen["acknowledged"] and seen["acknowledged_by"] and not seen["resolved"]
    rows = client.get("/v1/alerts", params={"acknowledged": "true", "severity": "warning,critical"}).json()["alerts"]
    assert alert["alert_id"] in [row["alert_id"] for row in rows]
    assert client.request("PUT", f"{path}/resolve").json()["resolved"]
    again = client.request("PUT", f"{path}/acknowledge")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "RESOURCE_CONFLICT")
    client.server.store.note_problems("jobs", {})
    client.run(alerts.check_alerts(client.server))


@pytest.mark.parametrize(
    ("method", "path", "token", "status", "code"),
    [
        ("GET", "/v1/alerts?severity=bad", "read", 400, "VALIDATION_ERROR"),
        ("GET", "/v1/alerts?resolved=perhaps", "read", 400, "VALIDATION_ERROR"),
        ("PUT", "/v1/alerts/alert_0/acknowledge", "write", 404, "RESOURCE_NOT_FOUND"),
        ("PUT", "/v1/alerts/alert_0/resolve", "read", 403, "PERMISSION_DENIED"),
    ],
)
def test_refusals(client: Client, method: str, path: str, token: str, status: int, code: str) -> None:
    answer = client.request(method, path, token=token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
