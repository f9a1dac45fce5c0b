"""Whether a job of SLURM is the one that we submitted, whatever its id."""

from __future__ import annotations

from typing import Any

import pytest

from slurm_shim.submissions import ANY, SAME_S, SLACK_S, Submission, choose_ended
from tests.pretended import job

AT = 1_795_955_461
TAG, OTHER = f"sluice:{'a' * 32}", f"sluice:{'b' * 32}"
OURS = Submission(TAG, "ann", "train", AT)


def row(**more: Any) -> dict[str, Any]:
    return job("7", **{"user": "ann", "uid": 1000, "name": "train", "submit_time": AT, **more})


@pytest.mark.parametrize(
    ("why", "more", "is_ours"),
    [
        ("its tag", {"comment": TAG}, True),
        ("its tag behind its own comment", {"comment": f"for paper 3 {TAG}"}, True),
        ("its tag, requeued and renamed since", {"comment": TAG, "submit_time": AT + 9999, "name": "x"}, True),
        ("its tag, copied by another user", {"comment": TAG, "user": "bob", "uid": 1001}, False),
        ("another tag", {"comment": OTHER}, False),
        ("no tag to be seen: user, name and time", {}, True),
        ("somebody set another comment", {"comment": "mine"}, True),
        ("another user", {"user": "bob", "uid": 1001}, False),
        ("a user without a name there", {"user": "nobody", "uid": "ann"}, True),
        ("another name, a little later", {"name": "x", "submit_time": AT + SAME_S + 1}, False),
        ("somebody set another comment and name", {"comment": "mine", "name": "x", "submit_time": AT + 1}, True),
        ("a clock that differs a little", {"submit_time": AT - SLACK_S}, True),
        ("submitted later", {"submit_time": AT + 3600}, False),
        ("submitted later, but requeued", {"submit_time": AT + 3600, "restarts": 1}, True),
        ("submitted before ours", {"submit_time": AT - 3600, "restarts": 1}, False),
    ],
)
def test_whose_job_it_is(why: str, more: dict[str, Any], is_ours: bool) -> None:
    assert OURS.matches(row(**more)) is is_ours, why


ENDED = row(state="COMPLETED")
REQUEUED = row(state="REQUEUED")
AGAIN = row(state="FAILED", submit_time=AT + 3600)
LOST = row(state="NODE_FAIL")
STRANGER = row(state="CANCELLED", user="bob", uid=1001, submit_time=AT + 9999)


@pytest.mark.parametrize(
    ("why", "rows", "chosen"),
    [
        ("one record", [ENDED], [ENDED]),
        ("its id was given again", [ENDED, STRANGER], [ENDED]),
        ("only another job", [STRANGER], []),
        ("its cluster began anew, with another job of the user", [LOST, {**AGAIN, "name": "x"}], [LOST]),
        ("a requeue goes on as a new record, without its comment until it ends", [REQUEUED, AGAIN, STRANGER], [AGAIN]),
        ("it goes on and has not ended", [REQUEUED, {**AGAIN, "state": "RUNNING"}], []),
        ("a later job of ours with the same name", [ENDED, AGAIN], [ENDED]),
        ("accounting does not know it", [], []),
    ],
)
def test_which_record_tells_the_end(why: str, rows: list[dict[str, Any]], chosen: list[dict[str, Any]]) -> None:
    assert choose_ended(reversed(rows), OURS) == chosen, why


def test_of_an_unknown_job_the_last_record_counts_whoever_submitted_it() -> None:
    assert ANY.matches(row(comment=OTHER))
    assert choose_ended([ENDED, STRANGER], ANY) == [STRANGER]
