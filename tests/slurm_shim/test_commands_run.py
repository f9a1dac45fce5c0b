"""The words and the shared picture with a cluster at the other end: the embedded one, and a real SLURM."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slurm_shim import parse, script
from slurm_shim.commands import Needs, Slurm
from slurm_shim.errors import JobFinished, JobUnknown, SlurmConflict, SlurmError, SlurmInvalid, SlurmUnreachable
from slurm_shim.queue.job_changes import change_jobs
from slurm_shim.remote.commands import RemoteSlurm
from slurm_shim.remote.connection import Connection
from slurm_shim.remote.ssh import Login
from slurm_shim.snapshot import Snapshot
from slurm_shim.submissions import Submission
from tests.behaviour.clusters import Asked, real, start_embedded
from tests.cluster.sshd import Sshd, needed
from tests.waiting import eventually

CLUSTERS = ["embedded", pytest.param("real", marks=pytest.mark.slurm)]


@pytest.fixture(scope="module", params=CLUSTERS)
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("spoken")
    cluster = (
        start_embedded(folder) if request.param == "embedded" else real(folder, request.getfixturevalue("real_slurm"))
    )
    slurm = Slurm(cluster.env["PATH"], cluster.env["SLURM_CONF"], 20.0)
    before = {job["job_id"] for job in slurm.squeue()}
    yield cluster
    slurm.scancel([job["job_id"] for job in slurm.squeue() if job["job_id"] not in before])


@pytest.fixture(scope="module", params=["here", pytest.param("over ssh", marks=pytest.mark.ssh)])
def slurm(request: pytest.FixtureRequest, asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """The words, spoken on this machine and to it over SSH."""
    if request.param == "here":
        yield Slurm(asked.env["PATH"], asked.env["SLURM_CONF"], 20.0)
        return
    needed()
    with Sshd(tmp_path_factory.mktemp("spoken") / "sshd") as sshd:
        there = {name: asked.env[name] for name in ("PATH", "SLURM_CONF")}
        connection = Connection(Login(**sshd.login), str(sshd.config), there)
        yield RemoteSlurm(connection, 20.0)
        connection.close()


def await_end_of(slurm: Slurm, job_id: str) -> parse.Job:
    def row() -> parse.Job | None:
        return next((job for job in slurm.squeue([job_id]) if job["state"] in parse.FINISHED), None)

    made: parse.Job = eventually(row)
    return made


def test_a_rendered_job_from_end_to_end(slurm: Slurm, tmp_path: Path) -> None:
    folder, logs, tag = tmp_path / 'a b#"q', tmp_path / "l og%j", f"sluice:{secrets.token_hex(16)}"
    folder.mkdir()
    logs.mkdir()
    job = {
        "name": "my job",
        "command": ["bash", "-c", 'pwd; printenv A; echo "$0"; exit 3', "it's"],
        "work_dir": str(folder),
        "log_dir": str(logs),
        "comment": tag,
        "exports_env": {"A": "$x `y`"},
        "resources": {"nodes": 1, "cpus_per_task": 2, "memory_per_node": "0.5GB", "time_limit": "0:05:00"},
    }
    began = time.time()
    job_id = slurm.sbatch(script.render_script(job), script.build_options(job))
    row = await_end_of(slurm, job_id)
    assert (row["state"], row["exit_code"], row["name"], row["comment"]) == ("FAILED", 3, "my_job", tag)
    assert (row["work_dir"], row["time_limit_s"], row["cpu_count"], row["memory_mb"]) == (str(folder), 300, 2, 512)
    assert row["stdout"] == row["stderr"] == f"{logs}/my_job_{job_id}.log"
    said = Path(row["stdout"]).read_text().splitlines()
    assert [line for line in said if not line.startswith("srun: ")] == [str(folder), "$x `y`", "it's"]
    assert row["submit_time"] <= row["start_time"] <= row["end_time"]
    accounted = eventually(lambda: [row for row in slurm.sacct([job_id]) if row["end_time"] and row["partition"]])[0]
    same = ("job_id", "raw_id", "name", "user", "uid", "partition", "exit_code", "nodes", "time_limit_s", "submit_time")
    assert {name: accounted[name] for name in same} == {name: row[name] for name in same}
    found = [row for row in slurm.list_submitted(time.time() - began + 5) if tag in row["submit_line"]]
    assert [row["job_id"] for row in found] == [job_id]


SECRETS = {
    "env_vars.PLAIN_TOKEN": "plain",
    "env_vars.ODD_TOKEN": 'it\'s "$x" `y` \\n %s \\',
    "env_vars.LINES_TOKEN": "two\nlines\n\n",
    "env_vars.BLANK_TOKEN": "  -n é ",
    "container.env.LONG_TOKEN": "x" * 50_000,
}


@pytest.mark.parametrize("export", [None, "ALL", "NONE", "NIL", "HOME,NEW=1", "ALL,NEW=1"])
def test_a_secret_arrives_in_its_job_whatever_it_exports(slurm: Slurm, tmp_path: Path, export: str | None) -> None:
    secrets = {script.make_secret_variable(place): value for place, value in SECRETS.items()}
    lines = [f"#SBATCH --export={export}"] if export else []
    lines += [f'printf "%s\\0" "${{{name}}}" >> out' for name in secrets]
    text = "\n".join(["#!/bin/bash", *lines, ""])
    job_id = slurm.sbatch(text, {"chdir": str(tmp_path), "output": "/dev/null"}, needs=Needs(secrets=secrets))
    assert await_end_of(slurm, job_id)["state"] == "COMPLETED"
    assert (tmp_path / "out").read_text().split("\0") == [*SECRETS.values(), ""]


def test_nothing_of_the_server_reaches_a_job(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", "leak")
    options = {"chdir": str(tmp_path), "output": "out"}
    await_end_of(slurm, slurm.sbatch("#!/bin/sh\nenv\n", options))
    names = {line.partition("=")[0] for line in (tmp_path / "out").read_text().splitlines()}
    assert not names & {"AWS_SECRET", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN", "PYTEST_CURRENT_TEST"}
    assert {"PATH", "HOME", "SLURM_JOB_ID"} <= names


def test_a_submission_does_not_wait_for_its_job(slurm: Slurm) -> None:
    job_id = slurm.sbatch("#!/bin/sh\n#SBATCH --wait\nexec sleep 600\n", {"output": "/dev/null"})
    assert eventually(lambda: slurm.squeue([job_id])[0]["state"] == "RUNNING"), "nor is the job harmed"
    slurm.scancel([job_id])


def test_a_job_that_cannot_enter_its_folder_fails_and_says_so(slurm: Slurm, tmp_path: Path) -> None:
    text = script.require_folder("#!/bin/sh\n# why\necho lost\n", f"{tmp_path}/it's gone")
    row = await_end_of(slurm, slurm.sbatch(text, {"chdir": f"{tmp_path}/it's gone", "output": f"{tmp_path}/log"}))
    said = (tmp_path / "log").read_text()
    assert (row["state"], row["exit_code"]) == ("FAILED", 1) and "lost" not in said
    assert f"cannot enter the work folder {tmp_path}/it's gone: do the compute nodes see it?" in said


def test_files_are_where_the_row_says(slurm: Slurm, tmp_path: Path) -> None:
    pattern = "%A-%a-%j-%J-%s-%n-%t-%u-%x-%%-%5j-%3a.out"
    array = slurm.sbatch("#!/bin/sh\n", {"array": "0-2", "chdir": str(tmp_path), "output": pattern, "job_name": "n"})

    def rows() -> list[parse.Job]:
        found = slurm.squeue([array])
        return found if len(found) == 3 and all(row["state"] in parse.FINISHED for row in found) else []

    assert sorted(row["stdout"] for row in eventually(rows)) == sorted(str(path) for path in tmp_path.iterdir())


def test_jobs_are_asked_for_together_whatever_the_others_are(slurm: Slurm) -> None:
    held = slurm.sbatch("#!/bin/sh\n", {"hold": True, "array": "0-2"})
    for others in ([], ["99999"], ["99998_[1-3]", "99999+1", "2147483647"], ["99999_4294967295"]):
        assert {row["array_job_id"] for row in slurm.squeue([*others, f"{held}_1"])} == {int(held)}
        slurm.find_accounted([*others, held])  # what it knows by now is its own matter, but it takes the list
    slurm.scancel([held])
    assert slurm.squeue(["99998", "99999"]) == slurm.squeue(["2147483647"]) == []


def test_accounting_keeps_scripts(slurm: Slurm, asked: Asked) -> None:
    text = "#!/bin/sh\necho 'größe'\n# Batch Script for 9\n\n"
    job_id = slurm.sbatch(text, {"output": "/dev/null", "array": "1-2", "hold": True})
    assert slurm.read_script(job_id) == text
    assert eventually(lambda: slurm.find_kept_script(job_id)) == text
    assert slurm.find_kept_script("99999999") is None
    slurm.scancel([job_id])


def test_hostile_names_do_not_disturb_the_list(slurm: Slurm) -> None:
    names = ["E\nfake", "a|b\tc", "x\n   JobState=RUNNING", "日本語", "~", "(null)"]
    made = {slurm.sbatch("#!/bin/sh\n", {"job_name": name, "comment": name, "hold": True}): name for name in names}
    rows = {job["job_id"]: job for job in slurm.squeue()}
    assert {job_id: rows[job_id]["name"] for job_id in made} == made
    assert {rows[job_id]["state"] for job_id in made} == {"PENDING"}
    slurm.scancel(list(made))


def test_nodes_partitions_and_the_controller(slurm: Slurm, asked: Asked) -> None:
    nodes = {node["name"]: node for node in slurm.list_nodes()}
    assert list(nodes) == ["node01", "node02", "node03", "node04"]
    assert {(node["cpus"], node["memory_mb"], node["gpus"]) for node in nodes.values()} == {(8, 16000, 4)}
    assert [
        (partition["name"], partition["is_default"], partition["nodes"], partition["max_time_s"])
        for partition in slurm.list_partitions()
    ] == [
        ("cpu", True, ["node01", "node02"], None),
        ("gpu", False, ["node03", "node04"], 604800),
    ]
    assert slurm.ping()["up"] is True
    assert (slurm.get_cluster_name(), slurm.has_accounting()) == (asked.cluster_name, True)


@pytest.mark.parametrize(
    ("why", "speak", "kind"),
    [
        ("no such partition", lambda s, _: s.sbatch("#!/bin/sh\n", {"partition": "nope"}), SlurmInvalid),
        ("no time", lambda s, _: s.sbatch("#!/bin/sh\n", {"time": "abc"}), SlurmInvalid),
        ("an estimate", lambda s, _: s.sbatch("#!/bin/sh\n#SBATCH --test-only\n", {}), SlurmInvalid),
        ("no option", lambda s, _: s.sbatch("#!/bin/sh\n", {"frobnicate": True}), SlurmInvalid),
        ("no script", lambda s, _: s.sbatch("", {}), SlurmInvalid),
        ("no shebang", lambda s, _: s.sbatch("echo\n", {}), SlurmInvalid),
        ("more than there is", lambda s, _: s.sbatch("#!/bin/sh\n", {"mem": "900G"}), SlurmInvalid),
        ("hold of nothing", lambda s, _: change(s, "hold", "99999999"), JobUnknown),
        ("requeue of nothing", lambda s, _: change(s, "requeue", "99999999"), JobUnknown),
        ("change of what is over", lambda s, done: change(s, "update", done, priority=5), JobFinished),
        ("no priority", lambda s, _: change(s, "update", submit_held(s), priority=-1), SlurmInvalid),
        ("requeue of what waits", lambda s, _: change(s, "requeue", submit_held(s)), SlurmConflict),
    ],
)
def test_refusals(slurm: Slurm, why: str, speak: Callable[[Slurm, str], Any], kind: type[SlurmError]) -> None:
    done = slurm.sbatch("#!/bin/sh\n", {"output": "/dev/null"})
    await_end_of(slurm, done)
    with pytest.raises(kind) as caught:
        speak(slurm, done)
    assert type(caught.value) is kind, why


def change(slurm: Slurm, verb: str, job_id: str, **fields: int) -> None:
    """Change a job; raise what is refused."""
    for problem in change_jobs(slurm, verb, [job_id], fields).values():
        raise problem


def submit_held(slurm: Slurm) -> str:
    return slurm.sbatch("#!/bin/sh\n", {"hold": True})


def test_silence_about_unknown_jobs(slurm: Slurm) -> None:
    slurm.scancel(["99999999"])
    assert (slurm.squeue(["99999999"]), slurm.sacct(["99999999"])) == ([], [])


def test_hold_release_and_cancel(slurm: Slurm) -> None:
    job_id = slurm.sbatch("#!/bin/sh\nsleep 600\n", {"hold": True, "output": "/dev/null"})
    assert slurm.squeue([job_id])[0]["reason"] in ("JobHeldUser", "JobHeldAdmin")
    change(slurm, "release", job_id)
    eventually(lambda: slurm.squeue([job_id])[0]["state"] == "RUNNING")
    slurm.scancel([job_id])
    assert await_end_of(slurm, job_id)["state"] == "CANCELLED"


def test_a_controller_that_does_not_answer(asked: Asked) -> None:
    slurm = Slurm(asked.env["PATH"], str(asked.down), 1.0)
    for speak in (
        slurm.squeue,
        slurm.list_nodes,
        lambda: slurm.sbatch("#!/bin/sh\n", {}),
        lambda: slurm.scancel(["1"]),
    ):
        with pytest.raises(SlurmUnreachable):
            speak()
    assert slurm.ping()["up"] is False


def test_the_shared_picture_of_a_job_s_life(slurm: Slurm) -> None:
    async def life() -> tuple[list[str], parse.Job]:
        with ThreadPoolExecutor(4) as executor:
            snapshot = Snapshot(slurm, executor, min_s=0.2, max_s=0.5)
            poller = asyncio.ensure_future(snapshot.run())
            await snapshot.refresh()
            tag, seen = f"sluice:{secrets.token_hex(16)}", []
            since = time.monotonic()
            job_id = await asyncio.to_thread(
                slurm.sbatch, "#!/bin/sh\nsleep 1\nexit 4\n", {"comment": tag, "output": "/dev/null", "hold": True}
            )
            snapshot.add_submitted(job_id, {"comment": tag})
            seen.append(snapshot.jobs[job_id]["state"])
            turned = asyncio.Event()
            snapshot.on_jobs_changed.append(lambda _changed: turned.set())
            await asyncio.to_thread(change, slurm, "release", job_id)
            while True:
                found, job = snapshot.by_tag(Submission(tag), since)
                assert (found, snapshot.by_id(job_id)) == ("seen", ("seen", job))
                assert job is not None
                seen += [job["state"]] if job["state"] not in seen[-1:] else []
                if job["state"] in parse.FINISHED:
                    poller.cancel()
                    await asyncio.wait({poller})
                    return seen, job
                await asyncio.wait_for(turned.wait(), 300)
                turned.clear()

    seen, job = asyncio.run(life())
    assert (seen[0], seen[-1], job["exit_code"]) == ("PENDING", "FAILED", 4)
    assert set(seen) <= {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "FAILED"}
