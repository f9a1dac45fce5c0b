"""A job's output: whatever path it names, only what it can have written is shown."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.disk.job_files import JobPlace
from tests.app_client import Client
from tests.cluster.ordinary_user import IS_ROOT

PLACE = JobPlace(
    folders=("/home/me/project", "/scratch/x"),
    mounts=("/home/me/mount",),
    own=("/home/me/.store/work",),
    home="/home/me",
    store="/home/me/.store",
    since=5000.0,
)
HOME_JOB = JobPlace(folders=("/", "/home/me", "/home/me/.ssh"), home="/home/me", since=5000.0)
PATHS = [
    ("the work folder", PLACE, "/home/me/project/1.out", 5000, None),
    ("a hidden folder for logs in it", PLACE, "/home/me/project/.submitit/1.out", 5000, None),
    ("the log folder", PLACE, "/scratch/x/1.out", 5000, None),
    ("a mount", PLACE, "/home/me/mount/1.out", 5000, None),
    ("the home", PLACE, "/home/me/1.out", 5000, None),
    ("our own folder for work", PLACE, "/home/me/.store/work/a/1.out", 5000, None),
    ("clocks that differ by minutes", PLACE, "/home/me/1.out", 4500, None),
    ("older than the job", PLACE, "/home/me/project/data", 900, "before the job was submitted"),
    ("elsewhere", PLACE, "/scratch/y/1.out", 5000, "outside of the job's folders"),
    ("a name that begins alike", PLACE, "/scratch/xy/1.out", 5000, "outside of the job's folders"),
    ("the store", PLACE, "/home/me/.store/access.yaml", 5000, "in the store"),
    ("a hidden file in the work folder", PLACE, "/home/me/project/.env", 5000, "hidden file"),
    ("keys", PLACE, "/home/me/.ssh/id", 5000, "hidden folder of the home"),
    ("a job that works in the top", HOME_JOB, "/home/me/.aws/credentials", 5000, "hidden folder of the home"),
    ("a job that works among the keys", HOME_JOB, "/home/me/.ssh/id", 5000, "hidden folder of the home"),
    ("what was there before", HOME_JOB, "/etc/shadow", 10, "before the job was submitted"),
    ("processes", HOME_JOB, "/proc/1/environ", 2000, "none that a job writes"),
    ("devices", HOME_JOB, "/dev/sda", 6000, "none that a job writes"),
    ("the kernel", HOME_JOB, "/sys/power/state", 2000, "none that a job writes"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "place", "path", "at", "said"), PATHS, ids=[row[0] for row in PATHS])
def test_where_a_job_s_files_may_lie(why: str, place: JobPlace, path: str, at: float, said: str | None) -> None:
    found = place.explain_refusal(path, at)
    assert (found is None) if said is None else (said in (found or "")), why


@pytest.fixture(scope="module")
def client(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(tmp_path_factory.mktemp("files") / "store", cluster).start()
    yield client
    client.stop()


def make_old(path: Path) -> None:
    path.write_text("secret")
    os.utime(path, (time.time() - 3600,) * 2)


# What stands in place of the log when somebody reads it: given the log and a secret file elsewhere.
SWAPS: list[tuple[str, Callable[[Path, Path], object], int]] = [
    ("a link to its own file", lambda log, _: (log.with_name("x").write_text("x"), log.symlink_to("x")), 403),
    ("a link elsewhere", lambda log, secret: log.symlink_to(secret), 403),
    ("a link to the store", lambda log, secret: log.symlink_to(log.parents[2] / "access.yaml"), 403),
    ("a link to the server", lambda log, _: log.symlink_to("/proc/self/environ"), 403),
    ("a link to a device", lambda log, _: log.symlink_to("/dev/zero"), 403),
    ("a link to nowhere", lambda log, _: log.symlink_to("nowhere"), 403),
    ("a pipe", lambda log, _: os.mkfifo(log), 403),
    ("a folder", lambda log, _: log.mkdir(), 403),
    ("a file from before", lambda log, _: make_old(log), 403),
    ("a hard link to a file from before", lambda log, secret: (make_old(secret), os.link(secret, log)), 403),
    ("a stranger's file", lambda log, _: (log.write_text("secret"), os.chown(log, 61235, -1)), 403),
]  # fmt: skip


@pytest.mark.parametrize(("why", "swap", "status"), SWAPS, ids=[row[0] for row in SWAPS])
def test_what_stands_in_place_of_the_log(
    client: Client, tmp_path: Path, why: str, swap: Callable[[Path, Path], object], status: int
) -> None:
    if "stranger" in why and not IS_ROOT:
        pytest.skip("only root can give files away")
    (tmp_path / "other").write_text("secret")
    job_id = client.submit("#!/bin/sh\necho said")
    client.job(job_id)
    row = client.get(f"/api/jobs/{job_id}/logs").json()
    assert row["stdout"] == "said\n"
    log = Path(client.server.cluster.snapshot.find(str(job_id))["stdout"])
    log.unlink()
    swap(log, tmp_path / "other")
    for _ in range(2):
        answer = client.get(f"/api/jobs/{job_id}/logs", token="read")
        assert answer.status_code == status and "secret" not in answer.text.replace(str(tmp_path), ""), (
            why,
            answer.text,
        )


NAMED = [
    ("the server's environment", "/proc/self/environ", 403),
    ("a device without end", "/dev/zero", 403),
    ("nothing", "/dev/null", 200),
    ("the store", "{store}/out", 403),
    ("a folder for logs", "{tmp}/logs/%j.out", 200),
]


@pytest.mark.parametrize(("why", "output", "status"), NAMED, ids=[row[0] for row in NAMED])
def test_what_a_job_names_as_its_output(client: Client, tmp_path: Path, why: str, output: str, status: int) -> None:
    (tmp_path / "logs").mkdir()
    path = output.format(store=client.store, tmp=tmp_path)
    job_id = client.submit(f"#!/bin/sh\n#SBATCH --open-mode=append\n#SBATCH --output={path}\necho said")
    client.job(job_id)
    answer = client.get(f"/api/jobs/{job_id}/logs", token="read")
    assert answer.status_code == status and "sha256" not in answer.text, why


# How people name the output of a job, the task of it that is read, and what is shown.
USUAL = [
    ("SLURM's own name", "", "", "said\n"),
    ("patterns", "--output={tmp}/%x-%j.out", "", "said\n"),
    ("one file for both", "--output={tmp}/both --error={tmp}/both", "", "said\nand more\n"),
    ("a file that is older", "--open-mode=append --output={tmp}/old", "", "secretsaid\n"),
    ("a task of an array", "--array=1-2 --output={tmp}/%A_%a.out", "_2", "said\n"),
    ("a folder that is hidden", "--output={tmp}/.logs/%j.out", "", "said\n"),
    ("a folder with steps back", "--output={tmp}/.logs/../%j.out", "", "said\n"),
]


@pytest.mark.parametrize(("why", "options", "task", "text"), USUAL, ids=[row[0] for row in USUAL])
def test_what_jobs_usually_write_is_shown(
    client: Client, tmp_path: Path, why: str, options: str, task: str, text: str
) -> None:
    make_old(tmp_path / "old")
    (tmp_path / ".logs").mkdir()
    given = f"#SBATCH {options.format(tmp=tmp_path)}\n" if options else ""
    job_id = client.submit(f"#!/bin/sh\n{given}echo said\necho and more >&2")
    client.job(f"{job_id}{task}")
    answer = client.get(f"/api/jobs/{job_id}{task}/logs", token="read")
    assert answer.status_code == 200 and answer.json()["stdout"].startswith(text), (why, answer.text)


def test_a_job_that_waits_has_no_output(client: Client, tmp_path: Path) -> None:
    """Whatever file it names: nothing of it is the job's yet."""
    make_old(tmp_path / "old")
    job_id = client.submit(f"#!/bin/sh\n#SBATCH --hold --output={tmp_path}/old\necho said")
    answer = client.get(f"/api/jobs/{job_id}/logs", token="read")
    assert answer.status_code == 200 and answer.json()["stdout"] == ""
    assert client.delete(f"/api/jobs/{job_id}").status_code == 204
