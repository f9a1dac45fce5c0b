"""Nodes, partitions and reservations as a real SLURM told them."""

from __future__ import annotations

import pytest

from slurm_shim.inventory.nodes import KnownNodes, parse_nodes, parse_partitions
from slurm_shim.inventory.reservations import parse_reservations
from tests import ROOT

DATA = ROOT / "tests" / "data" / "slurm" / "22.05"


def recorded(name: str) -> str:
    return (DATA / name).read_text()


def test_nodes() -> None:
    nodes = parse_nodes(recorded("nodes"))
    assert [node["name"] for node in nodes] == ["node01", "node02", "node03", "node04"]
    drained = nodes[3]
    assert (drained["state"], drained["flags"], drained["available"]) == ("MIXED", ["DRAIN"], False)
    assert (drained["reason"], drained["reason_user"], drained["reason_time"]) == (
        *("Hardware maintenance", "root"),
        1795280227,
    )
    assert (nodes[2]["gpus"], nodes[2]["gpus_allocated"], nodes[2]["cpus"], nodes[2]["cpus_allocated"]) == (4, 2, 8, 4)
    assert (nodes[0]["host"], nodes[0]["version"], nodes[0]["load"], nodes[0]["partitions"]) == (
        *("vm", "22.05.8", 4.55),
        ["cpu"],
    )


def test_only_nodes_that_read_otherwise_are_made_anew() -> None:
    known, text = KnownNodes(), recorded("nodes")
    before = known.read_nodes(text)
    assert before == parse_nodes(text) and len(before) > 1
    name = before[0]["name"]
    changed = text.replace(f"NodeName={name} ", f"NodeName={name} Arch=none ", 1)
    after = known.read_nodes(changed)
    assert after == parse_nodes(changed) != before
    assert [now is then for now, then in zip(after, before, strict=True)] == [False] + [True] * (len(before) - 1)
    assert known.read_nodes(f"{text}{text}") == [*before, *before], "also one that is printed twice"
    assert known.read_nodes("") == [] and known.read_nodes(text) == before


def test_a_reason_cannot_pose_as_another_field() -> None:
    line = "NodeName=n1 CPUTot=8 State=IDLE+DRAIN Reason=was State=IDLE Gres=gpu:9 NodeName=n2 [root@1]"
    node = parse_nodes(line)[0]
    assert (node["name"], node["state"], node["flags"], node["gpus"]) == ("n1", "IDLE", ["DRAIN"], 0)
    assert node["reason"] == "was State=IDLE Gres=gpu:9 NodeName=n2"


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("who and when", "bad disk [root@1795280227]", ("bad disk", "root", 1795280227, None)),
        ("as nothing but a text", "bad disk", ("bad disk", None, None, None)),
        ("it quotes an older one", "was: x [amy@1] [bob@2]", ("was: x [amy@1]", "bob", 2, None)),
        ("a comment stands behind it", "x [root@5] Comment=hello there", ("x", "root", 5, "hello there")),
        ("lines of a long one", "first [root@5]        second", ("first\nsecond", "root", 5, None)),
    ],
)
def test_reasons(why: str, text: str, expected: tuple[str, str | None, int | None, str | None]) -> None:
    node = parse_nodes(f"NodeName=n1 CPUTot=8 State=IDLE+DRAIN Reason={text}")[0]
    assert (node["reason"], node["reason_user"], node["reason_time"], node["comment"]) == expected, why


def test_what_a_node_is_made_of() -> None:
    node = parse_nodes(recorded("nodes"))[0]
    assert (node["architecture"], node["os"]) == ("x86_64", "Linux 6.18.44-fc-v669 #1 SMP PREEMPT_DYNAMIC @0")
    assert (node["sockets"], node["cores_per_socket"], node["threads_per_core"]) == (8, 1, 1)
    assert (node["memory_mb"], node["memory_allocated_mb"], node["memory_free_mb"]) == (16000, 0, 22444)
    assert (node["boot_time"], node["slurmd_start_time"], node["last_busy_time"]) == (
        *(1795278054, 1795278315),
        1795280006,
    )
    assert node["tres"] == {"cpu": "8", "mem": "16000M", "billing": "8", "gres/gpu": "4"}
    assert (node["tres_allocated"], node["weight"], node["tmp_disk_mb"]) == ({"cpu": "3"}, 1, 0)


