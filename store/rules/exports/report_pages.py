"""What stands in each type of report: numbers, tables and charts. Pure.

See report_worker.py for the form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.rules.exports.totals import HOUR_S, Group, Totals
from store.times import format_duration, to_rfc3339

TITLES = {
    "utilization": "Utilization",
    "user_activity": "User activity",
    "job_summary": "Jobs",
    "efficiency": "Efficiency of jobs",
    "node_health": "Health of nodes",
}
MOST_ROWS, MOST_BARS = 1000, 15
Table = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What a report is made from.

    `nodes` are those of the partitions asked for, `unknown` are partitions that the cluster does not have.
    """

    totals: Totals
    nodes: Sequence[Mapping[str, Any]]
    cluster: str
    now: float
    has_accounting: bool = True
    unknown: Sequence[str] = ()

    @property
    def passed_s(self) -> float:
        """How much of the period has passed."""
        return max(0.0, min(self.now, self.totals.until) - self.totals.since)

    @property
    def cpus(self) -> int:
        """CPUs of all nodes."""
        return sum(node["cpus"] or 0 for node in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node["gpus"] or 0 for node in self.nodes)


def build_report(kind: str, facts: Facts, with_charts: bool) -> dict[str, Any]:
    """Build the report of this type."""
    totals = facts.totals
    summary, tables, charts = BUILDERS[kind](facts)
    notes = [f"The cluster has no partition called {name}." for name in facts.unknown]
    if not facts.has_accounting and kind != "node_health":
        notes.append("There is no accounting: only jobs that came through this server are counted, without their CPUs.")
    for table in tables:
        if len(table["rows"]) > MOST_ROWS:
            notes.append(f"{table['title']}: the first {MOST_ROWS} of {len(table['rows'])} rows.")
            table["rows"] = table["rows"][:MOST_ROWS]
    start, end = to_rfc3339(int(totals.since)), to_rfc3339(int(totals.until))
    of = f", partitions {', '.join(sorted(totals.partitions))}" if totals.partitions else ""
    generated = to_rfc3339(int(facts.now))
    return {
        "type": kind,
        "title": f"{TITLES[kind]} of {facts.cluster}",
        "subtitle": f"{start} to {end}{of}; made {generated}",
        "period": {"start": start, "end": end},
        "generated_at": generated,
        "notes": notes,
        "summary": summary,
        "tables": tables,
        "charts": [chart for chart in charts if chart["labels"]] if with_charts else [],
    }


Parts = tuple[list[list[Any]], list[Table], list[dict[str, Any]]]


def _build_utilization(facts: Facts) -> Parts:
    totals, group = facts.totals, facts.totals.all
    bucket_rows = []
    for bucket in totals.buckets:
        length_s = max(0.0, min(totals.bucket_s, facts.now - bucket.start, totals.until - bucket.start))
        cpu, gpu = (_to_percent(s, n * length_s) for s, n in ((bucket.cpu_s, facts.cpus), (bucket.gpu_s, facts.gpus)))
        bucket_rows.append(
            [to_rfc3339(int(bucket.start)), _to_hours(bucket.cpu_s), cpu, _to_hours(bucket.gpu_s), gpu, bucket.ended]
        )
    partition_rows = [
        [name, part.jobs, _to_hours(part.cpu_s), _to_hours(part.gpu_s)]
        for name, part in _sort_groups(totals.by_partition, lambda part: part.cpu_s)
    ]
    summary: list[list[Any]] = [
        ["CPU utilization (%)", _to_percent(group.cpu_s, facts.cpus * facts.passed_s)],
        ["GPU utilization (%)", _to_percent(group.gpu_s, facts.gpus * facts.passed_s)],
        ["CPU hours", _to_hours(group.cpu_s)],
        ["GPU hours", _to_hours(group.gpu_s)],
        ["CPUs now", facts.cpus],
        ["GPUs now", facts.gpus],
        ["Jobs ended", group.jobs],
        ["Average wait", format_duration(group.average_wait_s)],
    ]
    labels = _list_labels(totals)
    lines = [["CPU", [row[2] for row in bucket_rows]]] + (
        [["GPU", [row[4] for row in bucket_rows]]] if facts.gpus else []
    )
    return (
        summary,
        [
            _make_table(
                "over_time", "Over time", "start cpu_hours cpu_percent gpu_hours gpu_percent jobs_ended", bucket_rows
            ),
            _make_table("partitions", "Partitions", "partition jobs_ended cpu_hours gpu_hours", partition_rows),
        ],
        [
            {"title": "Utilization", "kind": "line", "labels": labels, "unit": "%", "series": lines},
            _build_chart("CPU hours by partition", "hours", [(row[0], row[2]) for row in partition_rows]),
        ],
    )


