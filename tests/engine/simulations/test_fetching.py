"""Results and logs come here whole or not at all, whatever nodes have left in the work folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.simulations import fetching
from slurm_shim.errors import SlurmUnreachable
from store.documents import EstimatorFacts, PageFacts
from store.errors import StoreUnavailable
from store.rules.simulations.advance import Summary, record_results
from store.times import to_rfc3339
from tests.engine.servers.worked import PAGE, Worked, make_worked
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, RUN_ID, make_simulation


@asynchronous
async def test_results_and_logs_are_copied_and_recorded(tmp_path: Path) -> None:
    async with make_worked(tmp_path, logs={1: "slurm-7_1.out"}) as worked:
        worked.write_results("dose", "dose water.é", count=2)
        worked.write("collect.log", "merged\n")
        worked.write("slurm-7_1.out", "task 1\n")
        worked.write("tasks/0002/output.log", "task 2\n")
        worked.write("tasks/0002/shieldhit_0002.log", "NSTAT : 5\n")
        worked.write("tasks/0002/raw.bdo", "raw")
        await worked.fetch()
        there = PageFacts(page_number=0, page_name="Dose", page_dimension=1)
        pages = [there, there.model_copy(update={"page_number": 1})]
        assert worked.simulation.results == "there" and worked.simulation.error is None
        assert worked.simulation.estimators == [
            EstimatorFacts(name=name, file=f"{name}.json", pages=pages) for name in ("dose", "dose water.é")
        ]
        assert json.loads(worked.read_all("results")["dose.json"])["pages"][0] == PAGE
        assert worked.read_all("logs") == {
            "collect.log": "merged\n", "task_0001.log": "task 1\n", "task_0002.log": "task 2\n",
            "task_0002_shieldhit_0002.log": "NSTAT : 5\n",
        }  # fmt: skip
        assert sorted(path.name for path in worked.folder.iterdir()) == ["logs", "results"]
        assert await fetching.list_logs(worked.server, ID) == worked.read_all("logs")


def write_nothing(_worked: Worked) -> None:
    """The merge has left nothing."""


def link_results(worked: Worked) -> None:
    outside = worked.work.parent / "outside"
    worked.write_results("dose")
    (worked.work / "results").rename(outside)
    (worked.work / "results").symlink_to(outside)


def link_result(worked: Worked) -> None:
    worked.write_results("dose")
    outside = worked.work.parent / "dose.json"
    (worked.work / "results" / "dose.json").rename(outside)
    (worked.work / "results" / "dose.json").symlink_to(outside)


def cut_result(worked: Worked) -> None:
    worked.write_results("dose")
    path = worked.work / "results" / "dose.json"
    path.write_bytes(path.read_bytes()[:-10])


def add_result(worked: Worked) -> None:
    worked.write_results("dose")
    with (worked.work / "results" / "dose.json").open("a") as file:
        file.write("{}")


UNUSABLE: list[tuple[str, Callable[[Worked], Any], str]] = [
    ("nothing at all", write_nothing, "left no summary"),
    ("no JSON", lambda worked: worked.write("summary.json", "{"), "no JSON"),
    ("not text", lambda worked: worked.write("summary.json", b"\xff"), "no JSON"),
    ("no list", lambda worked: worked.write_summary({}), "no list of estimators"),
    ("a name with a slash", lambda worked: worked.write_summary([{"name": "../x"}]), "proper name"),
    ("a hidden name", lambda worked: worked.write_summary([{"name": ".x"}]), "proper name"),
    ("a file that is not there", lambda worked: worked.write_summary([{"name": "dose"}]), "dose.json is not there"),
    ("a link in place of a file", link_result, "is a symbolic link"),
    ("a link in place of the folder", link_results, "lies"),
    ("a torn file", cut_result, "dose.json cannot be read"),
    ("more behind its end", add_result, "goes on after its end"),
    ("another form", lambda worked: (worked.write_results("a"), worked.write("results/a.json", "[]\n")), "cannot be"),
    ("a huge summary", lambda worked: worked.write("summary.json", b" " * (fetching.SUMMARY_BYTES + 1)), "more than"),
    ("no estimators", lambda worked: worked.write_summary([]), "no task left a result"),
]


@pytest.mark.parametrize(("why", "write", "said"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
@asynchronous
async def test_what_cannot_be_used_is_recorded_with_its_reason(
    tmp_path: Path, why: str, write: Callable[[Worked], Any], said: str
) -> None:
    async with make_worked(tmp_path) as worked:
        write(worked)
        worked.write("collect.log", "merged\n")
        await worked.fetch()
        assert worked.simulation.results == "missing", why
        assert said in (worked.simulation.error or "")
        assert worked.read_all("results") == {}
        assert worked.read_all("logs") == {"collect.log": "merged\n"}, "logs are here all the same"


@asynchronous
async def test_results_have_a_bound_in_all(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        config = worked.server.store.join_path("config.yaml")
        config.write_text("yaptide: {results_mb: 1}\n")
        await worked.server.store.single["config"].refresh([config.name])
        worked.write_results("a", "b")
        worked.write("results/b.json", b" " * 999_900)
        await worked.fetch()
        assert worked.simulation.error == "the results have more than 1 MB in all (yaptide.results_mb in config.yaml)"


@pytest.mark.parametrize("merged", ["FAILED", "CANCELLED", None])
@asynchronous
async def test_without_a_merge_its_job_says_why_there_are_no_results(tmp_path: Path, merged: str | None) -> None:
    async with make_worked(tmp_path, merged=merged) as worked:
        await worked.fetch()
        assert (worked.simulation.results, worked.simulation.error) == ("missing", "no task left a result")


@asynchronous
async def test_what_may_pass_is_tried_again(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        runs = worked.server.store.runs
        run = runs.get(RUN_ID)
        await runs.put(RUN_ID, run.model_copy(update={"cluster": "ssh:gone"}))
        with pytest.raises(SlurmUnreachable):
            await worked.fetch()
        run.jobs[1].attempts[0].ended_at = to_rfc3339(4e9)  # a moment ago: nobody here sees its files yet
        await runs.put(RUN_ID, run)
        with pytest.raises(StoreUnavailable):
            await worked.fetch()
        assert worked.simulation.results is None
        worked.write_results("dose")
        await worked.fetch()
        assert worked.simulation.results == "there"


@asynchronous
async def test_what_a_worker_sent_meanwhile_stays(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        worked.write_results("dose")
        sent = record_results(make_simulation(), Summary([EstimatorFacts(name="own", file="own.json")], {}))
        await worked.server.store.simulations.put(ID, sent)
        (worked.folder / "results").mkdir(parents=True)
        (worked.folder / "results" / "own.json").write_text("{}")
        await worked.fetch()
        assert worked.read_all("results") == {"own.json": "{}"} and worked.simulation == sent


@asynchronous
async def test_a_copy_that_was_cut_off_begins_again(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        for name in ("new/results/old.json", "new/results/dose.json", "results/old.json"):
            (worked.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (worked.folder / name).write_text("x" * 10_000)
        worked.write_results("dose")
        await worked.fetch()
        assert list(worked.read_all("results")) == ["dose.json"] and worked.simulation.results == "there"


@asynchronous
async def test_logs_are_bounded_and_those_of_failed_tasks_come_first(tmp_path: Path) -> None:
    async with make_worked(tmp_path, logs=dict.fromkeys(range(1, 301), "log")) as worked:
        tasks = make_simulation(300).tasks
        tasks[298].state = tasks[1].state = "FAILED"
        for task in tasks:
            task.state = "COMPLETED" if task.state == "PENDING" else task.state
        await worked.server.store.simulations.put(ID, make_simulation(tasks=tasks))
        worked.write("log", "x" * 200_000 + "the end")
        await worked.fetch()
        logs = worked.read_all("logs")
        assert {"task_0002.log", "task_0299.log", "task_0001.log"} <= set(logs) and "task_0290.log" not in logs
        assert sum(map(len, logs.values())) <= fetching.ALL_LOGS_BYTES
        assert all(text.endswith("the end") for text in logs.values())


@asynchronous
async def test_logs_are_read_within_a_bound(tmp_path: Path) -> None:
    async with make_worked(tmp_path) as worked:
        assert await fetching.list_logs(worked.server, ID) == {}
        folder = worked.folder / "logs"
        folder.mkdir(parents=True)
        (folder / "small.log").write_bytes(b"caf\xe9")
        for name in ("a.log", "b.log"):
            (folder / name).write_text("x" * fetching.ALL_LOGS_BYTES + name)
        (folder / "link.log").symlink_to(folder / "small.log")
        found = await fetching.list_logs(worked.server, ID)
        assert found["small.log"] == "caf\ufffd" and found["a.log"].endswith("a.log")
        assert 900_000 < sum(map(len, found.values())) <= fetching.ALL_LOGS_BYTES
        assert "link.log" not in found
