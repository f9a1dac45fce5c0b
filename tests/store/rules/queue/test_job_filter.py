"""The language of `filter=`: what terms take, and where a wrong one is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from slurm_shim.ids import expand_hosts
from store.errors import Invalid
from store.rules.queue.job_filter import MOST_CHARS, MOST_TERMS, parse_filter
from tests.pretended import job

NOW = 1_800_000_000
ROWS = [
    job("1", "RUNNING", name="sim_a", user="alice", partition="gpu", memory_mb=8192, gpus=2, cpu_count=16,
        elapsed_s=9000, time_limit_s=14_400, nodes="node[01-02]", node_count=2, submit_time=NOW - 9100,
        start_time=NOW - 9000, qos="high", work_dir="/home/alice/my sims"),
    job("2", "PENDING", name="Sim B", user="bob", partition="cpu", memory_mb=2048, cpu_count=4, nodes="",
        node_count=1, submit_time=NOW - 60, reason="Priority", priority=100),
    job("3", "FAILED", name='say "hi"', user="bob", partition="cpu", memory_mb=None, cpu_count=1, elapsed_s=5,
        nodes="node03", node_count=1, submit_time=NOW - 90_000, start_time=NOW - 89_000, end_time=NOW - 80_000,
        exit_code=7),
]  # fmt: skip

TERMS: list[tuple[str, str, str]] = [
    ("nothing takes all", "", "123"),
    ("equal", "user=bob", "23"),
    ("equal, as other programs write it", "user == bob", "23"),
    ("a text is compared as it is", "user=BOB", ""),
    ("not equal", "user != bob", "1"),
    ("a state in either case", "state=running", "1"),
    ("a compact code", "state=pd", "2"),
    ("states of a list", "state in (R, PD)", "12"),
    ("a list without brackets", "state in R,F", "13"),
    ("not in a list", "user not in (alice)", "23"),
    ("a list with quotes", "name in ('Sim B', sim_a)", "12"),
    ("a size", "memory>=4G", "1"),
    ("a size with another unit", "mem<3000", "2"),
    ("null is not smaller", "memory<1T", "12"),
    ("null by name", "memory=null", "3"),
    ("what is not null", "exit_code!=null", "3"),
    ("a quoted null is a text", "user='null'", ""),
    ("a duration", "elapsed_time>2:00:00", "1"),
    ("a duration with units", "time>=2h30m", "1"),
    ("a bare number is minutes", "time<1 time>0:03", "3"),
    ("no limit is larger than any", "time_limit>1-00:00:00", "23"),
    ("unlimited", "timelimit=UNLIMITED", "23"),
    ("ids by their numbers", "job_id>=2 id<10", "23"),
    ("a number", "cpus>=4 and gpus<1", "2"),
    ("numbers in a list", "cpus in (1,4)", "23"),
    ("contains, in either case", "name~SIM", "12"),
    ("contains not", "name !~ sim", "3"),
    ("contains in a state", "state~RUN", "1"),
    ("a regular expression", "name=~^sim_[a-z]$", "1"),
    ("a regular expression that fits nothing", "name=~^$", ""),
    ("a regular expression that fits all", "name=~''", "123"),
    ("a regular expression with blanks", "name =~ 'Sim .$'", "2"),
    ("a regular expression in either case", "name=~(?i)^sim", "12"),
    ("blanks in quotes", 'working_directory="/home/alice/my sims"', "1"),
    ("quotes in quotes", 'name="say \\"hi\\""', "3"),
    ("a backslash in quotes", "name!='a\\\\b'", "123"),
    ("a class of characters in quotes", r"name=~'^sim\w+'", "1"),
    ("other quotes in quotes", "name='say \"hi\"'", "3"),
    ("a host", "nodes=node02", "1"),
    ("another host", "nodes!=node02", "23"),
    ("hosts of a list", "node in (node01,node03)", "13"),
    ("part of a host", "nodes~ode0", "13"),
    ("no such part", "nodes!~ode03", "12"),
    ("a pattern of hosts", "nodes=~0[13]$", "13"),
    ("no hosts", "nodes=null", "2"),
    ("more hosts than", "nodes>1", "1"),
    ("a time", "submit_time>=2027-01-15", "12"),
    ("a time before now", "submitted>now-2m", "2"),
    ("terms joined in three ways", "user=bob and cpus=4 && state=PD partition~cpu", "2"),
    ("a field in upper case", "USER=bob", "23"),
    ("and as a value", "name=and", ""),
    ("a colon, as the terminal program's guide writes", "user:alice", "1"),
]


@pytest.mark.parametrize(("why", "text", "ids"), TERMS, ids=[row[0] for row in TERMS])
def test_terms(why: str, text: str, ids: str) -> None:
    found = parse_filter(text, NOW, expand_hosts).filter_rows(list(ROWS))
    assert "".join(row["job_id"] for row in found) == ids


def test_tasks_of_arrays_stand_by_their_job() -> None:
    rows = [
        job(id, raw_id=raw, array_job_id=whole, array_task_id=task, het_job_id=het, het_job_offset=offset)
        for id, raw, whole, task, het, offset in (
            ("7", "7", None, None, None, None), ("8_2", "9", "8", "2", None, None),
            ("8_[10-12]", "8", "8", "10-12", None, None), ("11+1", "12", None, None, "11", 1),
        )
    ]  # fmt: skip
    for text, ids in (
        ("job_id>8", "11+1"), ("job_id>=8", "8_2 8_[10-12] 11+1"), ("job_id<=8", "7 8_2 8_[10-12]"),
        ("job_id>8_2", "8_[10-12] 11+1"), ("job_id<8_10", "7 8_2"), ("job_id<=11+1", "7 8_2 8_[10-12] 11+1"),
    ):  # fmt: skip
        found = parse_filter(text, NOW, expand_hosts).filter_rows(rows)
        assert " ".join(row["job_id"] for row in found) == ids, text


WRONG: list[tuple[str, str, str]] = [
    ("a field that is none", "stat=R", "at character 1: unknown field 'stat'; did you mean 'state'?"),
    ("a later field", "user=bob memry>1", "at character 10: unknown field 'memry'; did you mean 'memory'?"),
    ("no field", "user=bob =R", "at character 10: a field is expected here, such as state, user or memory"),
    ("no operator", "user bob", "at character 6: after 'user' one of = != > < >= <= ~ !~ =~ in is expected"),
    ("no value", "user=", "at character 6: a value is expected here"),
    ("a state that is none", "state=RUNING", "at character 7: unknown state 'RUNING'; did you mean 'RUNNING'?"),
    ("a state of a list", "state in (R,XX)", "at character 13: unknown state 'XX'"),
    ("a size that is none", "memory>4X", "at character 8: '4X' is no size; write it as 512M, 4G or 1T"),
    ("a duration that is none", "time>2:3:4:5",
     "at character 6: '2:3:4:5' is no duration; write it as 2:30:00, 1-12:00:00 or 90m"),
    ("a time that is none", "submit_time>noon",
     "at character 13: 'noon' is no time; write it as 2026-03-30T12:00:00Z, 2026-03-30 or now-2h"),
    ("a number that is none", "gpus=two", "at character 6: 'two' is no number"),
    ("an id that is none", "job_id>abc",
     "at character 8: 'abc' is no id of a job; write it as 12345 or 12345_7"),
    ("a text has no order", "user>a", "at character 5: 'user' has no order that > could ask for"),
    ("a number has no parts", "gpus~4", "at character 5: 'gpus' is no text: use = != > < >= <= or in"),
    ("null has no order", "memory>null", "at character 8: null is neither larger nor smaller than anything"),
    ("a quote that stays open", "name='a", "at character 6: this quote is never closed"),
    ("a list that stays open", "user in (a,b", "at character 13: a ',' or ')' is expected here"),
    ("an empty list", "user in ()", "at character 10: a value is expected here"),
    ("or", "user=a or user=b",
     "at character 8: terms are joined by 'and' only; several values of a field: state in (PD,R)"),
    ("nothing after and", "user=a and ", "at character 12: a term is missing after 'and'"),
    ("a pattern that is none", "name=~(a", "at character 7: no regular expression: missing ): (a"),
    ("a pattern that looks back", r"name=~(a)\1",
     r"at character 7: no regular expression: invalid escape sequence: \1"),
    ("a pattern that takes too much memory", r"name=~\pL{20}b",
     "at character 7: no regular expression: pattern too large"),
    ("a pattern that is too long", f"name=~{'a' * 501}",
     "at character 7: a regular expression has at most 500 characters"),
    ("too long", "a" * (MOST_CHARS + 1),
     f"at character {MOST_CHARS + 1}: a filter has at most {MOST_CHARS} characters"),
    ("too many terms", "user=a " * (MOST_TERMS + 1), f"at character 351: a filter has at most {MOST_TERMS} terms"),
    ("too many values", f"cpus in ({','.join(['1'] * 1001)})", "at character 2010: a list has at most 1000 values"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "text", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_filter_names_the_place(why: str, text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_filter(text, NOW, expand_hosts)
    (problem,) = caught.value.problems
    assert (problem["loc"], problem["msg"]) == (["query", "filter"], message)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "(a|aa)+$", ".*.*.*.*=x", "(?:a{0,99}){0,9}b"])
def test_patterns_that_take_others_for_ever_end(pattern: str) -> None:
    rows: list[Any] = [job(str(number), name="a" * 4000 + "!") for number in range(20)]
    assert parse_filter(f"name=~'{pattern}'", NOW, expand_hosts).filter_rows(rows) == []


def test_states_that_are_asked_for_are_known() -> None:
    assert parse_filter("state in (CD,F) user=a", NOW, expand_hosts).states == {"COMPLETED", "FAILED"}
    assert parse_filter("state!=CD", NOW, expand_hosts).states == set()
