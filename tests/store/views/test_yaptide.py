"""The YAPTIDE family's shapes: simulations in, the answers that its client reads out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from store.documents import EstimatorFacts, PageFacts, SimulationTask
from store.errors import Invalid, NotFound
from store.indexes.simulations import build_facts
from store.views import yaptide
from tests.store.rules.simulations.samples import ID, make_simulation

MADE = "2026-11-21T16:39:17Z"
DOSE = {
    "name": "dose_",
    "metadata": {"filename": "dose_"},
    "pages": [{"metadata": {"page_number": str(number)}, "data": {"values": [number]}} for number in range(4)],
    "extra": 1,
}
FACTS = EstimatorFacts(
    name="dose_", file="dose_.json", pages=[PageFacts(page_number=0, page_name="Dose", page_dimension=1)]
)


def test_times_are_what_the_client_parses() -> None:
    text = yaptide.format_time("2026-11-21T16:39:17.900Z")
    assert text == "Sat, 21 Nov 2026 16:39:17 GMT"
    assert datetime.strptime(text, "%a, %d %b %Y %H:%M:%S %Z").second == 17
    assert yaptide.format_time(None) is None


@pytest.mark.parametrize(
    ("why", "task", "answered"),
    [
        ("it waits", {}, {"task_state": "PENDING", "requested_primaries": 5, "simulated_primaries": 0}),
        (
            "it runs",
            {
                "state": "RUNNING", "simulated_primaries": 2, "estimated_s": 3723, "started_at": "2026-11-21T16:40:00Z",
                "updated_at": "2026-11-21T16:41:00Z",
            },
            {
                "task_state": "RUNNING", "requested_primaries": 5, "simulated_primaries": 2,
                "estimated_time": {"hours": 1, "minutes": 2, "seconds": 3},
                "start_time": "Sat, 21 Nov 2026 16:40:00 GMT", "last_update_time": "Sat, 21 Nov 2026 16:41:00 GMT",
            },
        ),
        (
            "it failed",
            {"state": "FAILED", "ended_at": MADE, "reason": "TIMEOUT"},
            {
                "task_state": "FAILED", "requested_primaries": 5, "simulated_primaries": 0, "reason": "TIMEOUT",
                "end_time": "Sat, 21 Nov 2026 16:39:17 GMT",
            },
        ),
    ],
)  # fmt: skip
def test_tasks(why: str, task: dict[str, Any], answered: dict[str, Any]) -> None:
    made = SimulationTask(task_id=1, seed=7, requested_primaries=5, **task)
    default = {"task_id": 1, "last_update_time": "Sat, 21 Nov 2026 16:39:17 GMT"}
    assert yaptide.to_task_json(made, MADE) == default | answered, why


def test_the_documented_state() -> None:
    tasks = [
        SimulationTask(task_id=2, seed=2, state="RUNNING", requested_primaries=1000, simulated_primaries=500),
        SimulationTask(task_id=1, seed=1, state="COMPLETED", requested_primaries=1000, simulated_primaries=1000),
    ]
    answer = yaptide.to_status_json(make_simulation(state="RUNNING", tasks=tasks))
    rows = [{key: value for key, value in row.items() if "time" not in key} for row in answer.pop("job_tasks_status")]
    assert answer == {"message": "Job status", "job_state": "RUNNING"}
    assert rows == [
        {"task_id": 1, "task_state": "COMPLETED", "simulated_primaries": 1000, "requested_primaries": 1000},
        {"task_id": 2, "task_state": "RUNNING", "simulated_primaries": 500, "requested_primaries": 1000},
    ]


def test_a_failure_says_why_and_what_is_missing() -> None:
    simulation = make_simulation(state="FAILED", error="1 of 2 tasks failed", is_partial=True)
    simulation.tasks[0].state, simulation.tasks[1].state = "COMPLETED", "FAILED"
    answer = yaptide.to_status_json(simulation)
    assert (answer["error"], answer["partial"], answer["missing_tasks"]) == ("1 of 2 tasks failed", True, [2])


@pytest.mark.parametrize(
    ("why", "answer", "answered"),
    [
        ("not known yet", yaptide.to_status_json(make_simulation(state="UNKNOWN")),
         {"message": "Job state is unknown", "job_state": "UNKNOWN"}),
        ("submitted here", yaptide.to_submitted_json(make_simulation()), {"message": "Job submitted", "job_id": ID}),
        ("submitted to a cluster", yaptide.to_submitted_json(make_simulation(platform="BATCH")),
         {"message": "Batch job submitted", "job_id": ID}),
        ("cancelled", yaptide.to_message_json(yaptide.CANCELLED), {"message": "Job cancelled"}),
        ("too late", yaptide.to_uncancelled_json(make_simulation(state="COMPLETED")),
         {"message": "Cannot cancel job which is in COMPLETED state", "job_state": "COMPLETED"}),
        ("clusters", yaptide.to_clusters_json(["here", "lab"]),
         {"message": "Clusters", "clusters": [{"cluster_name": "here"}, {"cluster_name": "lab"}]}),
    ],
)  # fmt: skip
def test_short_answers(why: str, answer: dict[str, Any], answered: dict[str, Any]) -> None:
    assert answer == answered, why


@pytest.mark.parametrize(
    ("why", "count", "size", "number", "ids", "pages"),
    [
        ("the first page", 5, 2, 1, ["0", "1"], 3),
        ("the last one", 5, 2, 3, ["4"], 3),
        ("beyond it", 5, 2, 4, [], 3),
        ("none", 0, 6, 1, [], 0),
        ("exactly full", 4, 2, 2, ["2", "3"], 2),
    ],
)
def test_lists(why: str, count: int, size: int, number: int, ids: list[str], pages: int) -> None:
    facts = build_facts(make_simulation(title="Beam", created_at=MADE))
    answer = yaptide.to_simulations_json([(str(at), facts) for at in range(count)], size, number)
    assert [row["job_id"] for row in answer["simulations"]] == ids, why
    assert (answer["page_count"], answer["simulations_count"]) == (pages, count)
    for row in answer["simulations"]:
        assert row | {"job_id": ""} == {
            "title": "Beam", "job_id": "", "start_time": "Sat, 21 Nov 2026 16:39:17 GMT", "end_time": None,
            "metadata": {"platform": "DIRECT", "server": "Yaptide", "input_type": "FILES", "sim_type": "dummy"},
        }  # fmt: skip


def test_inputs_and_logs() -> None:
    simulation = make_simulation(input_type="EDITOR")
    answer = yaptide.to_input_json(simulation, {"beam.dat": "NSTAT 5"}, {"beam": {}})
    assert answer["input"] == {
        "input_type": "EDITOR", "input_files": {"beam.dat": "NSTAT 5"}, "number_of_all_primaries": 10,
        "input_json": {"beam": {}},
    }  # fmt: skip
    assert "input_json" not in yaptide.to_input_json(simulation, {})["input"]
    assert yaptide.to_logs_json(simulation, {"a.log": "x"})["logfiles"] == {"a.log": "x"}
    with pytest.raises(NotFound, match=r"^Logfiles are unavailable$"):
        yaptide.to_logs_json(simulation, {})


def test_why_a_simulation_failed_is_a_log() -> None:
    failed = make_simulation(state="FAILED", error="Submission failed: no such partition")
    why = {"error": "Submission failed: no such partition"}
    for files in ({}, {"a.log": "x"}):
        assert yaptide.to_logs_json(failed, files)["logfiles"] == {**why, **files}


def test_estimators() -> None:
    simulation = make_simulation(estimators=[FACTS])
    page = {"page_number": 0, "page_name": "Dose", "page_dimension": 1}
    assert yaptide.to_estimators_json(simulation)["estimators_metadata"] == [
        {"name": "dose_", "pages_metadata": [page]}
    ]
    assert yaptide.list_estimators(simulation) == [FACTS]
    assert yaptide.list_estimators(simulation, "dose_") == yaptide.list_estimators(simulation, "dose") == [FACTS]
    for name in ("dos", "dose__", ""):
        with pytest.raises(NotFound, match=r"^Estimator not found$"):
            yaptide.list_estimators(simulation, name)
    with pytest.raises(NotFound, match=r"^Pages metadata not found$"):
        yaptide.to_estimators_json(make_simulation())
    with pytest.raises(NotFound, match=r"^Results are unavailable$"):
        yaptide.list_estimators(make_simulation(), "dose")


@pytest.mark.parametrize(
    ("why", "text", "numbers"),
    [
        ("one", "3", [3]),
        ("a range", "0-2", [0, 1, 2]),
        ("as the client asks", "0-2,5", [0, 1, 2, 5]),
        ("blanks", " 1 , 4-5 ", [1, 4, 5]),
        ("each once", "2,1-3", [2, 1, 3]),
    ],
)
def test_numbers_of_pages(why: str, text: str, numbers: list[int]) -> None:
    assert yaptide.parse_page_numbers(text) == numbers, why


@pytest.mark.parametrize(
    ("why", "text", "problem"),
    [
        ("nothing", "", "is no list of pages"),
        ("a word", "a", "is no list of pages"),
        ("a gap", "1,,2", "is no list of pages"),
        ("an open range", "1-", "is no list of pages"),
        ("less than none", "-1", "is no list of pages"),
        ("other digits", "\u0661", "is no list of pages"),
        ("backwards", "5-2", "ends before it begins: 5-2"),
        ("very many", "0-999999999", "names more than 10000 pages"),
        ("many, bit by bit", "0-5000,5001-10000", "names more than 10000 pages"),
        ("a long number", "1" * 5000, "is no list of pages"),
    ],
)
def test_wrong_numbers_of_pages(why: str, text: str, problem: str) -> None:
    with pytest.raises(Invalid) as found:
        yaptide.parse_page_numbers(text)
    assert problem in str(found.value), why
