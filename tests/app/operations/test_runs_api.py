"""Runs of workflows over HTTP, from the request to the end of the last job."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from engine import start
from store.documents import Run, to_json
from tests.app_client import Client, down, up
from tests.app_server import Server
from tests.pipeline import SUMMING_PIPELINE
from tests.slurm_programs import Programs
from tests.store.disk.archive_samples import a_run
from tests.waiting import eventually

CHAIN = """\
name: {name}
args: {{word: plain}}
jobs:
  - {{name: one, command: [echo, "{{{{ word }}}}"]}}
  - {{name: two, command: [echo, two], depends_on: [one]}}
  - {{name: three, command: [echo, three], depends_on: ["afterany:two"]}}
"""
WAITING = """\
name: {name}
jobs:
  - {{name: long, command: [bash, -c, "touch begun; exec sleep 300"]}}
  - {{name: after, command: [echo, after], depends_on: [long]}}
"""


def by_name(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The jobs of a run by their names."""
    return {job["name"]: job for job in run["jobs"]}


def log_of(client: Client, job: dict[str, Any]) -> str:
    """What the job wrote."""
    return str(client.get(f"/api/jobs/{job['job_id']}/logs").json()["stdout"])


def test_the_whole_pipeline(client: Client) -> None:
    (client.store / "workflows" / "ml-pipeline.yaml").write_bytes(SUMMING_PIPELINE)
    eventually(lambda: "ml-pipeline" in [workflow["name"] for workflow in client.get("/api/workflows").json()])
    started = client.start_run("ml-pipeline")
    assert uuid.UUID(started["id"]) and started["workflow_name"] == "ml-pipeline"
    assert started["status"] in ("submitting", "running") and started["completed_at"] is None
    assert started["job_ids"]["preprocess"] and started["args"]["out"] == "work-1000"
    run = client.await_run(started["id"])
    assert (run["status"], run["error"]) == ("completed", None)
    assert run["started_at"] <= run["completed_at"]
    jobs = by_name(run)
    assert log_of(client, jobs["total"]) == "500500\n"
    assert jobs["total"]["result"] == {"total": 500500}
    assert [jobs[name]["status"] for name in ("preprocess", "total", "report")] == ["COMPLETED"] * 3
    assert (jobs["cleanup"]["status"], jobs["cleanup"]["started_at"]) == ("CANCELLED", None), "it had no turn"
    folder = Path(run["work_dir"])
    assert folder == client.store / "work" / run["id"]
    assert (folder / "work-1000" / "report").read_text() == "done\n" and (folder / "work-1000" / "data").exists()
    assert jobs["preprocess"]["ended_at"] <= jobs["total"]["started_at"]
    assert set(run["job_ids"]) >= {"preprocess", "total", "report"}
    assert all(re.fullmatch("[0-9]+", job_id) for job_id in run["job_ids"].values())
    jobs_by_id = {job["job_id"]: job for job in client.get("/api/jobs").json()}
    total = jobs_by_id[int(jobs["total"]["job_id"])]
    assert (total["run_id"], total["workflow_name"], total["depends_on"]) == (
        run["id"],
        "ml-pipeline",
        ["preprocess"],
    )


def test_the_same_run_everywhere(client: Client) -> None:
    first = client.start_run("listed", CHAIN.format(name="listed"))
    second = client.start_run("listed")
    other = client.start_run("other", CHAIN.format(name="other"))
    runs = [client.await_run(run["id"]) for run in (first, second, other)]
    assert {run["status"] for run in runs} == {"completed"}
    all_runs = client.get("/api/workflows/runs").json()
    assert [run for run in all_runs if run["id"] == runs[2]["id"]] == [runs[2]]
    assert [run["started_at"] for run in all_runs] == sorted((run["started_at"] for run in all_runs), reverse=True)
    named = client.get("/api/workflows/runs", params={"name": "listed"}).json()
    assert {run["id"] for run in named} == {first["id"], second["id"]}
    assert client.get("/api/workflows/runs", params={"name": "none"}).json() == []
    history = client.get("/api/history", params={"limit": -1}).json()
    rows = [row for row in history if row["run_id"] == other["id"]]
    assert {row["job_name"] for row in rows} == {"one", "two", "three"}
    assert {row["status"] for row in rows} == {"COMPLETED"} and {row["workflow_name"] for row in rows} == {"other"}


