"""Merge the results of all tasks: `python3 merge.py WORK`.

Reads WORK/tasks/NNNN.json and the pages of every task that ended well, writes WORK/results/NAME.json (the form of
pages.py) and WORK/summary.json. Values are means, weighted by the primaries that each task really simulated. Errors
(standard errors of the mean) are propagated from those of the tasks; where the tasks have none, they follow from how
far the tasks differ, as in pymchelper.

All tasks are read side by side, a line of each at a time, and every bin is summed exactly (math.fsum): the order of
tasks does not matter, and memory depends neither on the sizes of files nor, to speak of, on their number. A task whose
files are torn or do not fit those of the others is left out as if it had failed.
"""

import json
import math
import sys
from array import array
from collections import Counter
from itertools import repeat
from operator import mul, sub
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

if __package__:
    from . import convert, pages, reports
else:  # plain files on a cluster
    import convert  # type: ignore[import-not-found,no-redef]
    import pages  # type: ignore[import-not-found,no-redef]
    import reports  # type: ignore[import-not-found,no-redef]

Rows = Sequence[Sequence[Optional[float]]]
# What becomes of one bin, from its values in all tasks; built for the weights of these tasks.
Combine = Callable[[Sequence[float]], float]
Combination = Callable[[Sequence[int]], Combine]


class TaskFiles(NamedTuple):
    """A task that ended well, with its files of estimators by name."""

    task_id: int
    primaries: int
    files: Dict[str, Path]


class UnusableTask(Exception):
    """One task's results cannot be merged with those of the others."""

    def __init__(self, task_id: int, reason: str) -> None:
        super().__init__(reason)
        self.task_id, self.reason = task_id, reason


def main(arguments: List[str]) -> int:
    """Merge what is in the folder; 1 when there is nothing to merge."""
    work = Path(arguments[0])
    simulation = json.loads((work / "simulation.json").read_text(encoding="utf-8"))
    key = reports.read_update_key(work)
    messenger = reports.Messenger(simulation.get("report_url"), key, "/jobs")
    messenger.send({"sim_id": simulation["id"], "job_state": "MERGING_RUNNING"})
    raise_file_limit()
    summary = merge_simulation(work, simulation)
    pages.write_json(work / "summary.json", summary)
    messenger.close()
    for task_id, reason in summary["problems"].items():
        print(f"task {task_id} is left out: {reason}", file=sys.stderr)
    if not summary["estimators"]:
        print("there is nothing to merge", file=sys.stderr)
        return 1
    names = ", ".join(estimator["name"] for estimator in summary["estimators"])
    print(f"merged {summary['tasks']['completed']} of {len(simulation['tasks'])} tasks: {names}")
    return 0


