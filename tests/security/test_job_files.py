"""A job's output: whatever path it names, only what it can have written is shown."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from store.errors import Denied
from store.outside_files.job_files import JobPlace, make_reader
from tests.app_client import Client
from tests.cluster.ordinary_user import IS_ROOT
from tests.pretended import asynchronous
from tests.waiting import eventually

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
    ("keys, spelled otherwise", HOME_JOB, "/home/me/.SSH/id", 5000, "hidden folder of the home"),
    ("a hidden file, spelled otherwise", PLACE, "/home/me/project/.ENV", 5000, "hidden file"),
    ("another name than the store's", PLACE, "/home/me/.STORE/access.yaml", 5000, "hidden folder of the home"),
    ("an open file of a process", HOME_JOB, "/proc/1/fd/3", 5000, "none that a job writes"),
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


@asynchronous
async def test_where_nobody_says_whose_job_it_was_it_is_our_own(tmp_path: Path) -> None:
    if not IS_ROOT:
        pytest.skip("only root can give files away")
    (tmp_path / "log").write_text("secret")
    read = make_reader(JobPlace((str(tmp_path),)))
    assert await read([(str(tmp_path / "log"), 0, 9)], None) == [(b"secret", 6)]
    os.chown(tmp_path / "log", 61235, -1)
    (found,) = await read([(str(tmp_path / "log"), 0, 9)], None)
    assert isinstance(found, Denied) and "somebody else" in str(found)


def refuse_to_follow(patch: pytest.MonkeyPatch, link: Path) -> None:
    """Have the kernel not say where the link leads, as in /proc of another user's process."""
    readlink = os.readlink

    def refuse(path: Any, **named: Any) -> Any:
        if str(path) == str(link):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return readlink(path, **named)

    patch.setattr(os, "readlink", refuse)


