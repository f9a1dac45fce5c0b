"""Which jobs a list shows, and in which order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.ids import expand_hosts
from store.errors import Invalid
from store.rules.queue.job_fields import SORTABLE, rank_id
from store.rules.queue.job_query import IdOrder, parse_query, select_rows
from tests.pretended import job

NOW = 1_800_000_000.0
ROWS = [
    job("9", "RUNNING", user="ann", uid=1001, partition="gpu", priority=5, submit_time=300, start_time=310),
    job("8", "PENDING", user="bob", uid=1002, partition="gpu,cpu", priority=7, submit_time=200),
    job("7", "COMPLETED", user="ann", uid=1001, partition="cpu", priority=5, submit_time=200, start_time=210,
        end_time=250),
    job("5", "FAILED", user="cid", uid=1003, partition="cpu", priority=None, submit_time=100, start_time=90,
        end_time=120),
]  # fmt: skip
CHOSEN: list[tuple[str, dict[str, Any], str]] = [
    ("all, last submitted first", {}, "9875"),
    ("one state", {"state": "RUNNING"}, "9"),
    ("states in either case, and codes", {"state": "running,cd, F"}, "975"),
    ("a user by name", {"user": "ann"}, "97"),
    ("users, one by number", {"user": "bob,1003"}, "85"),
    ("a partition that a job may come into", {"partition": "cpu"}, "875"),
    ("all that is asked must hold", {"partition": "cpu", "user": "ann", "state": "CD"}, "7"),
    ("a filter", {"filter": "priority>5"}, "8"),
    ("since", {"start_time": "1970-01-01T00:04:00Z"}, "987"),
    ("until", {"end_time": "1970-01-01T00:03:00Z"}, "5"),
    ("until the end of a day", {"end_time": "1970-01-01"}, "9875"),
    ("by priority, equal ones by id, null last", {"sort": "priority"}, "8975"),
    ("the same upwards: still by id, null last", {"sort": "priority", "order": "asc"}, "9785"),
    ("by a text", {"sort": "user", "order": "asc"}, "9785"),
    ("by id", {"sort": "job_id", "order": "asc"}, "5789"),
    ("by a time that some have not", {"sort": "end_time"}, "7598"),
    ("by the short name of a field", {"sort": "id"}, "9875"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "asked", "ids"), CHOSEN, ids=[row[0] for row in CHOSEN])
def test_lists(why: str, asked: dict[str, Any], ids: str) -> None:
    query = parse_query(expand_hosts, NOW, **asked)
    assert "".join(row["job_id"] for row in select_rows(ROWS, query)) == ids


@pytest.mark.parametrize("field", SORTABLE)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_every_field_sorts(field: str, order: str) -> None:
    query = parse_query(expand_hosts, NOW, sort=field, order=order)
    assert sorted(row["job_id"] for row in select_rows(ROWS, query)) == ["5", "7", "8", "9"]


WRONG: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("a state", {"state": "R,RUNING"}, {"state": "unknown state 'RUNING'; did you mean 'RUNNING'?"}),
    ("a field", {"sort": "prioriti"}, {"sort": "unknown field 'prioriti'; did you mean 'priority'?"}),
    ("a list has no order", {"sort": "nodes"}, {"sort": "unknown field 'nodes'"}),
    ("a time", {"start_time": "yesterday"},
     {"start_time": "'yesterday' is no time; write it as 2026-03-30T12:00:00Z, 2026-03-30 or now-2h"}),
    ("an end before its start", {"start_time": "2026-01-02", "end_time": "2026-01-01"},
     {"end_time": "lies before start_time"}),
    ("several things", {"state": "XX", "filter": "x"},
     {"state": "unknown state 'XX'", "filter": "at character 1: unknown field 'x'"}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "asked", "problems"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_told_by_parameter(why: str, asked: dict[str, Any], problems: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        parse_query(expand_hosts, NOW, **asked)
    assert {problem["loc"][1]: problem["msg"] for problem in caught.value.problems} == problems


@pytest.mark.parametrize(
    ("why", "asked", "asks"),
    [
        ("the queue", {}, False),
        ("an open state", {"state": "R,PD"}, False),
        ("an ended state", {"state": "R,CD"}, True),
        ("an ended state in the filter", {"filter": "state=FAILED"}, True),
        ("all but an ended state", {"filter": "state!=FAILED"}, False),
        ("a period", {"start_time": "2026-01-01"}, True),
        ("the end of a period", {"end_time": "2026-01-01"}, True),
    ],
)
def test_when_accounting_is_needed(why: str, asked: dict[str, Any], asks: bool) -> None:
    assert parse_query(expand_hosts, NOW, **asked).asks_for_ended is asks


RANKED = [
    ("a task after the job before it", job("8", raw_id=8), job("9_3", raw_id=12, array_job_id=9, array_task_id="3")),
    ("tasks by number, not by text", job("9_3", array_job_id=9, array_task_id="3"),
     job("9_12", array_job_id=9, array_task_id="12")),
    ("tasks that wait stand at the first", job("9_[3-6%2]", array_job_id=9, array_task_id="3-6%2"),
     job("9_4", array_job_id=9, array_task_id="4")),
    ("components", job("9+0", het_job_id=9, het_job_offset=0), job("9+1", raw_id=10, het_job_id=9, het_job_offset=1)),
    ("not by its own number", job("8_2", raw_id=50, array_job_id=8, array_task_id="2"), job("9", raw_id=9)),
]  # fmt: skip


@pytest.mark.parametrize(("why", "first", "second"), RANKED, ids=[row[0] for row in RANKED])
def test_ids_have_an_order(why: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    assert rank_id(first) < rank_id(second)


@given(st.lists(st.sets(st.integers(1, 300), max_size=250), max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_ids_follows_what_comes_and_goes(steps: list[set[int]], shuffler: random.Random) -> None:
    order = IdOrder()
    for numbers in steps:
        names = [str(number) for number in numbers]
        shuffler.shuffle(names)
        found = order.sort_rows({name: job(name) for name in names})
        assert [row["raw_id"] for row in found] == sorted(numbers, reverse=True)
