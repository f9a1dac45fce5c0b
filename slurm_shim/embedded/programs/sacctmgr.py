"""sacctmgr(1): one cluster, one account and one user; read-only."""

from __future__ import annotations

import os
import pwd
import sys

from ..states import Refused
from .options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Nothing can be changed, so no change is asked about, and it is read-only anyway.
OPTIONS = Options(
    "sacctmgr",
    "help/h noheader/n parsable/p parsable2/P usage version/V",
    without_effect="immediate/i oneliner/o quiet/Q readonly/r verbose/v",
)
QOS_COLUMNS = (
    "Name,Priority,GraceTime,Preempt,PreemptExemptTime,PreemptMode,Flags,UsageThres,UsageFactor,GrpTRES,GrpTRESMins,"
    "GrpTRESRunMins,GrpJobs,GrpSubmit,GrpWall,MaxTRES,MaxTRESPerNode,MaxTRESMins,MaxWall,MaxTRESPU,MaxJobsPU,"
    "MaxSubmitPU,MaxTRESPA,MaxJobsPA,MaxSubmitPA,MinTRES"
)
DEFAULTS = {
    "user": "User,Def Acct,Admin", "account": "Account,Descr,Org", "qos": QOS_COLUMNS,
    "cluster": "Cluster,ControlHost,ControlPort,RPC", "assoc": "Cluster,Account,User,Partition,QOS,Def QOS",
}  # fmt: skip
WITH_ASSOCIATIONS = (
    "User,Def Acct,Admin,Cluster,Account,Partition,Share,Priority,MaxJobs,MaxNodes,MaxCPUs,MaxSubmit,MaxWall,"
    "MaxCPUMins,QOS,Def QOS"
)
ENTITIES = {"users": "user", "accounts": "account", "clusters": "cluster", "associations": "assoc",
            "association": "assoc", "assocs": "assoc"}  # fmt: skip
