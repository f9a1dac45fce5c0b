"""Users and QOS as a real slurmdbd told them."""

from __future__ import annotations

import pytest

from slurm_shim.errors import UnreadableAnswer
from slurm_shim.inventory import accounts
from tests import ROOT

DATA = ROOT / "tests" / "data" / "slurm" / "22.05"


def test_associations() -> None:
    rows = accounts.parse_associations((DATA / "associations").read_text())
    assert [row["user"] for row in rows] == ["games", "games", "man", "root"]
    plain, limited, operator, root = rows
    assert (plain["account"], plain["partition"], plain["qos"], plain["max_jobs"]) == ("root", None, ["normal"], None)
    assert (limited["account"], limited["partition"], limited["qos"]) == ("research", "gpu", ["high", "normal"])
    assert (limited["default_qos"], limited["max_jobs"], limited["max_submit_jobs"]) == ("high", 4, 10)
    assert (limited["max_wall_s"], limited["max_tres"]) == (7200, {"cpu": "8"})
    assert [row["admin_level"] for row in (plain, operator, root)] == ["None", "Operator", "Administrator"]


def test_qos() -> None:
    normal, high = accounts.parse_qos((DATA / "qos").read_text())
    assert (normal["name"], normal["description"], normal["priority"]) == ("normal", "Normal QOS default", 0)
    assert (normal["preempt"], normal["preempt_mode"], normal["flags"], normal["max_wall_s"]) == (
        *([], "cluster", []),
        None,
    )
    assert (high["priority"], high["preempt"], high["preempt_mode"]) == (100, ["normal"], "requeue")
    assert (high["flags"], high["usage_factor"], high["max_wall_s"]) == (["DenyOnLimit"], 2.0, 86400)
    assert (high["grp_tres"], high["max_tres_per_user"]) == ({"cpu": "100"}, {"cpu": "16", "gres/gpu": "2"})
    assert (high["max_jobs_per_user"], high["max_jobs_per_account"]) == (5, None)


def test_a_description_may_hold_anything() -> None:
    line = (DATA / "qos").read_text().splitlines()[1].removesuffix("high") + "a|b"
    assert accounts.parse_qos(line)[0]["description"] == "a|b"


@pytest.mark.parametrize("parse", [accounts.parse_associations, accounts.parse_qos])
def test_a_wrong_width_is_an_error(parse: object) -> None:
    with pytest.raises(UnreadableAnswer):
        parse("normal|1|2\n")  # type: ignore[operator]


def test_cpu_seconds_are_summed_by_user() -> None:
    text = "root~a10~a\nann~a5~a\nroot~a7~a\nann~a~a\n"
    assert accounts.parse_usage(text, "~a") == {"root": 17, "ann": 5}
