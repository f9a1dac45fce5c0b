"""One search over everything that has a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.search import global_search
from tests.engine.monitoring.test_sampler import NODE, make_slurm
from tests.engine.servers.pretended import FLOW, open_server
from tests.pretended import asynchronous, job

QUERIES: list[tuple[str, dict[str, Any], list[tuple[str, str, float]]]] = [
    ("the document's example", {"q": "alice gpu"}, [("job", "12", 0.8)]),
    ("a node by its name", {"q": "N1"}, [("node", "n1", 1.0)]),
    ("a user", {"q": "alice", "type": "users"}, [("user", "alice", 1.0)]),
    ("over all types", {"q": "main"}, [("partition", "main", 1.0), ("job", "13", 0.8), ("node", "n1", 0.8)]),
    ("a workflow", {"q": "flo"}, [("workflow", "flow", 0.9)]),
    ("the newest of equals first", {"q": "pending", "type": "jobs"}, [("job", "13", 0.8), ("job", "12", 0.8)]),
    ("a limit", {"q": "pending", "type": "jobs", "limit": 1}, [("job", "13", 0.8)]),
]


@pytest.mark.parametrize(("why", "query", "expected"), QUERIES, ids=[row[0] for row in QUERIES])
@asynchronous
async def test_queries(why: str, query: dict[str, Any], expected: list[tuple[str, str, float]], tmp_path: Path) -> None:
    slurm = make_slurm()
    slurm.node_rows = [NODE | {"features": ["fast"]}]
    slurm.partition_rows = [{"name": "main", "state": "UP", "nodes": ["n1"]}]
    async with open_server(tmp_path, FLOW, slurm) as world:
        await world.show_queue(
            job("12", "PENDING", name="x", user="alice", partition="gpu"),
            job("13", "PENDING", name="y", user="bob", partition="main"),
        )
        asked = {"type": None, "limit": 20, "base_url": "http://h/sub/v1"} | query
        found = (await global_search.search_everything(world.server, **asked)).value
        assert [(row["type"], row["id"], row["score"]) for row in found["results"]] == expected, why
        assert found["total"] >= len(expected) and found["query_time"] >= 0
        kind, name, _score = expected[0]
        roots = {"workflow": "/sub/api/workflows/"}
        assert found["results"][0]["url"] == roots.get(kind, f"/sub/v1/{kind}s/") + name
