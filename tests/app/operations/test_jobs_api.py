"""Single jobs over HTTP: the documented calls, ids, refusals, idempotency keys, logs, and a SLURM that is away."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.cluster import PROGRAMS
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.starting.work import Work
from tests.app_client import Client, down, up
from tests.app_server import Server
from tests.waiting import eventually

HELLO = "#!/bin/bash\necho hello\n"
SLEEP = "#!/bin/bash\nexec sleep 300\n"


def list_jobs(client: Client) -> dict[Any, dict[str, Any]]:
    """List the jobs, by id."""
    return {job["job_id"]: job for job in client.get("/api/jobs").json()}


def unique(name: str) -> str:
    """A name that no other test has used, on a cluster that tests may share."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def list_named_jobs(client: Client, name: str) -> list[dict[str, Any]]:
    """List the jobs of this name."""
    return [job for job in list_jobs(client).values() if job["name"] == name]


def in_folder(script: str, folder: Path) -> str:
    """The script, which writes its logs into this folder."""
    return script.replace("\n", f"\n#SBATCH --output={folder}/%j.out --error={folder}/%j.err\n", 1)


# --- the life of a job -----------------------------------------------------------------------------------------------


def test_the_documented_submission(client: Client) -> None:
    partition = "#SBATCH --partition=gpu\n" if client.cluster == "slurm" else ""
    body = {
        "name": "my-job",
        "script_content": f"#!/bin/bash\n{partition}#SBATCH --gpus=1\npython train.py",
        "job_name": "training-run",
    }
    answer = client.post("/api/jobs", body)
    assert answer.status_code == 201
    job_id = answer.json()["job_id"]
    assert isinstance(job_id, int)
    assert answer.json() == {
        "name": "training-run", "job_id": job_id, "status": "PENDING", "depends_on": [], "command": [], "resources": {},
    }  # fmt: skip
    job = list_jobs(client)[job_id]
    assert job["name"] == "training-run", "seen at once, before SLURM was asked again"
    over = client.job(job_id)
    assert (over["status"], over["gpus"]) == ("FAILED", 1), "there is no train.py here"
    assert over["exit_code"] == 2 or over["exit_code"] == 127


@pytest.mark.parametrize(
    ("why", "script", "status", "slurm_state", "exit_code"),
    [
        ("well", "exit 0", "COMPLETED", "COMPLETED", 0),
        ("its own code", "exit 3", "FAILED", "FAILED", 3),
        ("ended by a signal", "kill -9 $$", "FAILED", "FAILED", 137),
    ],
)
def test_how_a_job_ends(client: Client, why: str, script: str, status: str, slurm_state: str, exit_code: int) -> None:
    job = client.job(client.submit(f"#!/bin/bash\n{script}\n"))
    assert (job["status"], job["slurm_state"], job["exit_code"]) == (status, slurm_state, exit_code), why
    assert job["submitted_at"] <= job["started_at"] <= job["ended_at"]
    row = next(row for row in client.get("/api/history").json() if row["job_id"] == job["job_id"])
    assert eventually(lambda: row["status"] == status or client.get("/api/history").json()[0]["status"] == status)


def test_the_list_and_the_single_answer_agree(client: Client) -> None:
    job_id = client.submit(HELLO, name="agreed")
    job = client.job(job_id)
    assert eventually(lambda: list_jobs(client)[job_id]["status"] == "COMPLETED")
    assert list_jobs(client)[job_id] == job


