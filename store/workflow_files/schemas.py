"""JSON Schemas of the files that people write, made from their models."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel

from store.documents.configuration import Config
from store.rules.shapes import Workflow

MODELS: dict[str, type[BaseModel]] = {"workflow": Workflow, "config": Config}


@cache
def build_schema(kind: str) -> dict[str, Any]:
    """Build the schema of a kind of file: its keys and their values."""
    return MODELS[kind].model_json_schema()
