"""Simulations are submitted: the calls of the document and of its client, and what is made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.operations.yaptide.calls import BEAM, DUMMY, OWNER, PRIMARIES, find, make_body, submit
from tests.app_client import Client
from tests.waiting import eventually

JOB_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(DIRECT|BATCH)")
PROJECT = {
    "metadata": {"version": "0.12", "type": "Editor"},
    "beam": {"numberOfParticles": 10_001, "energy": 150},
    "scoringManager": {"outputs": [{"name": "Tiefe ü"}, {"name": "map"}]},
}
# Stands for yaptide-converter, which has no licence.
CONVERTER = """
import enum, os, sys, time

class SimulatorType(enum.Enum):
    shieldhit = "shieldhit"
    fluka = "fluka"

def get_parser_from_str(sim_type):
    return SimulatorType(sim_type)

def run_parser(parser, input_data, output_dir=None, silent=True):
    print("converting for", parser.value)
    what = input_data.get("do")
    if what == "hang":
        time.sleep(3600)
    if what == "eat":
        return [bytearray(2 ** 26) for _ in range(1000)]
    if what == "escape":
        return {"../../evil": "x"}
    return {"info.json": "{}", "beam.dat": "NSTAT  %d  0\\n" % input_data["beam"]["numberOfParticles"]}