@pytest.mark.parametrize(
    ("why", "body", "names"),
    [
        ("all", {}, ["one", "two", "three"]),
        ("from one on", {"from_job": "two"}, ["two", "three"]),
        ("up to one", {"to_job": "two"}, ["one", "two"]),
        ("a part", {"from_job": "two", "to_job": "two"}, ["two"]),
        ("only one", {"single_job": "three"}, ["three"]),
    ],
)
def test_a_dry_run_shows_the_part_and_submits_nothing(
    client: Client, why: str, body: dict[str, Any], names: list[str]
) -> None:
    client.workflow("parts", CHAIN.format(name="parts"))
    before = len(client.get("/api/workflows/runs").json())
    answer = client.post("/api/workflows/parts/run", {"dry_run": True, **body})
    assert answer.status_code == 202
    plan = answer.json()
    assert plan["execution_order"] == names, why
    assert [job["name"] for job in plan["jobs"]] == names
    assert all(job["script"].startswith("#!") for job in plan["jobs"])
    within = {"one": [], "two": ["one"], "three": ["two"]}
    for job in plan["jobs"]:
        assert job["depends_on"] == [name for name in within[job["name"]] if name in names], (
            "what is left out is no wait"
        )
    assert len(client.get("/api/workflows/runs").json()) == before


def test_a_part_really_runs_alone(client: Client) -> None:
    run = client.await_run(client.start_run("parts", CHAIN.format(name="parts"), single_job="two")["id"])
    assert run["status"] == "completed" and [job["name"] for job in run["jobs"]] == ["two"]


def test_args_override(client: Client) -> None:
    started = client.start_run(
        "override", CHAIN.format(name="override"), args_override={"word": "$(id) 'quoted' \"é\""}
    )
    run = client.await_run(started["id"])
    assert run["args"]["word"] == "$(id) 'quoted' \"é\""
    assert log_of(client, by_name(run)["one"]) == "$(id) 'quoted' \"é\"\n", "a value is a word, whatever is in it"


@pytest.mark.parametrize(
    ("why", "body", "status"),
    [
        ("no such job", {"single_job": "nine"}, 422),
        ("nor to begin with", {"from_job": "nine"}, 422),
        ("backwards", {"from_job": "three", "to_job": "one"}, 422),
        ("not a name", {"single_job": 5}, 422),
        ("nobody to tell", {"notify": True, "endpoint_id": 3}, 404),
        ("args are a mapping", {"args_override": []}, 422),
        ("no Python from callers", {"args_override": {"word": "python: 1+1"}}, 422),
    ],
)
def test_what_cannot_be_run(client: Client, why: str, body: dict[str, Any], status: int) -> None:
    client.workflow("cannot", CHAIN.format(name="cannot"))
    answer = client.post("/api/workflows/cannot/run", body)
    assert answer.status_code == status, f"{why}: {answer.text}"
    assert client.get("/api/workflows/runs", params={"name": "cannot"}).json() == []


def test_unknown_workflows_mounts_and_runs(client: Client) -> None:
    assert client.post("/api/workflows/nine/run", {}).status_code == 404
    assert client.post("/api/workflows/bad.name/run", {}).status_code == 422
    client.workflow("mounted", CHAIN.format(name="mounted"))
    assert client.post("/api/workflows/mounted/run", {}, params={"mount": "m"}).status_code == 404
    for run_id in ("nine", "1", str(uuid.uuid4()), "%2e%2e"):
        assert client.get(f"/api/workflows/runs/{run_id}").status_code == 404
        assert client.post(f"/api/workflows/runs/{run_id}/cancel").status_code == 404


def test_a_run_needs_no_body(client: Client) -> None:
    client.workflow("bare", CHAIN.format(name="bare"))
    answer = client.post("/api/workflows/bare/run")
    assert answer.status_code == 202
    assert client.await_run(answer.json()["id"])["status"] == "completed"


# --- ends ------------------------------------------------------------------------------------------------------------


def test_retries_then_success(client: Client) -> None:
    text = """\
name: flaky
jobs:
  - name: flaky
    command: [bash, -c, "echo try >> tries; test $(wc -l < tries) -ge 3"]
    retry: 2
    retry_delay: 0
  - {name: next, command: [cat, tries], depends_on: [flaky]}
"""
    run = client.await_run(client.start_run("flaky", text)["id"])
    assert run["status"] == "completed"
    jobs = by_name(run)
    attempts = jobs["flaky"]["attempts"]
    assert [attempt["slurm_state"] for attempt in attempts] == ["FAILED", "FAILED", "COMPLETED"]
    assert [attempt["exit_code"] for attempt in attempts] == [1, 1, 0]
    assert len({attempt["job_id"] for attempt in attempts}) == 3
    assert jobs["flaky"]["job_id"] == attempts[-1]["job_id"] == run["job_ids"]["flaky"]
    assert log_of(client, jobs["next"]) == "try\ntry\ntry\n"


