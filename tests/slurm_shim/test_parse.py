"""What SLURM's programs print, read back: recorded answers, tables of single values, and properties."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim import parse
from slurm_shim.errors import UnreadableAnswer
from slurm_shim.ids import expand_hosts, expand_tasks, split_job_id
from slurm_shim.times import format_duration, parse_duration, parse_epoch
from tests import ROOT

DATA = ROOT / "tests" / "data" / "slurm" / "22.05"
NONCE = "~4f1c9a~"
HOSTILE = [
    *("line1\nline2", "a|b|c", "E\nfake", "x\n   StdOut=/etc/shadow JobState=RUNNING", "tab\tcr\r", "日本語 é 🚀", ""),
    *("  blanks  ", "(null)", "N/A", "\x1b[31mred\x1b[0m\x7f", "%j %x %%", "a/../b", "-lead", "\x1fb\x1e", "~", "None"),
    "sluice",
]


def recorded(name: str) -> str:
    return (DATA / name).read_bytes().decode("utf-8", "replace")


def by_id(jobs: list[parse.Job]) -> dict[str, parse.Job]:
    return {job["job_id"]: job for job in jobs}


# ------------------------------------------------------------------------------------------------- recorded answers


def test_all_rows_of_a_queue_are_read() -> None:
    jobs = parse.parse_jobs(recorded("squeue"), NONCE)
    assert len(jobs) == 32
    assert {len(job) for job in jobs} == {len(jobs[0])}


@pytest.mark.parametrize(
    ("why", "job_id", "expected"),
    [
        (
            "a running job on two nodes: GPUs are those of the whole job, the predicted end is none",
            "5334",
            {"state": "RUNNING", "gpus": 4, "node_count": 2, "nodes": "node[03-04]", "end_time": None}
            | {"start_time": 1795280215, "exit_code": None, "time_limit_s": 86400, "time_limit": "1-00:00:00"}
            | {"elapsed_s": 12, "array_job_id": None, "reason": None, "comment": "from-script"},
        ),
        (
            "what is left of a waiting array has no output file yet",
            "5335_[2-4%1]",
            {"raw_id": 5335, "array_job_id": 5335, "array_task_id": "2-4%1", "stdout": None, "start_time": None},
        ),
        (
            "an array task has its own number and its own file",
            "5335_1",
            {"array_job_id": 5335, "array_task_id": "1", "stdout": "/home/alice/home/alice/arr-5335_1.out"},
        ),
        (
            "a component of a heterogeneous job",
            "5336+1",
            {"raw_id": 5337, "het_job_id": 5336, "het_job_offset": 1, "array_job_id": None, "gpus": 1},
        ),
        (
            "squeue's exit code is a raw wait status: 3840 is 15",
            "5329",
            {
                "state": "CANCELLED",
                "exit_code": 15,
                "exit_signal": None,
                "end_time": 1795280006,
                "start_time": 1795280002,
            },
        ),
        (
            "cancelled while waiting: it ended but never started",
            "5332",
            {"start_time": None, "end_time": 1795280149, "reason": "JobHeldUser", "exit_code": 0},
        ),
        ("an imitation inside the name stays in the name", "5322", {"stdout": "/home/alice/home/alice/real-5322.out"}),
        ("no account", "64", {"account": None, "user": "bench", "uid": 1001}),
        ("memory given by --mem when no TRES holds it", "5333", {"memory_mb": 1024, "state": "RUNNING"}),
        ("stderr has a file of its own", "5333", {"stderr": "/home/alice/home/alice/5333.err"}),
    ],
)
def test_a_recorded_job(why: str, job_id: str, expected: dict[str, Any]) -> None:
    job = by_id(parse.parse_jobs(recorded("squeue"), NONCE))[job_id]
    assert {name: job[name] for name in expected} == expected, why


def test_hostile_names_and_comments_come_through_whole() -> None:
    jobs = parse.parse_jobs(recorded("squeue-names"), NONCE)
    assert [job["name"] for job in reversed(jobs[1:])] == HOSTILE
    comments = [job["comment"] for job in reversed(jobs[1:])]
    assert comments == [None if name in ("", "(null)", "N/A", "None") else name for name in HOSTILE]
    assert jobs[0]["array_task_id"] == "1,3,5,7,9%2"
    assert expand_tasks(jobs[0]["array_task_id"]) == (1, 3, 5, 7, 9)


def test_hostile_names_in_accounting() -> None:
    jobs = parse.parse_accounting(recorded("sacct-names"), NONCE)
    assert len(jobs) == len(HOSTILE) + 1
    # sacct itself replaces an empty name and quotes; the rows stay in step all the same.
    assert [job["name"] for job in jobs[:4]] == HOSTILE[:4]
    assert all(job["state"] == "PENDING" and job["start_time"] is None and job["nodes"] == "" for job in jobs)


@pytest.mark.parametrize(
    ("why", "job_id", "expected"),
    [
        ("the state without its author", "8", {"state": "CANCELLED", "start_time": None, "end_time": 1795283713}),
        ("launch failure: the signal that SLURM prints", "1", {"exit_code": 181, "exit_signal": 53, "state": "FAILED"}),
        ("death by signal counts 128 more", "10", {"exit_code": 137, "exit_signal": 9}),
        ("its own exit code", "9", {"exit_code": 7, "exit_signal": None, "nodes": "node01"}),
        ("array task and its number", "14_3", {"array_job_id": 14, "array_task_id": "3", "raw_id": 65}),
        ("cancelled remainder", "15_[0-9%3]", {"array_task_id": "0-9%3", "nodes": "", "time_limit_s": None}),
        ("GPUs of the allocation", "99", {"gpus": 2, "partition": "gpu", "time_limit_s": 604800}),
        ("time-out", "12", {"state": "TIMEOUT", "elapsed_s": 71, "time_limit_s": 60, "time_limit": "0:01:00"}),
        ("what a job that never ran waited for", "4", {"reason": "BeginTime", "state": "CANCELLED"}),
        ("still waiting", "7", {"end_time": None, "exit_code": None, "reason": "DependencyNeverSatisfied"}),
        ("requested memory", "256", {"memory_mb": 1536, "source": "sacct"}),
        ("what it once waited for is no reason of its end", "104", {"reason": None, "state": "FAILED"}),
    ],
)
def test_an_accounted_job(why: str, job_id: str, expected: dict[str, Any]) -> None:
    job = by_id(parse.parse_accounting(recorded("sacct"), NONCE))[job_id]
    assert {name: job[name] for name in expected} == expected, why


def test_a_job_that_ran_and_that_nobody_cancelled_has_lost_its_cluster() -> None:
    accounted = recorded("sacct").replace("CANCELLED by 0", "CANCELLED")
    states = {job_id: job["state"] for job_id, job in by_id(parse.parse_accounting(accounted, NONCE)).items()}
    assert (states["151"], states["8"]) == ("NODE_FAIL", "CANCELLED"), "8 never ran: its dependency may have failed"


def test_queue_and_accounting_give_the_same_keys() -> None:
    assert (
        parse.parse_jobs(recorded("squeue"), NONCE)[0].keys()
        == parse.parse_accounting(recorded("sacct"), NONCE)[0].keys()
    )


def test_config() -> None:
    config = parse.parse_config(recorded("config"))
    assert (config["MinJobAge"], config["AccountingStorageType"]) == ("300 sec", "accounting_storage/slurmdbd")


# ---------------------------------------------------------------------------------------------------------- records

FREE = st.text(st.characters(exclude_characters="\0~", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["E\n", "\n", "E\nE\n", "", "\n\n"]
)


@given(st.lists(st.lists(FREE, min_size=5, max_size=5), max_size=6), st.sampled_from(["E\n", "\n"]))
def test_any_free_text_keeps_its_place(records: list[list[str]], end: str) -> None:
    text = "".join(NONCE.join(fields) + NONCE + end for fields in records)
    read = parse.split_records(text, NONCE, 5, end)
    # A first field is an id in practice and never begins like an end mark.
    if all(not fields[0].startswith(end[:1]) for fields in records):
        assert [record.split(NONCE) for record in read] == records


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("a field is missing: squeue leaves unknown ones out with exit code 0", f"1{NONCE}2{NONCE}E\n"),
        ("a field too many", f"1{NONCE}2{NONCE}3{NONCE}4{NONCE}E\n"),
        ("cut off within a record", f"1{NONCE}2{NONCE}3{NONCE}E\n1{NONCE}2"),
        ("a header or an error message", "JOBID NAME\n"),
        ("NUL", f"1{NONCE}\0{NONCE}3{NONCE}E\n"),
        ("one good record does not save a bad one", f"1{NONCE}2{NONCE}3{NONCE}E\n1{NONCE}2{NONCE}E\n"),
    ],
)
def test_a_wrong_width_is_an_error_never_a_shift(why: str, text: str) -> None:
    with pytest.raises(UnreadableAnswer):
        parse.split_records(text, NONCE, 3, "E\n")


@given(st.text(max_size=400))
def test_noise_is_refused_or_empty(text: str) -> None:
    for read in (lambda: parse.parse_jobs(text, NONCE), lambda: parse.parse_accounting(text, NONCE)):
        with contextlib.suppress(UnreadableAnswer):
            assert read() == []


# ----------------------------------------------------------------------------------------------------- single values


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("squeue, minutes and seconds", "0:12", 12),
        ("squeue, an hour", "1:00:00", 3600),
        ("squeue, days", "1-02:03:04", 93784),
        ("sbatch: a number alone is minutes", "90", 5400),
        ("sbatch: days and hours", "1-12", 129600),
        ("sbatch: days, hours, minutes", "1-12:30", 131400),
        ("scontrol", "00:10:00", 600),
        ("sacct with fractions", "00:12.338", 12),
        ("no limit", "UNLIMITED", None),
        ("sinfo's word for it", "infinite", None),
        ("not set", "NOT_SET", None),
        ("the partition's", "Partition_Limit", None),
        ("scontrol's DefaultTime", "NONE", None),
    ],
)
def test_durations(why: str, text: str, expected: int | None) -> None:
    assert parse_duration(text) == expected, why


@pytest.mark.parametrize("text", ["abc", "1:2:3:4", "-5", "1-", "1:", "1.5", "٣"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_clock_and_seconds_are_inverse(number: int) -> None:
    assert parse_duration(format_duration(number)) == number


@pytest.mark.parametrize(
    ("why", "number", "expected"),
    [
        ("no zero before hours", 90, "0:01:30"),
        ("hours", 14400, "4:00:00"),
        ("days", 604800, "7-00:00:00"),
        ("none", None, "UNLIMITED"),
    ],
)
def test_clock(why: str, number: int | None, expected: str) -> None:
    assert format_duration(number) == expected, why


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1795280215", 1795280215), ("0", None), ("N/A", None), ("Unknown", None), ("None", None), ("", None)],
)
def test_epoch(text: str, expected: int | None) -> None:
    assert parse_epoch(text) == expected


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("megabytes", "512M", 512),
        ("decimals as squeue rounds them", "1.50G", 1536),
        ("less than one is one", "500K", 1),
        ("a bare number is megabytes", "16000", 16000),
        ("terabytes", "1T", 1048576),
        ("all of the node", "0", None),
        ("nothing", "", None),
        ("a word", "lots", None),
    ],
)
def test_memory(why: str, text: str, expected: int | None) -> None:
    assert parse.parse_memory_mb(text) == expected, why


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("untyped", "cpu=8,node=2,billing=8,gres/gpu=4", 4),
        ("the total beside its types counts once", "cpu=1,gres/gpu=4,gres/gpu:a100=4", 4),
        ("types alone are added", "gres/gpu:a100=2,gres/gpu:v100=1", 3),
        ("none", "cpu=1,mem=16000M", 0),
        ("no TRES", "N/A", 0),
    ],
)
def test_gpus_of_tres(why: str, text: str, expected: int) -> None:
    assert parse.count_tres_gpus(text) == expected, why


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("plain", "gpu:4", 4),
        ("typed, with sockets", "gpu:a100:4(S:0-1)", 4),
        ("several kinds", "gpu:a100:4(S:0-1),gpu:v100:2,mps:200", 6),
        ("as squeue's tres-per-node", "gres:gpu:2", 2),
        ("as later releases write it", "gres/gpu:2", 2),
        ("with an equals sign", "gres/gpu=2", 2),
        ("no number is one", "gres:gpu", 1),
        ("nothing", "", 0),
    ],
)
def test_gpus_of_gres(why: str, text: str, expected: int) -> None:
    assert parse.count_gres_gpus(text) == expected, why


@pytest.mark.parametrize(
    ("why", "raw", "word", "expected"),
    [
        ("success", "0", "0:0", (0, None)),
        ("exit 7", "1792", "7:0", (7, None)),
        ("killed", "9", "0:9", (137, 9)),
        ("with a core dump", "139", "0:11", (139, 11)),
        ("not a status", "N/A", "", (None, None)),
    ],
)
def test_exit_codes(why: str, raw: str, word: str, expected: tuple[int | None, int | None]) -> None:
    assert parse.parse_wait_status(raw) == expected, why
    assert parse.parse_exit_status(word) == expected, why


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("a job", "42", {"job": 42, "task": None, "tasks": None, "component": None}),
        ("a task", "8_3", {"job": 8, "task": 3, "tasks": None, "component": None}),
        ("a remainder", "8_[3-6%2]", {"job": 8, "task": None, "tasks": "3-6%2", "component": None}),
        ("a component", "9+1", {"job": 9, "task": None, "tasks": None, "component": 1}),
    ],
)
def test_job_ids(why: str, text: str, expected: dict[str, Any]) -> None:
    assert split_job_id(text) == expected, why


@pytest.mark.parametrize(
    "text", ["", "-5", "abc", "4.5", "8_", "8_[]", "8_[a]", "8_3+1", "1 2", "1\n", "١", "--all", "9" * 11]
)
def test_no_job_ids(text: str) -> None:
    with pytest.raises(ValueError, match="not a job id"):
        split_job_id(text)


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("ranges keep their width", "node[01-03,07],gpu1", ["node01", "node02", "node03", "node07", "gpu1"]),
        ("one", "node01", ["node01"]),
        ("none", "", []),
        ("two dimensions", "r[0-1]n[1-2]", ["r0n1", "r0n2", "r1n1", "r1n2"]),
        ("a tail", "n[1-2]-ib", ["n1-ib", "n2-ib"]),
        ("a width that grows", "n[9-11]", ["n9", "n10", "n11"]),
    ],
)
def test_host_lists(why: str, text: str, expected: list[str]) -> None:
    assert expand_hosts(text) == expected, why


@pytest.mark.parametrize("text", ["n[", "n[1", "n]", "n[a]", "n[2-1]", "n[0-99999999]", "n[0-999]x[0-999]"])
def test_no_host_lists(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|more than"):
        expand_hosts(text)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True), st.sampled_from(["", "-ib"]))
def test_a_written_host_list_reads_back(numbers: list[int], tail: str) -> None:
    text = f"n[{','.join(f'{number:03}' for number in numbers)}]{tail}"
    assert expand_hosts(text) == [f"n{number:03}{tail}" for number in numbers]


@pytest.mark.parametrize("text", ["", "a", "1-", "1--2", "1-999999999"])
def test_no_task_lists(text: str) -> None:
    with pytest.raises(ValueError, match=r"array tasks|more than"):
        expand_tasks(text)
