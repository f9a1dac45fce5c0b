"""sinfo(1): nodes and partitions, grouped by the format."""

from __future__ import annotations

import os
import sys
import time

from .. import cluster, layout, nodes, times
from ..hosts import expand_hosts, fold_hosts
from ..nodes import Node
from ..states import Refused
from .options import Options, check_cluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Every node answers and no partition is hidden; there are no federations and no FUTURE nodes; memory is printed in
# megabytes anyway; -v would report the connection to a controller.
OPTIONS = Options(
    "sinfo",
    """clusters/M= cluster= dead/d exact/e format/o= Format/O= help list-reasons/R long/l nodes/n= noheader/h Node/N
    partition/p= reservation/T sort/S= states/t= summarize/s usage version/V""",
    without_effect="all/a federation future/F hide local noconvert responding/r verbose/v",
    same={"cluster": "clusters"},
)
FORMATS = {
    "": "%9P %.5a %.10l %.6D %.6t %N", "l": "%9P %.5a %.10l %.10s %.4r %.8h %.10g %.6D %.11T %N",
    "N": "%9N %.6D %.9P %6t", "Nl": "%9N %.6D %.9P %.11T %4c %.8z %.6m %.8d %.6w %.8f %20E",
    "s": "%9P %.5a %.10l %.16F %N", "R": "%20E %9u %19H %N", "Rl": "%20E %12U %19H %6t %N",
}  # fmt: skip
VALID = (
    "unknown,down,idle,allocated,?,mixed,future,drain,drained,draining,no_respond,reserved,perfctrs,cloud,completing,"
    "powering_down,powered_down,power_down,powering_up,fail,maint,reboot,reboot^,unknown"
)
SYNONYMS = {"alloc": "allocated", "mix": "mixed", "drng": "draining", "comp": "completing", "resv": "reserved"}


class Group:
    """Nodes of one partition that look alike to the format asked for.

    `nodes` may be empty.
    """

    __slots__ = ("conf", "facts", "nodes", "part", "state")

    def __init__(self, conf: Any, part: Any, state: str, members: list[Node], facts: dict[str, Any]) -> None:
        self.conf, self.part, self.state, self.nodes, self.facts = conf, part, state, members, facts

    def get_first(self, value: Callable[[Node], object], nothing: str = "n/a") -> str:
        """Return the value of the first node, or `nothing` without nodes."""
        return str(value(self.nodes[0])) if self.nodes else nothing

    def format_span(self, value: Callable[[Node], int]) -> str:
        """Format one number, or the least with a plus when they differ."""
        numbers = [value(node) for node in self.nodes]
        return f"{min(numbers)}{'+' if min(numbers) != max(numbers) else ''}" if numbers else "0"

    @property
    def cpu_states(self) -> str:
        """CPUs allocated / idle / other / all."""
        sums = [sum(column) for column in zip(*(node.cpu_counts for node in self.nodes), strict=True)] or [0] * 4
        return "/".join(map(str, sums))

    @property
    def node_states(self) -> str:
        """Nodes allocated / idle / other / all."""
        taken = sum(1 for node in self.nodes if node.cpus_taken and node.base_state != "DOWN")
        other = sum(1 for node in self.nodes if not node.cpus_taken and node.flags)
        return f"{taken}/{len(self.nodes) - taken - other}/{other}/{len(self.nodes)}"

    @property
    def time_limit(self) -> str:
        """Time limit of the partition."""
        minutes = self.part["max_time_min"]
        return "infinite" if minutes is None else times.format_short(minutes * 60)

    @property
    def default_time(self) -> str:
        """Default time limit of the partition."""
        minutes = self.part["default_time_min"]
        return "n/a" if minutes is None else times.format_short(minutes * 60)

    @property
    def starred_name(self) -> str:
        """Name of the partition; a star marks the default one."""
        return self.part["name"] + ("*" if self.part["default"] else "")


