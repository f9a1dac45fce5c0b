"""One program for many jobs: what it is called with, and what is read from its complaints, as 22.05.8 writes them."""

from __future__ import annotations

import pytest

from slurm_shim.errors import JobFinished, JobUnknown, SlurmConflict, SlurmDenied, SlurmError, SlurmUnreachable
from slurm_shim.queue.job_changes import IDS_A_CHANGE, cancel_jobs, change_jobs
from tests.slurm_programs import Programs

HELD = "Job is in held state, pending scheduler release"


@pytest.mark.parametrize(
    ("why", "verb", "fields", "expected"),
    [
        ("a verb", "uhold", {}, ["uhold", "1", "8_[2,4,6]"]),
        ("fields", "update", {"priority": 5, "comment": "a b"},
         ["update", "jobid=1,8_[2,4,6]", "priority=5", "comment=a b"]),
    ],
)  # fmt: skip
def test_what_scontrol_is_called_with(
    programs: Programs, why: str, verb: str, fields: dict[str, str | int], expected: list[str]
) -> None:
    programs.write("scontrol")
    assert change_jobs(programs.slurm(), verb, ["1", "8_[2-6:2%1]"], fields) == {}
    assert programs.calls("scontrol") == [expected], why


@pytest.mark.parametrize(
    ("why", "signal", "expected"),
    [("cancel", None, ["--", "1", "2"]), ("a signal", "USR1", ["--full", "--signal=USR1", "--", "1", "2"])],
)
def test_what_scancel_is_called_with(programs: Programs, why: str, signal: str | None, expected: list[str]) -> None:
    programs.write("scancel")
    assert cancel_jobs(programs.slurm(), ["1", "2"], signal) == {}
    assert programs.calls("scancel") == [expected], why


def test_a_thousand_jobs_are_one_call(programs: Programs) -> None:
    programs.write("scancel")
    cancel_jobs(programs.slurm(), [str(number) for number in range(1, 1001)])
    assert [len(call) for call in programs.calls("scancel")] == [1001]
    cancel_jobs(programs.slurm(), [str(number) for number in range(1, IDS_A_CHANGE + 2)])
    assert [len(call) for call in programs.calls("scancel")] == [1001, IDS_A_CHANGE + 1, 2]


@pytest.mark.parametrize(
    ("why", "verb", "stderr", "job_id", "kind"),
    [
        ("it waits", "requeue", "Job is pending execution for job 3", "3", SlurmConflict),
        ("it is gone", "requeue", "Invalid job id specified for job 3", "3", JobUnknown),
        ("it is gone, said otherwise", "suspend", "Unexpected message received for job 3", "3", JobUnknown),
        ("it has ended", "suspend", "Job/step already completing or completed for job 3", "3", JobFinished),
        ("it runs", "resume", "Job is not suspended for job 3", "3", SlurmConflict),
        ("no operator", "suspend", "Access/permission denied for job 3", "3", SlurmDenied),
        ("a part of it alone", "suspend",
         "Operation not permitted on individual component of heterogeneous job for job 11+1", "11+1", SlurmConflict),
        ("said twice", "hold", "Invalid user id for job 3\nslurm_suspend error: Invalid user id", "3", SlurmDenied),
        ("an array", "update", f"5_1-6: {HELD}", "5", SlurmConflict),
        ("some of its tasks", "update", f"5_2-3: {HELD}", "5_[2-3]", SlurmConflict),
        ("a task", "update", f"5_2: {HELD}", "5_2", SlurmConflict),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_of_its_job(
    programs: Programs, why: str, verb: str, stderr: str, job_id: str, kind: type[SlurmError]
) -> None:
    programs.write("scontrol", f"cat >&2 <<'END'\n{stderr}\nEND\nexit 1")
    refused = change_jobs(programs.slurm(), verb, ["1", job_id, "2"], {"priority": 5} if verb == "update" else {})
    assert {name: type(error) for name, error in refused.items()} == {job_id: kind}, why


@pytest.mark.parametrize(
    ("why", "stderr", "expected"),
    [
        ("some of its tasks have ended", "5_1-3: No error\n5_4-6: Job has already finished", {}),
        ("the other way round", "5_4-6: Job has already finished\n5_1-3: No error", {}),
        ("all of them", "5_1-6: Job has already finished", {"5": JobFinished}),
        ("some are refused", "5_1-3: No error\n5_4-6: Access/permission denied", {"5": SlurmDenied}),
    ],
)
def test_an_array_of_which_a_part_is_changed(
    programs: Programs, why: str, stderr: str, expected: dict[str, type[SlurmError]]
) -> None:
    programs.write("scontrol", f"cat >&2 <<'END'\n{stderr}\nEND\nexit 1")
    refused = change_jobs(programs.slurm(), "release", ["5_3", "5"])
    assert {name: type(error) for name, error in refused.items()} == expected, why


def test_what_scancel_refuses_is_told_of_its_job(programs: Programs) -> None:
    said = "scancel: error: Kill job error on job id 3: Job can not be altered now, try again later"
    programs.write("scancel", f"echo '{said}' >&2; exit 228")
    assert [type(error) for error in cancel_jobs(programs.slurm(), ["2", "3"], "USR1").values()] == [SlurmConflict]


def test_advice_is_no_refusal(programs: Programs) -> None:
    # The priority is lowered all the same.
    said = "Changes to job priority are not persistent, change nice instead for job 16"
    programs.write("scontrol", f"echo '{said}' >&2; exit 1")
    assert change_jobs(programs.slurm(), "update", ["16"], {"priority": 5}) == {}


@pytest.mark.parametrize(
    ("why", "said", "kind"),
    [
        ("nobody answers",
         "scancel: error: Kill job error on job id 1: Unable to contact slurm controller (connect failure)",
         SlurmUnreachable),
        ("what is about no job", "scancel: error: frobbed", SlurmError),
    ],
)  # fmt: skip
def test_what_concerns_all_of_them_is_raised(programs: Programs, why: str, said: str, kind: type[Exception]) -> None:
    programs.write("scancel", f"echo '{said}' >&2; exit 8")
    with pytest.raises(kind):
        cancel_jobs(programs.slurm(), ["1", "2"])


def test_what_is_no_change_starts_no_program(programs: Programs) -> None:
    programs.write("scontrol")
    with pytest.raises(ValueError, match="not a change"):
        change_jobs(programs.slurm(), "shutdown", ["1"])
    with pytest.raises(ValueError, match="not a job id"):
        change_jobs(programs.slurm(), "hold", ["all"])
    assert programs.calls("scontrol") == []
