"""Idempotent requests: ids that follow from the request's key. Pure."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

import orjson

from store.errors import Invalid, make_problem
from store.jsons import dump_json


def make_id(caller: str, kind: str, key: str | None) -> str:
    """Make the id of what a request creates.

    The same caller, kind and key give the same id; without a key it is new each time.
    """
    return str(uuid.uuid4() if key is None else uuid.uuid5(uuid.NAMESPACE_OID, f"sluice {kind} {caller} {key}"))


def hash_request(*parts: Any) -> str:
    """Hash a request: SHA-256 of its parts as JSON with sorted keys."""
    return hashlib.sha256(dump_json(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def refuse_other_request(document: Any, request_hash: str) -> None:
    """Raise Invalid if the document was created by another request.

    That is one that used the same key with another body.
    """
    _refuse_other(document.request_hash, request_hash)


@dataclass(frozen=True)
class Rerun:
    """A request to run something again: its own key, and what it asks for."""

    key: str
    hash: str

    def is_repeated(self, document: Any) -> bool:
        """Tell whether it has run the document again already.

        Raises Invalid where another request did so with its key.
        """
        if document.rerun_key != self.key:
            return False
        _refuse_other(document.rerun_hash, self.hash)
        return True

    def to_changes(self) -> dict[str, str]:
        """Return what a document remembers of it."""
        return {"rerun_key": self.key, "rerun_hash": self.hash}


def make_rerun(caller: str, target: str, key: str | None, body: Any) -> Rerun:
    """Make the request of a caller to run a target again."""
    return Rerun(make_id(caller, f"rerun {target}", key), hash_request(target, body))


def _refuse_other(before: str | None, request_hash: str) -> None:
    if before != request_hash:
        message = "this key was used before with another body"
        raise Invalid([make_problem(message, ["header", "Idempotency-Key"], type="idempotency_key")])