# name: (header, value, whether it adds nodes up instead of telling them apart)
FIELDS: dict[str, tuple[str, Callable[[Group], str], bool]] = {
    "all": ("", lambda g: "", False),
    "allocmem": ("ALLOCMEM", lambda g: g.get_first(lambda n: n.memory_taken_mb, "0"), False),
    "allocnodes": ("ALLOCNODES", lambda g: "all", False),
    "available": ("AVAIL", lambda g: g.state.lower(), False),
    "cluster": ("CLUSTER", lambda g: "N/A", False),
    "comment": ("COMMENT", lambda g: "(null)", False),
    "cores": ("CORES", lambda g: "1", False),
    "cpus": ("CPUS", lambda g: g.format_span(lambda n: n.facts["cpus"]), True),
    "cpusload": ("CPU_LOAD", lambda g: g.facts["load"], False),
    "cpusstate": ("CPUS(A/I/O/T)", lambda g: g.cpu_states, True),
    "defaulttime": ("DEFAULTTIME", lambda g: g.default_time, False),
    "disk": ("TMP_DISK", lambda g: "0", True),
    "extra": ("EXTRA", lambda g: "(null)", False),
    "features": ("AVAIL_FEATURES", lambda g: g.get_first(lambda n: ",".join(n.facts["features"]) or "(null)"), False),
    "features_act": (
        "ACTIVE_FEATURES",
        lambda g: g.get_first(lambda n: ",".join(n.facts["features"]) or "(null)"),
        False,
    ),
    "freemem": ("FREE_MEM", lambda g: str(g.facts["free_mb"]), False),
    "gres": ("GRES", lambda g: g.get_first(lambda n: n.gres or "(null)"), False),
    "gresused": (
        "GRES_USED",
        lambda g: g.get_first(lambda n: f"gpu:{len(n.gpus_taken)}" if n.gres else "gpu:0"),
        False,
    ),
    "groups": ("GROUPS", lambda g: "all", False),
    "maxcpuspernode": ("MAX_CPUS_PER_NODE", lambda g: "UNLIMITED", False),
    "memory": ("MEMORY", lambda g: g.format_span(lambda n: n.facts["memory_mb"]), True),
    "nodeaddr": ("NODE_ADDR", lambda g: g.get_first(lambda n: "127.0.0.1"), False),
    "nodeai": ("NODES(A/I)", lambda g: "/".join(g.node_states.split("/")[:2]), True),
    "nodeaiot": ("NODES(A/I/O/T)", lambda g: g.node_states, True),
    "nodehost": ("HOSTNAMES", lambda g: g.get_first(lambda n: g.facts["host"]), False),
    "nodelist": ("NODELIST", lambda g: fold_hosts([node.name for node in g.nodes]), True),
    "nodes": ("NODES", lambda g: str(len(g.nodes)), True),
    "oversubscribe": ("OVERSUBSCRIBE", lambda g: "NO", False),
    "partition": ("PARTITION", lambda g: g.starred_name, False),
    "partitionname": ("PARTITION", lambda g: g.part["name"], False),
    "port": ("PORT", lambda g: "6818", False),
    "preemptmode": ("PREEMPT_MODE", lambda g: "OFF", False),
    "priorityjobfactor": ("PRIO_JOB_FACTOR", lambda g: "1", False),
    "prioritytier": ("PRIO_TIER", lambda g: "1", False),
    "reason": ("REASON", lambda g: g.get_first(lambda n: n.reason or "none", "none"), False),
    "root": ("ROOT", lambda g: "no", False),
    "size": ("JOB_SIZE", lambda g: "1-infinite", False),
    "socketcorethread": ("S:C:T", lambda g: g.get_first(lambda n: f"{n.facts['cpus']}:1:1"), True),
    "sockets": ("SOCKETS", lambda g: g.format_span(lambda n: n.facts["cpus"]), True),
    "statecompact": ("STATE", lambda g: g.get_first(lambda n: n.compact_state), False),
    "statecomplete": ("STATECOMPLETE", lambda g: g.get_first(lambda n: n.complete_state), False),
    "statelong": ("STATE", lambda g: g.get_first(lambda n: n.long_state), False),
    "threads": ("THREADS", lambda g: "1", True),
    "time": ("TIMELIMIT", lambda g: g.time_limit, False),
    "timestamp": (
        "TIMESTAMP",
        lambda g: times.format_time(g.nodes[0].reason_time if g.nodes else None, "Unknown"),
        False,
    ),
    "user": ("USER", lambda g: g.get_first(lambda n: (n.reason_user or "Unknown").partition("(")[0], "Unknown"), False),
    "userlong": ("USER", lambda g: g.get_first(lambda n: n.reason_user or "Unknown", "Unknown"), False),
    "version": ("VERSION", lambda g: g.facts["version"], False),
    "weight": ("WEIGHT", lambda g: g.format_span(lambda n: n.facts["weight"]), True),
}
SIZES = ("cpus", "memory", "sockets", "socketcorethread", "weight")
LETTERS = {
    "a": "available", "A": "nodeai", "b": "features_act", "B": "maxcpuspernode", "c": "cpus", "C": "cpusstate",
    "d": "disk", "D": "nodes", "e": "freemem", "E": "reason", "f": "features", "F": "nodeaiot", "g": "groups",
    "G": "gres", "h": "oversubscribe", "H": "timestamp", "i": "cluster", "I": "priorityjobfactor", "l": "time",
    "L": "defaulttime", "m": "memory", "M": "preemptmode", "n": "nodehost", "N": "nodelist", "o": "nodeaddr",
    "O": "cpusload", "p": "prioritytier", "P": "partition", "r": "root", "R": "partitionname", "s": "size",
    "S": "allocnodes", "t": "statecompact", "T": "statelong", "u": "user", "U": "userlong", "v": "version",
    "V": "cluster", "w": "weight", "X": "sockets", "Y": "cores", "z": "socketcorethread", "Z": "threads",
}  # fmt: skip
STATE_ORDER = ["draining", "drained", "down", "fail", "mixed", "allocated", "idle"]


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run sinfo; return its exit status."""
    asked, _ = OPTIONS.gather(argv)
    check_cluster("sinfo", conf, asked.get("clusters"))
    wanted_states = _parse_states(asked)
    head, columns = _parse_columns(asked)
    with cluster.read_state(conf) as state:
        known = nodes.load_nodes(conf, state)
        part_states = state.load_partition_states()
    if "reservation" in asked:
        print("No reservations in the system")
        return 0
    groups = _build_groups(conf, asked, known, part_states, [name for name, *_ in columns], wanted_states)
    if "sort" in asked:
        groups = _sort_groups(groups, str(asked["sort"]))
    columns = _widen_columns(columns, groups, "Node" in asked)
    if "noheader" not in asked:
        if "long" in asked:
            print(time.strftime("%a %b %d %H:%M:%S %Y"))
        print(
            head + "".join(layout.pad_cell(_get_title(n), width, right) + after for n, width, right, after in columns)
        )
    for group in groups:
        cells = [layout.pad_cell(_get_value(n, group), width, right) + after for n, width, right, after in columns]
        sys.stdout.write(head + "".join(cells) + "\n")
    return 0


def _parse_states(asked: dict[str, Any]) -> set[str] | None:
    text = asked.get("states")
    if not text or str(text).lower() == "all":
        return {"down", "drained", "draining", "fail"} if "list-reasons" in asked else None
    chosen = set()
    for word in str(text).lower().split(","):
        name = SYNONYMS.get(word, word)
        if name not in VALID.split(","):
            raise Refused([f'sinfo: error: Bad state string: "{word}"', f"sinfo: error: valid states: {VALID}"])
        chosen |= {"drained", "draining"} if name == "drain" else {name}
    return chosen


def _parse_columns(asked: dict[str, Any]) -> tuple[str, list[layout.Column]]:
    def unknown(name: str) -> None:
        print(f"sinfo: error: Invalid node format specification: {name}", file=sys.stderr)

    if asked.get("Format"):
        return "", layout.parse_names(str(asked["Format"]), FIELDS, unknown)
    if asked.get("format"):
        return layout.parse_letters(str(asked["format"]), LETTERS, unknown)
    letter = "R" if "list-reasons" in asked else "s" if "summarize" in asked else "N" if "Node" in asked else ""
    letter += "l" if "long" in asked and letter != "s" else ""
    default = FORMATS[letter] if letter else os.environ.get("SINFO_FORMAT") or FORMATS[""]
    return layout.parse_letters(default, LETTERS, unknown)


def _widen_columns(columns: list[layout.Column], groups: Sequence[Group], by_node: bool) -> list[layout.Column]:
    """Widen the node table's name columns to their longest value."""
    if not by_node:
        return columns
    widened: list[layout.Column] = []
    for name, width, right, after in columns:
        if width == 9 and name in ("nodelist", "partition"):
            width = max([9, *(len(_get_value(name, group)) for group in groups)])
        widened.append((name, width, right, after))
    return widened


