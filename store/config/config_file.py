"""Parsing and editing config.yaml without losing comments. Pure."""

from __future__ import annotations

from typing import Any

from store.config import layers
from store.documents import Config, from_yaml
from store.yaml import writer

# The keys that are defaults of workflows; the others concern only the server.
JOB_KEYS = ("resources", "environment", "log_dir", "work_dir")
# Mappings with free names: they are replaced as a whole, so a name that is not sent is removed.
WHOLE: set[layers.Loc] = {("environment", "env_vars"), ("environment", "container", "env")}
EMPTY: dict[layers.Loc, layers.Tree] = {("environment", "container"): layers.EMPTY_CONTAINER}


def parse_config(data: bytes, name: str = "config.yaml") -> Config:
    """Parse the file. Raises Invalid with line, column and near names."""
    return from_yaml(Config, data, name)


def edit_config(data: bytes, changes: dict[str, Any]) -> bytes:
    """Merge the changes into the file, keeping comments.

    Raises Invalid when the outcome is not a configuration.
    """
    after = writer.edit_yaml(data, changes)
    if after.strip():
        parse_config(after)
    return after


def compute_changes(
    given: dict[str, Any], kept: dict[str, Any], now: dict[str, Any], below: dict[str, Any], loc: layers.Loc = ()
) -> dict[str, Any]:
    """Return what to change in the file so that the values given count.

    The result is for `writer.edit_yaml`. `kept` is what the file says, `now` what counts, `below` what would count
    without this file. A value that counts already is left where it is from.

    >>> now = {"resources": {"nodes": 1, "partition": "gpu"}}
    >>> compute_changes({"resources": {"nodes": 2, "partition": "gpu"}}, {}, now, now)
    {'resources': {'nodes': 2}}
    """
    changes: dict[str, Any] = {}
    for key, value in given.items():
        at = (*loc, key)
        old, counts, under = (_get_part(tree, key) for tree in (kept, now, below))
        if isinstance(value, dict):
            inner = compute_changes(value, old or {}, counts or EMPTY.get(at, {}), under or {}, at)
            if at in WHOLE:
                inner |= {name: None for name in old or {} if name not in value}
            if inner:
                changes[key] = inner
        elif value == counts and type(value) is type(counts):
            continue
        elif value is None:
            changes[key] = writer.NULL_VALUE if under is not None else None
        else:
            changes[key] = value
    return changes


def _get_part(holder: Any, key: str) -> Any:
    return holder.get(key) if isinstance(holder, dict) else None
