"""The search over everything that has a name."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from engine import jobs
from engine.queue import job_details, job_list, queue_view
from engine.search.text_cache import Fields, TextCache
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmError
from slurm_shim.ids import is_job_id
from slurm_shim.parse import Node, Partition
from slurm_shim.resources import count_jobs
from store.errors import Invalid, NotFound
from store.indexes.bodies import Answer
from store.rules.monitoring import search
from store.rules.nodes import states
from store.views.s9s import format_memory

MOST_RESULTS = 100
EXACT = search.EXACT
# Users of accounting that were asked for so long ago will do; and so long a search waits for the first answer.
OLDEST_S, PATIENCE_S = 86_400.0, 2.0


class Found(NamedTuple):
    """A thing as results show it; `path` is below the root of its API."""

    id: str
    title: str
    description: str
    path: str


class Shelf(NamedTuple):
    """All things of one type: their texts, and what shows the one at a place."""

    texts: Sequence[str]
    describe: Callable[[int], Found]


class Sources(NamedTuple):
    """What is searched, as it is at one moment."""

    jobs: Sequence[Mapping[str, Any]]  # the newest first
    nodes: Sequence[Node]
    partitions: Sequence[Partition]
    workflows: Sequence[str]
    runs: Sequence[Sequence[str]]  # columns: id, workflow, status
    accounts: Mapping[str, Sequence[str]]  # of each user of accounting
    job_texts: TextCache
    user_texts: TextCache
    run_texts: TextCache
    job_version: Any
    run_version: Any


async def search_everything(server: Server, q: str, type: str | None, limit: int, base_url: str) -> Answer:
    """Search jobs, nodes, users, partitions, workflows and runs."""
    began = time.perf_counter()
    words, types, most = search.parse_words(q), search.parse_types(type), min(limit, MOST_RESULTS)
    age_s, warnings, root = jobs.look_at(server.cluster), list[str](), urlsplit(base_url).path
    accounts = await _find_accounts(server.cluster, warnings) if "users" in types else {}
    # In a thread: ten thousand texts are made when they are first searched.
    sources = await _collect_sources(server, accounts, types)
    results, total = await asyncio.to_thread(find_results, sources, words, types, most, root)
    if "jobs" in types and len(words) == 1 and is_job_id(words[0]):
        exact = await _find_exact_job(server, words[0], results, warnings)
        results = [*([make_result("jobs", exact, EXACT, root)] if exact else []), *results][:most]
        total += exact is not None
    answer = {"results": results, "total": total, "query_time": round(time.perf_counter() - began, 4)}
    return Answer(answer | ({"warnings": warnings} if warnings else {}), age_s)


async def _collect_sources(server: Server, accounts: Mapping[str, Sequence[str]], types: list[str]) -> Sources:
    """Collect what is searched."""
    cluster, since = server.cluster, (time.time() - jobs.LISTED_S) // job_list.STEP_S * job_list.STEP_S
    snapshot, store = cluster.snapshot, server.store
    all_rows = await queue_view.get_view(server, cluster).fetch_rows(server, cluster, since, None)
    runs = server.run_list.copy_columns()
    return Sources(
        all_rows.rows, snapshot.nodes, snapshot.partitions, store.workflows.list_names(), runs, accounts,
        server.job_texts, server.user_texts, server.run_texts,
        (cluster.label, *all_rows.version), store.runs.version,
    )  # fmt: skip


async def _find_accounts(cluster: Cluster, warnings: list[str]) -> dict[str, list[str]]:
    """Find the users of accounting with their accounts, asked for a while ago."""
    try:
        rows = await asyncio.wait_for(cluster.inventory.associations.get(OLDEST_S), PATIENCE_S)
    except (SlurmError, TimeoutError) as problem:
        warnings.append(f"users may be missing: accounting does not answer ({problem or 'it takes long'})")
        return {}
    found: dict[str, list[str]] = {}
    for row in rows or ():
        found.setdefault(row["user"], []).append(row["account"] or "")
    return found


async def _find_exact_job(
    server: Server, job_id: str, results: list[dict[str, Any]], warnings: list[str]
) -> Found | None:
    """Find a job that only its id finds; None if it is found already."""
    if any(result["type"] == "job" and result["id"] == job_id for result in results):
        return None
    try:
        return describe_job(await job_details.find_row(server, job_id, server.cluster))
    except (NotFound, Invalid):
        return None
    except SlurmError as problem:
        warnings.append(f"the job may be missing: accounting does not answer ({problem})")
        return None


def find_results(
    sources: Sources, words: list[str], types: list[str], limit: int, root: str
) -> tuple[list[dict[str, Any]], int]:
    """Find the best results over all types, and the number of all.

    `root` is that of the S9S API as the caller has it.
    """
    best: list[tuple[float, int, dict[str, Any]]] = []
    total = 0
    for rank, name in enumerate(types):
        shelf = SHELVES[name](sources)
        hits, count = search.find_texts(shelf.texts, words, limit)
        total += count
        for hit in hits:
            best.append((-hit.score, rank, make_result(name, shelf.describe(hit.place), hit.score, root)))
    best.sort(key=lambda row: row[:2])
    return [result for _score, _rank, result in best[:limit]], total


def make_result(type: str, found: Found, score: float, root: str) -> dict[str, Any]:
    """Make what is shown of a thing that was found."""
    base = root if type in DOCUMENTED else root.removesuffix("/v1").removesuffix("/api") + "/api"
    return {
        "type": search.TYPES[type], "id": found.id, "title": found.title, "description": found.description,
        "url": f"{base}/{quote(found.path)}", "score": score,
    }  # fmt: skip


def list_jobs(sources: Sources) -> Shelf:
    """List the jobs that SLURM shows or we remember, newest first."""

    def list_newest() -> list[tuple[str, Any]]:
        return [(row["job_id"], row) for row in sources.jobs]

    rows, texts = sources.job_texts.list_texts(sources.job_version, list_newest, read_job)
    return Shelf(texts, lambda place: describe_job(rows[place]))


def describe_job(row: Mapping[str, Any]) -> Found:
    """Describe a job as the document does."""
    text = row["state"].capitalize().replace("_", " ") + (
        f" on {row['partition']} partition" if row["partition"] else ""
    )
    return Found(row["job_id"], row["name"] or "", text, f"jobs/{row['job_id']}")


def read_job(row: Mapping[str, Any]) -> Fields:
    """Read what is searched of a job."""
    return row["name"], row["user"], row["account"], row["partition"], row["state"], row["qos"], row["nodes"]


def list_nodes(sources: Sources) -> Shelf:
    """List the nodes of the cluster."""
    nodes = sources.nodes

    def describe(place: int) -> Found:
        node = nodes[place]
        state = states.name_state(node["state"], node["flags"])
        parts = [f"{node['cpus']} CPUs", format_memory(node["memory_mb"]) or ""]
        parts += [f"{node['gpus']} GPUs"] if node["gpus"] else []
        features = f"; {', '.join(node['features'])}" if node["features"] else ""
        return Found(node["name"], node["name"], f"{state}: {', '.join(parts)}{features}", f"nodes/{node['name']}")

    return Shelf([search.make_search_text(node["name"], node["name"], read_node(node)) for node in nodes], describe)


def read_node(node: Node) -> Fields:
    """Read what is searched of a node beside its name."""
    state = states.name_state(node["state"], node["flags"])
    return state, "gpu" if node["gpus"] else None, *node["partitions"], *node["features"], *node.get("tres", ())


def list_users(sources: Sources) -> Shelf:
    """List the users of accounting, and those that have jobs."""
    accounts = sources.accounts
    names = sorted(accounts.keys() | {row["user"] for row in sources.jobs if row["user"]})
    fields = [(name, (name, *accounts.get(name, ()))) for name in names]
    version = (sources.job_version, fields)
    users, texts = sources.user_texts.list_texts(version, lambda: fields, lambda found: found)

    @functools.cache
    def group_jobs() -> dict[str, list[Any]]:
        own: dict[str, list[Any]] = {}
        for row in sources.jobs:
            own.setdefault(row["user"], []).append(row)
        return own

    def describe(place: int) -> Found:
        name, *named = users[place]
        running, pending = count_jobs(group_jobs().get(name, ()))
        text = f"{running} running, {pending} pending"
        known = ", ".join(filter(None, dict.fromkeys(named)))
        return Found(name, name, f"{text}; {known}" if known else text, f"users/{name}")

    return Shelf(texts, describe)


def list_partitions(sources: Sources) -> Shelf:
    """List the partitions of the cluster."""

    def describe(place: int) -> Found:
        row = sources.partitions[place]
        return Found(
            row["name"], row["name"], f"{row['state']}: {len(row['nodes'])} nodes", f"partitions/{row['name']}"
        )

    texts = [search.make_search_text(row["name"], row["name"], [row["state"]]) for row in sources.partitions]
    return Shelf(texts, describe)


def list_workflows(sources: Sources) -> Shelf:
    """List the workflows of the store."""
    names = sources.workflows
    texts = [search.make_search_text(name, name, ["workflow"]) for name in names]
    return Shelf(texts, lambda place: Found(names[place], names[place], "Workflow", f"workflows/{names[place]}"))


def list_runs(sources: Sources) -> Shelf:
    """List the runs that are not archived."""
    names, workflows, statuses = sources.runs

    def list_titles() -> list[tuple[str, Any]]:
        return list(zip(names, zip(workflows, statuses, strict=True), strict=True))

    titles, texts = sources.run_texts.list_texts(sources.run_version, list_titles, lambda run: (*run, "run"))

    def describe(place: int) -> Found:
        run_id, (workflow, status) = names[place], titles[place]
        return Found(run_id, workflow, f"Run of {workflow}, {status}", f"workflows/runs/{run_id}")

    return Shelf(texts, describe)


SHELVES: dict[str, Callable[[Sources], Shelf]] = {
    "jobs": list_jobs, "nodes": list_nodes, "users": list_users, "partitions": list_partitions,
    "workflows": list_workflows, "runs": list_runs,
}  # fmt: skip
# Found below the root of the S9S API; the others below that of srunx.
DOCUMENTED = frozenset({"jobs", "nodes", "users", "partitions"})