KEYS = {
    "user": "user", "name": "name", "account": "account", "defaultaccount": "defaultaccount",
    "defacct": "defaultaccount",
    "adminlevel": "admin", "admin": "admin", "cluster": "cluster", "partition": "partition", "qos": "qos",
    "defaultqos": "defaultqos", "defqos": "defaultqos", "description": "descr", "descr": "descr", "organization": "org",
    "org": "org", "priority": "priority", "share": "share", "fairshare": "share", "controlhost": "host",
    "controlport": "port", "rpc": "rpc", "gracetime": "GraceTime", "preemptmode": "PreemptMode",
    "usagefactor": "UsageFactor",
}  # fmt: skip
# Limits and the like, which nobody can set here, by all their names; the last one is the title.
UNSET = {
    name.lower(): names.split()[-1]
    for names in (
        "Preempt", "PreemptExemptTime", "Flags", "UsageThreshold UsageThres", "GrpTRES", "GrpTRESMins",
        "GrpTRESRunMins", "GrpJobs", "GrpSubmitJobs GrpSubmit", "GrpWall",
        "MaxTRES MaxTRESPerJob MaxTRES", "MaxTRESPerNode", "MaxTRESMins", "MaxWall", "MaxTRESPerUser MaxTRESPU",
        "MaxJobsPerUser MaxJobsPU", "MaxSubmitJobsPerUser MaxSubmitPU", "MaxTRESPerAccount MaxTRESPA",
        "MaxJobsPerAccount MaxJobsPA", "MaxSubmitJobsPerAccount MaxSubmitPA", "MinTRES", "MaxJobs",
        "MaxSubmitJobs MaxSubmit", "MaxNodes", "MaxCPUs", "MaxCPUMins",
    )
    for name in names.split()
}  # fmt: skip
NO_ENTITY = [
    "No valid entity in list command",
    'Input line must include "Account", "Association", "Cluster", "Configuration",',
    '"Event", "Federation", "Problem", "QOS", "Resource", "Reservation",',
    '"RunAwayJobs", "Stats", "Transaction", "TRES", "User", or "WCKey"',
]
TITLES = {"defaultaccount": "Def Acct", "defaultqos": "Def QOS", "user": "User", "account": "Account", "admin": "Admin",
          "cluster": "Cluster", "partition": "Partition", "qos": "QOS", "descr": "Descr", "org": "Org", "name": "Name",
          "priority": "Priority", "share": "Share",
          "host": "ControlHost", "port": "ControlPort", "rpc": "RPC", "GraceTime": "GraceTime",
          "PreemptMode": "PreemptMode", "UsageFactor": "UsageFactor",
          **{title: title for title in UNSET.values()}}  # fmt: skip


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run sacctmgr; return its exit status."""
    asked, words = OPTIONS.gather(argv)
    verb = words[0].lower() if words else ""
    if verb in ("add", "create", "modify", "delete", "remove"):
        raise Refused(" Problem: Access/permission denied")
    if verb not in ("show", "list") or len(words) < 2:
        raise Refused(f"sacctmgr: error: invalid keyword: {' '.join(words[:1])}")
    entity = ENTITIES.get(words[1].lower(), words[1].lower())
    if entity not in DEFAULTS:
        raise Refused(NO_ENTITY)
    _print_table(asked, _parse_columns(entity, words[2:]), _build_rows(conf, words[2:], entity))
    return 0


def _parse_columns(entity: str, words: list[str]) -> list[str]:
    usual = DEFAULTS[entity]
    if entity == "user" and any(word.lower().startswith("witha") for word in words):
        usual = WITH_ASSOCIATIONS
    text = next((word.partition("=")[2] for word in words if word.lower().startswith("format=")), usual)
    names = []
    for word in text.split(","):
        name = word.partition("%")[0].strip().lower().replace(" ", "")
        key = KEYS.get(name) or UNSET.get(name)
        if key is None:
            raise Refused(f"Unknown field '{name}'")
        names.append(key)
    return names


def _build_rows(conf: dict[str, Any], words: list[str], entity: str) -> list[dict[str, str]]:
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = "nobody"  # what SLURM prints for a uid without a passwd entry
    row = {
        "user": user, "name": user if entity == "user" else "normal", "account": user, "defaultaccount": user,
        "admin": "Administrator" if uid == 0 else "None", "cluster": conf["cluster"], "partition": "", "qos": "normal",
        "defaultqos": "", "descr": user, "org": user, "priority": "0" if entity == "qos" else "", "share": "1",
        "host": "127.0.0.1",
        "port": "6817",
        "rpc": "9728", "GraceTime": "00:00:00", "PreemptMode": "cluster", "UsageFactor": "1.000000",
        **dict.fromkeys(UNSET.values(), ""),
    }  # fmt: skip
    if entity == "qos":
        row["descr"] = "Normal QOS default"
    chosen = [
        word.partition("=")[2] or word
        for word in words
        if "=" not in word or word.lower().startswith(("user=", "name="))
    ]
    chosen = [word for word in chosen if word.lower() not in ("withassoc", "where", "withcoord")]
    subject = {"user": "user", "account": "account", "cluster": "cluster", "qos": "qos", "assoc": "user"}[entity]
    if chosen and row[subject] not in chosen[0].split(","):
        return []
    return [row]


def _print_table(asked: dict[str, Any], columns: list[str], rows: list[dict[str, str]]) -> None:
    lines = [] if "noheader" in asked else [[TITLES[name] for name in columns]]
    body = [[row[name] for name in columns] for row in rows]
    if "parsable" in asked or "parsable2" in asked:
        end = "|" if "parsable" in asked else ""
        sys.stdout.write("".join("|".join(line) + end + "\n" for line in [*lines, *body]))
        return
    if lines:
        lines.append(["-" * 10] * len(columns))
    sys.stdout.write("".join("".join(f"{text[:10]:>10} " for text in line) + "\n" for line in [*lines, *body]))
