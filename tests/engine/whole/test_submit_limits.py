"""SLURM takes no more jobs for now: that is no refusal, costs no cell its life, and leaves the controller answering."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_shim.errors import SlurmBusy, SlurmDenied, SlurmError, make_error
from tests.pair_sweep import CONFIG, check_sweep, get_sweep, make_server, start_sweep
from tests.slurm_programs import Programs
from tests.waiting import eventually
from tests.watched_cluster import Watched

pytestmark = pytest.mark.long

# What sbatch of Slurm 22.05.8 says on a line of its own, before the phrase that is the same for all limits.
VIOLATION = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
SAID = f"sbatch: error: {{limit}}\nsbatch: error: Batch job submission failed: {VIOLATION}\n"


@pytest.mark.parametrize(
    ("why", "limit", "kind"),
    [
        ("jobs of a user under an account", "AssocMaxSubmitJobLimit", SlurmBusy),
        ("jobs of an account", "AssocGrpSubmitJobsLimit", SlurmBusy),
        ("jobs of a user under a QOS", "QOSMaxSubmitJobPerUserLimit", SlurmBusy),
        ("jobs of an account under a QOS", "QOSMaxSubmitJobPerAccountLimit", SlurmBusy),
        ("jobs under a QOS", "QOSGrpSubmitJobsLimit", SlurmBusy),
        ("too large for ever", "QOSMaxCpuPerJobLimit", SlurmDenied),
        ("too long for ever", "AssocMaxWallDurationPerJobLimit", SlurmDenied),
    ],
)
def test_which_limits_pass(why: str, limit: str, kind: type[SlurmError]) -> None:
    assert type(make_error("sbatch", 1, SAID.format(limit=limit))) is kind, why


def test_being_asked_for_patience_does_not_open_the_breaker(programs: Programs) -> None:
    programs.write("sbatch", f"printf '{SAID.format(limit='QOSGrpSubmitJobsLimit').replace(chr(39), '')}' >&2; exit 1")
    programs.write("squeue")
    slurm = programs.slurm()
    for _ in range(5):
        with pytest.raises(SlurmBusy):
            slurm.sbatch("#!/bin/sh\n", {})
    assert slurm.squeue() == [] and len(programs.calls("sbatch")) == 5


# The first three submissions are one too many.
LIMITED = """\
n=0; while ! mkdir {folder}/try-$n 2>/dev/null; do n=$((n + 1)); done
if [ $n -lt 3 ]; then
    echo "sbatch: error: AssocMaxSubmitJobLimit" >&2
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" >&2
    exit 1
fi
"""


def test_a_sweep_waits_where_no_more_jobs_are_taken(tmp_path: Path) -> None:
    watched = Watched(tmp_path, LIMITED)
    server = make_server(tmp_path / "store", "slurm", CONFIG, **watched.environment)
    try:
        server.start()
        number = start_sweep(server, 4, tmp_path, max_parallel=4).json()["sweep_run_id"]
        eventually(lambda: get_sweep(server, number)["completed_at"], 90, server.log()[-2000:])
        check_sweep(server, number, 4, tmp_path, watched.calls())
        assert watched.calls()["sbatch"] == 8 + 3
        assert server.http.get("/health").json()["slurm"]["answers"]
    finally:
        server.close()
