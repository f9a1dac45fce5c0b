"""Kinds of errors of a run, and the words that their texts begin with."""

from __future__ import annotations

from typing import Literal

ErrorKind = Literal["refused", "unsynced"]
ERROR_WORDS: dict[ErrorKind, str] = {"refused": "Submission failed: ", "unsynced": "Mount sync failed: "}


def find_error_kind(error: str) -> ErrorKind | None:
    """Find the kind of a run's error by its words.

    For files of a version that did not write the kind.
    """
    return next((kind for kind, words in ERROR_WORDS.items() if error.startswith(words)), None)
