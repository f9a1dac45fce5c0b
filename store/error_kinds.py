"""At what a run failed before its jobs could: the kinds of such errors, and the words that their texts begin with."""

from __future__ import annotations

from typing import Any, Literal

ErrorKind = Literal["refused", "unsynced"]
ERROR_WORDS: dict[ErrorKind, str] = {"refused": "Submission failed: ", "unsynced": "Mount sync failed: "}


def find_error_kind(fields: dict[str, Any]) -> ErrorKind | None:
    """Find the kind of a run's error by its words, for files of a version that did not write the kind."""
    error = fields.get("error") or ""
    return next((kind for kind, words in ERROR_WORDS.items() if error.startswith(words)), None)