def test_cancelling(client: Client) -> None:
    job_id = client.submit(SLEEP)
    eventually(lambda: client.job(job_id, over=False)["status"] == "RUNNING")
    answer = client.delete(f"/api/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert list_jobs(client)[job_id]["status"] == "CANCELLED", "seen at once"
    assert client.job(job_id)["slurm_state"] == "CANCELLED"
    assert client.delete(f"/api/jobs/{job_id}").status_code == 204, "over already"
    assert client.delete("/api/jobs/999999999").status_code == 404


def test_cancelling_what_is_over_leaves_it_as_it_was(client: Client) -> None:
    job_id = client.submit(HELLO)
    before = client.job(job_id)
    assert client.delete(f"/api/jobs/{job_id}").status_code == 204
    assert client.get(f"/api/jobs/{job_id}").json() == before


def test_a_job_does_not_see_the_servers_environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hunter2")
    monkeypatch.setenv("SBATCH_PARTITION", "nowhere")
    job_id = client.submit("#!/bin/bash\nenv\n")
    assert client.job(job_id)["status"] == "COMPLETED"
    output = client.get(f"/api/jobs/{job_id}/logs").json()["stdout"]
    assert "SLURM_JOB_ID" in output and "hunter2" not in output and "SLUICE_STORE" not in output


@pytest.mark.parametrize(
    ("why", "name", "in_slurm"),
    [
        ("blanks", "training run", "training_run"),
        ("looks like an option", "--uid=0", "--uid_0"),
        ("a shell would see two commands", "a; rm -rf /", "a__rm_-rf__"),
        ("two lines", "a\n#SBATCH --uid=0", None),
        ("the column mark of other tools", "a|b", "a_b"),
        ("turns the text around", "a\u202eb", "a_b"),
    ],
)
def test_hostile_names(client: Client, why: str, name: str, in_slurm: str | None) -> None:
    answer = client.post("/api/jobs", {"name": name, "script_content": HELLO})
    assert (answer.status_code, answer.json()["name"]) == (201, name), why
    job = client.job(answer.json()["job_id"])
    assert job["status"] == "COMPLETED"
    assert set(job["name"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"), job["name"]
    assert in_slurm is None or job["name"].lstrip("_") == in_slurm.lstrip("_"), why


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "job_id", "status"),
    [
        ("there is no job 0", "0", 400),
        ("nor a negative one", "-1", 400),
        ("no id has a sign", "+5", 400),
        ("no id is this long", "99999999999999999999", 400),
        ("not a number", "abc", 422),
        ("half an array task", "42_", 422),
        ("tasks that wait together, of a job that nobody knows", "999999999_[1-3%252]", 404),
        ("no list of tasks", "42_[1-]", 422),
        ("a list that runs backwards", "42_[3-1]", 422),
        ("more tasks than an array has", "42_[0-999999999]", 422),
        ("a fraction", "1.5", 422),
        ("another digit than SLURM's", "４２", 422),
        ("an option", "--help", 422),
        ("a blank", "%2042", 422),
        ("nobody knows it", "999999999", 404),
        ("nor this task", "999999999_7", 404),
    ],
)
def test_ids(client: Client, why: str, job_id: str, status: int) -> None:
    for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/logs")):
        answer = client.request(method, f"/api/jobs/{job_id}{tail}")
        assert answer.status_code == status, f"{why}: {method} {tail} {answer.text}"
        if status == 400:
            assert answer.json() == {"detail": "Invalid job ID"}


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "lines", "reason"),
    [
        ("partition", "#SBATCH --partition=nowhere", "Invalid partition name specified"),
        ("more than all nodes have", "#SBATCH --gpus=99", "Requested node configuration is not available"),
        ("an option that sbatch does not have", "#SBATCH --nonsense=1", "unrecognized option '--nonsense"),
        ("a time that is none", "#SBATCH --time=soon", "Invalid --time specification"),
        ("an array that is none", "#SBATCH --array=5-1", "Invalid job array specification"),
    ],
)
def test_sbatchs_own_reason_is_told_and_nothing_is_kept(client: Client, why: str, lines: str, reason: str) -> None:
    answer = client.post("/api/jobs", {"name": "refused", "script_content": f"#!/bin/bash\n{lines}\necho\n"})
    assert answer.status_code == 502, answer.text
    assert reason in answer.json()["detail"], answer.text
    assert not [path for path in client.store.glob("jobs/*.json") if '"name": "refused"' in path.read_text()], why
    assert "refused" not in [row["job_name"] for row in client.get("/api/history").json()]


