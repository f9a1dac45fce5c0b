"""What the change feed and the WebSocket of the S9S API show. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.views import s9s_nodes

# What changes all the time without a change of the node, as SLURM names it and as it is shown.
RESTLESS = frozenset({"load", "memory_free_mb", "last_busy_time"})
NOT_SHOWN = frozenset({"cpu_load", "memory_free", "last_busy", "jobs", "gpus_allocated"})


def to_node_json(node: Mapping[str, Any]) -> dict[str, Any]:
    """Build the state of a node, without its load and its jobs."""
    found = s9s_nodes.to_node_json(node, (), 0)
    return {key: value for key, value in found.items() if key not in NOT_SHOWN}


def is_same_node(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether nothing but what is restless differs."""
    return all(before.get(key) == after[key] for key in after if key not in RESTLESS)