def _build_user_activity(facts: Facts) -> Parts:
    totals = facts.totals
    rows = [
        [
            name, group.jobs, group.completed, group.failed, group.cancelled, _to_hours(group.cpu_s),
            _to_hours(group.gpu_s), format_duration(group.average_wait_s), _to_share(group.cpu_efficiency),
        ]
        for name, group in _sort_groups(totals.users, lambda group: (group.cpu_s, group.jobs))
    ]  # fmt: skip
    summary: list[list[Any]] = [
        ["Users", len(rows)],
        ["Jobs ended", totals.all.jobs],
        ["CPU hours", _to_hours(totals.all.cpu_s)],
    ]
    names = "user jobs completed failed cancelled cpu_hours gpu_hours average_wait cpu_efficiency"
    charts = [
        _build_chart("CPU hours by user", "hours", [(row[0], row[5]) for row in rows]),
        _build_chart("Jobs by user", "jobs", sorted(((row[0], row[1]) for row in rows), key=lambda row: -row[1])),
    ]
    return summary, [_make_table("users", "Users", names, rows)], charts


def _build_job_summary(facts: Facts) -> Parts:
    totals, group = facts.totals, facts.totals.all
    states = [[state, count, _to_percent(count, group.jobs)] for state, count in totals.states.most_common()]
    partitions = [
        [
            name, part.jobs, part.completed, part.failed, part.cancelled,
            format_duration(part.average_run_s), format_duration(part.average_wait_s),
        ]
        for name, part in _sort_groups(totals.by_partition, lambda part: part.jobs)
    ]  # fmt: skip
    summary: list[list[Any]] = [
        ["Jobs ended", group.jobs],
        ["Completed", group.completed],
        ["Failed", group.failed],
        ["Cancelled", group.cancelled],
        ["Average run", format_duration(group.average_run_s)],
        ["Longest run", format_duration(group.longest_s if group.waits else None)],
        ["Average wait", format_duration(group.average_wait_s)],
    ]
    over_time = [[to_rfc3339(int(bucket.start)), bucket.ended] for bucket in totals.buckets]
    names = "partition jobs completed failed cancelled average_run average_wait"
    return (
        summary,
        [
            _make_table("states", "States", "state jobs percent", states),
            _make_table("partitions", "Partitions", names, partitions),
            _make_table("over_time", "Over time", "start jobs_ended", over_time),
        ],
        [
            _build_chart("Jobs by state", "jobs", [(row[0], row[1]) for row in states]),
            {
                "title": "Jobs ended", "kind": "bar", "labels": _list_labels(totals), "unit": "jobs",
                "series": [["jobs", [bucket.ended for bucket in totals.buckets]]],
            },
        ],
    )  # fmt: skip