def test_all_of_a_complaint_is_told(client: Client) -> None:
    script = "#!/bin/bash\n#SBATCH --mem=999G\ntrue\n"
    answer = client.post("/api/jobs", {"name": "refused", "script_content": script})
    reason = "Requested node configuration is not available (Memory specification can not be satisfied)"
    assert (answer.status_code, answer.json()["detail"]) == (502, f"sbatch failed: {reason}")


def test_a_value_that_reads_like_an_outage_shuts_nobody_out(client: Client) -> None:
    script = '#!/bin/bash\n#SBATCH -p "connection refused"\ntrue\n'
    for _ in range(4):
        answer = client.post("/api/jobs", {"name": "refused", "script_content": script})
        assert answer.status_code == 502 and "Invalid partition name specified" in answer.json()["detail"]
    assert client.get("/health").json()["slurm"]["answers"]
    client.submit(HELLO)


def test_a_submission_that_waits_for_its_job_is_answered_at_once(client: Client) -> None:
    script = "#!/bin/bash\n#SBATCH --wait\nexec sleep 300\n"
    answers = client.together([lambda: client.post("/api/jobs", {"name": "w", "script_content": script})] * 4)
    assert [answer.status_code for answer in answers] == [201] * 4
    client.submit(HELLO)
    job_id = answers[0].json()["job_id"]
    assert client.job(job_id, over=False)["status"] in ("PENDING", "RUNNING"), "the job goes on"


def test_a_job_keeps_its_own_comment(client: Client) -> None:
    name = unique("commented")
    script = "#!/bin/bash\n#SBATCH --hold --comment='mine: a b'\ntrue\n"
    answer = submit_under_key(client, name, name, script)
    assert answer.status_code == 201, answer.text
    row = client.server.cluster.slurm.squeue([str(answer.json()["job_id"])])[0]
    record = next(record for path in client.store.glob("jobs/*.json") if name in (record := path.read_text()))
    assert row["comment"] == f"mine: a b {json.loads(record)['tag']}"


@pytest.mark.parametrize(
    ("why", "lines", "reason"),
    [
        ("what bash cannot read", "echo a\nfi\n", "line 3: syntax error near unexpected token `fi'"),
        ("DOS line breaks", "echo\r\n", "line 2: a batch script has no NUL and no DOS line breaks"),
        ("an estimate", "#SBATCH --test-only\necho\n", "with #SBATCH --test-only nothing is submitted"),
    ],
)
def test_a_script_that_can_never_run_says_why(client: Client, why: str, lines: str, reason: str) -> None:
    script = f"#!/bin/bash\n{lines}"
    answer = client.post("/api/jobs", {"name": "bad", "script_content": script})
    assert answer.status_code == 422 and reason in answer.json()["detail"][0]["msg"], why
    (client.store / "workflows" / "bad.sh").write_text(script)
    for name, more in (("bad", ""), ("bad_sweep", "sweep: {matrix: {x: [1, 2]}}\n")):
        text = "args: {x: 0}\njobs: [{name: a, script_path: bad.sh, work_dir: 'w{{ x }}'}]\n"
        client.workflow(name, f"name: {name}\n{more}{text}")
        answer = client.post(f"/api/workflows/{name}/run", {})
        assert answer.status_code == 422 and reason in answer.json()["detail"][0]["msg"], f"{why}: {answer.text}"
        assert answer.json()["detail"][0]["loc"] == ["jobs", "a", "script"]


