"""Results that a worker sends are kept as the merge keeps them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slurm_shim.simulators.pages import PagesReader
from tests.app_client import Client
from tests.engine.simulations.reporting import Worker


def make_page(number: int = 0, values: Any = (0.25, None, 1e-300), **more: Any) -> dict[str, Any]:
    """A page with one axis."""
    axis = {"name": "Position (Z)", "unit": "cm", "values": [0.5, 1.5, 2.5]}
    data = {"name": "Dose", "unit": "MeV/g", "values": list(values)}
    return {"dimensions": 1, "data": data, "axis_dim1": axis, "metadata": {"page_number": str(number)}, **more}


def test_results_are_kept_as_the_merge_keeps_them(worker: Worker) -> None:
    sent = [
        {"name": "z_", "metadata": {"number_of_primaries": "10"}, "pages": [make_page(0), make_page(1)]},
        {"name": "a/b", "pages": [make_page(dimensions=0, axis_dim2={"values": []}, note="x")]},
    ]
    answer = worker.post("/results", estimators=sent)
    assert (answer.status_code, answer.json()) == (202, {"message": "Results saved"})
    simulation, folder = worker.simulation, worker.client.store / "simulations" / worker.id / "results"
    assert simulation.results == "there" and simulation.state == "MERGING_RUNNING"
    assert [(row.name, row.file) for row in simulation.estimators] == [("a_b", "a_b.json"), ("z_", "z_.json")]
    pages = [(page.page_number, page.page_name, page.page_dimension) for page in simulation.estimators[1].pages]
    assert pages == [(0, "Dose", 1), (1, "Dose", 1)]
    assert json.loads((folder / "z_.json").read_text()) == sent[0]
    reader = PagesReader(folder / "z_.json")
    page = reader.read_page()
    assert page is not None and page["data"] == {"name": "Dose", "unit": "MeV/g"}
    assert reader.read_numbers() == [0.25, None, 1e-300]
    reader.close()
    seen = worker.client.get(f"/results?job_id={worker.id}&estimator_name=z&page_numbers=0-1", token="admin")
    assert seen.json()["pages"] == sent[0]["pages"]
    assert worker.client.get(f"/results?job_id={worker.id}", token="admin").status_code == 200
    assert worker.post("/results", estimators=sent[:1]).status_code == 202
    assert sorted(path.name for path in folder.iterdir()) == ["z_.json"], "those before are replaced"
    assert worker.post("/results", estimators=[]).status_code == 202, "as the real back end takes it"


def test_estimators_of_an_editor_have_the_names_of_its_outputs(quiet_client: Client) -> None:
    worker = Worker(quiet_client, outputs=["Yield", "Dose", "Dose"])
    sent = [{"name": name, "pages": [make_page()]} for name in ("fl_22", "fl_21", "fl_23")]
    assert worker.post("/results", estimators=sent).status_code == 202
    assert [row.name for row in worker.simulation.estimators] == ["Dose", "Dose_", "Yield"]


def test_many_estimators_of_one_long_name_are_refused_before_any_is_written(worker: Worker) -> None:
    sent = [{"name": "d" * 300, "pages": [make_page()]} for _ in range(12)]
    answer = worker.post("/results", estimators=sent)
    assert answer.status_code == 400 and "the same long name" in answer.json()["message"]
    assert not list((worker.client.store / "simulations" / worker.id).glob("results/*"))


def test_large_results_go_through_a_file(worker: Worker) -> None:
    values = [number / 7 for number in range(300_000)]
    page = make_page(values=values)
    page["axis_dim1"]["values"] = values
    answer = worker.post("/results", estimators=[{"name": "dose", "metadata": {}, "pages": [page]}])
    assert answer.status_code == 202, answer.text
    folder = worker.client.store / "simulations" / worker.id / "results"
    assert [path.name for path in folder.iterdir()] == ["dose.json"]
    data = (folder / "dose.json").read_bytes()
    assert json.loads(data)["pages"] == [page]
    assert max(map(len, data.split(b"\n"))) <= 1 << 20
    reader = PagesReader(folder / "dose.json")
    reader.read_page()
    read: list[Any] = []
    while (numbers := reader.read_numbers()) is not None:
        read += numbers
    reader.close()
    assert read == values


SPACE, LONG_SPACE = " " * 1_100_000, " " * 2_100_000
BOTH = '"simulation_id": "ID", "update_key": "KEY"'
LARGE = [
    ("no key at its beginning", f'{{"estimators": [{SPACE}]}}', 400),
    ("a wrong key there", f'{{"simulation_id": "ID", "update_key": "a.b.c", "estimators": [{SPACE}', 400),
    ("another key in full", f'{{{BOTH}, "update_key": "x", "estimators": [{SPACE}]}}', 400),
    ("torn", f'{{{BOTH}, "estimators": [{SPACE}', 400),
    ("too large", f'{{{BOTH}, "estimators": [{LONG_SPACE}]}}', 413),
]


@pytest.mark.parametrize(("why", "body", "status"), LARGE, ids=[row[0] for row in LARGE])
def test_large_results_that_are_refused(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, why: str, body: str, status: int
) -> None:
    monkeypatch.setattr(worker.client.server.store.config.yaptide, "results_mb", 2)
    sent = body.replace("ID", worker.id).replace("KEY", worker.key).encode()
    answer = worker.client.post("/results", content=sent, token=None)
    assert answer.status_code == status, answer.text
    assert worker.key not in answer.text
    folder = worker.client.store / "simulations" / worker.id / "results"
    assert not folder.exists() or not list(folder.iterdir())