def test_a_failure_after_all_retries_fails_the_run_and_skips_what_needed_it(client: Client) -> None:
    text = """\
name: doomed
jobs:
  - {name: bad, command: [bash, -c, "exit 7"], retry: 1, retry_delay: 0}
  - {name: needs, command: [echo, never], depends_on: [bad]}
  - {name: chained, command: [echo, never], depends_on: [needs]}
  - {name: anyway, command: [echo, anyway], depends_on: ["afterany:bad"]}
  - {name: rescue, command: [echo, rescue], depends_on: ["afternotok:bad"]}
"""
    run = client.await_run(client.start_run("doomed", text)["id"])
    assert (run["status"], run["error"].splitlines()[0]) == ("failed", "Jobs failed: bad")
    jobs = by_name(run)
    assert (len(jobs["bad"]["attempts"]), jobs["bad"]["exit_code"]) == (2, 7)
    assert [jobs[name]["status"] for name in ("needs", "chained")] == ["CANCELLED"] * 2
    assert {jobs[name]["reason"] for name in ("needs", "chained")} == {"DependencyNeverSatisfied"}
    assert [jobs[name]["status"] for name in ("anyway", "rescue")] == ["COMPLETED"] * 2


@pytest.mark.parametrize(
    ("why", "command", "result", "error"),
    [
        ("no JSON", "echo hello > $SLUICE_RESULT", None, "no JSON"),
        ("no object", "echo [1] > $SLUICE_RESULT", None, "not an object"),
        ("too large", "head -c 70000 /dev/zero | tr '\\\\0' x > $SLUICE_RESULT", None, "70000 bytes"),
        ("a link", "ln -s /etc/hostname $SLUICE_RESULT", None, ""),
    ],
)
def test_a_result_that_cannot_be_taken_does_not_fail_the_run(
    client: Client, why: str, command: str, result: Any, error: str
) -> None:
    text = f'name: result\njobs:\n  - {{name: a, command: "{command}"}}\n'
    run = client.await_run(client.start_run("result", text)["id"])
    job = by_name(run)["a"]
    assert (run["status"], job["result"]) == ("completed", result), why
    assert job["result_error"] and error in job["result_error"]


def test_a_job_that_sbatch_refuses_fails_the_run_with_its_reason(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "ANSWER_S", 60)  # on a busy machine the second job is not refused at once
    text = """\
name: refused
jobs:
  - {name: fine, command: [sleep, "300"]}
  - {name: bad, command: [echo, x], resources: {partition: nowhere}}
"""
    client.workflow("refused", text)
    answer = client.post("/api/workflows/refused/run", {})
    assert answer.status_code == 502 and "Invalid partition name specified" in answer.json()["detail"]
    (run,) = client.get("/api/workflows/runs", params={"name": "refused"}).json()
    assert run["status"] == "failed" and run["error"].startswith("Submission failed: ")
    run = client.await_run(run["id"])
    assert by_name(run)["fine"]["status"] == "CANCELLED", "what was submitted before is cancelled"


@pytest.mark.parametrize(
    ("why", "refusal", "status"),
    [
        ("no such partition", "Invalid partition name specified", 502),
        ("not this account", "Invalid account or account/partition combination specified", 403),
        ("not this group", "User's group not permitted to use this partition", 403),
        ("a limit", "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", 403),
        ("a partition that is down", "Required partition not available (inactive or drain)", 502),
        ("anything else", "Unspecified error", 502),
    ],
)
def test_a_run_and_a_job_answer_alike(client: Client, programs: Programs, why: str, refusal: str, status: int) -> None:
    said = f"sbatch: error: QOSMaxCpuPerJobLimit\nsbatch: error: Batch job submission failed: {refusal}"
    programs.write("sbatch", f'echo "{said}" >&2; exit 1')
    slurm, name = client.server.cluster.slurm, f"alike{status}-{uuid.uuid4().hex[:8]}"
    client.workflow(name, f"name: {name}\njobs: [{{name: a, command: [echo]}}]\n")
    path, slurm.path = slurm.path, f"{programs.bin}:{slurm.path}"
    try:
        answers = [
            client.post("/api/jobs", {"name": "a", "script_content": "#!/bin/sh\ntrue\n"}),
            client.post(f"/api/workflows/{name}/run", {}),
        ]
    finally:
        slurm.path = path
    expected = (status, {"detail": f"sbatch failed: {refusal} (QOSMaxCpuPerJobLimit)"})
    assert [(answer.status_code, answer.json()) for answer in answers] == [expected] * 2, why
    assert (
        client.get("/api/workflows/runs", params={"name": name}).json()[0]["error"].endswith("(QOSMaxCpuPerJobLimit)")
    )