@pytest.mark.parametrize(
    ("why", "body", "status", "loc"),
    [
        ("neither script nor path", {}, 422, ["body", "script_content"]),
        ("both", {"script_content": HELLO, "script_path": "a.sh", "mount_name": "m"}, 422, ["body", "script_content"]),
        ("no batch script", {"script_content": "echo"}, 422, ["body", "script_content"]),
        ("empty", {"script_content": ""}, 422, ["body", "script_content"]),
        ("NUL", {"script_content": "#!/bin/sh\n\0"}, 422, ["body", "script_content"]),
        ("DOS lines", {"script_content": "#!/bin/sh\r\necho\r\n"}, 422, ["body", "script_content"]),
        ("no end", {"script_content": "#!/bin/bash\nif true\n"}, 422, ["body", "script_content"]),
        ("an estimate", {"script_content": "#!/bin/sh\n#SBATCH --test-only\n"}, 422, ["body", "script_content"]),
        ("a path without its mount", {"script_path": "a.sh"}, 422, ["body", "mount_name"]),
        ("a mount that is not there", {"script_path": "a.sh", "mount_name": "m"}, 404, None),
        ("notify whom", {"script_content": HELLO, "notify": True}, 422, ["body", "endpoint_id"]),
        ("notify nobody", {"script_content": HELLO, "notify": True, "endpoint_id": 7}, 404, None),
        ("no name", {"name": None, "script_content": HELLO}, 422, ["body", "name"]),
        ("a number as name", {"name": 5, "script_content": HELLO}, 422, ["body", "name"]),
        ("an empty name", {"name": "", "script_content": HELLO}, 422, ["body", "name"]),
        ("a long name", {"name": "n" * 201, "script_content": HELLO}, 422, ["body", "name"]),
    ],
)
def test_what_cannot_be_submitted(
    client: Client, why: str, body: dict[str, Any], status: int, loc: list[str] | None
) -> None:
    answer = client.post("/api/jobs", {"name": "bad", **body})
    assert answer.status_code == status, f"{why}: {answer.text}"
    if loc is not None:
        assert loc in [problem["loc"] for problem in answer.json()["detail"]], why


# --- idempotency keys ------------------------------------------------------------------------------------------------


def submit_under_key(client: Client, key: str, name: str, script: str = HELLO, **more: Any) -> Any:
    """Submit a job under a key; return the answer."""
    body = {"name": name, "script_content": script}
    return client.post("/api/jobs", body, headers={"Idempotency-Key": key}, **more)


def test_a_key_makes_one_job(client: Client) -> None:
    name = unique("keyed")
    first, again = submit_under_key(client, "one", name), submit_under_key(client, "one", name)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert len(list_named_jobs(client, name)) == 1
    client.job(first.json()["job_id"])
    assert submit_under_key(client, "one", name).json()["job_id"] == first.json()["job_id"], "also when it is over"


def test_a_key_with_another_body_is_refused(client: Client) -> None:
    submit_under_key(client, "two", "first")
    second = unique("second")
    answer = submit_under_key(client, "two", second)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert list_named_jobs(client, second) == []


def test_a_key_belongs_to_its_caller(client: Client) -> None:
    mine, theirs = submit_under_key(client, "three", "whose"), submit_under_key(client, "three", "whose", token="admin")
    assert mine.json()["job_id"] != theirs.json()["job_id"]


def test_a_job_and_its_line_in_the_audit_are_one_commit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    files, lines = client.server.store.files, list[Any]()
    commit = files.commit

    def watched(changes: Any, *rest: Any, **more: Any) -> None:
        commit(changes, *rest, **more)
        lines.extend(change.line for change in changes if change.line is not None)

    monkeypatch.setattr(files, "commit", watched)
    name = unique("audited")
    job_id = submit_under_key(client, name, name).json()["job_id"]
    assert submit_under_key(client, name, name).json()["job_id"] == job_id
    entries = [
        (entry["status"], entry["made"])
        for path in (client.store / "audit").iterdir()
        for entry in map(json.loads, path.read_text().splitlines())
        if entry["what"] == "srunx_submit_job" and entry["made"] == job_id
    ]
    assert entries == [(201, job_id)] * 2, "one line for each request"
    assert [(line.is_written, json.loads(line.data)["made"]) for line in lines] == [(True, job_id)]


def test_without_a_key_every_request_makes_a_job(client: Client) -> None:
    assert client.submit(HELLO) != client.submit(HELLO)