def _get_title(name: str) -> str:
    return name[1:] if name.startswith("=") else FIELDS[name][0]


def _get_value(name: str, group: Group) -> str:
    return name[1:] if name.startswith("=") else FIELDS[name][1](group)


def _build_groups(
    conf: dict[str, Any], asked: dict[str, Any], known: dict[str, Node], part_states: dict[str, str],
    fields: list[str], wanted_states: set[str] | None,
) -> list[Group]:  # fmt: skip
    facts = nodes.describe_machine()
    chosen = set(expand_hosts(str(asked["nodes"]))) if "nodes" in asked else None
    parts = [
        p for p in conf["partitions"].values() if "partition" not in asked or p["name"] in asked["partition"].split(",")
    ]
    groups: list[Group] = []
    for part in parts:
        members = [known[name] for name in part["nodes"]]
        members = [n for n in members if chosen is None or n.name in chosen]
        if "dead" in asked:
            members = []  # every node answers: they are all this machine
        members = [n for n in members if wanted_states is None or n.long_state in wanted_states]
        state = nodes.get_partition_state(conf, part_states, part["name"])
        found: dict[tuple[str, ...], Group] = {}
        for node in members:
            single = Group(conf, part, state, [node], facts)
            key = (node.name,) if "Node" in asked else _build_group_key(fields, single, "exact" in asked)
            if key in found:
                found[key].nodes.append(node)
            else:
                found[key] = single
        by_state = sorted(found.values(), key=lambda g: STATE_ORDER.index(g.nodes[0].long_state))
        groups += list(found.values()) if "Node" in asked else by_state
        if not found and "Node" not in asked and "list-reasons" not in asked:
            groups.append(Group(conf, part, state, [], facts))
    if "Node" in asked:
        groups.sort(key=lambda g: list(known).index(g.nodes[0].name))
    return _merge_reasons(groups) if "list-reasons" in asked else groups


def _build_group_key(fields: list[str], group: Group, exact: bool) -> tuple[str, ...]:
    """Build the key that nodes of one line share.

    With `exact` also the sizes that lines otherwise give the least of.
    """
    names = [name for name in fields if name in FIELDS and (not FIELDS[name][2] or (exact and name in SIZES))]
    return tuple(FIELDS[name][1](group) for name in names)


def _merge_reasons(groups: list[Group]) -> list[Group]:
    """Merge groups for -R: a node counts once, whatever its partitions."""
    seen: set[str] = set()
    kept: list[Group] = []
    for group in groups:
        group.nodes = [node for node in group.nodes if node.name not in seen and node.reason]
        seen |= {node.name for node in group.nodes}
        if group.nodes:
            kept.append(group)
    return kept


def _sort_groups(groups: list[Group], text: str) -> list[Group]:
    for word in reversed(text.split(",")):
        name = LETTERS.get(word[-1:])
        if not name:
            raise Refused(f"sinfo: error: Invalid sort specification: {word}")
        groups = sorted(groups, key=FIELDS[name][1], reverse=word.startswith("-"))
    return groups