@pytest.mark.parametrize("option", ["--output={link}/%j.out", "--chdir={link}"])
def test_what_lies_behind_a_link_that_cannot_be_followed(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    job_id = client.submit(f"#!/bin/sh\n#SBATCH {option.format(link=link)}\necho said")
    client.job(job_id)
    with monkeypatch.context() as patch:
        refuse_to_follow(patch, link)
        answer = client.get(f"/api/jobs/{job_id}/logs", token="read")
        assert answer.status_code == 403 and "link that cannot be followed" in answer.text, answer.text
    assert client.get(f"/api/jobs/{job_id}/logs", token="read").json()["stdout"] == "said\n"


# The output that a job names, and what is shown of it; None: nothing, it is refused.
NAMED: list[tuple[str, str, str | None]] = [
    ("the server's environment", "/proc/self/environ", None),
    ("an open file of the server", "/proc/{pid}/fd/{fd}", None),
    ("a device without end", "/dev/zero", None),
    ("nothing", "/dev/null", ""),
    ("the store", "{store}/out", None),
    ("a hidden file, spelled otherwise", "{tmp}/.ENV", None),
    ("a folder for logs", "{tmp}/logs/%j.out", "said\n"),
    ("a name that is too long", "{tmp}/" + 300 * "x", ""),
    ("a long path to nothing", "{tmp}/" + 400 * "x/", ""),
    ("a home that nobody expands", "~/%j.out", ""),
    ("somebody's home that nobody expands", "~root/.ssh/id", ""),
    ("a per cent sign alone", "{tmp}/%", "said\n"),
    ("two of them", "{tmp}/%%j", "said\n"),
    ("an unknown pattern", "{tmp}/%q.out", "said\n"),
    ("a pattern with a width", "{tmp}/%5j.out", "said\n"),
    ("a width without end", "{tmp}/%99999999999j.out", "said\n"),
    ("steps through a folder that is not there", "{tmp}/%x/../out", ""),
]


@pytest.mark.parametrize(("why", "output", "text"), NAMED, ids=[row[0] for row in NAMED])
def test_what_a_job_names_as_its_output(
    client: Client, tmp_path: Path, why: str, output: str, text: str | None
) -> None:
    (tmp_path / "logs").mkdir()
    with (tmp_path / "open").open("w") as held:
        path = output.format(store=client.store, tmp=tmp_path, pid=os.getpid(), fd=held.fileno())
        job_id = client.submit(f"#!/bin/sh\n#SBATCH --open-mode=append\n#SBATCH --output={path}\necho said")
        client.job(job_id)
        answer = client.get(f"/api/jobs/{job_id}/logs", token="read")
    assert (answer.status_code, answer.json().get("stdout")) == (403 if text is None else 200, text), (why, answer.text)


# How people name the output of a job, the task of it that is read, and what is shown.
USUAL = [
    ("SLURM's own name", "", "", "said\n"),
    ("patterns", "--output={tmp}/%x-%j.out", "", "said\n"),
    ("one file for both", "--output={tmp}/both --error={tmp}/both", "", "said\nand more\n"),
    ("a file that is older", "--open-mode=append --output={tmp}/old", "", "secretsaid\n"),
    ("a task of an array", "--array=1-2 --output={tmp}/%A_%a.out", "_2", "said\n"),
    ("a folder that is hidden", "--output={tmp}/.logs/%j.out", "", "said\n"),
    ("a folder with steps back", "--output={tmp}/.logs/../%j.out", "", "said\n"),
    ("as srt-slurm does", "--output={tmp}/outputs/logs/sweep_%j.log", "", "said\n"),
]


@pytest.mark.parametrize(("why", "options", "task", "text"), USUAL, ids=[row[0] for row in USUAL])
def test_what_jobs_usually_write_is_shown(
    client: Client, tmp_path: Path, why: str, options: str, task: str, text: str
) -> None:
    make_old(tmp_path / "old")
    (tmp_path / ".logs").mkdir()
    (tmp_path / "outputs" / "logs").mkdir(parents=True)
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


def test_a_job_that_was_requeued_keeps_its_output(client: Client, tmp_path: Path) -> None:
    """While it waits once more, and when it has ended: its submission is a later one than that of its output."""
    script = f"#!/bin/sh\n#SBATCH --requeue --open-mode=append --output={tmp_path}/%j.out\necho said\n"
    job_id = client.submit(f"{script}scontrol requeuehold $SLURM_JOB_ID\nsleep 60")
    # Before it began it was pending as well, but not held.
    eventually(lambda: "held" in (client.job(job_id, over=False)["reason"] or "").lower())
    answer = client.get(f"/api/jobs/{job_id}/logs", token="read")
    assert answer.status_code == 200
    assert client.delete(f"/api/jobs/{job_id}").status_code == 204
    client.job(job_id)
    answer = client.get(f"/api/jobs/{job_id}/logs", token="read")
    assert answer.status_code == 200 and answer.json()["stdout"].startswith("said\n"), answer.text


@pytest.mark.skipif(not IS_ROOT, reason="only root may submit for others")
@pytest.mark.parametrize("cluster", [pytest.param("slurm", marks=pytest.mark.slurm)], indirect=True, scope="module")
def test_a_job_for_another_user_has_that_user_s_files(client: Client) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        given = f"#SBATCH --uid=nobody --chdir={folder} --output={folder}/%j.out"
        job_id = client.submit(f"#!/bin/sh\n{given}\necho said")
        client.job(job_id)
        answer = client.get(f"/api/jobs/{job_id}/logs", token="admin")
        assert answer.status_code == 200 and answer.json()["stdout"] == "said\n", answer.text
        assert client.get(f"/api/jobs/{job_id}/logs", token="write").status_code == 403, "administrators alone"
        (folder / f"{job_id}.out").unlink()
        (folder / f"{job_id}.out").write_text("secret")
        answer = client.get(f"/api/jobs/{job_id}/logs", token="admin")
        assert answer.status_code == 403 and "secret" not in answer.text