def test_twenty_requests_at_once_with_one_key_make_one_job(client: Client) -> None:
    name = unique("crowd")
    answers = client.together([lambda: submit_under_key(client, "crowd", name)] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    client.job(answers[0].json()["job_id"])
    assert len(list_named_jobs(client, name)) == 1


@pytest.mark.parametrize("bad", ["with blank", "x" * 201, "", "\x7f"])
def test_keys_that_are_none(client: Client, bad: str) -> None:
    assert submit_under_key(client, bad, "bad").status_code == 422


def cut_off(client: Client, monkeypatch: pytest.MonkeyPatch, arrives: bool) -> None:
    """From now on, once, the answer of sbatch is lost, after the request arrived or before."""
    slurm = client.server.cluster.slurm
    real = slurm.submit

    def submit(*given: Any) -> Work[str]:
        monkeypatch.setattr(slurm, "submit", real)
        if arrives:
            yield from real(*given)
        raise SlurmUnreachable("sbatch", "Socket timed out on send/recv operation", uncertain=True)

    monkeypatch.setattr(slurm, "submit", submit)


@pytest.mark.long
@pytest.mark.parametrize("arrives", [True, False])
def test_an_answer_that_was_lost_makes_no_second_job(
    client: Client, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    monkeypatch.setattr("slurm_shim.cluster._DOUBT_S", 0.1)
    name, key = unique("lost"), uuid.uuid4().hex
    cut_off(client, monkeypatch, arrives)
    assert submit_under_key(client, key, name).status_code == 503

    def answered() -> Any:
        answer = submit_under_key(client, key, name)
        return answer.status_code == 201 and answer

    job_id = eventually(answered).json()["job_id"]
    client.job(job_id)
    assert [job["job_id"] for job in list_named_jobs(client, name)] == [job_id]


def test_a_job_whose_answer_was_lost_is_adopted_though_nobody_asks_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(client, monkeypatch, arrives=True)
    assert submit_under_key(client, uuid.uuid4().hex, "orphan").status_code == 503
    rows = eventually(lambda: [row for row in client.get("/api/history").json() if row["job_name"] == "orphan"])
    assert client.job(rows[0]["job_id"])["status"] == "COMPLETED"


# --- logs ------------------------------------------------------------------------------------------------------------


def read_logs(client: Client, job_id: Any, **offsets: int) -> dict[str, Any]:
    """Read the logs of a job from these offsets on."""
    found: dict[str, Any] = client.get(f"/api/jobs/{job_id}/logs", params=offsets).json()
    return found


def test_logs_by_offset(client: Client, tmp_path: Path) -> None:
    job_id = client.submit(in_folder("#!/bin/bash\necho hello\necho oh no >&2\n", tmp_path))
    client.job(job_id)
    assert read_logs(client, job_id) == {
        "stdout": "hello\n",
        "stderr": "oh no\n",
        "stdout_offset": 6,
        "stderr_offset": 6,
        "stdout_restarted": False,
        "stderr_restarted": False,
        "truncated": False,
    }
    found = read_logs(client, job_id, stdout_offset=4, stderr_offset=6)
    assert (found["stdout"], found["stderr"], found["stdout_offset"], found["stderr_offset"]) == ("o\n", "", 6, 6)
    assert read_logs(client, job_id, stdout_offset=-3)["stdout"] == "hello\n", "negative is the start"


def test_a_log_that_is_written_anew(client: Client, tmp_path: Path) -> None:
    job_id = client.submit(f"#!/bin/bash\n#SBATCH --output={tmp_path}/log\necho hello\n")
    client.job(job_id)
    at = read_logs(client, job_id)["stdout_offset"]
    for why, text in (("shorter", "new\n"), ("longer again by now", "once more\nand on\n")):
        (tmp_path / "log").write_text(text)
        found = read_logs(client, job_id, stdout_offset=at)
        assert (found["stdout"], found["stdout_restarted"]) == (text, True), why
        at = found["stdout_offset"]


def test_a_log_that_grows(client: Client, tmp_path: Path) -> None:
    script = f"#!/bin/bash\necho one\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.05; done\nprintf 'h\\303\\251\\n'\n"
    job_id = client.submit(script)
    first = eventually(lambda: (answer := read_logs(client, job_id))["stdout"] and answer)
    assert (first["stdout"], first["stderr"]) == ("one\n", "")
    (tmp_path / "go").touch()
    client.job(job_id)
    rest = read_logs(client, job_id, stdout_offset=first["stdout_offset"])
    assert (rest["stdout"], rest["stdout_offset"]) == ("hé\n", 8)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_log_that_is_no_plain_file_is_refused(client: Client, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text("secret")
    job_id = client.submit(in_folder(HELLO, tmp_path))
    client.job(job_id)
    log = tmp_path / f"{job_id}.out"
    log.unlink()
    log.symlink_to(tmp_path / "secret") if kind == "link" else os.mkfifo(log)
    answer = client.get(f"/api/jobs/{job_id}/logs")
    assert answer.status_code == 403 and "secret" not in answer.text


@pytest.mark.parametrize(("kind", "status"), [("link", 403), ("pipe", 403), ("sparse", 200)])
def test_what_takes_the_place_of_a_log_that_is_followed(client: Client, tmp_path: Path, kind: str, status: int) -> None:
    """It is refused or comes in bounded pieces, nobody waits for it, and the log is followed again."""
    job_id = client.submit(in_folder(SLEEP.replace("exec", "echo one\nexec"), tmp_path))
    log = tmp_path / f"{job_id}.out"
    first = eventually(lambda: (answer := read_logs(client, job_id))["stdout"] and answer)
    if kind == "sparse":
        os.truncate(log, 10 * 2**30)
    else:
        log.rename(tmp_path / "aside")
        log.symlink_to(tmp_path / "aside") if kind == "link" else os.mkfifo(log)
    for offset in (first["stdout_offset"], None):
        params = {} if offset is None else {"stdout_offset": offset}
        answer = client.get(f"/api/jobs/{job_id}/logs", params=params)
        assert answer.status_code == status
        assert status != 200 or (
            set(answer.json()["stdout"]) == {"\0"} and answer.json()["truncated"] is (offset is None)
        )
    log.unlink()
    log.write_text("one\ntwo\n")
    assert read_logs(client, job_id, stdout_offset=4)["stdout"] == "two\n"
    client.delete(f"/api/jobs/{job_id}")


def test_a_log_that_is_gone_is_empty(client: Client, tmp_path: Path) -> None:
    job_id = client.submit(in_folder(HELLO, tmp_path))
    client.job(job_id)
    (tmp_path / f"{job_id}.out").unlink()
    assert read_logs(client, job_id)["stdout"] == ""


def test_what_goes_to_dev_null_is_empty(client: Client, tmp_path: Path) -> None:
    job_id = client.submit(in_folder("#!/bin/bash\n#SBATCH --error /dev/null\necho hello\necho never >&2\n", tmp_path))
    client.job(job_id)
    assert (log := read_logs(client, job_id))["stdout"] == "hello\n" and log["stderr"] == ""


@pytest.mark.parametrize("bad", ["x", "1.5", "9" * 25])
def test_offsets_that_are_none(client: Client, bad: str) -> None:
    answer = client.get("/api/jobs/1/logs", params={"stdout_offset": bad})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["query", "stdout_offset"]


# --- what SLURM has forgotten, and a SLURM that is away ---------------------------------------------------------------


@pytest.fixture
def embedded(client: Client) -> Client:
    """The app on an embedded cluster, whose faults can be chosen."""
    if client.cluster != "embedded":
        pytest.skip("chosen faults need the embedded cluster")
    return client


def test_a_job_that_slurm_has_forgotten_stays_readable(server: Server) -> None:
    if server.cluster != "embedded":
        pytest.skip("only the embedded cluster can be made to forget")
    body = {"name": "kept", "script_content": "#!/bin/bash\necho kept\nexit 3\n"}
    submit = lambda: server.http.post("/api/jobs", json=body, headers={"Idempotency-Key": "kept"})  # noqa: E731
    job_id = submit().json()["job_id"]
    eventually(lambda: server.http.get("/api/history").json()[0]["status"] == "FAILED")
    server.end()
    for file in server.store.glob("cluster/state*"):
        file.unlink()
    server.start()
    job = server.http.get(f"/api/jobs/{job_id}").json()
    assert (job["name"], job["status"], job["exit_code"]) == ("kept", "FAILED", 3)
    assert [row["status"] for row in server.http.get("/api/jobs").json()] == ["FAILED"], "listed for six hours"
    assert server.http.get(f"/api/jobs/{job_id}/logs").json()["stdout"] == "kept\n"
    assert server.http.delete(f"/api/jobs/{job_id}").status_code == 204
    assert submit().json()["job_id"] == job_id, "a key is remembered as long as its job"


@pytest.mark.long
def test_ours_stay_readable_when_a_server_starts_while_slurm_is_away(server: Server, tmp_path: Path) -> None:
    if server.cluster != "embedded":
        pytest.skip("chosen faults need the embedded cluster")
    # The embedded cluster as a SLURM that this server did not set up.
    (tmp_path / "other" / "cluster").mkdir(parents=True)
    conf = tmp_path / "other" / "cluster" / "slurm.conf"
    conf.write_text((server.store / "cluster" / "slurm.conf").read_text().replace("=embedded", "=elsewhere"))
    found = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "SLURM_CONF": str(conf)}
    other = Server(tmp_path / "another", "slurm", **found)
    try:
        other.start()
        assert other.http.get("/health").json()["cluster"] == "elsewhere"
        job_id = other.http.post("/api/jobs", json={"name": "ours", "script_content": HELLO}).json()["job_id"]
        eventually(lambda: other.http.get("/api/history").json()[0]["status"] == "COMPLETED")
        other.end()
        down(tmp_path / "other")
        other.start()
        answer = other.http.get(f"/api/jobs/{job_id}")
        assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
        assert "x-snapshot-age" not in answer.headers, "there is none yet"
        assert other.http.get(f"/api/jobs/{job_id}/logs").json()["stdout"] == "hello\n"
        assert other.http.get("/api/jobs").status_code == 503
        assert other.http.get("/api/jobs/999999998").status_code == 503, "nobody knows whether there is none"
        up(tmp_path / "other")
        eventually(lambda: other.http.get("/api/jobs").status_code == 200)
        assert [job.get("run_id") for job in other.http.get("/api/jobs").json()] == [None]
        eventually(lambda: other.http.get("/api/jobs/999999998").status_code == 404)
    finally:
        up(tmp_path / "other")
        other.close()


def test_a_controller_that_is_away(embedded: Client) -> None:
    job_id = embedded.submit(SLEEP, name="survivor")
    eventually(lambda: embedded.job(job_id, over=False)["status"] == "RUNNING")
    done = embedded.submit(HELLO)
    embedded.job(done)
    before = embedded.get("/api/jobs")
    down(embedded.store)
    try:
        eventually(lambda: embedded.get("/health").json()["status"] == "degraded")
        age_s = float(embedded.get("/api/jobs").headers["x-snapshot-age"])
        eventually(lambda: float(embedded.get("/api/jobs").headers["x-snapshot-age"]) > age_s)
        during = embedded.get("/api/jobs")
        states = lambda answer: {job["job_id"]: job["status"] for job in answer.json()}  # noqa: E731
        assert states(during) == states(before), "nothing changes its state"
        assert embedded.job(job_id, over=False)["status"] == "RUNNING"
        assert embedded.post("/api/jobs", {"name": "x", "script_content": HELLO}).status_code == 503
        refused = embedded.delete(f"/api/jobs/{job_id}")
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert embedded.get("/api/resources").status_code == 200
        assert embedded.get("/api/jobs/999999998").status_code == 503, "it may have been submitted since"
        assert not list_named_jobs(embedded, "x")
    finally:
        up(embedded.store)
    eventually(lambda: embedded.get("/health").json()["status"] == "healthy")
    assert embedded.job(job_id, over=False)["status"] == "RUNNING"
    assert embedded.delete(f"/api/jobs/{job_id}").status_code == 204
    assert embedded.job(job_id)["status"] == "CANCELLED"