def raise_file_limit() -> None:
    """Let this process have as many open files as the system allows."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, ValueError, OSError):
        return  # the limit stays; it is high enough for most simulations


def merge_simulation(work: Path, simulation: Dict[str, Any]) -> Dict[str, Any]:
    """Write the merged estimators; return the summary."""
    tasks, problems = collect_tasks(work, simulation)
    target = work / "results"
    how = json.loads((work / "simulator.json").read_text(encoding="utf-8")).get("merge", "mean")
    while True:
        tasks = drop_odd_tasks(tasks, problems)
        target.mkdir(exist_ok=True)
        for path in target.iterdir():
            path.unlink()
        try:
            estimators = merge_estimators(tasks, target, simulation.get("outputs") or [], how)
            break
        except UnusableTask as problem:
            # From the beginning, so that every estimator is of the same tasks.
            problems[problem.task_id] = problem.reason
            tasks = [task for task in tasks if task.task_id != problem.task_id]
    return {
        "estimators": estimators,
        "requested_primaries": sum(task["primaries"] for task in simulation["tasks"]),
        "simulated_primaries": sum(task.primaries for task in tasks),
        "tasks": {"completed": len(tasks), "failed": sorted(problems)},
        "problems": {str(task_id): reason for task_id, reason in sorted(problems.items())},
        "partial": bool(problems),
    }


# --- which tasks -----------------------------------------------------------------------------------------------------


def collect_tasks(work: Path, simulation: Dict[str, Any]) -> Tuple[List[TaskFiles], Dict[int, str]]:
    """Collect the tasks that ended well, and why others did not."""
    results = json.loads((work / "simulator.json").read_text(encoding="utf-8"))["results"]
    inputs = {path.name for path in (work / "input").iterdir()}
    # Where the input says no number of primaries, all tasks count alike.
    is_counted = any(task["primaries"] for task in simulation["tasks"])
    tasks, problems = [], {}
    for task_id in sorted(task["task_id"] for task in simulation["tasks"]):
        folder = work / "tasks" / f"{task_id:04d}"
        try:
            report = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))
            if report["task_state"] != "COMPLETED":
                raise ValueError(report.get("reason") or "it is {}".format(report["task_state"]))
            primaries = int(report["simulated_primaries"])
            if primaries < 1 and is_counted:
                raise ValueError("it simulated no primaries")
            if not (folder / "pages").is_dir():  # pymchelper was not there, and may be here
                convert.convert_results(results, folder, inputs, primaries)
            files = {path.name: path for path in (folder / "pages").glob("*.json")}
            if not files:
                raise ValueError("it has no result")
            tasks.append(TaskFiles(task_id, primaries, files))
        except FileNotFoundError:
            problems[task_id] = "it never began, or its report is gone"
        except (convert.NoResults, ValueError, KeyError, TypeError, OSError) as error:
            problems[task_id] = str(error)
    return tasks, problems


def drop_odd_tasks(tasks: List[TaskFiles], problems: Dict[int, str]) -> List[TaskFiles]:
    """Keep the tasks that have the estimators that most tasks have."""
    if not tasks:
        return []
    counts = Counter(frozenset(task.files) for task in tasks)
    most = max(counts.values())
    expected = next(names for names in (frozenset(task.files) for task in tasks) if counts[names] == most)
    kept = []
    for task in tasks:
        missing = sorted(expected - set(task.files))
        if missing:
            problems[task.task_id] = "it has no {}".format(", ".join(missing))
        else:
            kept.append(task._replace(files={name: task.files[name] for name in expected}))
    return kept


# --- estimators and pages --------------------------------------------------------------------------------------------


def merge_estimators(tasks: List[TaskFiles], target: Path, outputs: List[str], how: str) -> List[Dict[str, Any]]:
    """Merge every estimator; return their names and pages."""
    files = sorted(tasks[0].files) if tasks else []
    # The editor's outputs are written in the order of their names.
    shown_names = dict(zip(files, sorted(outputs))) if len(outputs) == len(files) else {}
    estimators = []
    for file in files:
        readers: List[pages.PagesReader] = []
        try:
            for task in tasks:
                readers.append(call_of(task.task_id, pages.PagesReader, task.files[file]))
            name = convert.clean_name(shown_names.get(file) or readers[0].name)
            while (target / f"{name}.json").exists():  # the editor lets two outputs have the same name
                name += "_"
            merger = EstimatorMerger(tasks, readers, how)
            estimators.append({"name": name, "pages": merger.write_estimator(target / f"{name}.json", name)})
        finally:
            for reader in readers:
                reader.close()
    return estimators


def call_of(task_id: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function; what it cannot read is the fault of this task."""
    try:
        return function(*arguments)
    except (pages.UnreadablePages, OSError) as error:
        raise UnusableTask(task_id, str(error)) from error


