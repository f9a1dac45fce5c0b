"""Where a job's output goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.output_files import build_output_path

JOB = {"raw_id": 260, "array_job_id": None, "array_task_id": None, "work_dir": "/w/d", "user": "alice", "name": "n%j"}
JOB |= {"batch_host": "node01.cluster"}
TASK = JOB | {"array_job_id": 257, "array_task_id": "0"}


@pytest.mark.parametrize(
    ("why", "pattern", "job", "expected"),
    [
        ("SLURM's default", None, JOB, "/w/d/slurm-260.out"),
        ("SLURM's default for a task", None, TASK, "/w/d/slurm-257_0.out"),
        (
            "every symbol, as a batch script's file is really called",
            "/o/%A-%a-%j-%J-%s-%n-%t-%b-%N-%u-%%-%5j-%3a.out",
            TASK,
            "/o/257-0-260-260-batch-0-0-%b-node01-alice-%-00260-000.out",
        ),
        ("a name is put in as it is", "%x.log", JOB, "/w/d/n%j.log"),
        ("a job that is no array", "%A_%a", JOB, "/w/d/260_4294967294"),
        ("a backslash switches symbols off", "bs\\-%j.out", JOB, "/w/d/bs-%j.out"),
        ("no symbol", "/dev/null", JOB, "/dev/null"),
        ("width is at most ten", "%99j", JOB, "/w/d/0000000260"),
        ("what a waiting task will write to is not known", "%A_%a.out", JOB | {"array_task_id": "3-6%2"}, None),
        ("the default of a waiting array", "/w/slurm-8_4294967294.out", JOB, None),
        ("a whole array has a file for each task", "%A_%a.out", JOB | {"array_job_id": 257}, None),
        ("its default too", None, JOB | {"array_job_id": 257}, None),
        ("its tasks share one", "/o/%A.out", JOB | {"array_job_id": 257}, "/o/257.out"),
        ("the node is not known yet", "%N.out", JOB | {"batch_host": None}, None),
        ("a relative path without a folder", "x.out", JOB | {"work_dir": None}, None),
        ("work_dir is the root", "x.out", JOB | {"work_dir": "/"}, "/x.out"),
    ],
)
def test_output_files(why: str, pattern: str | None, job: dict[str, Any], expected: str | None) -> None:
    assert build_output_path(pattern, job) == expected, why


@given(st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_percent_doubled_is_literal(text: str) -> None:
    assert build_output_path("/o/" + text.replace("%", "%%"), JOB) == "/o/" + text
