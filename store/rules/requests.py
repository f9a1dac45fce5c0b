"""Asking twice without doing twice: what a request makes has an id that follows from its Idempotency-Key. Pure."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import orjson

from store.errors import Invalid, make_problem


def make_id(caller: str, kind: str, key: str | None) -> str:
    """The id of what a request makes: the same for the same caller, kind and key; a new one without a key."""
    return str(uuid.uuid4() if key is None else uuid.uuid5(uuid.NAMESPACE_OID, f"sluice {kind} {caller} {key}"))


def hash_request(*parts: Any) -> str:
    """What tells one request from another: SHA-256 of its parts as JSON with sorted keys."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def refuse_other_request(document: Any, wanted: str) -> None:
    """Nothing, or Invalid when the document was made by another request that used the same key."""
    if document.request_hash != wanted:
        message = "this key was used before with another body"
        raise Invalid([make_problem(message, ["header", "Idempotency-Key"], type="idempotency_key")])
