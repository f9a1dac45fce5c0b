"""config.yaml: what it means, where its defaults go, and how it is changed without losing what people wrote in it."""

from __future__ import annotations

from typing import Any

from store import yamls
from store.documents import Config, from_yaml

# What a workflow is filled up with; the rest of the configuration is the server's own business.
JOB_KEYS = ("resources", "environment", "log_dir", "work_dir")
HOOK_PREFIX = "https://hooks.slack.com/services/"


def parse(data: bytes, name: str = "config.yaml") -> Config:
    """The configuration in the file; Invalid with line, column and near names."""
    return from_yaml(Config, data, name)


def defaults(config: Config) -> dict[str, Any]:
    """What jobs get when their workflow does not say: resources, environment, log_dir, work_dir as plain data."""
    return config.model_dump(mode="json", include=set(JOB_KEYS))


def changed(data: bytes, changes: dict[str, Any]) -> bytes:
    """The file with the changes merged in, comments kept; Invalid when the outcome is not a configuration."""
    after = yamls.edit(data, changes)
    parse(after)
    return after


def shown(config: Config) -> dict[str, Any]:
    """The configuration as it may be shown: the address of a webhook is a password, so its end is hidden."""
    plain = config.model_dump(mode="json")
    if plain["notifications"]["slack_webhook_url"]:
        plain["notifications"]["slack_webhook_url"] = HOOK_PREFIX + "***"
    return plain