"""


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A program that is called as SHIELD-HIT12A is, and a converter of projects."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "shieldhit"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    (folder / "converter").mkdir()
    (folder / "converter" / "__init__.py").write_text("")
    (folder / "converter" / "api.py").write_text(CONVERTER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        patch.syspath_prepend(str(folder))
        yield


def test_the_document_literally(client: Client) -> None:
    call = {"sim_type": "shieldhit", "ntasks": 10, "input_type": "editor", "sim_data": PROJECT}
    answer = client.post("/jobs/direct", call)
    assert answer.status_code == 202 and answer.json()["message"] == "Job submitted"
    job_id = answer.json()["job_id"]
    assert JOB_ID.fullmatch(job_id) and job_id.endswith("DIRECT")
    found = client.get(f"/jobs/direct?job_id={job_id}")
    assert found.status_code == 200 and found.json()["message"] == "Job status"
    assert [task["task_id"] for task in found.json()["job_tasks_status"]] == list(range(1, 11))
    assert [task["requested_primaries"] for task in found.json()["job_tasks_status"]] == [1001, *[1000] * 9]
    assert client.get(f"/jobs?job_id={job_id}").json()["job_tasks_status"][0]["task_id"] == 1
    assert client.delete(f"/jobs/direct?job_id={job_id}").json()["message"].startswith(("Job cancelled", "Cannot"))


def test_the_document_literally_on_a_cluster(client: Client) -> None:
    profile = {"name": "prometheus", "hostname": "127.0.0.1", "username": "nobody", "port": 1, "key_filename": "/none"}
    assert client.post("/api/config/ssh/profiles", profile).status_code == 200
    call = {
        "sim_type": "shieldhit", "ntasks": 100, "input_type": "editor", "sim_data": PROJECT,
        "batch_options": {
            "cluster_name": "prometheus", "slurm_options": {"time": "01:00:00", "partition": "plgrid"},
        },
    }  # fmt: skip
    answer = client.post("/jobs/batch", call)
    assert answer.status_code == 202 and answer.json()["message"] == "Batch job submitted"
    job_id = answer.json()["job_id"]
    assert job_id.endswith("BATCH")
    simulation = find(client, job_id)
    assert simulation.cluster.startswith("ssh:prometheus") and len(simulation.tasks) == 100
    assert simulation.options.array == simulation.options.collect == {"time": "01:00:00", "partition": "plgrid"}
    assert {"cluster_name": "prometheus"} in client.get("/clusters").json()["clusters"]
    assert client.get(f"/jobs/batch?job_id={job_id}").json()["job_state"] == "PENDING"
    assert client.delete(f"/jobs/batch?job_id={job_id}").json() == {"message": "Job cancelled"}


def test_as_the_client_sends_it(client: Client) -> None:
    options = {
        "cluster_name": "default", "array_header": "#SBATCH --mem=1G\nmodule load x/1\n",
        "array_options": {"t": "0:15:00"}, "collect_header": "", "collect_options": {"--account": "a", "nice": True},
    }  # fmt: skip
    answer = submit(client, "batch", title="  Wässer & <b>  ", batch_options=options)
    assert answer.status_code == 202, answer.text
    simulation = find(client, answer.json()["job_id"])
    assert (simulation.title, simulation.owner, simulation.cluster) == (
        "Wässer & <b>",
        OWNER,
        client.server.cluster.name,
    )
    assert simulation.options.array == {"time": "0:15:00", "mem": "1G"}
    assert simulation.options.array_lines == ["module load x/1"]
    assert simulation.options.collect == {"time": "00:59:59", "account": "a", "nice": True}
    direct = submit(client, title=None, input_json=None, batch_options=options | {"cluster_name": "elsewhere"})
    assert direct.status_code == 202, "on this machine they do not count"


def test_a_project_is_kept_and_shown_beside_its_files(client: Client) -> None:
    job_id = submit(
        client, sim_type="shieldhit", input_type="Editor", input_files=..., input_json=PROJECT, ntasks=2
    ).json()["job_id"]
    simulation = find(client, job_id)
    assert (simulation.input_type, simulation.outputs, simulation.requested_primaries) == (
        "EDITOR", ["Tiefe ü", "map"], 10_001,
    )  # fmt: skip
    assert client.get(f"/inputs?job_id={job_id}").json()["input"] == {
        "input_type": "EDITOR",
        "input_files": {"info.json": "{}", "beam.dat": "NSTAT  5001  0\n"},
        "number_of_all_primaries": 10_001,
        "input_json": PROJECT,
    }
    folder = client.store / "simulations" / job_id
    assert (folder / "input" / "beam.dat").read_text() == "NSTAT  10001  0\n", "as it was converted"


@pytest.mark.parametrize(
    ("why", "changes", "tasks", "requested"),
    [
        ("nothing is lost", {"ntasks": 3}, [34, 33, 33], PRIMARIES),
        ("none is one", {"ntasks": 0}, [100], PRIMARIES),
        ("less than none is one", {"ntasks": -5}, [100], PRIMARIES),
        ("no more than there are primaries", {"ntasks": 10**6}, [1] * 100, PRIMARIES),
        ("a whole number", {"ntasks": 2.0}, [50, 50], PRIMARIES),
        ("the document's field for files", {"input_files": ..., "sim_data": DUMMY}, [50, 50], PRIMARIES),
        ("the client's goes first", {"sim_data": {"beam": {}}}, [50, 50], PRIMARIES),
        ("words in any case", {"input_type": "FILES"}, [50, 50], PRIMARIES),
        ("blanks around the simulator", {"sim_type": " dummy "}, [50, 50], PRIMARIES),
        (
            "the input does not say how many",
            {"input_files": {"dummy.json": "{}"}, "ntasks": 3}, [0, 0, 0], None,
        ),
    ],
)  # fmt: skip
def test_tasks_share_the_primaries(
    client: Client, why: str, changes: dict[str, Any], tasks: list[int], requested: int | None
) -> None:
    answer = submit(client, **changes)
    assert answer.status_code == 202, (why, answer.text)
    simulation = find(client, answer.json()["job_id"])
    assert [task.requested_primaries for task in simulation.tasks] == tasks, why
    assert [task.seed for task in simulation.tasks] == list(range(1, len(tasks) + 1)), "seeds differ, and are recorded"
    assert simulation.requested_primaries == requested


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "image/png", None])
def test_bodies_are_json_whatever_they_are_called(client: Client, media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    answer = client.post("/jobs/direct", content=json.dumps(make_body()).encode(), headers=headers)
    assert answer.status_code == 202, answer.text
    foreign = client.post(
        "/jobs/direct", content=json.dumps(make_body()).encode(), headers=headers | {"origin": "https://evil.example"}
    )
    assert foreign.status_code == 403, "pages of other sites may send such bodies without asking"


def test_names_and_texts_in_any_writing(client: Client, tmp_path: Path) -> None:
    files = {**DUMMY, "größe 水.txt": "ä\r\nb\n", "; rm -rf ~": "$(touch x)", "a'b\"c": "", ".hidden": "x"}
    answer = submit(client, input_files=files)
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["job_id"]
    folder = client.store / "simulations" / job_id / "input"
    assert {path.name: path.read_bytes().decode() for path in folder.iterdir()} == files
    found = client.get(f"/inputs?job_id={job_id}").json()["input"]["input_files"]
    assert {**found, "dummy.json": files["dummy.json"]} == files
    assert client.get(f"/jobs?job_id={job_id}").json()["job_state"] != "FAILED"


def test_a_repeated_request_is_one_simulation(client: Client) -> None:
    headers = {"idempotency-key": "once"}
    first = client.post("/jobs/direct", make_body(title="once"), headers=headers)
    again = client.together([lambda: client.post("/jobs/direct", make_body(title="once"), headers=headers)] * 4)
    assert {answer.json()["job_id"] for answer in [first, *again]} == {first.json()["job_id"]}
    for path, body in (("direct", make_body(title="twice")), ("batch", make_body(title="once"))):
        other = client.post(f"/jobs/{path}", body, headers=headers)
        assert other.status_code == 400 and "this key was used before with another body" in other.json()["message"]
    admin = client.post("/jobs/direct", make_body(title="once"), headers=headers, token="admin")
    assert admin.json()["job_id"] != first.json()["job_id"], "another caller has keys of his own"
    together = client.together(
        [lambda: client.post("/jobs/direct", make_body(title="both"), headers={"idempotency-key": "both"})] * 4
    )
    assert len({answer.json()["job_id"] for answer in together}) == 1
    assert len({submit(client).json()["job_id"] for _ in range(2)}) == 2


def test_the_key_of_a_deleted_simulation_is_used_up(client: Client) -> None:
    headers = {"idempotency-key": "gone"}
    job_id = client.post("/jobs/direct", make_body(), headers=headers).json()["job_id"]
    await_end(client, job_id)
    assert client.delete(f"/user/simulations?job_id={job_id}").status_code == 200
    answer = client.post("/jobs/direct", make_body(), headers=headers)
    assert answer.status_code == 400 and "for a simulation that is deleted" in answer.json()["message"]


def await_end(client: Client, job_id: str) -> dict[str, Any]:
    """Await the end of a simulation; return its state."""
    eventually(lambda: find(client, job_id).settled_at is not None, 60, f"simulation {job_id} is over")
    found: dict[str, Any] = client.get(f"/jobs?job_id={job_id}").json()
    return found


def test_from_the_submission_to_the_results(client: Client) -> None:
    job_id = submit(client, ntasks=3, title="whole").json()["job_id"]
    found = await_end(client, job_id)
    assert found["job_state"] == "COMPLETED", found
    assert [task["simulated_primaries"] for task in found["job_tasks_status"]] == [34, 33, 33]
    known = client.get(f"/estimators?job_id={job_id}").json()["estimators_metadata"]
    results = client.get(f"/results?job_id={job_id}").json()["estimators"]
    assert [row["name"] for row in known] == [row["name"] for row in results] != []
    for row in results:
        single = client.get(f"/results?job_id={job_id}&estimator_name={row['name']}").json()
        assert single == row | {"message": "Estimator"}
        for number, page in enumerate(row["pages"]):
            path = f"/results?job_id={job_id}&estimator_name={row['name']}&page_number={number}"
            assert client.get(path).json() == {"message": "Page", "page": page}
        numbers = f"0-{len(row['pages']) - 1}"
        pages = client.get(f"/results?job_id={job_id}&estimator_name={row['name']}&page_numbers={numbers}").json()
        assert pages == {"message": "Pages", "pages": row["pages"]}
    run = client.get(f"/api/workflows/runs/{find(client, job_id).run_id}").json()
    assert [job["status"] for job in run["jobs"]] == ["COMPLETED", "COMPLETED"]


def test_shieldhit_files_are_recognised(client: Client) -> None:
    answer = submit(client, sim_type="shieldhit", input_files={"beam.dat": BEAM, "geo.dat": "x"}, ntasks=2)
    assert answer.status_code == 202, answer.text
    found = client.get(f"/inputs?job_id={answer.json()['job_id']}").json()["input"]
    assert found["input_files"]["beam.dat"].startswith("NSTAT  500  0") and found["number_of_all_primaries"] == 1000


@pytest.mark.parametrize(
    ("why", "project", "status", "said"),
    [
        ("it fails", {"beam": {}, "x": 1}, 500, "Conversion failed: KeyError: &#x27;numberOfParticles&#x27;"),
        ("another simulator", {"sim_type": "dummy"}, 500, "Conversion failed: ValueError: &#x27;dummy&#x27; is not"),
        ("a name with a path", {"do": "escape"}, 400, "no name that a file of an input may have"),
        ("too much memory", {"do": "eat"}, 500, "Conversion failed: "),
    ],
)
def test_projects_that_cannot_be_converted(
    client: Client, why: str, project: dict[str, Any], status: int, said: str
) -> None:
    sim_type = project.get("sim_type", "shieldhit")
    answer = submit(client, sim_type=sim_type, input_type="editor", input_json={**PROJECT, **project})
    assert answer.status_code == status and said in answer.json()["message"], (why, answer.text)