def test_cancelling_a_run(client: Client) -> None:
    started = client.start_run("waiting", WAITING.format(name="waiting"))
    eventually(lambda: client.get(f"/api/workflows/runs/{started['id']}").json()["job_statuses"]["long"] == "RUNNING")
    answer = client.post(f"/api/workflows/runs/{started['id']}/cancel")
    assert answer.json() == {"status": "cancelled", "run_id": started["id"]}
    at_once = client.get(f"/api/workflows/runs/{started['id']}").json()
    assert at_once["status"] == "cancelled" and at_once["cancel_requested_at"]
    run = client.await_run(started["id"])
    assert {job["status"] for job in run["jobs"]} == {"CANCELLED"}
    again = client.post(f"/api/workflows/runs/{started['id']}/cancel")
    assert (again.status_code, again.json()) == (422, {"detail": "Run is already cancelled"})
    for job_id in run["job_ids"].values():
        assert client.get(f"/api/jobs/{job_id}").json()["status"] == "CANCELLED"


def test_cancelling_a_run_that_is_over(client: Client) -> None:
    run = client.await_run(client.start_run("over", CHAIN.format(name="over"))["id"])
    answer = client.post(f"/api/workflows/runs/{run['id']}/cancel")
    assert (answer.status_code, answer.json()) == (422, {"detail": "Run is already completed"})
    assert client.get(f"/api/workflows/runs/{run['id']}").json() == run


def test_cancelling_one_job_of_a_run_cancels_the_run_in_the_end(client: Client) -> None:
    started = client.start_run("single", WAITING.format(name="single"))
    client.delete(f"/api/jobs/{started['job_ids']['long']}")
    run = client.await_run(started["id"])
    assert (run["status"], run["error"]) == ("cancelled", "Jobs cancelled: long")
    assert by_name(run)["after"]["reason"] == "DependencyNeverSatisfied"


BROKEN = r"""
name: broken
args: {folder: .}
jobs:
  - name: first
    work_dir: "{{ folder }}"
    command: set -e; echo 1 >> firsts; echo '{"n":1}' > $SLUICE_RESULT
  - name: second
    work_dir: "{{ folder }}"
    depends_on: [first]
    command: |
      set -e; printf 'begun\n5%%\r\033[31mno memory\033[0m\n' >&2
      test -e mended
  - {name: third, command: [echo, done], depends_on: [second], work_dir: "{{ folder }}"}
"""


def test_a_failed_run_tells_why_and_is_run_again(client: Client, tmp_path: Path) -> None:
    started = client.start_run("broken", BROKEN, args_override={"folder": str(tmp_path)})
    failed, path = client.await_run(started["id"]), f"/api/workflows/runs/{started['id']}"
    assert failed["status"] == "failed" and "sweep_run_id" not in failed
    assert failed["error"].startswith("Jobs failed: second\nsecond, exit code 1:\n")
    lines = failed["error"].splitlines()[2:]
    own = [line for line in lines if not line.startswith("srun: ")]
    assert own == ["begun", "no memory"], "neither colours nor what was written over"
    assert by_name(failed)["second"]["error"] == "\n".join(lines)
    (tmp_path / "mended").touch()
    client.delete("/api/workflows/broken")
    answer = client.post(f"{path}/rerun")
    assert answer.status_code == 202 and answer.json()["status"] in ("submitting", "running"), answer.text
    assert answer.json()["started_at"] > failed["completed_at"]
    assert client.post(f"{path}/rerun").status_code == 409, "it runs"
    again = client.await_run(started["id"])
    assert (again["status"], again["error"]) == ("completed", None)
    assert [len(job["attempts"]) for job in again["jobs"][:2]] == [1, 2], "what had completed is kept"
    refused = client.post(f"{path}/rerun", {"only": "failed"})
    assert refused.status_code == 409 and "no job of it has failed" in refused.json()["detail"]
    call = lambda body: client.post(f"{path}/rerun", body, headers={"Idempotency-Key": "k"})  # noqa: E731
    assert [call({"only": "all"}).status_code for _ in range(2)] == [202, 202], "a double click is one"
    assert client.await_run(started["id"])["status"] == "completed"
    assert call({"only": "all"}).json()["status"] == "completed", "also when the answer was long in coming"
    assert call({"only": "failed"}).status_code == 422
    assert (tmp_path / "firsts").read_text() == "1\n1\n"
    eventually(lambda: not (tmp_path / ".sluice").exists())


