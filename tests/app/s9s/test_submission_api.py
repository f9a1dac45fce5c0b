"""Jobs submitted over the S9S API: the document's requests, every field, what is refused and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

SCRIPT = "#!/bin/bash\necho from a file\n"


def submit(client: Client, **fields: Any) -> str:
    """Submit a job; return its id."""
    answer = client.post("/api/v1/jobs", fields)
    assert answer.status_code == 201, answer.text
    assert list(answer.json()) == ["job_id", "state", "message"]
    return str(answer.json()["job_id"])


def read_row(client: Client, job_id: str) -> dict[str, Any]:
    """Read a job as SLURM has it."""
    rows: dict[str, dict[str, Any]] = client.run(client.server.cluster.ask_again([job_id]))
    return rows[job_id]


def find_record(client: Client, job_id: str) -> Any:
    """Find the record of a job."""
    return client.server.job_index.find_source(client.server.cluster.name, job_id).document


def await_output(client: Client, job_id: str) -> str:
    """Wait for a job's end; return its output."""
    path = f"/api/v1/jobs/{job_id}/output"
    answer = eventually(lambda: (found := client.get(path).json())["complete"] and found)
    return str(answer["content"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that jobs of everybody may enter."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o005 != 0o005 and path.owner() == tmp_path.owner():
            path.chmod(path.stat().st_mode | 0o055)
    return tmp_path


def test_the_documents_curl_example_works_as_it_stands(client: Client) -> None:
    answer = client.post(
        "/v1/jobs", content=b'{"job_name":"test","script":"/bin/sleep 60","nodes":1}',
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    job_id = answer.json()["job_id"]
    assert answer.status_code == 201
    assert answer.json() == {"job_id": job_id, "state": "PENDING", "message": "Job submitted successfully"}
    assert answer.headers["location"].endswith(f"/v1/jobs/{job_id}") and "/api/" not in answer.headers["location"]
    found = client.get(answer.headers["location"]).json()
    assert (found["job_name"], found["node_count"]) == ("test", 1)
    eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "RUNNING")
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 200


def test_all_fields_of_the_document_reach_slurm(client: Client, folder: Path) -> None:
    (folder / "scripts").mkdir()
    script = folder / "scripts" / "simulation.sh"
    script.write_text("#!/bin/bash\n#SBATCH --job-name=other --hold --partition=nowhere\necho $CUDA_VISIBLE_DEVICES\n")
    before = submit(client, script="#!/bin/bash\n#SBATCH --hold\ntrue\n")
    job_id = submit(
        client, job_name="my simulation: ü", script=str(script), nodes=2,
        partition="gpu" if client.cluster == "slurm" else "main",
        cpus_per_node=4, memory="1.5GB", gpus=2, time_limit="4:00:00", account="research", qos="normal",
        working_directory=str(folder / "work"), standard_output=f"{folder}/logs/%j.out",
        standard_error=f"{folder}/logs/%j.err", dependencies=[{"type": "afterok", "job_id": before}],
        environment={"NUMBER": "1,2 '3'", "PATH": "/usr/bin:/bin", "MY_TOKEN": "t"},
    )  # fmt: skip
    row = read_row(client, job_id)
    assert (row["name"], row["node_count"], row["cpu_count"], row["gpus"]) == ("my simulation: ü", 2, 8, 2)
    assert (row["time_limit_s"], row["memory_mb"], row["work_dir"]) == (14400, 2 * 1536, str(folder / "work"))
    assert row["stdout"] == f"{folder}/logs/{job_id}.out" and row["stderr"] == f"{folder}/logs/{job_id}.err"
    assert row["dependency"] == f"afterok:{before}(unfulfilled)"
    assert (folder / "work").is_dir() and (folder / "logs").is_dir(), "made where they were missing"
    record = find_record(client, job_id)
    assert record.command == str(script) == client.get(f"/api/v1/jobs/{job_id}").json()["command"]
    assert record.environment == {"NUMBER": "1,2 '3'", "PATH": "/usr/bin:/bin", "MY_TOKEN": "***"}
    for other in (job_id, before):
        client.delete(f"/api/v1/jobs/{other}")


@pytest.mark.parametrize(
    ("why", "script", "name", "said"),
    [
        ("a command", "echo $((6 * 7)); pwd", "wrap", "42\n{work}\n"),
        ("an inline script", "#!/bin/sh\necho inline\n", "sbatch", "inline\n"),
        ("an inline script behind empty lines", "\n\n#!/bin/sh\necho inline\n", "sbatch", "inline\n"),
        ("several lines", "echo one\necho two", "sbatch", "one\ntwo\n"),
        ("the path of a script", "{folder}/script.sh", "script.sh", "from a file\n"),
        ("the path of a program", "/bin/pwd", "wrap", "{work}\n"),
        ("a name in the script", "#!/bin/sh\n#SBATCH -J mine\necho $SLURM_JOB_NAME\n", "mine", "mine\n"),
    ],
)
def test_what_a_script_may_be(client: Client, folder: Path, why: str, script: str, name: str, said: str) -> None:
    (folder / "script.sh").write_text(SCRIPT)
    job_id = submit(client, script=script.format(folder=folder) if "{folder}" in script else script,
                    working_directory=str(folder / "work"))  # fmt: skip
    assert await_output(client, job_id) == said.format(work=folder / "work"), why
    assert client.get(f"/api/v1/jobs/{job_id}").json()["job_name"] == name


def test_variables_reach_the_job_whatever_the_script_exports(client: Client, folder: Path) -> None:
    script = '#!/bin/bash\n#SBATCH --export=NONE\nprintf "%s|" "$A" "$PATH" "$HOME_LIKE"\n'
    environment = {"A": "1,2 'x' $B\nline", "PATH": "/opt/mine:/usr/bin:/bin", "HOME_LIKE": "/x"}
    job_id = submit(client, script=script, working_directory=str(folder), environment=environment)
    assert await_output(client, job_id) == "1,2 'x' $B\nline|/opt/mine:/usr/bin:/bin|/x|"


@pytest.mark.parametrize(
    ("kind", "needs_job"),
    [("after", True), ("afterany", True), ("afterok", True), ("afternotok", True), ("aftercorr", True),
     ("afterburstbuffer", True), ("singleton", False)],
)  # fmt: skip
def test_all_kinds_of_dependencies_are_taken(client: Client, kind: str, needs_job: bool) -> None:
    before = submit(client, job_name=f"dep-{kind}", script="#!/bin/bash\n#SBATCH --hold\ntrue\n")
    dependency = {"type": kind, **({"job_id": before} if needs_job else {})}
    job_id = submit(client, job_name=f"dep-{kind}", script="/bin/true", dependencies=[dependency])
    wanted = f"{kind}:{before}(unfulfilled)" if needs_job else "singleton(unfulfilled)"
    assert read_row(client, job_id)["dependency"] == wanted
    for other in (job_id, before):
        client.delete(f"/api/v1/jobs/{other}")


def test_a_request_that_comes_twice_is_one_job(client: Client) -> None:
    body = {"script": "/bin/true", "environment": {"A": "1"}}
    headers = {"Idempotency-Key": "s9s-once"}
    answers = client.together([lambda: client.post("/v1/jobs", body, headers=headers) for _ in range(3)])
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    other = client.post("/v1/jobs", body | {"environment": {"A": "2"}}, headers=headers)
    assert (other.status_code, list(other.json()["error"]["details"]["fields"])) == (400, ["Idempotency-Key"])


def test_a_job_is_listed_by_all_families(client: Client) -> None:
    job_id = submit(client, job_name="shared", script="#!/bin/bash\n#SBATCH --hold --comment=mine\ntrue\n")
    assert job_id in [job["job_id"] for job in client.get("/v1/jobs", params={"limit": 1000}).json()["jobs"]]
    assert int(job_id) in [job["job_id"] for job in client.get("/api/jobs").json()]
    assert client.get("/api/history").json()[0]["job_name"] == "shared"
    record = find_record(client, job_id)
    assert read_row(client, job_id)["comment"] == f"mine {record.tag}"
    client.delete(f"/api/v1/jobs/{job_id}")


OK = {"script": "/bin/true"}
WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    ("no script", {"job_name": "x"}, ["script"]),
    ("no node", {**OK, "nodes": 0}, ["nodes"]),
    ("half a node", {**OK, "nodes": 1.5}, ["nodes"]),
    ("no amount", {**OK, "memory": "lots"}, ["memory"]),
    ("no time", {**OK, "time_limit": "abc"}, ["time_limit"]),
    ("both", {**OK, "memory": "1XB", "time_limit": "abc"}, ["memory", "time_limit"]),
    ("a control character", {**OK, "job_name": "a\x1bb"}, ["job_name"]),
    ("a name that is too long", {**OK, "job_name": "x" * 257}, ["job_name"]),
    ("no name of a variable", {**OK, "environment": {"A B": "1"}}, ["environment.A B"]),
    ("a variable of SLURM's", {**OK, "environment": {"SLURM_CONF": "/x"}}, ["environment.SLURM_CONF"]),
    ("a variable of the loader's", {**OK, "environment": {"LD_PRELOAD": "/x"}}, ["environment.LD_PRELOAD"]),
    ("no such kind", {**OK, "dependencies": [{"type": "before", "job_id": "1"}]}, ["dependencies.0.type"]),
    ("a kind without a job", {**OK, "dependencies": [{"type": "afterok"}]}, ["dependencies.0.job_id"]),
    ("a job that nobody has", {**OK, "dependencies": [{"type": "afterok", "job_id": "99999999"}]},
     ["dependencies.0.job_id"]),
    ("a script of blanks", {"script": " \t "}, ["script"]),
    ("a file that is not there", {"script": "/no/such/file.sh"}, ["script"]),
    ("a file that is no script", {"script": "/etc/passwd"}, ["script"]),
    ("a folder", {"script": "/etc"}, ["script"]),
    ("DOS line breaks", {"script": "#!/bin/sh\r\necho\r\n"}, ["script"]),
    ("what bash cannot read", {"script": "echo 'never closed"}, ["script"]),
    ("a relative folder", {**OK, "working_directory": "work"}, ["working_directory"]),
    ("a folder that is a file", {**OK, "working_directory": "/etc/passwd"}, ["working_directory"]),
    ("an output below a file", {**OK, "standard_output": "/etc/passwd/x.out"}, ["standard_output"]),
    ("an unknown user's home", {**OK, "working_directory": "~nosuchuser/x"}, ["working_directory"]),
    ("a partition that SLURM does not have", {**OK, "partition": "nope"}, ["partition"]),
    ("an unknown field", {**OK, "partitoin": "x"}, ["partitoin"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "body", "fields"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_values_are_told_with_their_fields(
    client: Client, why: str, body: dict[str, Any], fields: list[str]
) -> None:
    answer = client.post("/api/v1/jobs", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], list(error["details"].get("fields", []))) == (
        400, "VALIDATION_ERROR", fields,
    ), answer.text  # fmt: skip


def test_what_sbatch_refuses_is_told_whole(client: Client) -> None:
    error = client.post("/api/v1/jobs", {**OK, "partition": "nope"}).json()["error"]
    said = "Invalid partition name specified (invalid partition specified: nope)"
    assert error["message"] == f"partition: sbatch failed: {said}"
    error = client.post("/api/v1/jobs", {**OK, "gpus": 1000}).json()["error"]
    assert error["message"] == "sbatch failed: Requested node configuration is not available"
    assert (error["code"], error["details"]["command"]) == ("VALIDATION_ERROR", "sbatch")
