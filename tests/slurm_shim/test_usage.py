"""What jobs used, read from sacct's and sstat's steps; the values are those of a recorded answer of SLURM 22.05."""

from __future__ import annotations

from typing import Any

import pytest

from slurm_shim.errors import UnreadableAnswer
from slurm_shim.past import usage
from tests.slurm_programs import Programs
from tests.slurm_shim.test_commands import REPLAY_SACCT

NONCE = "~4f1c9a~"
JOB = {
    "JobID": "5320", "JobIDRaw": "5320", "User": "root", "Partition": "main", "State": "COMPLETED",
    "Submit": "1795280200", "Start": "1795280201", "End": "1795280216", "ElapsedRaw": "15", "NCPUS": "2",
    "NNodes": "1", "TotalCPU": "00:12.338", "ReqMem": "512M", "ReqTRES": "billing=2,cpu=2,mem=512M,node=1",
    "AllocTRES": "billing=2,cpu=2,node=1", "JobName": "burn",
}  # fmt: skip
BATCH = {"JobID": "5320.batch", "JobIDRaw": "5320.batch", "State": "COMPLETED", "TotalCPU": "00:00.038",
         "MaxRSS": "12734464", "NTasks": "1", "JobName": "batch"}  # fmt: skip
STEP = {"JobID": "5320.0", "JobIDRaw": "5320.0", "State": "COMPLETED", "TotalCPU": "00:12.299",
        "MaxRSS": "223432704", "NTasks": "1", "JobName": "python3"}  # fmt: skip
RUNNING = JOB | {"State": "RUNNING", "End": "Unknown", "ElapsedRaw": "20", "TotalCPU": "00:00:00"}


def write_answer(*lines: dict[str, str]) -> str:
    """Write sacct's answer with these lines."""
    return "".join(NONCE.join(line.get(field, "") for field in usage.USAGE_FIELDS) + NONCE + "\n" for line in lines)


def read(*lines: dict[str, str]) -> list[usage.Usage]:
    """Read an answer with these lines."""
    return usage.parse_usage(write_answer(*lines), NONCE)


def test_a_job_used_what_its_steps_used() -> None:
    (found,) = read(JOB, BATCH, STEP)
    assert (found["cpu_s"], found["cpu_efficiency"]) == (12.338, 0.4113)
    assert (found["memory_mb"], found["memory_efficiency"]) == (512, 0.4162)
    assert round(found["memory_used_mb"]) == 213
    assert (found["name"], found["start_time"], found["end_time"]) == ("burn", 1795280201, 1795280216)


SHARES: list[tuple[str, list[dict[str, str]], tuple[Any, ...]]] = [
    ("a cluster that gathers nothing", [JOB | {"TotalCPU": "00:00:00"}], (None, None, None)),
    ("only steps tell CPU time", [JOB | {"TotalCPU": "00:00:00"}, STEP], (0.41, 0.4162, None)),
    ("sacct says nothing of what runs", [RUNNING, STEP], (None, 0.4162, None)),
    ("each task of a step has its memory", [JOB, STEP | {"NTasks": "2"}], (0.4113, 0.8324, None)),
    ("more than all is all", [JOB | {"TotalCPU": "01:00:00"}, STEP | {"NTasks": "9"}], (1.0, 1.0, None)),
    ("no memory was asked for", [JOB | {"ReqTRES": "", "ReqMem": "0"}, STEP], (0.4113, None, None)),
    ("a job that never ran", [JOB | {"ElapsedRaw": "0", "TotalCPU": "", "Start": "None"}], (None, None, None)),
    ("GPUs that are measured", [JOB, STEP | {"TRESUsageInAve": "cpu=1,gres/gpuutil=92"}], (0.4113, 0.4162, 0.92)),
]  # fmt: skip


@pytest.mark.parametrize(("why", "lines", "shares"), SHARES, ids=[row[0] for row in SHARES])
def test_shares(why: str, lines: list[dict[str, str]], shares: tuple[Any, ...]) -> None:
    (found,) = read(*lines)
    assert (found["cpu_efficiency"], found["memory_efficiency"], found["gpu_utilization"]) == shares


def test_a_running_job_is_measured_by_sstat() -> None:
    (found,) = read(RUNNING)
    measured = usage.add_running(
        found, "5320.batch|1|00:00:01|12734464\n5320.0|2|00:00:08|111716352\n77.0|1|00:09:00|1\n"
    )
    assert (measured["cpu_s"], measured["cpu_efficiency"], measured["memory_efficiency"]) == (17.0, 0.425, 0.4162)


@pytest.mark.parametrize("text", ["5320.0|1\n", "a line of another program\n"])
def test_an_answer_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UnreadableAnswer):
        usage.add_running(read(RUNNING)[0], text)


def test_a_step_without_its_job_is_refused() -> None:
    with pytest.raises(UnreadableAnswer, match="without its job"):
        read(STEP)


def test_names_may_hold_anything() -> None:
    name = "a|b\n5320.9|x"
    assert [row["name"] for row in read(JOB | {"JobName": name}, STEP, JOB | {"JobID": "8_1"})] == [name, "burn"]


def test_running_jobs_are_asked_of_sstat_in_one_call(programs: Programs) -> None:
    answer = programs.folder / "answer"
    answer.write_text(write_answer(RUNNING, JOB | {"JobIDRaw": "5321"}, RUNNING | {"JobID": "8_1", "JobIDRaw": "9"}))
    programs.write("sacct", REPLAY_SACCT % answer)
    programs.write("sstat", 'printf "9.0|1|00:00:04|1048576\\n"')
    found = {row["raw_id"]: row for row in programs.slurm().list_usage(["5320", "5321", "8_1"])}
    ((*_, jobs, _option, _fields),) = programs.calls("sstat")
    assert jobs == "--jobs=5320,9"
    assert (found["9"]["cpu_s"], found["5320"]["cpu_s"], found["5321"]["cpu_s"]) == (4.0, None, 12.338)
    assert len(programs.slurm().list_usage(since_s=60)) == 3 and len(programs.calls("sstat")) == 1