@pytest.mark.parametrize(
    ("why", "run_id", "body", "status"),
    [
        ("nobody has it", str(uuid.UUID(int=9)), {}, 404),
        ("no run's id", "7", {}, 404),
        ("a word that is none", str(uuid.UUID(int=9)), {"only": "some"}, 422),
        ("a typo", str(uuid.UUID(int=9)), {"onyl": "all"}, 422),
    ],
)
def test_what_cannot_be_run_again(client: Client, why: str, run_id: str, body: dict[str, Any], status: int) -> None:
    assert client.post(f"/api/workflows/runs/{run_id}/rerun", body).status_code == status


def test_scripts_templates_and_environments(client: Client) -> None:
    (client.store / "workflows" / "own.sh").write_text("#!/bin/bash\necho own {{ who }} $SLURM_JOB_NAME\n")
    (client.store / "templates" / "mine.jinja").write_text(
        "#!/bin/bash\n#SBATCH --comment=x\necho before\n{{ command }}\n"
    )
    text = """\
name: forms
args: {place: here}
jobs:
  - {name: script, script_path: own.sh, script_vars: {who: "{{ place }}"}}
  - name: env
    command: [bash, -c, 'echo "$GREETING" $PWD']
    environment: {env_vars: {GREETING: "it's $HOME & more"}}
    work_dir: sub
  - {name: templated, command: [echo, "two  words"], template: mine}
  - {name: shell, command: "echo a | tr a b > out; cat out", log_dir: mylogs}
"""
    eventually(
        lambda: client.post("/api/workflows/upload", {"yaml": text, "filename": "forms.yaml"}).status_code == 200
    )
    eventually(lambda: client.post("/api/workflows/forms/run", {"dry_run": True}).status_code == 202)
    run = client.await_run(client.start_run("forms")["id"])
    jobs = by_name(run)
    assert run["status"] == "completed", run
    assert log_of(client, jobs["script"]) == "own here script\n"
    assert log_of(client, jobs["env"]) == f"it's $HOME & more {run['work_dir']}/sub\n"
    assert log_of(client, jobs["templated"]) == "before\ntwo  words\n"
    assert log_of(client, jobs["shell"]) == "b\n" and "/mylogs/" in jobs["shell"]["stdout"]


# --- keys, and a cluster or a server that goes away ------------------------------------------------------------------


def test_twenty_requests_at_once_with_one_key_start_one_run(client: Client) -> None:
    client.workflow("crowd", CHAIN.format(name="crowd"))
    call = lambda: client.post("/api/workflows/crowd/run", {}, headers={"Idempotency-Key": "crowd"})  # noqa: E731
    answers = client.together([call] * 20)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    run = client.await_run(answers[0].json()["id"])
    assert [len(job["attempts"]) for job in run["jobs"]] == [1, 1, 1]
    assert len(client.get("/api/workflows/runs", params={"name": "crowd"}).json()) == 1


def test_a_key_with_another_body_is_refused(client: Client) -> None:
    client.workflow("key", CHAIN.format(name="key"))
    call = lambda body: client.post("/api/workflows/key/run", body, headers={"Idempotency-Key": "k"})  # noqa: E731
    assert call({}).status_code == 202
    assert call({"single_job": "one"}).status_code == 422
    assert call({}).status_code == 202
    assert len(client.get("/api/workflows/runs", params={"name": "key"}).json()) == 1