def _build_efficiency(facts: Facts) -> Parts:
    totals, group = facts.totals, facts.totals.all
    users = [
        [
            name,
            part.measured,
            _to_share(part.cpu_efficiency),
            _to_share(part.memory_efficiency),
            _to_hours(part.given_s - part.used_s),
        ]
        for name, part in _sort_groups(totals.users, lambda part: part.given_s - part.used_s)
        if part.measured
    ]
    jobs = [
        [
            job["job_id"], job["name"], job["user"], job["partition"],
            format_duration(job["end_time"] - job["start_time"]),
            _to_share(job.get("cpu_efficiency")), _to_share(job.get("memory_efficiency")), _to_hours(wasted_s),
        ]
        for wasted_s, job in totals.list_wasteful()
    ]  # fmt: skip
    summary: list[list[Any]] = [
        ["Jobs measured", group.measured],
        ["Average CPU efficiency", _to_share(group.cpu_efficiency)],
        ["Average memory efficiency", _to_share(group.memory_efficiency)],
        ["Wasted CPU hours", _to_hours(max(0.0, group.given_s - group.used_s))],
    ]
    names = "job_id job_name user partition elapsed_time cpu_efficiency memory_efficiency wasted_cpu_hours"
    return (
        summary,
        [
            _make_table("users", "Users", "user jobs cpu_efficiency memory_efficiency wasted_cpu_hours", users),
            _make_table("jobs", "Jobs that left most CPU time unused", names, jobs),
        ],
        [
            {
                "title": "Jobs by CPU efficiency", "kind": "bar", "unit": "jobs", "series": [["jobs", totals.bins]],
                "labels": [f"{10 * at}-{10 * at + 10}%" for at in range(10)] if group.measured else [],
            },
            _build_chart("Wasted CPU hours by user", "hours", [(row[0], row[4]) for row in users]),
        ],
    )  # fmt: skip


def _build_node_health(facts: Facts) -> Parts:
    words = {node["name"]: "+".join([node["state"], *node["flags"]]) for node in facts.nodes}
    states = Counter(words.values()).most_common()
    away = [node for node in facts.nodes if not node["usable"]]
    summary: list[list[Any]] = [
        ["Nodes", len(facts.nodes)],
        ["Available", len(facts.nodes) - len(away)],
        ["Not available (%)", _to_percent(len(away), len(facts.nodes))],
        ["CPUs", facts.cpus],
        ["GPUs", facts.gpus],
    ]
    rows = [
        [
            node["name"],
            words[node["name"]],
            node["partitions"],
            node["cpus_allocated"],
            node["cpus"],
            node["load"],
            node["reason"],
        ]
        for node in facts.nodes
    ]
    return (
        summary,
        [
            _make_table("states", "States", "state nodes", [list(row) for row in states]),
            _make_table(
                "not_available",
                "Not available",
                "node state reason",
                [[node["name"], words[node["name"]], node["reason"]] for node in away],
            ),
            _make_table("nodes", "Nodes", "node state partitions cpus_allocated cpus cpu_load reason", rows),
        ],
        [_build_chart("Nodes by state", "nodes", states)],
    )


BUILDERS: dict[str, Callable[[Facts], Parts]] = {
    "utilization": _build_utilization,
    "user_activity": _build_user_activity,
    "job_summary": _build_job_summary,
    "efficiency": _build_efficiency,
    "node_health": _build_node_health,
}


def _make_table(name: str, title: str, columns: str, rows: list[list[Any]]) -> Table:
    return {"name": name, "title": title, "columns": columns.split(), "rows": rows}


def _build_chart(title: str, unit: str, rows: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Make a chart of lying bars, one for each group of the first ones."""
    chosen = rows[:MOST_BARS]
    series = [[unit, [value for _, value in chosen]]]
    return {"title": title, "kind": "lying", "labels": [name for name, _ in chosen], "unit": unit, "series": series}


def _sort_groups(groups: Mapping[str, Group], rank: Callable[[Group], Any]) -> list[tuple[str, Group]]:
    return sorted(sorted(groups.items()), key=lambda item: rank(item[1]), reverse=True)


def _list_labels(totals: Totals) -> list[str]:
    part = slice(5, 16) if totals.bucket_s <= HOUR_S else slice(0, 10)
    return [(to_rfc3339(int(bucket.start)) or "")[part].replace("T", " ") for bucket in totals.buckets]


def _to_hours(seconds: float) -> float:
    return round(seconds / HOUR_S, 2)


def _to_percent(part: float, whole: float) -> float | None:
    return round(min(100.0, 100 * part / whole), 1) if whole > 0 else None


def _to_share(share: float | None) -> float | None:
    return None if share is None else round(share, 3)
