"""A disk that is full, read-only or failing for a while: reads go on, writes say why, nothing fails for good."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.clusters import make_folders
from slurm_shim.errors import FolderRefused, SlurmBusy, SlurmUnreachable, is_momentary, make_error
from store.disk.audit import Audit
from store.disk.files import Files
from store.errors import MOMENTARY, StoreUnavailable
from tests.app_client import Client, serving
from tests.faulty_disk import Faulty
from tests.pretended import asynchronous
from tests.waiting import eventually

JOB = {"name": "x", "script_content": "#!/bin/bash\ntrue\n"}
FLOW = "name: flow\njobs:\n  - {name: a, command: 'true'}\n"


class Failing(Faulty):
    """The functions of os; those that make something below `folder` fail with `code` while there is one."""

    def __init__(self, folder: str, code: int = 0) -> None:
        super().__init__()
        self.folder, self.code = folder, code

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("open", "mkdir", "rename", "link"):
            return real

        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self.code and self.folder in str(path):
                raise OSError(self.code, os.strerror(self.code))
            return real(path, *args, **kwargs)

        return call


# --- the folders of a job --------------------------------------------------------------------------------------------

FINAL = [errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP]


@pytest.mark.parametrize("code", sorted({*MOMENTARY, *FINAL}), ids=lambda code: errno.errorcode[code])
def test_only_what_no_time_mends_is_a_refusal(code: int, tmp_path: Path) -> None:
    files = Files(tmp_path / "store", Failing("work", code))
    with pytest.raises(FolderRefused if code in FINAL else SlurmUnreachable) as caught:
        make_folders(files, {"work_dir": str(tmp_path / "work")})
    assert "work_dir" in str(caught.value) and os.strerror(code) in str(caught.value)


REMOTE: list[tuple[str, bool]] = [
    ("mkdir: cannot create directory '/scratch/x': No space left on device", True),
    ("mkdir: cannot create directory '/scratch/x': Disk quota exceeded", True),
    ('rsync: [receiver] write failed on "/scratch/x": No space left on device (28)', True),
    ("mkdir: cannot create directory '/scratch/x': Stale file handle", True),
    ("mkdir: cannot create directory '/root/x': Permission denied", False),
    ("mkdir: cannot create directory '/etc/passwd/x': Not a directory", False),
]


@pytest.mark.parametrize(("said", "is_moment"), REMOTE)
def test_what_another_machine_says_of_its_disk(said: str, is_moment: bool) -> None:
    assert is_momentary(said) == is_moment


def test_a_controller_whose_disk_is_full_is_asked_again() -> None:
    said = "sbatch: error: Batch job submission failed: I/O error writing script/environment to file\n"
    assert isinstance(make_error("sbatch", 1, said), SlurmBusy)


def start_run(client: Client) -> str:
    answer = client.post("/api/workflows/flow/run")
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["id"]
    return run_id


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES], ids=["full", "without permissions"])
def test_a_run_waits_for_its_work_folder(code: int, tmp_path: Path) -> None:
    """It says why, can be cancelled, outlives a restart, and goes on by itself."""
    disk, why = Failing("/work/", code), os.strerror(code)
    with serving(tmp_path, "embedded") as client:
        client.workflow("flow", FLOW)
        client.server.store.files.ops = disk
        waiting, unwanted = start_run(client), start_run(client)
        held = client.get(f"/api/workflows/runs/{waiting}").json()
        assert held["status"] in ("submitting", "running") and held["error"] is None
        assert why in str(held["jobs"]), held
        refused = client.post("/api/jobs", JOB)
        assert refused.status_code == 503 and why in refused.text
        health = client.get("/health").json()
        assert health["status"] == "degraded" and why in health["store"]["error"], health
        assert client.post(f"/api/workflows/runs/{unwanted}/cancel").status_code == 200
        assert client.await_run(unwanted)["status"] == "cancelled"
        # The end of the app would wait for it.
        client.server.store.files.ops = os
        assert client.await_run(waiting)["status"] == "completed"
        client.server.store.files.ops = disk
        later = start_run(client)
        client.end_jobs = lambda: None  # type: ignore[method-assign]
    with serving(tmp_path, "embedded") as client:
        ended = client.await_run(later)
        assert ended["status"] == "completed" and len(ended["jobs"][0]["attempts"]) == 1


# --- the folders of the store ----------------------------------------------------------------------------------------


@contextmanager
def mounted(*folders: Path) -> Iterator[None]:
    """Give each of these folders a disk of 64 KB, which is full."""
    done = []
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", folder]
            if subprocess.run(command, check=False, capture_output=True).returncode:
                pytest.skip("only root may mount, and not in every container")
            done.append(folder)
        yield
    finally:
        for folder in done:
            subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    with pytest.raises(OSError, match="No space"), (folder / ".filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_each_folder_of_the_store_may_be_full(tmp_path: Path) -> None:
    full = [tmp_path / name for name in ("runs", "jobs", "workflows")]
    new = {"yaml": FLOW.replace("flow", "other"), "filename": "other.yaml"}
    with mounted(*full), serving(tmp_path, "embedded") as client:
        client.workflow("flow", FLOW)
        done = client.await_run(start_run(client))
        for folder in full:
            fill(folder)
        for path, body in (
            ("/api/workflows/flow/run", None), ("/api/jobs", JOB), ("/api/workflows/upload", new),
        ):  # fmt: skip
            answer = client.post(path, body)
            assert answer.status_code == 507 and "No space left on device" in answer.text, answer.text
        for path in ("/api/workflows/runs", "/api/jobs", "/api/workflows", f"/api/workflows/runs/{done['id']}"):
            assert client.get(path).status_code == 200
        assert len(client.server.store.files.failures) == len(full)
        for folder in full[1:]:
            (folder / ".filler").unlink()
        name = "/api/notifications/endpoints"  # a write that succeeds elsewhere changes nothing
        client.post(name, {"name": "x", "kind": "slack_webhook", "config": {}}, judged=False)
        eventually(lambda: len(client.server.store.files.failures) == 1, 60, "the others heal without being written to")
        health = client.get("/health").json()
        assert health["status"] == "degraded" and "cannot write runs/" in health["store"]["error"]
        (full[0] / ".filler").unlink()
        eventually(lambda: client.get("/health").json()["status"] == "healthy", 60)
        assert client.await_run(start_run(client))["status"] == "completed"


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EDQUOT], ids=lambda code: errno.errorcode[code])
@asynchronous
async def test_a_failure_stands_until_its_own_folder_takes_a_write(code: int, tmp_path: Path) -> None:
    disk = Failing("/runs/", code)
    files = Files(tmp_path, disk)
    for name in ("runs", "audit"):
        (tmp_path / name).mkdir()
    with pytest.raises(StoreUnavailable):
        await files.write(tmp_path / "runs" / "x", b"1")
    assert await Audit(tmp_path / "audit", files).append({"what": "x"})
    await files.write(tmp_path / "y", b"1")
    with pytest.raises(StoreUnavailable):
        await files.check_folder(tmp_path / "runs", b"1")
    assert os.strerror(code) in (files.failure or "")
    disk.code = 0
    await files.check_folder(tmp_path / "runs", b"1")
    assert files.failure is None and list((tmp_path / "runs").iterdir()) == []
    disk.folder, disk.code = "/audit/", code
    assert not await Audit(tmp_path / "audit", files).append({"what": "x"})
    assert "cannot append to audit/" in (files.failure or "")
    files.close()
