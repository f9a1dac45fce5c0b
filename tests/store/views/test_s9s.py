"""Refusals as the S9S document has them."""

from __future__ import annotations

from typing import Any

import pytest

from store.errors import make_problem
from store.views import s9s


@pytest.mark.parametrize(
    ("why", "status", "exception", "problems", "code"),
    [
        ("no JSON", 400, "NotJson", [make_problem("Expecting value", ["body"])], "INVALID_REQUEST"),
        ("no id", 400, "Invalid", [make_problem("no id", ["path", "job_id"])], "INVALID_REQUEST"),
        ("no number", 400, "Invalid", [make_problem("no integer", ["query", "limit"], type="int_parsing")],
         "INVALID_REQUEST"),
        ("a text for a number", 400, "Invalid", [make_problem("no integer", ["body", "priority"], type="int_parsing")],
         "VALIDATION_ERROR"),
        ("a wrong word", 400, "Invalid", [make_problem("no state", ["query", "state"])], "VALIDATION_ERROR"),
        ("what sbatch calls wrong", 400, "SlurmInvalid", [], "VALIDATION_ERROR"),
        ("what SLURM refuses", 500, "SlurmRefused", [], "SLURM_ERROR"),
        ("SLURM is away", 503, "ClusterUnreachable", [], "SLURM_ERROR"),
        ("we are at fault", 500, "KeyError", [], "INTERNAL_ERROR"),
        ("no such method", 405, "UnknownMethod", [], "INVALID_REQUEST"),
    ],
)  # fmt: skip
def test_the_code_of_a_refusal(why: str, status: int, exception: str, problems: list[Any], code: str) -> None:
    error = s9s.to_error_json(status, exception, "m", problems, "req_1", {}, 0)["error"]
    assert error["code"] == code, why
