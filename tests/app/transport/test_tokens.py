"""Tokens made, listed and revoked over HTTP, and the overview with its queue."""

from __future__ import annotations

from tests.app_client import Client

NEW = {"kind": "token", "name": "laptop", "scopes": ["read"], "expires": "30d"}


def test_a_token_counts_from_its_answer_until_it_is_revoked(client: Client) -> None:
    made = client.post("/api/tokens", NEW)
    assert made.status_code == 201 and made.headers["cache-control"] == "no-store"
    secret = made.json()["secret"]
    header = {"authorization": f"Bearer {secret}"}
    assert client.get("/api/session", token=None, headers=header).json()["user"] == "laptop"
    rows = client.get("/api/tokens", token="admin").json()
    (row,) = [row for row in rows if row["name"] == "laptop"]
    assert row == {key: value for key, value in made.json().items() if key != "secret"} and secret not in str(rows)
    assert client.post("/api/tokens", NEW).status_code == 409
    assert client.delete("/api/tokens/token/laptop").status_code == 204
    assert client.get("/api/session", token=None, headers=header).status_code == 401
    assert client.delete("/api/tokens/token/laptop").status_code == 404


def test_what_no_entry_can_be_is_refused(client: Client) -> None:
    for wrong in ({"name": "-x"}, {"scopes": ["all"]}, {"expires": "soon"}, {"expires": "2001-01-01"}, {"kind": "key"}):
        assert client.post("/api/tokens", NEW | wrong).status_code == 422, wrong


def test_only_who_may_do_all_may_look(client: Client) -> None:
    for call in (client.get("/api/tokens", token="write"), client.post("/api/tokens", NEW, token="write")):
        assert call.status_code == 403
    assert client.delete("/api/tokens/token/read", token="write").status_code == 403


def test_a_token_does_not_end_itself(client: Client) -> None:
    assert client.delete("/api/tokens/token/admin", token="admin").status_code == 409
    assert client.get("/api/tokens", token="admin").status_code == 200


def test_the_queue_stands_by_partition_and_state(client: Client) -> None:
    held = client.post("/api/v1/jobs", {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}).json()
    found = client.get("/api/overview").json()
    assert found["way"] in ("embedded", "local")
    assert [row["jobs"] for row in found["queue"] if row["state"] == "PENDING"] == [1]
    client.delete(f"/api/v1/jobs/{held['job_id']}")
