"""A mount brought over by rsync itself, through a real sshd on loopback."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_client import Client, serving
from tests.cluster.sshd import Sshd, needed
from tests.waiting import eventually

pytestmark = pytest.mark.ssh


class Far:
    """The app, a mount of it, and the folder that the mount stands for behind sshd."""

    def __init__(self, top: Path, sshd: Sshd) -> None:
        self.top, self.sshd = top, sshd
        self.local, self.remote = top / "here" / "my projèct 日", top / "over thêre [x]*" / "ml"
        self.client: Client
        self.local.mkdir(parents=True)
        self.remote.parent.mkdir()
        (top / "store").mkdir()
        self.profile()

    def profile(self, **change: Any) -> None:
        """Nothing; the store's profile leads to sshd, but for this change."""
        fields = {**self.sshd.login, **change}
        said = "\n".join(f"    {name}: {value!r}" for name, value in fields.items())
        mount = f"[{{name: ml, local: '{self.local}', remote: '{self.remote}', exclude_patterns: ['*.ckpt', '/out/']}}]"
        text = f"current: far\nprofiles:\n  far:\n{said}\n    mounts: {mount}\n"
        (self.top / "store" / "profiles.yaml").write_text(text)

    def sync(self, **more: Any) -> Any:
        """The answer to a request to sync the mount."""
        return self.client.post("/api/files/sync", {"mount": "ml", **more})

    def read_remote(self) -> dict[str, Any]:
        """Read what lies over there: contents of files, targets of links, None for folders."""
        found: dict[str, Any] = {}
        for name in sorted(os.fsencode(path) for path in self.remote.rglob("*")):
            path = Path(os.fsdecode(name))
            value = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(self.remote))] = value
        return found


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    """The app with a mount behind a real sshd."""
    needed()
    with Sshd(tmp_path / "sshd") as sshd:
        made = Far(tmp_path, sshd)
        with serving(tmp_path / "store", "embedded", SLUICE_SSH_CONFIG=str(sshd.config)) as client:
            made.client = client
            yield made


def test_everything_and_nothing_else(far: Far) -> None:
    odd = os.fsdecode(b"odd \xff\n'\"$(id)")
    kept = ("a/b/deep", "-rf", odd, "in/out/x")
    left = (".git/config", "x/__pycache__/m.pyc", "m.pyc", "big.ckpt", "out/x", "node_modules/a/b")
    for name in (*kept, *left):
        (far.local / name).parent.mkdir(parents=True, exist_ok=True)
        (far.local / name).write_text(f"in {len(name)}")
    (far.local / "run.sh").write_text("#!/bin/sh\n")
    (far.local / "run.sh").chmod(0o755)
    (far.local / "latest").symlink_to("a/b")
    (far.local / "secret").symlink_to("/etc/passwd")
    (far.local / "up").symlink_to("../elsewhere")
    os.mkfifo(far.local / "pipe")
    assert far.sync().json() == {"status": "synced", "mount": "ml"}
    assert set(far.read_remote()) == {*kept, "a", "a/b", "x", "in", "in/out", "run.sh", "latest"}
    assert far.read_remote()["latest"] == Path("a/b") and far.read_remote()["a/b/deep"] == b"in 8"
    assert os.access(far.remote / "run.sh", os.X_OK)


def test_what_is_only_over_there_stays_unless_told(far: Far) -> None:
    (far.local / "a").write_text("1")
    (far.remote / "results").mkdir(parents=True)
    for name in ("results/r", "best.ckpt", "old.py"):
        (far.remote / name).write_text("kept")
    assert far.sync().status_code == 200
    assert set(far.read_remote()) == {"a", "results", "results/r", "best.ckpt", "old.py"}
    plan = far.sync(delete=True, dry_run=True).json()
    assert plan["counts"] == {"create": 0, "update": 0, "delete": 3}
    assert {change["path"] for change in plan["changes"]} == {"results", "results/r", "old.py"}
    assert set(far.read_remote()) == {"a", "results", "results/r", "best.ckpt", "old.py"}, "only told, not done"
    assert far.sync(delete=True).status_code == 200
    assert set(far.read_remote()) == {"a", "best.ckpt"}, "what is excluded is nobody's to delete"


