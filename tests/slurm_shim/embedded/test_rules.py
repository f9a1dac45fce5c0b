"""The embedded cluster's rules without any process: reading texts, printing amounts, deciding who starts where."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.embedded import arrays, conf, deps, hosts, layout, patterns, schedule, script, times, units
from slurm_shim.embedded.programs import options
from slurm_shim.embedded.states import Refused

# --- texts in ---


@pytest.mark.parametrize(
    ("why", "text", "minutes"),
    [
        ("minutes", "90", 90),
        ("seconds round up", "1:30", 2),
        ("hours", "1:00:00", 60),
        ("days", "1-0", 1440),
        ("days and all", "1-12:30:00", 2190),
        ("days and hours and minutes", "2-1:5", 2945),
        ("a few seconds are a minute", "00:00:10", 1),
        ("nothing is no limit", "0", None),
        ("a word", "UNLIMITED", None),
        ("another", "infinite", None),
    ],
)
def test_limits(why: str, text: str, minutes: int | None) -> None:
    assert times.parse_limit_min(text) == minutes, why


@pytest.mark.parametrize("text", ["", "abc", "1:2:3:4", "-5", "1.5", "٣", "1-x", "1" * 40])
def test_no_limits(text: str) -> None:
    with pytest.raises(ValueError):
        times.parse_limit_min(text)


@given(st.integers(0, 10_000_000))
def test_what_is_printed_is_read_back(minutes: int) -> None:
    assert times.parse_limit_min(times.format_short(minutes * 60)) == (minutes or None)
    assert times.parse_limit_min(times.format_full(minutes * 60)) == (minutes or None)


NOON = int(time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1)))


@pytest.mark.parametrize(
    ("why", "text", "clock"),
    [
        ("now", "now", (2026, 3, 4, 12, 0, 0)),
        ("seconds", "now+90", (2026, 3, 4, 12, 1, 30)),
        ("minutes", "now+10minutes", (2026, 3, 4, 12, 10, 0)),
        ("short for hours", "now+2hour", (2026, 3, 4, 14, 0, 0)),
        ("back", "now-1days", (2026, 3, 3, 12, 0, 0)),
        ("later today", "16:30", (2026, 3, 4, 16, 30, 0)),
        ("passed, so tomorrow", "8:15", (2026, 3, 5, 8, 15, 0)),
        ("half a day", "1:15pm", (2026, 3, 4, 13, 15, 0)),
        ("a day", "2027-01-20", (2027, 1, 20, 0, 0, 0)),
        ("a day and a time", "2027-01-20T12:34:56", (2027, 1, 20, 12, 34, 56)),
        ("the other way", "01/20/27", (2027, 1, 20, 0, 0, 0)),
        ("tomorrow", "tomorrow", (2026, 3, 5, 0, 0, 0)),
        ("tea", "teatime", (2026, 3, 4, 16, 0, 0)),
    ],
)
def test_points_in_time(why: str, text: str, clock: tuple[int, ...]) -> None:
    assert times.parse_time(text, NOON) == int(time.mktime((*clock, 0, 0, -1))), why


@given(st.text(max_size=20))
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    try:
        assert times.parse_time(text, NOON) >= 0 or text.startswith("now-")
    except times.BadTime as error:
        assert str(error).startswith("Invalid time specification (pos=")


@pytest.mark.parametrize(
    ("why", "text", "mb", "text_of_mb"),
    [
        ("kilobytes round up", "500K", 1, "1M"),
        ("megabytes are meant", "512", 512, "512M"),
        ("whole gigabytes", "1024M", 1024, "1G"),
        ("halves of them", "1536M", 1536, "1.50G"),
        ("what would lose digits stays", "16000", 16000, "16000M"),
        ("terabytes", "2T", 2097152, "2T"),
        ("nothing", "0", 0, "0"),
    ],
)
def test_memory(why: str, text: str, mb: int, text_of_mb: str) -> None:
    assert (units.parse_memory_mb(text), units.format_memory(mb)) == (mb, text_of_mb), why


@pytest.mark.parametrize("text", ["", "lots", "-5", "1.5G", "5X", "G"])
def test_no_memory(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_memory_mb(text)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60, unique=True).map(sorted), st.integers(0, 9))
def test_array_texts_go_both_ways(tasks: list[int], limit: int) -> None:
    text = arrays.fold_tasks(tasks)
    assert arrays.unfold_tasks(text) == tasks
    assert arrays.parse_array(f"{text}%{limit}", 1001) == (tasks, limit)


@pytest.mark.parametrize("text", ["", "x", "5-1", "1-3:0", "1001", "1,,2", "-1", "0-4999"])
def test_no_arrays(text: str) -> None:
    with pytest.raises(ValueError):
        arrays.parse_array(text, 1001)


names = st.builds(lambda stem, number, width: f"{stem}{number:0{width}d}", st.sampled_from(["n", "gpu-", "a9b"]),
                  st.integers(0, 300), st.integers(1, 4))  # fmt: skip


@given(st.lists(names | st.sampled_from(["login", "head"]), max_size=40, unique=True))
def test_node_lists_go_both_ways(given_names: list[str]) -> None:
    assert sorted(hosts.expand_hosts(hosts.fold_hosts(given_names))) == sorted(given_names)


@pytest.mark.parametrize("text", ["a[1", "a]1[", "a[x-y]", "a[[1]]", "a[1-99999999]"])
def test_no_node_lists(text: str) -> None:
    with pytest.raises(ValueError):
        hosts.expand_hosts(text)


@pytest.mark.parametrize(
    ("why", "line", "words"),
    [
        ("plain", " -J x --time=5", ["-J", "x", "--time=5"]),
        ("quotes hold blanks", " -J 'a b' --comment=\"c d\"", ["-J", "a b", "--comment=c d"]),
        ("a backslash does not", r" -J a\ b", ["-J", "a", "b"]),
        ("but other letters", r" -J a\#\'\\b", ["-J", "a#'\\b"]),
        ("a remark ends the line", " -J x # -t 5", ["-J", "x"]),
        ("also within a word", " -J x#y -n 2", ["-J", "x"]),
        ("an empty word ends the line", " -n 2 '' -J x", ["-n", "2"]),
    ],
)
def test_words_of_a_directive(why: str, line: str, words: list[str]) -> None:
    assert script.split_line(line) == words, why


def test_directives_end_at_the_first_command() -> None:
    text = b"#!/bin/sh\n# a remark\n#SBATCH -J a\n\n  # another\n#SBATCH -t 5\necho\n#SBATCH -J b\n"
    assert script.read_directives(text) == [["-J", "a", "-t", "5"]]


TABLE = options.Options("sbatch", "job-name/J= time/t= time-min= hold/H nice? wrap= quiet/Q no-kill/k?", 255)


@pytest.mark.parametrize(
    ("why", "argv", "found", "operands"),
    [
        ("apart", ["-J", "x", "a"], [("job-name", "x")], ["a"]),
        ("together", ["-Jx"], [("job-name", "x")], []),
        ("letters in a row", ["-HQJx"], [("hold", None), ("quiet", None), ("job-name", "x")], []),
        ("shortened", ["--job=x", "--ho"], [("job-name", "x"), ("hold", None)], []),
        ("a whole name wins over a longer one", ["--time", "5"], [("time", "5")], []),
        ("an optional value only with =", ["--nice", "5"], [("nice", None)], ["5"]),
        ("the script's options are its own", ["s.sh", "-J", "x"], [], ["s.sh", "-J", "x"]),
        ("after the end", ["-H", "--", "-J"], [("hold", None)], ["-J"]),
    ],
)
def test_options(why: str, argv: list[str], found: list[tuple[str, str | None]], operands: list[str]) -> None:
    assert TABLE.parse(argv, permute=False) == (found, operands), why


@pytest.mark.parametrize(
    ("why", "argv", "text"),
    [
        ("unknown", ["--frob=1"], "sbatch: unrecognized option '--frob=1'"),
        ("unknown letter", ["-Y"], "sbatch: invalid option -- 'Y'"),
        ("no value", ["--wrap"], "sbatch: option '--wrap' requires an argument"),
        ("no value for a letter", ["-J"], "sbatch: option requires an argument -- 'J'"),
        ("a value too many", ["--hold=3"], "sbatch: option '--hold' doesn't allow an argument"),
        ("two may be meant", ["--n"], "sbatch: option '--n' is ambiguous; possibilities: '--nice' '--no-kill'"),
    ],
)
def test_bad_options(why: str, argv: list[str], text: str) -> None:
    with pytest.raises(Refused) as refused:
        TABLE.parse(argv, permute=False)
    assert refused.value.lines == [text, 'Try "sbatch --help" for more information'], why
    assert refused.value.code == 255


@pytest.mark.parametrize(
    ("why", "width", "right", "cell"),
    [("as it is", None, False, "añb"), ("filled", 6, False, "añb  "), ("from the left", 6, True, "  añb"),
     ("cut at a byte", 2, False, "a\udcc3")],
)  # fmt: skip
def test_widths_count_bytes(why: str, width: int | None, right: bool, cell: str) -> None:
    assert layout.pad_cell("añb", width, right) == cell, why


# --- dependencies ---


def a_job(state: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "completing": 0, "start_time": 50, "end_time": 60} | more


@pytest.mark.parametrize(
    ("why", "text", "state", "verdict", "rest"),
    [
        ("still running", "afterok:5", "RUNNING", deps.WAIT, "afterok:5(unfulfilled)"),
        ("went well", "afterok:5", "COMPLETED", deps.MET, ""),
        ("cancelled is not well", "afterok:5", "CANCELLED", deps.FAILED, "afterok:5(failed)"),
        ("cancelled is an end", "afterany:5", "CANCELLED", deps.MET, ""),
        ("cancelled is not well, as hoped", "afternotok:5", "CANCELLED", deps.MET, ""),
        ("started", "after:5", "RUNNING", deps.MET, ""),
        ("not yet started", "after:5", "PENDING", deps.WAIT, "after:5(unfulfilled)"),
        ("started, not long enough ago", "after:5+1", "RUNNING", deps.WAIT, "after:5+1(unfulfilled)"),
        ("a bare id", "5", "RUNNING", deps.WAIT, "afterany:5(unfulfilled)"),
        ("what is met disappears", "after:5,afterok:5", "RUNNING", deps.WAIT, "afterok:5(unfulfilled)"),
        ("one is enough", "after:5?afterok:5", "RUNNING", deps.MET, ""),
        ("all must fail", "afterok:5?afternotok:5", "FAILED", deps.MET, ""),
    ],
)
def test_dependency(why: str, text: str, state: str, verdict: str, rest: str) -> None:
    found = deps.judge_dependency(
        deps.parse_dependency(text), a_job("PENDING"), None, 100, lambda number, task: [a_job(state)]
    )
    assert found[:2] == (verdict, rest), why
    assert found[2] == (110 if "+" in rest else None), why


@pytest.mark.parametrize("text", ["afterfoo:1", "afterok:", "after:xyz", "afterok:1,after:2?after:3", "singleton:5",
                                  "afterok:0", "afterok:1+x", "afterok:1_x"])  # fmt: skip
def test_no_dependency(text: str) -> None:
    with pytest.raises(deps.BadDependency):
        deps.parse_dependency(text)


@given(
    st.lists(st.tuples(st.sampled_from(["afterok", "afterany", "afternotok", "after"]), st.integers(1, 99)), min_size=1)
)
def test_kept_dependencies_read_as_themselves(terms: list[tuple[str, int]]) -> None:
    kept = deps.parse_dependency(",".join(f"{kind}:{number}" for kind, number in terms))
    assert deps.parse_dependency(kept) == kept
    assert deps.list_job_ids(kept) == [number for _, number in terms]


# --- who starts where ---

NODES = {
    f"n{index}": {
        "name": f"n{index}",
        "cpus": 4,
        "memory_mb": 1000,
        "gpus": 2,
        "features": [],
        "gres": "gpu:2",
        "tmp_mb": None,
    }
    for index in range(3)
}
PART = {"name": "p", "nodes": list(NODES), "max_time_min": None, "max_nodes": None, "state": "UP"}
CLUSTER = {"nodes": NODES, "partitions": {"p": PART}}


def waiting(raw_id: int, **more: Any) -> dict[str, Any]:
    return {
        "raw_id": raw_id, "array_job_id": None, "array_task_id": None, "array_tasks": None, "array_limit": 0,
        "partition": "p", "state": "PENDING", "held": "", "priority": 100, "begin_time": None, "start_time": None,
        "time_limit_min": None, "min_nodes": 1, "max_nodes": 0, "ntasks": 1, "cpus_per_task": 1, "ntasks_per_node": 0,
        "mem_node_mb": 0, "mem_cpu_mb": 0, "gpus_total": 0, "gpus_node": 0, "gpus_task": 0, "exclusive": 0,
        "features": "", "req_nodes": "", "exc_nodes": "", "alloc": None, "dependency": "", "dep_kill": 0,
        "het_job_id": None, "het_offset": None, "deadline": None, "time_min": None, "min_cpus": 0, "tmp_mb": 0,
        "cpus_gpu": 0, "mem_gpu_mb": 0, "tasks_gpu": 0,
    } | more  # fmt: skip


def decide(jobs: Sequence[Mapping[str, Any]], now: int = 1000) -> schedule.Decision:
    return schedule.Pass(CLUSTER, set(), {}, jobs, lambda job, number, task: [], now).decide()


requests = st.builds(
    lambda **more: more, ntasks=st.integers(1, 9), cpus_per_task=st.integers(1, 4), min_nodes=st.integers(1, 3),
    mem_node_mb=st.sampled_from([0, 300, 900]), gpus_node=st.integers(0, 2), gpus_total=st.integers(0, 4),
    exclusive=st.sampled_from([0, 0, 0, 1]), priority=st.integers(1, 9), time_limit_min=st.sampled_from([None, 5, 60]),
)  # fmt: skip


@given(st.lists(requests, min_size=1, max_size=25))
def test_nobody_gets_what_is_not_there(asked: list[dict[str, Any]]) -> None:
    jobs = [waiting(number, **options) for number, options in enumerate(asked, 1)]
    decision = decide(jobs)
    taken: dict[str, list[Any]] = {name: [0, 0, [], []] for name in NODES}
    for job, _, shares, _ in decision.starts:
        assert sum(share[4] for share in shares) >= job["ntasks"]
        assert len(shares) >= job["min_nodes"]
        assert sum(len(share[3]) for share in shares) >= job["gpus_total"]
        for name, cpus, memory_mb, gpus, tasks in shares:
            assert cpus >= tasks * job["cpus_per_task"]
            assert memory_mb == job["mem_node_mb"]
            assert len(gpus) >= job["gpus_node"]
            slot = taken[name]
            slot[0] += cpus
            slot[1] += memory_mb
            slot[2] += gpus
            slot[3].append(job)
    for name, (cpus, memory_mb, gpus, there) in taken.items():
        assert cpus <= NODES[name]["cpus"]
        assert memory_mb <= 1000
        assert len(gpus) == len(set(gpus)) <= 2
        assert len(there) == 1 or not any(job["exclusive"] for job in there)
    started = {job["raw_id"] for job, *_ in decision.starts}
    assert started | set(decision.reasons) == {job["raw_id"] for job in jobs}
    assert not started & set(decision.reasons)


def running(raw_id: int, alloc: str, limit_min: int | None, **more: Any) -> dict[str, Any]:
    return waiting(raw_id, state="RUNNING", alloc=alloc, start_time=1000, time_limit_min=limit_min, **more)


FULL = "n0:4:0::4;n1:4:0::4;n2:3:0::3"


@pytest.mark.parametrize(
    ("why", "jobs", "expected"),
    [
        ("held", [waiting(1, held="user")], {1: "JobHeldUser"}),
        ("held by an operator", [waiting(1, held="admin")], {1: "JobHeldAdmin"}),
        ("too early", [waiting(1, begin_time=1001)], {1: "BeginTime"}),
        ("more nodes than there are", [waiting(1, min_nodes=9, ntasks=9)], {1: "PartitionNodeLimit"}),
        ("more CPUs than there are", [waiting(1, ntasks=99)], {1: "PartitionConfig"}),
        ("full", [running(1, FULL, None), waiting(2, ntasks=2)], {2: "Resources"}),
        (
            "behind one that waits",
            [running(1, FULL, None), waiting(2, ntasks=2), waiting(3)],
            {2: "Resources", 3: "Priority"},
        ),
        (
            "short enough to be done before",
            [running(1, FULL, 60), waiting(2, ntasks=2), waiting(3, time_limit_min=60)],
            {2: "Resources"},
        ),
        (
            "not short enough",
            [running(1, FULL, 60), waiting(2, ntasks=2), waiting(3, time_limit_min=61)],
            {2: "Resources", 3: "Priority"},
        ),
        (
            "an array at its limit",
            [running(1, "n0:1:0::1", None, array_job_id=2, array_task_id=0),
             waiting(2, array_job_id=2, array_tasks="1-5", array_limit=1)],
            {2: "JobArrayTaskLimit"},
        ),
        (
            "a task of it that was held alone",
            [running(1, "n0:1:0::1", None, array_job_id=2, array_task_id=0),
             waiting(3, array_job_id=2, array_task_id=3, array_limit=1)],
            {3: "JobArrayTaskLimit"},
        ),
    ],
)  # fmt: skip
def test_reasons(why: str, jobs: list[dict[str, Any]], expected: dict[int, str]) -> None:
    assert decide(jobs).reasons == expected, why


def test_nobody_waits_behind_a_job_whose_nodes_are_not_in_service() -> None:
    jobs = [waiting(1, min_nodes=3, ntasks=3), waiting(2)]
    decision = schedule.Pass(CLUSTER, {"n0"}, {}, jobs, lambda job, number, task: [], 1000).decide()
    assert [job["raw_id"] for job, *_ in decision.starts] == [2]
    assert decision.reasons == {1: schedule.NODES_DOWN}


def test_priority_goes_before_age() -> None:
    jobs = [waiting(1, ntasks=12), waiting(2, ntasks=12, priority=200)]
    assert [job["raw_id"] for job, *_ in decide(jobs).starts] == [2]


@pytest.mark.parametrize(
    ("why", "asked", "expected"),
    [
        ("fits", {"ntasks": 12}, None),
        ("waits for ever, as in SLURM", {"ntasks": 99}, None),
        ("too much memory", {"mem_node_mb": 1001}, "memory"),
        ("too many CPUs on one node", {"cpus_per_task": 5}, "cpus"),
        ("too many GPUs on one node", {"gpus_node": 3}, "nodes"),
        ("too many GPUs", {"gpus_total": 7}, "nodes"),
        ("no node left", {"exc_nodes": "n0,n1,n2"}, "nodes"),
    ],
)
def test_what_can_never_run(why: str, asked: dict[str, Any], expected: str | None) -> None:
    assert schedule.find_shortage(CLUSTER, waiting(1, **asked)) == expected, why


# --- files and settings ---


@pytest.mark.parametrize(
    ("why", "pattern", "expected"),
    [
        ("the job", "o-%j", "o-42"),
        ("filled with zeros", "o-%6j", "o-000042"),
        ("the array and its task", "%A_%3a", "40_007"),
        ("name and user", "%x.%u", "nm.alice"),
        ("a percent sign", "100%%", "100%"),
        ("unknown letters stay", "%q%", "%q%"),
        ("a backslash switches it off", "\\%j", "%j"),
    ],
)
def test_file_names(why: str, pattern: str, expected: str) -> None:
    job = {"raw_id": 42, "array_job_id": 40, "array_task_id": 7, "name": "nm", "user": "alice", "alloc": "n0:1:0::1"}
    assert patterns.expand_pattern(pattern, job) == expected, why


def test_the_configuration_reads_as_it_was_made(tmp_path: Path) -> None:
    parts = [{"name": "cpu", "nodes": "node[01-02]", "max_time": "2:00:00"}, {"name": "gpu", "default": True}]
    path = tmp_path / "slurm.conf"
    path.write_text(conf.build_conf(3, 8, 16000, 4, parts, execute=False, python="/opt/my python/bin/python3"))
    read = conf.read_conf(str(path))
    assert [(n["name"], n["cpus"], n["memory_mb"], n["gpus"]) for n in read["nodes"].values()] == [
        ("node01", 8, 16000, 4), ("node02", 8, 16000, 4), ("node03", 8, 16000, 4),
    ]  # fmt: skip
    assert read["partitions"]["cpu"]["nodes"] == ["node01", "node02"]
    assert read["partitions"]["cpu"]["max_time_min"] == 120
    assert [part["default"] for part in read["partitions"].values()] == [False, True]
    assert (read["execute"], read["down"], read["python"]) == (False, False, "/opt/my python/bin/python3")
    assert read["folder"] == str(tmp_path)


def test_one_node_and_no_gpus() -> None:
    text = conf.build_conf(1, 2, 4000, 0)
    assert "NodeName=node01 CPUs=2 RealMemory=4000\n" in text
    assert "PartitionName=main Nodes=ALL Default=YES" in text


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "slurm.conf"
    with pytest.raises(conf.ConfError, match="cannot stat file"):
        conf.read_conf(str(path))
    path.write_text("NodeName=n[1-2 CPUs=many\n")
    with pytest.raises(conf.ConfError, match="Parse error in file"):
        conf.read_conf(str(path))


def test_this_machine_is_a_node() -> None:
    found = conf.detect_machine()
    assert found["cpus"] >= 1
    assert found["memory_mb"] > 64
    assert found["gpus"] >= 0
