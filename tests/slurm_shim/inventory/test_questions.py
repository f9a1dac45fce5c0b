"""What SLURM's programs are asked about nodes, reservations, users and QOS."""

from __future__ import annotations

import pytest

from slurm_shim.commands import Slurm
from slurm_shim.errors import NodeUnknown, SlurmConflict, SlurmDenied, SlurmInvalid, SlurmUnreachable
from slurm_shim.inventory import questions
from tests.slurm_programs import Programs

NODE = "NodeName=n1 CPUTot=8 State=IDLE+DRAIN Reason=x [root@5]"


def test_nodes_are_changed_in_one_call_and_read(programs: Programs) -> None:
    programs.write("scontrol", f'[ "$1" = update ] || echo "{NODE}"')
    (node,) = questions.change_nodes(programs.slurm().ask, ["n1", "n2"], "DRAIN", "bad disk")
    assert programs.calls("scontrol") == [
        ["update", "nodename=n1,n2", "state=DRAIN", "reason=bad disk"],
        ["-o", "show", "node", "n1,n2"],
    ]
    assert (node["reason"], node["reason_time"]) == ("x", 5)


def test_very_many_nodes_go_in_several_calls(programs: Programs) -> None:
    programs.write("scontrol")
    questions.change_nodes(programs.slurm().ask, [f"n{number}" for number in range(1500)], "RESUME", None)
    assert [len(call[1].split(",")) for call in programs.calls("scontrol") if call[0] == "update"] == [1000, 500]


@pytest.mark.parametrize(
    ("why", "said", "kind"),
    [
        ("not an operator", "slurm_update error: Invalid user id", SlurmDenied),
        ("it is idle", "slurm_update error: Invalid node state specified", SlurmConflict),
        ("it is not there", "slurm_update error: Invalid node name specified", NodeUnknown),
        ("no reason", "You must specify a reason when DOWNING or DRAINING a node. Request denied", SlurmInvalid),
        ("no controller", "slurm_update error: Unable to contact slurm controller (connect failure)", SlurmUnreachable),
    ],
)
def test_refusals_keep_their_meaning(programs: Programs, why: str, said: str, kind: type[Exception]) -> None:
    programs.write("scontrol", f"echo '{said}' >&2; exit 1")
    with pytest.raises(kind):
        questions.change_nodes(programs.slurm().ask, ["n1"], "RESUME", None)


def test_a_database_that_is_down_is_unreachable(programs: Programs) -> None:
    said = (
        "sacctmgr: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:h:6819: "
        "Connection refused\nsacctmgr: error: Sending PersistInit msg: Connection refused"
    )
    programs.write("sacctmgr", f"echo '{said}' >&2; exit 1")
    slurm: Slurm = programs.slurm()
    for question in (questions.list_associations, questions.list_qos):
        with pytest.raises(SlurmUnreachable):
            question(slurm.ask)


def test_cpu_time_is_summed_from_accounting(programs: Programs) -> None:
    programs.write("sacct", 'd=${5#*=}; printf "ann%s10%s\\nann%s5%s\\n" "$d" "$d" "$d" "$d"')
    assert questions.sum_cpu_time(programs.slurm().ask, 3600) == {"ann": 15}
    (call,) = programs.calls("sacct")
    assert call[5:] == ["-S", "now-3600seconds", "-E", "now", "-o", "User,CPUTimeRAW"]
