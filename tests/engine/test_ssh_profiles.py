"""Profiles connected and tested without ssh: what is answered, what is written, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import ssh_profiles
from engine.server import Server
from slurm_shim.cluster import RemoteCluster
from slurm_shim.remote.commands import Check, RemoteSlurm
from slurm_shim.snapshot import Snapshot
from store.errors import NotFound
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous

PROFILES = """\
current: here
profiles:
  here: {description: the cluster of this machine}
  lab: {hostname: lab.example.com, username: me}
  alias: {ssh_host: gate}
"""
LOCAL = "SSH profile here: hostname or ssh_host is missing"
PASSED = {"error": None, "failed_step": None, "warnings": []}
STEPS = ["profile", "host", "port", "host_key", "login", "shell", "path", "slurm"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a local profile, which is current, and two that lead elsewhere."""
    write_files(tmp_path / "store", {"profiles.yaml": PROFILES})
    return tmp_path / "store"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What lets connections succeed, or fail at a step; it returns the labels that were connected."""

    def stand_in(failed: str | None = None, error: str | None = None) -> list[str]:
        labels: list[str] = []

        async def connect_cluster(cluster: RemoteCluster) -> Check:
            labels.append(cluster.label)
            return Check(failed, error)

        monkeypatch.setattr(RemoteCluster, "connect", connect_cluster)
        return labels

    return stand_in


def get_current(server: Server) -> str | None:
    """Get the name of the current profile, as the store has it."""
    return server.store.profiles.current


# --- connecting ------------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_profile_that_connects_becomes_the_current_one(root: Path, connect: Any) -> None:
    labels = connect()
    async with open_server(root) as server:
        answer = await ssh_profiles.connect_profile(server, "lab")
        assert [(step["name"], step["state"]) for step in answer.pop("steps")] == [(step, "passed") for step in STEPS]
        assert answer == {"connected": True, "profile_name": "lab", "hostname": "lab.example.com", **PASSED}
        assert get_current(server) == "lab" and labels == ["ssh:lab"]
        assert (await ssh_profiles.connect_profile(server, "alias"))["hostname"] == "gate"
        assert get_current(server) == "alias"
    async with open_server(root) as server:
        assert get_current(server) == "alias", "also after a restart"


@asynchronous
async def test_one_that_does_not_connect_changes_nothing(root: Path, connect: Any) -> None:
    connect("login", "Permission denied")
    async with open_server(root) as server:
        answer = await ssh_profiles.connect_profile(server, "lab")
        assert (answer["connected"], answer["failed_step"], answer["error"]) == (False, "login", "Permission denied")
        assert [step["state"] for step in answer["steps"]] == ["passed"] * 4 + ["failed"] + ["not reached"] * 3
        assert get_current(server) == "here"
    assert (root / "profiles.yaml").read_text() == PROFILES


@asynchronous
async def test_the_current_one_is_connected_without_a_write(root: Path, connect: Any) -> None:
    labels = connect()
    write_files(root, {"profiles.yaml": PROFILES.replace("current: here", "current: lab  # mine")})
    async with open_server(root) as server:
        before = (root / "profiles.yaml").stat()
        assert (await ssh_profiles.connect_profile(server, "lab"))["connected"]
        after = (root / "profiles.yaml").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert labels == ["ssh:lab"]


@asynchronous
async def test_a_profile_of_this_machine_is_not_connected(root: Path, connect: Any) -> None:
    labels = connect()
    async with open_server(root) as server:
        answer = await ssh_profiles.connect_profile(server, "here")
        assert (answer["connected"], answer["hostname"]) == (False, None)
        for found in (answer, await ssh_profiles.test_profile(server, "here")):
            assert (found["failed_step"], found["error"]) == ("profile", LOCAL)
    assert labels == []


@asynchronous
async def test_a_profile_that_does_not_exist_is_named(root: Path, connect: Any) -> None:
    connect()
    async with open_server(root) as server:
        for call in (ssh_profiles.connect_profile, ssh_profiles.test_profile):
            with pytest.raises(NotFound, match="Profile 'nope' not found"):
                await call(server, "nope")
        assert get_current(server) == "here"


# --- testing ---------------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_test_has_a_connection_of_its_own_and_changes_nothing(
    root: Path, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, logins = connect(), []

    def check_account(slurm: RemoteSlurm) -> Check:
        logins.append(slurm.connection.login.hostname)
        return Check(found={"slurm_version": "23.02", "user": "me2"})

    monkeypatch.setattr(ssh_profiles, "check_account", check_account)
    async with open_server(root) as server:
        answer = await ssh_profiles.test_profile(server, "lab")
        assert [step["name"] for step in answer.pop("steps")] == STEPS
        assert answer == {
            "ssh_connected": True, "slurm_available": True, "slurm_version": "23.02", "cluster": None,
            "hostname": "lab.example.com", "user": "me2", **PASSED,
        }  # fmt: skip
        assert get_current(server) == "here"
        assert server.clusters.find_socket("lab") is None, "it is not shared"
    assert (logins, labels) == (["lab.example.com"], [])


@asynchronous
async def test_a_login_that_ssh_cannot_be_given_is_an_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_login(_name: str, _profile: Any) -> None:
        raise ValueError("username cannot be used with ssh: '-l'")

    async with open_server(root) as server:
        monkeypatch.setattr(server.clusters, "make_connection", refuse_login)
        tested = await ssh_profiles.test_profile(server, "lab")
        assert (tested["ssh_connected"], tested["slurm_available"]) == (False, False)
        connected = await ssh_profiles.connect_profile(server, "lab")
        assert connected["connected"] is False
        assert connected["error"] == tested["error"] == "SSH profile lab: username cannot be used with ssh: '-l'"
        assert get_current(server) == "here"


# --- the clusters behind them ----------------------------------------------------------------------------------------


@asynchronous
async def test_the_cluster_of_this_machine_is_no_connection(root: Path) -> None:
    async with open_server(root, cluster=True) as server:
        status = ssh_profiles.get_status(server)
        assert (status["connected"], status["profile_name"], status["error"]) == (False, "here", LOCAL)
        (cluster,) = status["clusters"]
        assert (cluster["name"], cluster["in_force"], cluster["answers"]) == ("embedded", True, True)
        assert cluster["age_seconds"] >= 0 and status["age_seconds"] >= 0


@asynchronous
async def test_a_profile_is_connected_when_its_cluster_answers(
    root: Path, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    async with open_server(root) as server:
        await ssh_profiles.connect_profile(server, "lab")
        status = ssh_profiles.get_status(server)
        assert (status["connected"], status["profile_name"], status["age_seconds"]) == (False, "lab", None)
        monkeypatch.setattr(RemoteCluster, "is_answering", True)
        monkeypatch.setattr(Snapshot, "describe_problem", lambda *_given: None)
        status = ssh_profiles.get_status(server)
        assert status["connected"]
        assert [(row["name"], row["in_force"], row["answers"]) for row in status["clusters"]] == [
            ("ssh:lab", True, True)
        ]