def test_a_node_that_has_never_answered_tells_little() -> None:
    node = parse_nodes("NodeName=n1 CPUTot=8 RealMemory=16000 FreeMem=N/A CPULoad=N/A State=DOWN BootTime=None")[0]
    assert (node["memory_free_mb"], node["load"], node["boot_time"], node["architecture"]) == (None, None, None, None)


@pytest.mark.parametrize(
    ("why", "state", "available", "usable"),
    [
        ("idle", "IDLE", True, True),
        ("some of it is in use", "MIXED", True, True),
        ("all of it is in use: its GPUs still count", "ALLOCATED", False, True),
        ("backfill has plans for it", "IDLE+PLANNED", False, True),
        ("backfill has plans for the rest of it", "MIXED+PLANNED", True, True),
        ("being woken", "MIXED#+CLOUD", True, True),
        ("about to boot, as sinfo writes it", "IDLE@", False, False),
        ("planned, as sinfo writes it", "IDLE-", False, True),
        ("silent, said of a flag", "IDLE+CLOUD*", False, False),
        ("ending jobs, as sinfo writes it", "ALLOCATED+", False, True),
        ("a job is just ending there", "MIXED+COMPLETING", True, True),
        ("drained", "IDLE+DRAIN", False, False),
        ("silent", "MIXED+NOT_RESPONDING", False, False),
        ("silent, as older releases write it", "IDLE*", False, False),
        ("reserved for maintenance", "IDLE+MAINTENANCE+RESERVED", False, False),
        ("failing", "IDLE+FAIL", False, False),
        ("down", "DOWN", False, False),
        ("switched off to save power, woken by a job", "IDLE+CLOUD+POWERED_DOWN", True, True),
        ("on its way down", "IDLE+POWERING_DOWN", False, False),
        ("about to boot", "IDLE+REBOOT_REQUESTED", False, False),
        ("a state of a later release", "FROBBED", False, False),
    ],
)
def test_which_nodes_take_work(why: str, state: str, available: bool, usable: bool) -> None:
    node = parse_nodes(f"NodeName=n1 State={state} CPUTot=1")[0]
    assert (node["available"], node["usable"]) == (available, usable), why


def test_partitions() -> None:
    cpu, gpu = parse_partitions(recorded("partitions"))
    assert (cpu["name"], cpu["is_default"], cpu["nodes"], cpu["max_time_s"]) == (
        "cpu",
        True,
        ["node01", "node02"],
        None,
    )
    assert (gpu["is_default"], gpu["max_time_s"], gpu["default_time_s"], gpu["state"]) == (False, 604800, None, "UP")
    assert (gpu["max_nodes"], gpu["cpus"], gpu["priority"], gpu["qos"], gpu["allow_accounts"]) == (
        *(None, 16, 1),
        *(None, None),
    )


def test_reservations() -> None:
    maintenance, group, cores = parse_reservations(recorded("reservations"))
    assert (maintenance["name"], maintenance["state"], maintenance["nodes"]) == ("maint1", "INACTIVE", ["node04"])
    assert (maintenance["start_time"], maintenance["end_time"], maintenance["duration_s"]) == (
        *(1795981542, 1795985142),
        3600,
    )
    assert (maintenance["flags"], maintenance["users"], maintenance["accounts"], maintenance["partition"]) == (
        *(["MAINT", "IGNORE_JOBS", "SPEC_NODES"], ["root"], []),
        None,
    )
    assert (group["state"], group["flags"], group["features"], group["accounts"], group["users"]) == (
        *("ACTIVE", [], [], ["root"]),
        [],
    )
    assert (cores["core_count"], cores["node_count"], cores["users"]) == (2, 1, ["games", "root"])
    assert cores["duration_s"] == 365 * 86400 and cores["tres"] == {"cpu": "2"}


def test_no_reservations() -> None:
    assert parse_reservations("No reservations in the system\n") == []
