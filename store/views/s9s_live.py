"""What the change feed and the WebSocket of the S9S API show. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.rules.nodes.states import name_state
from store.views.s9s import format_memory

# What changes all the time without a change of the node.
RESTLESS = frozenset({"load", "memory_free_mb", "last_busy_time"})


def to_node_json(node: Mapping[str, Any]) -> dict[str, Any]:
    """Build the state of a node, without its load and its jobs."""
    return {
        "node_name": node["name"],
        "state": name_state(node["state"], node["flags"]),
        "state_flags": node["flags"],
        "partitions": node["partitions"],
        "cpu_total": node["cpus"],
        "cpu_allocated": node["cpus_allocated"],
        "memory_total": format_memory(node["memory_mb"]),
        "memory_allocated": format_memory(node["memory_allocated_mb"]),
        "gpus_total": node["gpus"],
        "features": node["features"],
        "reason": node["reason"],
    }


def is_same_node(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether nothing but what is restless differs."""
    return all(before.get(key) == after[key] for key in after if key not in RESTLESS)
