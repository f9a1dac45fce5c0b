"""Input, logs and results of simulations, in all forms that the client asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.simulations import results
from tests.app.operations.yaptide.calls import DUMMY, PAGE, find, write_file, write_results, write_simulation
from tests.app_client import Client


def make_simulation(client: Client) -> str:
    """Make a simulation with one estimator."""
    job_id = write_simulation(client, state="COMPLETED")
    write_results(client, job_id)
    return job_id


def ask(client: Client, job_id: str, query: str = "") -> Any:
    """Ask for results."""
    return client.get(f"/results?job_id={job_id}{query}")


def test_results_in_all_forms(client: Client) -> None:
    job_id = make_simulation(client)
    whole = json.loads((client.store / "simulations" / job_id / "results" / "dose_.json").read_text())
    assert ask(client, job_id).json() == {"message": "Results", "estimators": [whole]}
    for name in ("dose_", "dose"):  # the client leaves out an underscore at the end
        assert ask(client, job_id, f"&estimator_name={name}").json() == {"message": "Estimator", **whole}
        page = ask(client, job_id, f"&estimator_name={name}&page_number=2").json()
        assert page == {"message": "Page", "page": whole["pages"][2]}
        pages = ask(client, job_id, f"&estimator_name={name}&page_numbers=2-3,0").json()
        assert pages == {"message": "Pages", "pages": [whole["pages"][number] for number in (2, 3, 0)]}


@pytest.mark.parametrize(
    ("why", "query", "status", "said"),
    [
        ("no such estimator", "&estimator_name=doses", 404, "Estimator not found"),
        ("no such page", "&estimator_name=dose_&page_number=4", 404, "Page not found"),
        ("one of the pages", "&estimator_name=dose_&page_numbers=0-4", 404, "Page not found"),
        ("a page of no estimator", "&page_number=0", 400, "estimator_name: is needed to name a page"),
        ("pages of no estimator", "&page_numbers=0", 400, "estimator_name: is needed to name a page"),
        ("both", "&estimator_name=dose_&page_number=0&page_numbers=0", 400, "give one of both"),
        ("no number", "&estimator_name=dose_&page_number=a", 400, "page_number: Input should be an integer"),
        ("below none", "&estimator_name=dose_&page_number=-1", 400, "page_number: -1 is less than the minimum"),
        ("no list", "&estimator_name=dose_&page_numbers=a", 400, "page_numbers: is no list of pages such as 0-2,5"),
        ("backwards", "&estimator_name=dose_&page_numbers=3-1", 400, "page_numbers: ends before it begins"),
        ("too many", "&estimator_name=dose_&page_numbers=0-99999", 400, "page_numbers: names more than"),
        ("a near word", "&estimator=dose_", 400, "did you mean &#x27;estimator_name&#x27;?"),
    ],
)
def test_what_is_wrong_with_a_question(client: Client, why: str, query: str, status: int, said: str) -> None:
    answer = ask(client, make_simulation(client), query)
    assert answer.status_code == status and said in answer.json()["message"], answer.text


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "MERGING_RUNNING", "FAILED", "CANCELED"])
def test_there_is_nothing_yet(client: Client, state: str) -> None:
    job_id = write_simulation(client, state=state)
    for path, said in (
        ("results", "Results are unavailable"),
        ("estimators", "Pages metadata not found"),
        ("logfiles", "Logfiles are unavailable"),
        ("inputs", "Inputs are unavailable"),
    ):
        answer = client.get(f"/{path}?job_id={job_id}")
        assert (answer.status_code, answer.json()) == (404, {"message": said})


def test_partial_results_of_a_failed_simulation_are_there(client: Client) -> None:
    job_id = write_simulation(client, state="FAILED", is_partial=True)
    write_results(client, job_id)
    assert ask(client, job_id).status_code == 200
    assert client.get(f"/jobs?job_id={job_id}").json()["partial"] is True


def test_estimators_are_known_without_their_results(client: Client) -> None:
    job_id = make_simulation(client)
    write_results(client, job_id, "map ü", pages=1)
    (client.store / "simulations" / job_id / "results" / "dose_.json").unlink()
    assert client.get(f"/estimators?job_id={job_id}").json()["estimators_metadata"] == [
        {
            "name": name,
            "pages_metadata": [
                {"page_number": number, "page_name": "Dose", "page_dimension": 1} for number in range(count)
            ],
        }
        for name, count in (("dose_", 4), ("map ü", 1))
    ]
    for query in ("", "&estimator_name=dose_", "&estimator_name=dose_&page_number=0"):
        answer = ask(client, job_id, query)
        assert (answer.status_code, answer.json()) == (404, {"message": "Results are unavailable"})
    assert ask(client, job_id, "&estimator_name=map%20%C3%BC&page_numbers=0").json()["pages"] == [PAGE]


def test_large_results_are_sent_piece_by_piece(client: Client) -> None:
    job_id = write_simulation(client, state="COMPLETED")
    write_results(client, job_id, pages=1, values=[0.5] * (results.WHOLE_BYTES // 4))
    page = {**PAGE, "data": {**PAGE["data"], "values": [0.5] * (results.WHOLE_BYTES // 4)}}
    write_results(client, job_id, "other", pages=1)
    answer = ask(client, job_id)
    assert "content-length" not in answer.headers
    first, second = answer.json()["estimators"]
    assert first["pages"] == [page] and second["name"] == "other"
    assert ask(client, job_id, "&estimator_name=dose_").json()["pages"] == [page]
    assert ask(client, job_id, "&estimator_name=dose_&page_number=0").json()["page"] == page
    assert client.request("HEAD", f"/results?job_id={job_id}").status_code == 200


def test_a_file_that_somebody_changed_is_told(client: Client) -> None:
    job_id = make_simulation(client)
    (client.store / "simulations" / job_id / "results" / "dose_.json").write_text('{"name": "dose_"}')
    answer = ask(client, job_id, "&estimator_name=dose_&page_number=0")
    assert answer.status_code == 404 and "dose_.json was changed by hand" in answer.json()["message"]


def test_input_and_logs(client: Client) -> None:
    job_id = write_simulation(client)
    for name, text in {**DUMMY, "ü.txt": "ä\n"}.items():
        write_file(client, job_id, f"input/{name}", text)
    write_file(client, job_id, "logs/task_0001.log", "Run time: ü\n")
    found = client.get(f"/inputs?job_id={job_id}").json()["input"]
    assert found == {
        "input_type": "FILES",
        "input_files": {"dummy.json": '{"primaries": 5}', "ü.txt": "ä\n"},
        "number_of_all_primaries": 10,
    }
    assert client.get(f"/logfiles?job_id={job_id}").json() == {
        "message": "Logfiles",
        "logfiles": {"task_0001.log": "Run time: ü\n"},
    }
    changed = find(client, job_id).model_copy(update={"sim_type": "gone"})
    client.run(client.server.store.simulations.put(job_id, changed))
    assert client.get(f"/inputs?job_id={job_id}").json()["input"]["input_files"]["dummy.json"] == DUMMY["dummy.json"]
