"""Drains over a restart of the server, refusals to an ordinary user, and accounts of slurmdbd, on whole clusters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from slurm_shim.commands import Slurm
from slurm_shim.errors import SlurmDenied, make_error
from slurm_shim.inventory import questions
from tests.app_server import Server
from tests.cluster.real import Cluster
from tests.waiting import eventually


@pytest.fixture
def node(server: Server) -> Iterator[str]:
    """A node that is in service, and is so again afterwards."""
    name = eventually(lambda: (seen := list_nodes(server)) and seen[-1]["node_name"])
    eventually(lambda: find_node(server, name)["available"])
    yield str(name)
    if find_node(server, str(name))["state"] != "IDLE":
        server.http.put(f"/api/v1/nodes/{name}/resume")


def list_nodes(server: Server) -> list[dict[str, Any]]:
    """All nodes; none before SLURM has answered."""
    found: list[dict[str, Any]] = server.http.get("/api/v1/nodes").json().get("nodes", [])
    return found


def find_node(server: Server, name: Any) -> dict[str, Any]:
    """One node."""
    found: dict[str, Any] = server.http.get(f"/api/v1/nodes/{name}").json()
    return found


def test_a_node_is_given_back_after_a_restart(server: Server, node: str) -> None:
    body = {"reason": "Hardware maintenance", "timeout": "2s"}
    assert server.http.put(f"/api/v1/nodes/{node}/drain", json=body).json()["state"] == "DRAIN"
    server.end(signal.SIGKILL)
    server.start()
    eventually(lambda: (seen := find_node(server, node)).get("state") == "IDLE" and seen["reason"] is None)


@pytest.mark.slurm
def test_an_ordinary_user_may_not_change_nodes(real_slurm: Cluster) -> None:
    slurm = Slurm(os.environ["PATH"], str(real_slurm.conf))

    def run_as_nobody(argv: list[str]) -> str:
        done = real_slurm.run(
            "runuser", "-u", "nobody", "--", "env", f"SLURM_CONF={real_slurm.conf}", *argv, check=False
        )
        if done.returncode:
            raise make_error(argv[0], done.returncode, done.stderr)
        return done.stdout

    for state, reason in (("DRAIN", "x"), ("DOWN", "x"), ("RESUME", None)):
        with pytest.raises(SlurmDenied, match="Invalid user id"):
            questions.change_nodes(run_as_nobody, ["node01"], state, reason)
    assert questions.read_nodes(slurm.ask, ["node01"])[0]["flags"] in ([], ["NOT_RESPONDING"])


@pytest.mark.slurm
def test_accounts_of_slurmdbd(real_slurm: Cluster) -> None:
    slurm = Slurm(os.environ["PATH"], str(real_slurm.conf))
    real_slurm.run("sacctmgr", "-i", "add", "account", "physics", "Description=x", "Organization=y")
    limits = ("maxjobs=4", "maxsubmit=10", "maxwall=2:00:00", "maxtres=cpu=8", "partition=gpu")
    real_slurm.run("sacctmgr", "-i", "add", "user", "games", "account=physics", *limits)
    try:
        rows = [row for row in questions.list_associations(slurm.ask) if row["user"] == "games"]
        (row,) = [row for row in rows if row["account"] == "physics"]
        assert (row["partition"], row["max_jobs"], row["max_submit_jobs"], row["max_wall_s"], row["max_tres"]) == (
            *("gpu", 4, 10, 7200),
            {"cpu": "8"},
        )
        assert "normal" in {row["name"] for row in questions.list_qos(slurm.ask)}
        assert questions.sum_cpu_time(slurm.ask, 86_400) is not None
    finally:
        real_slurm.run("sacctmgr", "-i", "delete", "user", "games", "account=physics", check=False)
        real_slurm.run("sacctmgr", "-i", "delete", "account", "physics", check=False)