class EstimatorMerger:
    """One estimator of all tasks, read side by side."""

    def __init__(self, tasks: List[TaskFiles], readers: List[pages.PagesReader], how: str) -> None:
        self.how = how
        self.ids = [task.task_id for task in tasks]
        self.readers = readers
        self.primaries = [read_primaries(reader, task) for reader, task in zip(readers, tasks)]
        counts = self.primaries if all(self.primaries) else [1] * len(tasks)
        divisor = 0
        for count in counts:
            divisor = math.gcd(divisor, count)
        self.weights = [count // divisor for count in counts]

    def write_estimator(self, path: Path, name: str) -> List[Dict[str, Any]]:
        """Write the merged estimator; return what its pages are."""
        metadata = dict(self.readers[0].metadata, number_of_primaries=str(sum(self.primaries)))
        metadata["file_counter"] = str(len(self.readers))
        described: List[Dict[str, Any]] = []
        with pages.PagesWriter(path, name, metadata) as writer:
            while True:
                page = self._read_page(writer)
                if page is None:
                    return described
                number = len(described)
                page["metadata"] = dict(page["metadata"] or {}, page_number=str(number))
                described.append(
                    {
                        "page_number": number,
                        "page_name": page["data"].get("name", ""),
                        "page_dimension": page["dimensions"],
                    }
                )
                self._write_page(writer, page)

    def _read_page(self, writer: pages.PagesWriter) -> Optional[Dict[str, Any]]:
        """Read the head of the next page, and write its axes."""
        first: Optional[Dict[str, Any]] = call_of(self.ids[0], self.readers[0].read_page, writer.write_line)
        for task_id, reader in zip(self.ids[1:], self.readers[1:]):
            page = call_of(task_id, reader.read_page)
            if (page and page["shape"]) != (first and first["shape"]):
                raise UnusableTask(task_id, f"its pages are not those of task {self.ids[0]}")
        return first

    def _write_page(self, writer: pages.PagesWriter, page: Dict[str, Any]) -> None:
        how = page["metadata"].get("merge", self.how)
        average, propagate = {"first": (take_first, take_first), "sum": (add_values, add_errors)}.get(
            how, (average_values, propagate_errors)
        )
        if how == "concatenate":
            self._concatenate_values(writer, page)
        elif all(reader.has_errors for reader in self.readers):
            writer.begin_data(page["metadata"], page["data"], errors=True)
            self._write_combined(writer, propagate)
            self._call_all(pages.PagesReader.begin_values)
            writer.begin_values()
            self._write_combined(writer, average)
        elif average is average_values and len(self.readers) > 1:
            self._write_spread(writer, page)
        else:
            writer.begin_data(page["metadata"], page["data"], errors=False)
            self._call_all(skip_errors)
            self._write_combined(writer, average)
        self._call_all(pages.PagesReader.end_page)
        writer.end_page()

    def _write_combined(self, writer: pages.PagesWriter, combination: Combination) -> None:
        for rows in self._read_rows():
            writer.write_numbers(combine_rows(rows, self.weights, combination))

    def _write_spread(self, writer: pages.PagesWriter, page: Dict[str, Any]) -> None:
        """Write means, and errors from how far the tasks differ."""
        writer.begin_data(page["metadata"], page["data"], errors=True)
        self._call_all(skip_errors)
        means = array("d")
        for rows in self._read_rows():
            line = combine_rows(rows, self.weights, average_values)
            means.extend(math.nan if mean is None else mean for mean in line)
            # The mean goes with its values, as the last of them.
            writer.write_numbers(combine_rows([*rows, line], [*self.weights, 0], measure_spread))
        writer.begin_values()
        writer.write_numbers(means)

    def _concatenate_values(self, writer: pages.PagesWriter, page: Dict[str, Any]) -> None:
        """Write the values of all tasks after each other."""
        writer.begin_data(page["metadata"], page["data"], errors=False)
        self._call_all(skip_errors)
        for reader, task_id in zip(self.readers, self.ids):
            while True:
                numbers = call_of(task_id, reader.read_numbers)
                if numbers is None:
                    break
                writer.write_numbers(numbers)

    def _read_rows(self) -> Any:
        """Read a line of each task at a time."""
        while True:
            rows = self._call_all(pages.PagesReader.read_numbers)
            lengths = [None if row is None else len(row) for row in rows]
            for task_id, length in zip(self.ids, lengths):
                if length != lengths[0]:
                    raise UnusableTask(task_id, f"it has not as many values as task {self.ids[0]}")
            if lengths[0] is None:
                return
            for task_id, row in zip(self.ids, rows):
                if not set(map(type, row)) <= {float, int, type(None)}:
                    raise UnusableTask(task_id, "a value is not a number")
            yield rows

    def _call_all(self, method: Callable[..., Any]) -> List[Any]:
        return [call_of(task_id, method, reader) for task_id, reader in zip(self.ids, self.readers)]


def skip_errors(reader: pages.PagesReader) -> None:
    """Go on to the values."""
    if reader.has_errors:
        while reader.read_numbers() is not None:
            continue
        reader.begin_values()


def read_primaries(reader: pages.PagesReader, task: TaskFiles) -> int:
    """Read how many primaries an estimator is of; its file knows best."""
    try:
        return int(reader.metadata["number_of_primaries"]) or task.primaries
    except (KeyError, ValueError, TypeError):
        return task.primaries


# --- sums ------------------------------------------------------------------------------------------------------------


def combine_rows(rows: Rows, weights: List[int], combination: Combination) -> List[Optional[float]]:
    """Combine each bin of all tasks, or of those that have a number there."""
    try:
        return list(map(combination(weights), zip(*rows)))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return [combine_known(row, weights, combination) for row in zip(*rows)]


def combine_known(row: Sequence[Optional[float]], weights: List[int], combination: Combination) -> Optional[float]:
    """Combine the numbers that are there; None where there are none."""
    known = [(value, weight) for value, weight in zip(row, weights) if value is not None]
    try:
        return combination([weight for _, weight in known])([value for value, _ in known]) if known else None
    except (ValueError, OverflowError, ZeroDivisionError):
        return None  # beyond what a number can be


def average_values(weights: Sequence[int]) -> Combine:
    """Return what averages values by these weights.

    >>> average_values([2, 1])([1.0, 4.0])
    2.0
    """
    total = sum(weights)
    if set(weights) == {1}:
        return lambda row: math.fsum(row) / total
    return lambda row: math.fsum(map(mul, row, weights)) / total


def propagate_errors(weights: Sequence[int]) -> Combine:
    """Return what computes the error of a mean from those of its values.

    >>> propagate_errors([1, 1])([3.0, 4.0])
    2.5
    """
    total = sum(weights)

    def compute_error(row: Sequence[float]) -> float:
        weighted = list(map(mul, row, weights))
        return math.sqrt(math.fsum(map(mul, weighted, weighted))) / total

    return compute_error


def measure_spread(weights: Sequence[int]) -> Combine:
    """Return what computes the error of a mean from its values.

    The mean stands behind them.

    >>> measure_spread([1, 1, 0])([1.0, 3.0, 2.0])
    1.0
    """
    total, squares = sum(weights), sum(map(mul, weights, weights))
    freedom = total - squares / total  # none for a single value, of whose error nothing is known

    def compute_error(row: Sequence[float]) -> float:
        apart = list(map(sub, row, repeat(row[-1])))
        variance = math.fsum(map(mul, map(mul, apart, apart), weights)) / freedom
        return math.sqrt(variance * squares) / total

    return compute_error


def add_values(weights: Sequence[int]) -> Combine:
    """Return what adds values up.

    >>> add_values([2, 1])([1.0, 4.0])
    5.0
    """
    return math.fsum


def add_errors(weights: Sequence[int]) -> Combine:
    """Return what computes the error of a sum from the errors of its values.

    >>> add_errors([2, 1])([3.0, 4.0])
    5.0
    """
    return lambda row: math.sqrt(math.fsum(map(mul, row, row)))


def take_first(weights: Sequence[int]) -> Combine:
    """Return what takes the first value: it is the same in every task.

    >>> take_first([2, 1])([3.0, 3.0])
    3.0
    """
    return lambda row: row[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
