"""Answers of the YAPTIDE family. Pure.

Every answer is an object with a `message`. Times are those of HTTP headers, as the real YAPTIDE writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from typing import Any

from store.documents import EstimatorFacts, Simulation, SimulationTask
from store.errors import Invalid, NotYet, make_problem, split_problem
from store.indexes.simulations import SimulationFacts
from store.times import to_epoch

SERVER = "Yaptide"
# As marshmallow, which the real YAPTIDE checks queries with, calls what may be wrong with them.
FIELD_PROBLEMS = {"extra_forbidden": "Unknown field.", "missing": "Missing data for required field."}
TOLD_PROBLEMS = 10
SUBMITTED = {"DIRECT": "Job submitted", "BATCH": "Batch job submitted"}
STATUS, CANCELLED, DELETED = "Job status", "Job cancelled", "Simulation deleted"
NO_RESULTS = "Results are unavailable"
# So many pages are asked for at once.
MOST_PAGES = 10_000


def format_time(text: str | None) -> str | None:
    """Format a time as HTTP does (RFC 9110, 5.6.7); None stays None.

    >>> format_time("2026-11-21T16:39:17Z")
    'Sat, 21 Nov 2026 16:39:17 GMT'
    """
    return format_epoch(to_epoch(text))


def format_epoch(epoch_s: float | None) -> str | None:
    """Format epoch seconds as HTTP does; None stays None."""
    return None if epoch_s is None else formatdate(int(epoch_s), usegmt=True)


# --- refusals


# To who says nothing of who he is: the client takes it for not being logged in, and shows nothing.
NO_TOKEN = "No token provided"  # noqa: S105 - a sentence


def to_error_json(message: str, problems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Build a refusal: a message, and each wrong query parameter beside it.

    The client shows the message as a part of a page, so the characters of HTML are escaped.
    """
    import html  # only for who makes mistakes: it takes 0.4 MB

    found = [(*split_problem(problem), problem) for problem in problems]
    in_query = [(field, problem) for field, _, problem in found if problem["loc"][:1] == ["query"]]
    fields: dict[str, Any] = {}
    for field, problem in in_query:
        fields[field] = [FIELD_PROBLEMS.get(problem["type"], problem["msg"])]
    return {**fields, "message": html.escape(_describe_problems(message, found, bool(in_query)))}


def _describe_problems(message: str, found: Sequence[tuple[str, str, Mapping[str, Any]]], is_query: bool) -> str:
    missing = [field for field, _, problem in found if problem["type"] == "missing"]
    if not found:
        return message
    if is_query:
        return f"Wrong parameters: {_join_problems(found)}"
    if missing == ["body"]:
        return "No JSON in body"
    if len(missing) == len(found):
        return f"Missing keys in JSON payload: {', '.join(missing)}"
    if found[0][2]["loc"] == ["body"] or found[0][2]["type"] == "json_invalid":
        return f"Wrong JSON in body: {found[0][1]}"
    return f"Wrong data provided: {_join_problems(found)}"


