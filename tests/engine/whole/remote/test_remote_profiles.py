"""Profiles that lead to a cluster behind SSH: how often it is asked, and what is wrong with one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_client import Client
from tests.app_server import free_port
from tests.cluster.beyond import Beyond
from tests.engine.whole.remote.machines import await_clusters, write_profiles
from tests.waiting import eventually

pytestmark = pytest.mark.ssh


# --- how often the other machine is asked ----------------------------------------------------------------------------


def test_readers_cost_one_command_per_interval(client: Client, beyond: Beyond, monkeypatch: pytest.MonkeyPatch) -> None:
    await_clusters(client)
    job_id = client.submit("#!/bin/bash\nsleep 60\n")
    snapshot, connection = client.server.cluster.snapshot, client.server.cluster.connection
    snapshot.min_s = 3.0
    client.run(snapshot.refresh())
    asked: list[str] = []
    run_block = connection.run_block
    monkeypatch.setattr(connection, "run_block", lambda *given: asked.append(given[1]) or run_block(*given))
    before, began, polls = beyond.calls(), snapshot._now(), snapshot._polls
    for _ in range(100):
        assert client.get("/api/jobs").status_code == client.get(f"/api/jobs/{job_id}").status_code == 200
    allowed = 1 + (snapshot._now() - began) / 3.0
    made = beyond.calls() - before
    assert len(asked) <= allowed and set(asked) <= {"squeue"}, "nodes and partitions come with the queue"
    assert made["squeue"] <= allowed and set(made) <= {"squeue", "scontrol"}, made
    client.run(snapshot.refresh())
    assert snapshot._polls > polls and snapshot.nodes and snapshot.partitions and snapshot.nodes_error is None
    client.delete(f"/api/jobs/{job_id}")


# --- profiles --------------------------------------------------------------------------------------------------------


def probe_cluster(client: Client, name: str) -> dict[str, Any]:
    answer = client.post(f"/api/config/ssh/profiles/{name}/test")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_test_tells_the_truth(client: Client, beyond: Beyond) -> None:
    assert client.post("/api/config/ssh/profiles/nope/test").json() == {"detail": "Profile 'nope' not found"}
    assert client.post("/api/config/ssh/profiles/nope/connect").status_code == 404
    found = probe_cluster(client, "lab")
    assert (found["ssh_connected"], found["slurm_available"], found["error"]) == (True, True, None)
    assert found["slurm_version"].startswith("22.05") and found["user"] == beyond.sshd.user
    assert found["hostname"] == os.uname().nodename


@pytest.mark.parametrize(
    ("why", "step", "says"),
    [
        ("an unknown host key", "host_key", "is not in known_hosts"),
        ("a changed host key", "host_key", "is another than the one in known_hosts"),
        ("another key", "login", "Permission denied"),
        ("a key that is not there", "profile", "cannot be read"),
        ("nobody listens there", "port", "Connection refused"),
        ("something else listens there", "port", "banner"),
        ("SLURM is not on the PATH", "path", "not on the PATH"),
        ("no host at all", "profile", "hostname or ssh_host is missing"),
        ("a name that nobody has", "host", "Could not resolve hostname"),
    ],
)
def test_what_is_wrong_with_a_profile_is_told(
    client: Client, beyond: Beyond, tmp_path: Path, why: str, step: str, says: str
) -> None:
    profile = beyond.profile()
    with contextlib.ExitStack() as undo:
        if why == "an unknown host key":
            beyond.sshd.known_hosts.write_text("")
        elif why == "a changed host key":
            beyond.sshd.stop()
            beyond.sshd.rekey()
            beyond.sshd.start()
        elif why == "another key":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
            profile["key_filename"] = str(tmp_path / "other")
        elif why == "a key that is not there":
            profile["key_filename"] = str(tmp_path / "nope")
        elif why == "nobody listens there":
            profile["port"] = free_port()
        elif why == "something else listens there":
            profile["port"] = undo.enter_context(garbage())
            beyond.sshd.known_hosts.write_text("")
        elif why == "SLURM is not on the PATH":
            profile["env_vars"] = {"PATH": "/bin/nowhere:/usr/bin", "SLURM_CONF": "/dev/null"}
            profile["env_vars"]["PATH"] = str(plain_path(tmp_path))
        elif why == "no host at all":
            profile = {"description": "here"}
        elif why == "a name that nobody has":
            profile["hostname"] = "nobody.invalid"
        write_profiles(client.store, "lab", lab=beyond.profile(), bad=profile)
        eventually(lambda: client.post("/api/config/ssh/profiles/bad/test").status_code == 200)
        found = probe_cluster(client, "bad")
        assert says in found["error"] and found["error"].startswith("SSH profile bad: "), found
        assert found["failed_step"] == step
        assert {row["name"]: row["state"] for row in found["steps"]}[step] == "failed"
        assert not found["slurm_available"] and found["ssh_connected"] is (why == "SLURM is not on the PATH")
        made = client.post("/api/config/ssh/profiles/bad/connect").json()
        assert (made["connected"], made["failed_step"]) == (False, step) and says in made["error"]
        assert client.get("/api/config/ssh/status").json()["profile_name"] == "lab", "a failure switches nothing"


def test_the_first_submission_after_connect_works_and_there_is_a_way_back(client: Client, beyond: Beyond) -> None:
    write_profiles(client.store, None, lab=beyond.profile(), other=beyond.profile())
    eventually(lambda: client.get("/api/config/ssh/profiles").json()["current"] is None)
    squeue = shutil.which("squeue", path=beyond.variables["PATH"].partition(":")[2])
    beyond.program("squeue", f'sleep 2; exec {squeue} "$@"')
    made = client.post("/api/config/ssh/profiles/lab/connect").json()
    assert (made["connected"], made["error"]) == (True, None), made
    job_id = client.submit("#!/bin/bash\ntrue\n")
    assert client.get(f"/api/jobs/{job_id}").json()["cluster"].startswith("ssh:lab:")
    assert client.post("/api/config/ssh/deactivate").json() == {"ok": True}
    assert client.get("/api/config/ssh/status").json()["profile_name"] is None
    job_id = client.submit("#!/bin/bash\ntrue\n")
    assert client.get(f"/api/jobs/{job_id}").json()["cluster"] == "embedded"
    assert client.post("/api/config/ssh/deactivate").json() == {"ok": True}, "also when there is none"
    assert client.post("/api/config/ssh/profiles/other/activate").json() == {"ok": True}
    assert client.submit("#!/bin/bash\ntrue\n") > 0, "a submission waits for a cluster that was only activated"


def test_a_queue_that_does_not_answer_is_no_connection(client: Client, beyond: Beyond) -> None:
    write_profiles(client.store, None, lab=beyond.profile())
    eventually(lambda: client.get("/api/config/ssh/profiles").json()["current"] is None)
    beyond.program("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    made = client.post("/api/config/ssh/profiles/lab/connect").json()
    assert (made["connected"], made["failed_step"]) == (False, "slurm")
    assert made["error"].startswith("SSH profile lab: ") and "Unable to contact slurm controller" in made["error"]
    assert client.get("/api/config/ssh/status").json()["profile_name"] is None


def test_a_current_profile_that_cannot_work_is_told(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    write_profiles(client.store, "bad", bad=beyond.profile(key_filename="/nope"), empty={}, lab=beyond.profile())
    reason = "SSH profile bad: key_filename /nope cannot be read: No such file or directory (check it on the server's"

    def find_reason() -> bool:
        status = client.get("/api/config/ssh/status").json()
        return not status["connected"] and reason in (status["error"] or "")

    eventually(find_reason)
    refused = client.post("/api/jobs", json={"name": "x", "script_content": "#!/bin/bash\n"})
    assert refused.status_code == 503 and reason in refused.json()["detail"] and "squeue" not in refused.text
    refused = client.post("/api/config/ssh/profiles/empty/activate")
    assert refused.status_code == 422 and "hostname or ssh_host is missing" in refused.text
    write_profiles(client.store, "empty", empty={})
    eventually(
        lambda: "hostname or ssh_host is missing" in (client.get("/api/config/ssh/status").json()["error"] or "")
    )
    (problem,) = client.get("/api/store/problems").json()
    assert (problem["path"], "current is 'empty'" in problem["reason"]) == ("profiles.yaml", True)


@contextlib.contextmanager
def garbage() -> Iterator[int]:
    """A port where something answers that is no sshd."""
    import socket
    import threading

    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"220 mail.example.org ready\r\n" * 3 + b"\0" * 50_000)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def plain_path(folder: Path) -> Path:
    """A folder with what every system has, and no SLURM."""
    made = folder / "plain"
    made.mkdir()
    for name in ("env", "timeout", "cat"):
        (made / name).symlink_to(f"/usr/bin/{name}")
    return made
