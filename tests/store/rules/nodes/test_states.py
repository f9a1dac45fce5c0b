"""States of nodes: one word for base and flags, as a real SLURM told them, and the words of filters."""

from __future__ import annotations

import itertools

import pytest

from slurm_shim.inventory.nodes import parse_nodes
from store.errors import Invalid
from store.rules.nodes import states
from tests import ROOT

RECORDED = [
    line.split("|", 2) for line in (ROOT / "tests/data/slurm/22.05/node-states").read_text().splitlines()
]  # situation, sinfo's word, State=… Reason=…
# sinfo's word without its marks -> ours.
WORDS = {
    "idle": "IDLE", "mixed": "MIXED", "down": "DOWN", "fail": "DOWN", "drained": "DRAIN", "draining": "DRAINING",
    "maint": "MAINT", "reserved": "RESERVED",
}  # fmt: skip


@pytest.mark.parametrize(("situation", "sinfo", "said"), RECORDED, ids=[row[0] for row in RECORDED])
def test_a_recorded_state_is_what_sinfo_calls_it(situation: str, sinfo: str, said: str) -> None:
    (node,) = parse_nodes(f"NodeName=node04 CPUTot=8 {said}")
    assert states.name_state(node["state"], node["flags"]) == WORDS[sinfo.rstrip("*$")]
    # What is marked with * does not answer, with $ is reserved for maintenance.
    takes_work = sinfo in ("idle", "mixed")
    assert (node["available"], node["state_text"]) == (takes_work, said.partition(" ")[0].partition("=")[2])
    assert (node["reason"] is None) == ("Reason=" not in said) and "[root" not in (node["reason"] or "")


@pytest.mark.parametrize(
    ("why", "base", "flags", "word"),
    [
        ("drained and down", "DOWN", ["DRAIN"], "DOWN"),
        ("failing while jobs run", "MIXED", ["FAIL"], "DRAINING"),
        ("backfill has plans for it", "IDLE", ["PLANNED"], "PLANNED"),
        ("busy and reserved", "ALLOCATED", ["RESERVED"], "ALLOCATED"),
        ("its registration is wrong", "IDLE", ["INVALID_REG"], "DOWN"),
        ("it has never answered", "UNKNOWN", [], "DOWN"),
        ("a word of a later release", "BLOCKED", [], "BLOCKED"),
        ("switched off to save power", "IDLE", ["CLOUD", "POWERED_DOWN"], "IDLE"),
    ],
)
def test_other_states(why: str, base: str, flags: list[str], word: str) -> None:
    assert states.name_state(base, flags) == word, why


BASES = ("IDLE", "MIXED", "ALLOCATED", "DOWN", "ERROR", "UNKNOWN", "INVAL", "FUTURE")
# scontrol(1) and slurm.h: what may stand behind a base.
FLAGS = (
    *("BLOCKED", "CLOUD", "COMPLETING", "DRAIN", "DYNAMIC_NORM", "FAIL", "INVALID_REG", "MAINTENANCE"),
    *("NOT_RESPONDING", "PERFCTRS", "PLANNED", "POWER_DOWN", "POWER_DRAIN", "POWERED_DOWN", "POWERING_DOWN"),
    *("POWERING_UP", "REBOOT_CANCELED", "REBOOT_ISSUED", "REBOOT_REQUESTED", "RESERVED", "UNDRAIN"),
)


@pytest.mark.parametrize("base", BASES)
def test_any_flags_give_a_state_of_the_api(base: str) -> None:
    for first, second in itertools.product(FLAGS, repeat=2):
        (node,) = parse_nodes(f"NodeName=n CPUTot=1 State={base}+{first}+{second}")
        word = states.name_state(node["state"], node["flags"])
        assert word in states.STATES, (base, first, second)
        assert not node["available"] or word in ("IDLE", "MIXED"), (base, first, second)
        assert node["usable"] or not node["available"], (base, first, second)


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("one", "idle", {"IDLE"}),
        ("a list", "IDLE, mixed", {"IDLE", "MIXED"}),
        ("sinfo's codes", "alloc,mix,resv", {"ALLOCATED", "MIXED", "RESERVED"}),
        ("drain: drained or about to be", "DRAIN", {"DRAIN", "DRAINING"}),
        ("drained alone", "drained", {"DRAIN"}),
    ],
)
def test_filters(why: str, text: str, expected: set[str]) -> None:
    assert states.parse_states(text) == expected, why


@pytest.mark.parametrize(("text", "near"), [("IDEL", "IDLE"), ("idle,frob", ""), ("", "")])
def test_words_that_are_no_state(text: str, near: str) -> None:
    with pytest.raises(Invalid, match=near or "no state"):
        states.parse_states(text)


def test_draining_nodes_count_as_drained() -> None:
    nodes = parse_nodes("\n".join(f"NodeName=n CPUTot=8 {said}" for _, _, said in RECORDED))
    counts = {"IDLE": 6, "MIXED": 12, "DOWN": 2, "DRAIN": 3, "MAINT": 1, "RESERVED": 1}
    assert states.count_states(nodes) == counts