def _join_problems(found: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    return "; ".join(f"{field}: {text}" for field, text, _ in found[:TOLD_PROBLEMS])


# --- jobs


def to_submitted_json(simulation: Simulation) -> dict[str, Any]:
    """Build the answer to a submission."""
    return {"message": SUBMITTED[simulation.platform], "job_id": simulation.id}


def to_status_json(simulation: Simulation) -> dict[str, Any]:
    """Build the state of a simulation with its tasks.

    Of one that failed also why, and which tasks its results lack.
    """
    if simulation.state == "UNKNOWN":
        return {"message": "Job state is unknown", "job_state": "UNKNOWN"}
    tasks = sorted(simulation.tasks, key=lambda task: task.task_id)
    answer: dict[str, Any] = {
        "message": STATUS,
        "job_state": simulation.state,
        "job_tasks_status": [to_task_json(task, simulation.created_at) for task in tasks],
    }
    if simulation.error:
        answer["error"] = simulation.error
    if simulation.is_partial:
        answer["partial"] = True
        answer["missing_tasks"] = [
            task.task_id for task in tasks if task.state != "COMPLETED" or task.task_id in simulation.left_out
        ]
    return answer


def to_task_json(task: SimulationTask, created_at: str) -> dict[str, Any]:
    """Build a task; what is not known of it is left out."""
    known = {
        "estimated_time": None if task.estimated_s is None else split_seconds(task.estimated_s),
        "start_time": format_time(task.started_at),
        "end_time": format_time(task.ended_at),
        "reason": task.reason,
    }
    return {
        "task_id": task.task_id,
        "task_state": task.state,
        "requested_primaries": task.requested_primaries,
        "simulated_primaries": task.simulated_primaries,
        "last_update_time": format_time(task.updated_at or created_at),
        **{name: value for name, value in known.items() if value is not None},
    }


def split_seconds(seconds: int) -> dict[str, int]:
    """Split seconds into hours, minutes and seconds.

    >>> split_seconds(3723)
    {'hours': 1, 'minutes': 2, 'seconds': 3}
    """
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return {"hours": hours, "minutes": minutes, "seconds": rest}


def to_message_json(message: str) -> dict[str, Any]:
    """Build an answer that says no more than that it is done."""
    return {"message": message}


def to_uncancelled_json(simulation: Simulation) -> dict[str, Any]:
    """Build the answer to the cancellation of what has ended."""
    message = f"Cannot cancel job which is in {simulation.state} state"
    return {"message": message, "job_state": simulation.state}


# --- lists


def to_simulations_json(
    rows: Sequence[tuple[str, SimulationFacts]], page_size: int, page_number: int
) -> dict[str, Any]:
    """Build a page (from 1) of a list of simulations."""
    begin = (page_number - 1) * page_size
    page = rows[begin : begin + page_size]
    return {
        "message": "User simulations",
        "simulations": [to_simulation_row(simulation_id, facts) for simulation_id, facts in page],
        "page_count": -(-len(rows) // page_size),
        "simulations_count": len(rows),
    }


def to_simulation_row(simulation_id: str, facts: SimulationFacts) -> dict[str, Any]:
    """Build the row of a simulation in a list."""
    return {
        "title": facts.title,
        "job_id": simulation_id,
        "start_time": format_epoch(facts.created),
        "end_time": format_epoch(facts.ended),
        "metadata": {
            "platform": facts.platform,
            "server": SERVER,
            "input_type": facts.input_type,
            "sim_type": facts.sim_type,
        },
    }


def to_change_json(simulation_id: str, facts: SimulationFacts) -> dict[str, Any]:
    """Build the row of a simulation in the change feed.

    It says no more of it than the list of jobs does of its tasks.
    """
    own = {"job_state": facts.state, "run_id": facts.run_id}
    return {**to_simulation_row(simulation_id, facts), **own}


def to_clusters_json(names: Iterable[str]) -> dict[str, Any]:
    """Build the list of clusters."""
    return {"message": "Clusters", "clusters": [{"cluster_name": name} for name in names]}


# --- input, logs and results


def to_input_json(
    simulation: Simulation, files: Mapping[str, str], project: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Build the input of a simulation.

    `files` are those of a task, so they have its share of the primaries.
    """
    rows: dict[str, Any] = {
        "input_type": simulation.input_type,
        "input_files": dict(files),
        "number_of_all_primaries": simulation.requested_primaries,
    }
    if project is not None:
        rows["input_json"] = project
    return {"message": "Inputs", "input": rows}


def to_logs_json(simulation: Simulation, files: Mapping[str, str]) -> dict[str, Any]:
    """Build the logs of a simulation; raise NotFound without any.

    The client shows nothing else of one that failed, so why it did is the first of them.
    """
    why = {"error": simulation.error} if simulation.error else {}
    if not files and not why:
        raise NotYet("Logfiles", simulation.id, "Logfiles are unavailable")
    return {"message": "Logfiles", "logfiles": {**why, **files}}


def to_estimators_json(simulation: Simulation) -> dict[str, Any]:
    """Build what is known of the results without reading them.

    Raises NotFound while there are none.
    """
    if not simulation.estimators:
        raise NotYet("Estimators", simulation.id, "Pages metadata not found")
    rows = [
        {
            "name": estimator.name,
            "pages_metadata": [
                {name: getattr(page, name) for name in ("page_number", "page_name", "page_dimension")}
                for page in estimator.pages
            ],
        }
        for estimator in simulation.estimators
    ]
    return {"message": "Estimators metadata", "estimators_metadata": rows}


def list_estimators(simulation: Simulation, name: str | None = None) -> list[EstimatorFacts]:
    """List the estimators that are asked for; raise NotFound for none.

    The client leaves out an underscore at the end of a name.
    """
    if not simulation.estimators:
        raise NotYet("Results", simulation.id, NO_RESULTS)
    if name is None:
        return simulation.estimators
    for wanted in (name, f"{name}_"):
        for estimator in simulation.estimators:
            if estimator.name == wanted:
                return [estimator]
    raise NotYet("Estimator", name, "Estimator not found")


def parse_page_numbers(text: str) -> list[int]:
    """Parse numbers and ranges of pages. Raises Invalid.

    >>> parse_page_numbers("0-2,5")
    [0, 1, 2, 5]
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        words = [first, last] if dash else [first]
        if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
            raise _make_pages_error(text, "is no list of pages such as 0-2,5")
        begin, end = int(first), int(last or first)
        if end < begin:
            raise _make_pages_error(text, f"ends before it begins: {part.strip()}")
        if len(numbers) + end - begin >= MOST_PAGES:
            raise _make_pages_error(text, f"names more than {MOST_PAGES} pages")
        numbers += range(begin, end + 1)
    return list(dict.fromkeys(numbers))


def _make_pages_error(text: str, message: str) -> Invalid:
    return Invalid([make_problem(message, ("query", "page_numbers"), input=text[:100])])