def test_a_run_goes_on_when_the_controller_comes_back(client: Client, tmp_path: Path) -> None:
    if client.cluster != "embedded":
        pytest.skip("chosen faults need the embedded cluster")
    text = f"""\
name: patient
jobs:
  - {{name: first, command: [bash, -c, "touch begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"], retry: 2}}
  - {{name: second, command: [echo, second], depends_on: [first]}}
"""
    started = client.start_run("patient", text)
    eventually((Path(started["work_dir"]) / "begun").exists)
    eventually(lambda: client.get(f"/api/workflows/runs/{started['id']}").json()["job_statuses"]["first"] == "RUNNING")
    down(client.store)
    try:
        eventually(lambda: client.get("/health").json()["status"] == "degraded")
        before = client.get(f"/api/workflows/runs/{started['id']}").json()
        assert client.post("/api/workflows/patient/run", {}).status_code == 503
        (tmp_path / "go").touch()
        assert client.get(f"/api/workflows/runs/{started['id']}").json() == before, "nothing changes its state"
        assert len(client.get("/api/workflows/runs", params={"name": "patient"}).json()) == 1
    finally:
        up(client.store)
    run = client.await_run(started["id"])
    assert (run["status"], len(by_name(run)["first"]["attempts"])) == ("completed", 1)


def test_cancelling_while_the_controller_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    if client.cluster != "embedded":
        pytest.skip("chosen faults need the embedded cluster")
    monkeypatch.setattr("store.rules.runs.RESEND_CANCEL_S", 0.5)
    started = client.start_run("unheard", WAITING.format(name="unheard"))
    # srun asks the controller for its step: it must have been there when that happened.
    eventually((Path(started["work_dir"]) / "begun").exists)
    eventually(lambda: client.get(f"/api/workflows/runs/{started['id']}").json()["job_statuses"]["long"] == "RUNNING")
    down(client.store)
    try:
        eventually(lambda: client.get("/health").json()["status"] == "degraded")
        answer = client.post(f"/api/workflows/runs/{started['id']}/cancel")
        assert answer.status_code == 200 and answer.json()["warnings"], "it will be told as soon as it listens"
        assert client.get(f"/api/workflows/runs/{started['id']}").json()["status"] == "cancelled"
    finally:
        up(client.store)
    run = client.await_run(started["id"])
    assert {job["status"] for job in run["jobs"]} == {"CANCELLED"}


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_run_goes_on_when_the_server_comes_back(server: Server, how: str) -> None:
    (server.store / "workflows" / "ml-pipeline.yaml").write_bytes(SUMMING_PIPELINE)
    eventually(lambda: server.http.get("/api/workflows/ml-pipeline").status_code == 200)
    answer = server.http.post("/api/workflows/ml-pipeline/run")
    assert answer.status_code == 202, answer.text
    server.end(15 if how == "SIGTERM" else 9)
    server.start()

    def over() -> dict[str, Any] | None:
        found: dict[str, Any] = server.http.get(f"/api/workflows/runs/{answer.json()['id']}").json()
        return found if found["status"] not in ("submitting", "running") else None

    run = eventually(over, 60)
    assert run is not None and run["status"] == "completed"
    assert by_name(run)["total"]["result"] == {"total": 500500}
    assert [len(job["attempts"]) for job in run["jobs"]] <= [1, 1, 1, 1]


# --- runs that somebody wrote as files -------------------------------------------------------------------------------


def drop(client: Client, *runs: Run) -> None:
    """Put runs down as files, as somebody else would, and wait until they are seen."""
    for run in runs:
        (client.store / "runs" / f"{run.id}.json").write_bytes(to_json(run))
    eventually(lambda: all(client.get(f"/api/workflows/runs/{run.id}").status_code == 200 for run in runs))


def uuid_of(number: int) -> str:
    """An id as runs have them."""
    return f"00000000-0000-4000-8000-{number:012x}"


def test_the_list_of_runs_has_a_window_and_a_total(client: Client) -> None:
    drop(client, *(a_run(uuid_of(n), n + 1).model_copy(update={"workflow_name": "windowed"}) for n in range(5)))
    asked = lambda **params: client.get("/api/workflows/runs", params={"name": "windowed", **params})  # noqa: E731
    ids = lambda answer: [int(row["id"][-12:], 16) for row in answer.json()]  # noqa: E731
    assert ids(asked()) == [0, 1, 2, 3, 4]
    assert ids(asked(limit=2)) == [0, 1] and ids(asked(limit=2, offset=3)) == [3, 4] and ids(asked(offset=9)) == []
    assert {answer.headers["x-total-count"] for answer in (asked(), asked(limit=1), asked(offset=9))} == {"5"}
    for wrong in ({"limit": 0}, {"limit": 2001}, {"offset": -1}, {"limit": "x"}):
        assert asked(**wrong).status_code == 422
    answer = asked(limit=2)
    known = client.get(
        "/api/workflows/runs",
        params={"name": "windowed", "limit": 2},
        headers={"If-None-Match": answer.headers["etag"]},
    )
    assert known.status_code == 304 and known.headers["x-total-count"] == "5"


