"""Users, QOS and reservations over the S9S API, on both clusters."""

from __future__ import annotations

import getpass
from collections.abc import Iterator

import pytest

from slurm_shim.errors import SlurmUnreachable
from tests.app_client import Client
from tests.waiting import eventually

ME = getpass.getuser()
USER_KEYS = [
    "username", "default_account", "admin_level", "jobs_running", "jobs_pending", "cpu_time_used", "associations",
]  # fmt: skip


def test_users_of_accounting_with_their_jobs(client: Client) -> None:
    array = client.submit("#!/bin/bash\n#SBATCH --hold --array=1-5 -o /dev/null\ntrue\n")
    found = eventually(lambda: (seen := client.get("/v1/users").json())["users"] and seen)
    assert (found["total"], found["accounting"]) == (len(found["users"]), True)
    me = next(user for user in found["users"] if user["username"] == ME)
    assert list(me) == USER_KEYS
    assert me["jobs_pending"] >= 5, "each task of an array counts"
    assert {"account": ME, "partition": None, "qos": ["normal"]} in me["associations"]
    assert (me["default_account"], me["admin_level"]) == (ME, "admin" if ME == "root" else "none")
    assert me["cpu_time_used"].endswith("h")
    client.delete(f"/v1/jobs/{array}")


def test_one_user_with_limits_and_recent_jobs(client: Client) -> None:
    job_id = str(client.submit("#!/bin/bash\n#SBATCH --hold\ntrue\n"))
    eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "PENDING")
    user = client.get(f"/v1/users/{ME}").json()
    assert list(user) == [*USER_KEYS, "uid", "limits", "recent_jobs"]
    assert user["limits"] == {"max_jobs": None, "max_submit": None, "max_wall": None, "max_tres": {}}
    assert user["recent_jobs"][0]["job_id"] == job_id and len(user["recent_jobs"]) <= 10
    assert user["uid"] is not None
    client.delete(f"/v1/jobs/{job_id}")


def test_a_window_of_the_users(client: Client) -> None:
    found = client.get("/v1/users", params={"offset": 1000}).json()
    assert (found["users"], found["total"] >= 1) == ([], True)


def test_qos(client: Client) -> None:
    found = client.get("/v1/qos").json()
    normal = next(row for row in found["qos"] if row["name"] == "normal")
    assert (normal["priority"], normal["preempt"], normal["preempt_mode"]) == (0, [], "cluster")
    assert (normal["grace_time"], normal["usage_factor"], normal["flags"]) == ("0:00:00", 1.0, [])
    assert normal["limits"]["max_wall"] is None and normal["limits"]["max_tres_per_user"] == {}
    detail = client.get("/v1/qos/normal").json()
    assert {key: detail[key] for key in normal} == normal and detail["jobs_running"] >= 0


def test_there_are_no_reservations(client: Client) -> None:
    assert client.get("/v1/reservations").json() == {"reservations": [], "total": 0}


@pytest.mark.parametrize("path", ["users/nobody-is-called-so", "qos/none-is-called-so", "reservations/none"])
def test_what_is_not_there(client: Client, path: str) -> None:
    answer = client.get(f"/v1/{path}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "RESOURCE_NOT_FOUND")
    assert error["details"]["resource_id"] == path.partition("/")[2]


@pytest.mark.parametrize("path", ["users", "users/root", "qos", "qos/normal", "partitions", "reservations", "nodes"])
def test_reading_needs_credentials(client: Client, path: str) -> None:
    assert client.get(f"/v1/{path}", token=None).status_code == 401


@pytest.fixture
def no_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let accounting not answer, and nothing be known of it."""
    inventory = client.server.cluster.inventory

    async def fail() -> None:
        raise SlurmUnreachable("sacctmgr", "sacctmgr: error: Problem talking to the database: Connection refused")

    for cached in (inventory.associations, inventory.qos, inventory.cpu_time):
        monkeypatch.setattr(cached, "_ask", fail)
        monkeypatch.setattr(cached, "_answer", None)
    yield
    for cached in (inventory.associations, inventory.qos, inventory.cpu_time):
        cached._answer = None


@pytest.mark.parametrize("path", ["users", f"users/{ME}", "qos", "qos/normal"])
def test_a_database_that_is_down_is_no_empty_list(client: Client, no_database: None, path: str) -> None:
    answer = client.get(f"/v1/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SLURM_ERROR")
    assert "Connection refused" in answer.json()["error"]["message"] and answer.headers["retry-after"]
    assert client.get("/v1/nodes").status_code == client.get("/v1/partitions").status_code == 200


def test_without_accounting_users_are_those_of_the_queue(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = client.server.cluster.inventory
    job_id = client.submit("#!/bin/bash\n#SBATCH --hold\ntrue\n")
    eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "PENDING")

    async def find_none() -> None:
        return None

    with monkeypatch.context() as patched:
        for cached in (inventory.associations, inventory.qos, inventory.cpu_time):
            patched.setattr(cached, "_ask", find_none)
            patched.setattr(cached, "_answer", None)
        found = client.get("/v1/users").json()
        assert found["accounting"] is False
        me = next(user for user in found["users"] if user["username"] == ME)
        assert me["jobs_pending"] >= 1
        assert (me["associations"], me["default_account"], me["admin_level"], me["cpu_time_used"]) == (
            *([], None, None),
            None,
        )
        assert client.get(f"/v1/users/{ME}").json()["limits"]["max_jobs"] is None
        assert client.get("/v1/qos").json() == {"qos": [], "total": 0}
    for cached in (inventory.associations, inventory.qos, inventory.cpu_time):
        cached._answer = None
    client.delete(f"/v1/jobs/{job_id}")