def test_a_dry_run_tells_what_the_sync_then_does(far: Far) -> None:
    odd = os.fsdecode(b"caf\xc3\xa9 \xff\\#134\n")
    (far.local / "d").mkdir()
    for name, text in (("same", "s"), ("changed", "longer now"), ("d/new", "n"), (odd, "o")):
        (far.local / name).write_text(text)
    (far.local / "link").symlink_to("d")
    far.remote.mkdir()
    (far.remote / "changed").write_text("old")
    (far.remote / "same").write_text("s")
    os.utime(far.remote / "same", ns=(0, (far.local / "same").stat().st_mtime_ns))
    plan = far.sync(dry_run=True).json()
    assert (plan["status"], plan["mount"], plan["truncated"]) == ("planned", "ml", False)
    rows = {(change["path"], change["type"], change["change"], change["size"]) for change in plan["changes"]}
    assert rows == {
        ("changed", "file", "update", 10), ("d", "directory", "create", None), ("d/new", "file", "create", 1),
        ("café �\\#134\n", "file", "create", 1), ("link", "symlink", "create", None),
    }  # fmt: skip
    assert set(far.read_remote()) == {"changed", "same"}
    assert far.sync().status_code == 200
    assert far.sync(dry_run=True).json()["changes"] == []


def test_one_that_is_not_waited_for(far: Far) -> None:
    (far.local / "data").write_bytes(os.urandom(20_000_000))
    sync_id = far.sync(wait=False).json()["id"]
    seen: list[dict[str, Any]] = []

    def over() -> bool:
        seen.append(far.client.get(f"/api/files/sync/{sync_id}").json())
        return seen[-1]["ended_at"] is not None

    eventually(over, 60)
    assert (seen[-1]["state"], seen[-1]["percent"], seen[-1]["size_bytes"]) == ("synced", 100, 20_000_000)
    percents = [sync["percent"] or 0 for sync in seen]
    assert percents == sorted(percents)
    assert far.read_remote()["data"] == (far.local / "data").read_bytes()


def test_a_connection_that_is_lost_and_found(far: Far) -> None:
    with (far.local / "large").open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(2**20))
    answers: list[Any] = []
    syncing = threading.Thread(target=lambda: answers.append(far.sync()))
    syncing.start()
    eventually(lambda: far.remote.exists() and any(far.remote.iterdir()))
    far.sshd.kill()
    syncing.join(60)
    # It may have been just over before the connection was lost; it is never half a file.
    assert answers[0].status_code in (200, 502)
    assert "large" not in far.read_remote() or far.read_remote()["large"] == (far.local / "large").read_bytes()
    refused = far.sync()
    assert refused.status_code == 502 and "Connection refused" in refused.json()["detail"]
    far.sshd.start()
    assert far.sync().status_code == 200
    assert far.read_remote()["large"] == (far.local / "large").read_bytes()


def test_why_it_cannot_be(far: Far) -> None:
    (far.remote.parent).rmdir()
    answer = far.sync()
    assert answer.status_code == 502 and "No such file or directory" in answer.json()["detail"]
    far.remote.parent.mkdir()
    far.remote.write_text("a file where the folder should be")
    answer = far.sync()
    assert answer.status_code == 502, answer.text
    assert far.remote.read_text() == "a file where the folder should be"


def test_a_mount_that_is_gone_here_deletes_nothing_there(far: Far) -> None:
    (far.local / "a").write_text("1")
    assert far.sync().status_code == 200
    far.local.rename(far.top / "elsewhere")
    answer = far.sync(delete=True)
    assert answer.status_code == 502 and str(far.local) not in answer.text
    assert set(far.read_remote()) == {"a"}


def test_a_host_that_is_not_the_known_one(far: Far) -> None:
    far.sshd.kill()
    far.sshd.rekey()
    far.sshd.start()
    answer = far.sync()
    assert answer.status_code == 502 and "another than the one in known_hosts" in answer.json()["detail"]
    assert far.read_remote() == {}


def test_by_a_name_of_the_ssh_configuration(far: Far) -> None:
    (far.local / "a").write_text("1")
    far.profile(ssh_host="cluster", port=1, hostname="nowhere.invalid")
    eventually(lambda: far.sync().status_code == 200)
    assert set(far.read_remote()) == {"a"}


def test_many_at_once_come_one_after_the_other(far: Far) -> None:
    for at in range(50):
        (far.local / f"{at}").write_text(f"{at}")
    answers = far.client.together([far.sync] * 4)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(far.read_remote()) == 50