def test_the_list_of_runs_by_state_and_sweep(client: Client) -> None:
    states = ("completed", "failed", "cancelled")
    more = {"workflow_name": "chosen", "sweep_run_id": 99}
    drop(client, *(a_run(uuid_of(16 + n), n + 1, state).model_copy(update=more) for n, state in enumerate(states)))

    def list_states(query: str) -> list[str]:
        answer = client.get(f"/api/workflows/runs?workflow=chosen{query}")
        assert answer.headers["x-total-count"] == str(len(answer.json()))
        return [row["status"] for row in answer.json()]

    assert list_states("") == list_states("&sweep=99&status=") == [*states]
    assert list_states("&status=failed,cancelled") == list_states("&status=failed&status=cancelled") == [*states[1:]]
    assert list_states("&sweep=98") == list_states("&cells=false") == []
    answer = client.get("/api/workflows/runs?status=failed,done")
    assert answer.status_code == 422 and "syncing" in answer.text, "every word there is"


def test_waiting_for_the_end(client: Client, tmp_path: Path) -> None:
    text = f"name: gated\njobs:\n  - {{name: a, command: 'until test -e {tmp_path}/go; do sleep 0.1; done'}}\n"
    started = client.start_run("gated", text)
    path = f"/api/workflows/runs/{started['id']}"
    assert client.get(path, params={"wait": 1}).json()["status"] in ("submitting", "running")
    job_id = eventually(lambda: client.get(path).json()["job_ids"].get("a"))
    paths = [path, f"/api/jobs/{job_id}"]
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(client.get, path, params={"wait": 60}) for path in paths]
        eventually(lambda: len(client.server.changes.readers) == 2)
        (tmp_path / "go").touch()
        run, job = (answer.result() for answer in answers)
    assert (run.json()["status"], job.json()["slurm_state"]) == ("completed", "COMPLETED")
    for path, answer in zip(paths, (run, job), strict=True):
        again = client.get(path, params={"wait": 60}, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304 or path.startswith("/api/jobs"), "it has ended; SLURM may say more of a job"
        assert client.get(path, params={"wait": 61}).status_code == 422


def test_deleting_a_runs_file_by_hand_takes_it_from_the_api(client: Client) -> None:
    run_id = uuid_of(77)
    drop(client, a_run(run_id, 1))
    (client.store / "runs" / f"{run_id}.json").unlink()
    eventually(lambda: client.get(f"/api/workflows/runs/{run_id}").status_code == 404)
    assert run_id not in [run["id"] for run in client.get("/api/workflows/runs").json()]
    assert run_id not in [row["run_id"] for row in client.get("/api/history").json()]


def test_what_the_jobs_of_a_run_run_and_one_of_them_again(client: Client) -> None:
    text = CHAIN.format(name="again").replace("[echo, two]", "[echo, two], environment: {env_vars: {TOKEN: x}}")
    run = client.await_run(client.start_run("again", text)["id"])
    jobs = client.get(f"/api/workflows/runs/{run['id']}/jobs").json()
    assert [job["name"] for job in jobs] == ["one", "two", "three"]
    assert jobs[0]["command"] == ["echo", "plain"] and "echo plain" in jobs[0]["script"]
    assert jobs[2]["depends_on"] == ["afterany:two"]
    again = f"/api/workflows/runs/{run['id']}/rerun"
    wrong = client.post(again, {"jobs": ["four"]})
    assert wrong.status_code == 422 and "no job four" in wrong.text
    assert client.post(again, {"jobs": ["two"]}).status_code == 202
    ended = by_name(client.await_run(run["id"]))
    assert {name: len(job["attempts"]) for name, job in ended.items()} == {"one": 1, "two": 2, "three": 1}
    drop(client, a_run(uuid_of(78), 1))
    assert client.get(f"/api/workflows/runs/{uuid_of(78)}/jobs").status_code == 200
    assert client.get(f"/api/workflows/runs/{uuid_of(79)}/jobs").status_code == 404
