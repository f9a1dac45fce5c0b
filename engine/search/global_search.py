"""The search over everything that has a name."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from engine import jobs
from engine.search.text_cache import Fields, TextCache
from engine.server import Server
from slurm_shim.parse import Job, Node, Partition
from store.indexes.bodies import Answer
from store.rules.monitoring import search
from store.rules.nodes import states
from store.views.s9s import format_memory

MOST_RESULTS = 100


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

    jobs: Sequence[Job]
    nodes: Sequence[Node]
    partitions: Sequence[Partition]
    workflows: Sequence[str]
    runs: Sequence[tuple[str, Any]]  # id and facts
    job_texts: TextCache
    run_texts: TextCache
    job_version: Any
    run_version: Any


async def search_everything(server: Server, q: str, type: str | None, limit: int, base_url: str) -> Answer:
    """Search jobs, nodes, users, partitions, workflows and runs."""
    began = time.perf_counter()
    words, types, most = search.parse_words(q), search.parse_types(type), min(limit, MOST_RESULTS)
    age_s, snapshot = jobs.get_age_s(server, None), server.cluster.snapshot
    runs = [(entry.name, entry.facts) for entry in server.store.runs.iterate_entries()] if "runs" in types else []
    names = server.store.workflows.list_names()
    found = list(snapshot.jobs.values()), snapshot.nodes, snapshot.partitions, names, runs
    versions = (server.cluster.label, snapshot.version), server.store.runs.version
    sources = Sources(*found, server.job_texts, server.run_texts, *versions)
    # In a thread: ten thousand texts are made when they are first searched.
    root = urlsplit(base_url).path
    results, total = await asyncio.to_thread(find_results, sources, words, types, most, root)
    seconds = round(time.perf_counter() - began, 4)
    return Answer({"results": results, "total": total, "query_time": seconds}, age_s)


def find_results(
    sources: Sources, words: list[str], types: list[str], limit: int, root: str
) -> tuple[list[dict[str, Any]], int]:
    """Find the best results over all types, and the number of all.

    `root` is that of the S9S API as the caller has it.
    """
    best: list[tuple[float, int, dict[str, Any]]] = []
    other_root = root.removesuffix("/v1").removesuffix("/api") + "/api"
    total = 0
    for rank, name in enumerate(types):
        shelf = SHELVES[name](sources)
        hits, count = search.find_texts(shelf.texts, words, limit)
        total += count
        for hit in hits:
            found = shelf.describe(hit.place)
            base = root if name in DOCUMENTED else other_root
            result = {
                "type": search.TYPES[name], "id": found.id, "title": found.title, "description": found.description,
                "url": f"{base}/{quote(found.path)}", "score": hit.score,
            }  # fmt: skip
            best.append((-hit.score, rank, result))
    best.sort(key=lambda row: row[:2])
    return [result for _score, _rank, result in best[:limit]], total


def list_jobs(sources: Sources) -> Shelf:
    """List the jobs that SLURM shows, newest first."""

    def list_newest() -> list[tuple[str, Job]]:
        return [(row["job_id"], row) for row in sorted(sources.jobs, key=lambda row: -row["raw_id"])]

    rows, texts = sources.job_texts.list_texts(sources.job_version, list_newest, read_job)

    def describe(place: int) -> Found:
        row = rows[place]
        text = f"{row['state'].capitalize()} on {row['partition']} partition"
        return Found(row["job_id"], row["name"], text, f"jobs/{row['job_id']}")

    return Shelf(texts, describe)


def read_job(row: Job) -> Fields:
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
    """List the users that have jobs in the queue."""
    counts = Counter((row["user"], row["state"]) for row in sources.jobs)
    names = sorted({name for name, _state in counts if name})

    def describe(place: int) -> Found:
        name = names[place]
        text = f"{counts[name, 'RUNNING']} running, {counts[name, 'PENDING']} pending"
        return Found(name, name, text, f"users/{name}")

    return Shelf([search.make_search_text(name, name, ()) for name in names], describe)


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
    runs = sources.runs
    _facts, texts = sources.run_texts.list_texts(sources.run_version, lambda: list(runs), read_run)

    def describe(place: int) -> Found:
        run_id, facts = runs[place]
        return Found(run_id, facts.group, f"Run of {facts.group}, {facts.status}", f"workflows/runs/{run_id}")

    return Shelf(texts, describe)


def read_run(facts: Any) -> Fields:
    """Read what is searched of a run."""
    return facts.group, facts.status, "run"


SHELVES: dict[str, Callable[[Sources], Shelf]] = {
    "jobs": list_jobs, "nodes": list_nodes, "users": list_users, "partitions": list_partitions,
    "workflows": list_workflows, "runs": list_runs,
}  # fmt: skip
# Found below the root of the S9S API; the others below that of srunx.
DOCUMENTED = frozenset({"jobs", "nodes", "users", "partitions"})
