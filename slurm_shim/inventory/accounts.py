"""Users and QOS: what sacctmgr and sacct print -> plain dicts. Pure.

Association  user default_account admin_level cluster account partition qos default_qos max_jobs max_submit_jobs
             max_wall_s max_tres
Qos  name description priority grace_time_s preempt preempt_mode preempt_exempt_time_s flags usage_factor
     usage_threshold grp_tres grp_jobs grp_submit_jobs grp_wall_s max_tres max_tres_per_user max_jobs_per_user
     max_jobs_per_account max_submit_jobs_per_user max_submit_jobs_per_account max_wall_s min_tres
None is "no limit", or for texts "not set".
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from slurm_shim.errors import UnreadableAnswer
from slurm_shim.parse import parse_float, parse_tres, split_list, split_records, to_text_or_none, translate_errors
from slurm_shim.times import parse_duration

Association = dict[str, Any]
Qos = dict[str, Any]

# sacctmgr(1), LIST/SHOW USER with associations; names there hold no `|`.
ASSOCIATION_FIELDS = (
    *("User", "DefaultAccount", "AdminLevel", "Cluster", "Account", "Partition", "QOS", "DefaultQOS", "MaxJobs"),
    *("MaxSubmitJobs", "MaxWall", "MaxTRES"),
)
# sacctmgr(1), LIST/SHOW QOS. Free text last.
QOS_FIELDS = (
    *("Name", "Priority", "GraceTime", "Preempt", "PreemptMode", "PreemptExemptTime", "Flags", "UsageFactor"),
    *("UsageThreshold", "GrpTRES", "GrpJobs", "GrpSubmitJobs", "GrpWall", "MaxTRES", "MaxTRESPerUser"),
    *("MaxJobsPerUser", "MaxJobsPerAccount", "MaxSubmitJobsPerUser", "MaxSubmitJobsPerAccount", "MaxWall", "MinTRES"),
    "Description",
)
USAGE_FIELDS = ("User", "CPUTimeRAW")


def parse_associations(text: str) -> list[Association]:
    """Parse `sacctmgr -nP show user withassoc format=ASSOCIATION_FIELDS`.

    One row for each association; a user without any has one row without an account.
    """
    with translate_errors():
        return [_build_association(line.split("|")) for line in text.splitlines() if line]


def _build_association(fields: list[str]) -> Association:
    if len(fields) != len(ASSOCIATION_FIELDS):
        raise UnreadableAnswer(f"sacctmgr printed an association of {len(fields)} fields")
    user, default, level, cluster, account, partition, qos, default_qos, jobs, submit, wall, tres = fields
    return {
        "user": user,
        "default_account": to_text_or_none(default),
        "admin_level": level,
        "cluster": to_text_or_none(cluster),
        "account": to_text_or_none(account),
        "partition": to_text_or_none(partition),
        "qos": split_list(qos),
        "default_qos": to_text_or_none(default_qos),
        "max_jobs": _parse_limit(jobs),
        "max_submit_jobs": _parse_limit(submit),
        "max_wall_s": parse_duration(wall),
        "max_tres": parse_tres(tres),
    }


def parse_qos(text: str) -> list[Qos]:
    """Parse `sacctmgr -nP show qos format=QOS_FIELDS`."""
    with translate_errors():
        return [_build_qos(line.split("|", len(QOS_FIELDS) - 1)) for line in text.splitlines() if line]


def _build_qos(fields: list[str]) -> Qos:
    if len(fields) != len(QOS_FIELDS):
        raise UnreadableAnswer(f"sacctmgr printed a QOS of {len(fields)} fields")
    row = dict(zip(QOS_FIELDS, fields, strict=True))
    return {
        "name": row["Name"],
        "description": row["Description"] or None,
        "priority": _parse_limit(row["Priority"]),
        "grace_time_s": parse_duration(row["GraceTime"]),
        "preempt": split_list(row["Preempt"]),
        "preempt_mode": to_text_or_none(row["PreemptMode"]),
        "preempt_exempt_time_s": parse_duration(row["PreemptExemptTime"]),
        "flags": split_list(row["Flags"]),
        "usage_factor": parse_float(row["UsageFactor"]),
        "usage_threshold": parse_float(row["UsageThreshold"]),
        "grp_tres": parse_tres(row["GrpTRES"]),
        "grp_jobs": _parse_limit(row["GrpJobs"]),
        "grp_submit_jobs": _parse_limit(row["GrpSubmitJobs"]),
        "grp_wall_s": parse_duration(row["GrpWall"]),
        "max_tres": parse_tres(row["MaxTRES"]),
        "max_tres_per_user": parse_tres(row["MaxTRESPerUser"]),
        "max_jobs_per_user": _parse_limit(row["MaxJobsPerUser"]),
        "max_jobs_per_account": _parse_limit(row["MaxJobsPerAccount"]),
        "max_submit_jobs_per_user": _parse_limit(row["MaxSubmitJobsPerUser"]),
        "max_submit_jobs_per_account": _parse_limit(row["MaxSubmitJobsPerAccount"]),
        "max_wall_s": parse_duration(row["MaxWall"]),
        "min_tres": parse_tres(row["MinTRES"]),
    }


def parse_usage(text: str, nonce: str) -> dict[str, int]:
    """Sum the CPU seconds of each user that `sacct -o USAGE_FIELDS` printed."""
    seconds: Counter[str] = Counter()
    for record in split_records(text, nonce, len(USAGE_FIELDS), "\n"):
        user, cpu_s = record.split(nonce)
        seconds[user] += _parse_limit(cpu_s) or 0
    return dict(seconds)


def _parse_limit(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
