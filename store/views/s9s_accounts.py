"""Users and QOS as the S9S API shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.times import format_duration

Row = Mapping[str, Any]

# sacctmgr(1), AdminLevel -> the document's words.
LEVELS = {"None": "none", "Not Set": "none", "Operator": "operator", "Administrator": "admin"}


def to_user_json(name: str, associations: Sequence[Row], counts: tuple[int, int], cpu_s: int | None) -> dict[str, Any]:
    """Build a user of the list.

    `counts` are the running and the waiting jobs. Null is what only accounting would tell of somebody whom it does not
    know, or where there is none.
    """
    first = associations[0] if associations else None
    return {
        "username": name,
        "default_account": first["default_account"] if first else None,
        "admin_level": LEVELS.get(first["admin_level"], "none") if first else None,
        "jobs_running": counts[0],
        "jobs_pending": counts[1],
        "cpu_time_used": None if cpu_s is None else f"{cpu_s // 3600}h",
        "associations": [
            {"account": row["account"], "partition": row["partition"], "qos": row["qos"]}
            for row in associations
            if row["account"] is not None
        ],
    }


def to_limits_json(associations: Sequence[Row]) -> dict[str, Any]:
    """Build the limits of a user: those of the default account.

    Of its association for all partitions, if it has one. Null is no limit of one's own.
    """
    own = [row for row in associations if row["account"] == row["default_account"]] or list(associations)
    chosen = min(own, key=lambda row: row["partition"] is not None, default=None)
    if chosen is None:
        return {"max_jobs": None, "max_submit": None, "max_wall": None, "max_tres": {}}
    return {
        "max_jobs": chosen["max_jobs"],
        "max_submit": chosen["max_submit_jobs"],
        "max_wall": format_duration(chosen["max_wall_s"]),
        "max_tres": chosen["max_tres"],
    }


def to_qos_json(row: Row) -> dict[str, Any]:
    """Build a QOS; null is no limit."""
    return {
        "name": row["name"],
        "description": row["description"],
        "priority": row["priority"],
        "preempt": row["preempt"],
        "preempt_mode": row["preempt_mode"],
        "preempt_exempt_time": format_duration(row["preempt_exempt_time_s"]),
        "grace_time": format_duration(row["grace_time_s"]),
        "flags": row["flags"],
        "usage_factor": row["usage_factor"],
        "usage_threshold": row["usage_threshold"],
        "limits": {
            "max_wall": format_duration(row["max_wall_s"]),
            "max_jobs_per_user": row["max_jobs_per_user"],
            "max_jobs_per_account": row["max_jobs_per_account"],
            "max_submit_per_user": row["max_submit_jobs_per_user"],
            "max_submit_per_account": row["max_submit_jobs_per_account"],
            "max_tres_per_job": row["max_tres"],
            "max_tres_per_user": row["max_tres_per_user"],
            "min_tres_per_job": row["min_tres"],
            "group_jobs": row["grp_jobs"],
            "group_submit": row["grp_submit_jobs"],
            "group_wall": format_duration(row["grp_wall_s"]),
            "group_tres": row["grp_tres"],
        },
    }
