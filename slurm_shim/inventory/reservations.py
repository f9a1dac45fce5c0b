"""Reservations: what scontrol prints -> plain dicts. Pure.

Reservation  name state start_time end_time duration_s nodes node_count core_count features partition flags tres users
             groups accounts licenses
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slurm_shim.ids import expand_hosts
from slurm_shim.inventory.nodes import compile_keys, parse_pairs
from slurm_shim.parse import parse_count, parse_tres, split_list, to_text_or_none, translate_errors
from slurm_shim.times import parse_duration, parse_epoch

Reservation = dict[str, Any]

_KEYS = compile_keys(
    (
        *("ReservationName", "StartTime", "EndTime", "Duration", "Nodes", "NodeCnt", "CoreCnt", "Features"),
        *("PartitionName", "Flags", "TRES", "Users", "Groups", "Accounts", "Licenses", "State", "BurstBuffer"),
        *("Watts", "MaxStartDelay", "Comment"),
    )
)


def parse_reservations(text: str) -> list[Reservation]:
    """Parse what `scontrol -o -a show reservation` printed.

    "No reservations in the system" is none.
    """
    with translate_errors():
        return [
            _build_reservation(parse_pairs(line, _KEYS))
            for line in text.splitlines()
            if line.startswith("ReservationName=")
        ]


def _build_reservation(pairs: Mapping[str, str]) -> Reservation:
    return {
        "name": pairs["ReservationName"],
        "state": pairs.get("State", "UNKNOWN"),
        "start_time": parse_epoch(pairs.get("StartTime", "")),
        "end_time": parse_epoch(pairs.get("EndTime", "")),
        "duration_s": parse_duration(pairs.get("Duration", "")),
        "nodes": expand_hosts(to_text_or_none(pairs.get("Nodes", "")) or ""),
        "node_count": parse_count(pairs.get("NodeCnt", "0")),
        "core_count": parse_count(pairs.get("CoreCnt", "0")),
        "features": split_list(pairs.get("Features", "")),
        "partition": to_text_or_none(pairs.get("PartitionName", "")),
        "flags": split_list(pairs.get("Flags", "")),
        "tres": parse_tres(pairs.get("TRES", "")),
        "users": split_list(pairs.get("Users", "")),
        "groups": split_list(pairs.get("Groups", "")),
        "accounts": split_list(pairs.get("Accounts", "")),
        "licenses": split_list(pairs.get("Licenses", "")),
    }
