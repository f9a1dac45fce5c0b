"""Profiles connected and tested without ssh: what is answered, what is written, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import ssh_profiles
from engine.server import Server
from slurm_shim.cluster import RemoteCluster
from slurm_shim.errors import SlurmUnreachable
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
LOCAL = "the profile has neither hostname nor ssh_host: it is the cluster here"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a local profile, which is current, and two that lead elsewhere."""
    write_files(tmp_path / "store", {"profiles.yaml": PROFILES})
    return tmp_path / "store"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What lets connections succeed, or fail with an error; it returns the labels that were connected."""

    def stand_in(error: Exception | None = None) -> list[str]:
        labels: list[str] = []

        async def connect_cluster(cluster: RemoteCluster) -> None:
            labels.append(cluster.label)
            if error is not None:
                raise error

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
        assert answer == {"connected": True, "profile_name": "lab", "hostname": "lab.example.com", "error": None}
        assert get_current(server) == "lab" and labels == ["ssh:lab"]
        assert (await ssh_profiles.connect_profile(server, "alias"))["hostname"] == "gate"
        assert get_current(server) == "alias"
    async with open_server(root) as server:
        assert get_current(server) == "alias", "also after a restart"


@asynchronous
async def test_one_that_does_not_connect_changes_nothing(root: Path, connect: Any) -> None:
    connect(SlurmUnreachable("ssh", "Permission denied"))
    async with open_server(root) as server:
        answer = await ssh_profiles.connect_profile(server, "lab")
        assert (answer["connected"], answer["error"]) == (False, "ssh: Permission denied")
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
        assert answer == {"connected": False, "profile_name": "here", "hostname": None, "error": LOCAL}
        assert (await ssh_profiles.test_profile(server, "here"))["error"] == LOCAL
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

    def probe_account(connection: Any) -> dict[str, Any]:
        logins.append(connection.login.hostname)
        return {"ssh_connected": True, "slurm_available": True, "slurm_version": "23.02", "user": "me2", "error": None}

    monkeypatch.setattr(ssh_profiles, "probe_account", probe_account)
    async with open_server(root) as server:
        assert await ssh_profiles.test_profile(server, "lab") == {
            "ssh_connected": True, "slurm_available": True, "slurm_version": "23.02", "cluster": None,
            "hostname": "lab.example.com", "user": "me2", "error": None,
        }  # fmt: skip
        assert get_current(server) == "here"
        assert server.clusters.find_socket("lab") is None, "it is not shared"
    assert (logins, labels) == (["lab.example.com"], [])


@asynchronous
async def test_a_login_that_ssh_cannot_be_given_is_an_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_login(_profile: Any) -> None:
        raise ValueError("username cannot be used with ssh: '-l'")

    async with open_server(root) as server:
        monkeypatch.setattr(server.clusters, "make_connection", refuse_login)
        tested = await ssh_profiles.test_profile(server, "lab")
        assert (tested["ssh_connected"], tested["slurm_available"]) == (False, False)
        assert tested["error"] == "username cannot be used with ssh: '-l'"
        connected = await ssh_profiles.connect_profile(server, "lab")
        assert (connected["connected"], connected["error"]) == (False, "username cannot be used with ssh: '-l'")
        assert get_current(server) == "here"


# --- the clusters behind them ----------------------------------------------------------------------------------------


@asynchronous
async def test_the_cluster_of_this_machine_is_no_connection(root: Path) -> None:
    async with open_server(root, cluster=True) as server:
        status = ssh_profiles.get_status(server)
        assert (status["connected"], status["profile_name"], status["error"]) == (False, "here", None)
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
        status = ssh_profiles.get_status(server)
        assert status["connected"]
        assert [(row["name"], row["in_force"], row["answers"]) for row in status["clusters"]] == [
            ("ssh:lab", True, True)
        ]
