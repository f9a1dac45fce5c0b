"""What can go wrong in the store.

The type of an exception carries its meaning, its text is for people.
"""

from __future__ import annotations

import difflib
import errno as codes
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Errors that mean "no room": the disk, the quota, or the size that one file may have.
FULL = frozenset({codes.ENOSPC, codes.EDQUOT, codes.EFBIG})
# So much of a text is told, and so many of the problems where they stand in one text.
TOLD_CHARS, TOLD_PROBLEMS = 10_000, 100
# A near word is looked for so often in one request, among so many pairs of letters, in the beginnings of the words.
MAX_SEARCHES, COMPARED_PAIRS, COMPARED_CHARS = 10, 100_000, 64
# Errors that may be over in a moment, unlike those of a wrong path or of missing permissions.
MOMENTARY = frozenset(
    {
        *(codes.ENOSPC, codes.EDQUOT, codes.EIO, codes.EROFS, codes.ESTALE, codes.ENOTCONN, codes.ETIMEDOUT),
        *(codes.EMFILE, codes.ENFILE, codes.ENOMEM, codes.EAGAIN, codes.EINTR, codes.EBUSY, codes.EHOSTDOWN),
    }
)


class StoreError(Exception):
    """Anything that the store refuses or cannot do."""


class NotFound(StoreError):
    """There is no such thing: nothing of this kind has this name."""

    def __init__(self, kind: str, name: str, place: str = "") -> None:
        super().__init__(f"{kind} '{name}' not found{place}")
        self.kind = kind
        self.name = name
        self.details = {"resource_type": kind.lower(), "resource_id": name}


class NotYet(NotFound):
    """A part of something is not there, or not yet; the text says which."""

    def __init__(self, kind: str, name: str, text: str) -> None:
        super().__init__(kind, name)
        self.args = (text,)


class NoProfile(StoreError):
    """No SSH profile is the current one, but one is needed."""

    def __init__(self, text: str = "No SSH profile configured") -> None:
        super().__init__(text)


class Exists(StoreError):
    """Something of this kind already has this name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} '{name}' already exists")
        self.kind = kind
        self.name = name


class Conflict(StoreError):
    """The operation cannot be done in the present state."""


class Changed(StoreError):
    """The file is not the version that the caller has seen (`If-Match`)."""

    def __init__(self, kind: str, name: str, etag: str | None) -> None:
        super().__init__(f"{kind} '{name}' was changed in the meantime; read it again and repeat the change")
        self.kind = kind
        self.name = name
        self.etag = etag


class Denied(StoreError):
    """The path, or what it leads to, must not be read or written."""


class UpgradeNeeded(StoreError):
    """What goes on for ever is sent as events or over a WebSocket only."""


class WrongKind(StoreError):
    """The thing found is of another kind than the one asked for.

    A folder instead of a file, or nothing that can be named.
    """


class TooLarge(StoreError):
    """The data is larger than the store takes."""

    def __init__(self, limit_bytes: int, what: str = "the data") -> None:
        super().__init__(f"{what} is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class StoreUnavailable(StoreError):
    """The disk failed; the old version stays in force and readable."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(text)
        self.errno = errno

    @property
    def is_momentary(self) -> bool:
        """Whether the same may succeed in a while."""
        return self.errno in MOMENTARY


class StoreFull(StoreUnavailable):
    """There is no room for the write."""


class Foreign(StoreError):
    """The store is not ours alone; the text says how to mend it."""

    def __init__(self, text: str) -> None:
        super().__init__(f"the store is refused: {text}")


class Locked(StoreError):
    """Another server has this store."""


class TooManyWaiting(StoreError):
    """No further request may wait for something to end."""

    def __init__(self, text: str = "Too many requests wait for something to end; ask without `wait`, or later") -> None:
        super().__init__(text)


class TooManyTries(StoreError):
    """Somebody has tried too often; after `wait_s` he may try again."""

    def __init__(self, text: str, wait_s: float) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class Invalid(StoreError):
    """The data is wrong; `problems` lists everything that is."""

    def __init__(self, problems: Sequence[dict[str, Any]]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(describe_problem(item) for item in self.problems[:TOLD_PROBLEMS]) or "invalid")


class TooManyOpen(StoreError):
    """The caller has too many things that have not ended."""


class ConversionFailed(StoreError):
    """A project cannot be converted to the files of a simulator."""


class NotJson(Invalid):
    """The body is no JSON at all, or not the object that it has to be."""


def make_problem(
    msg: str,
    loc: Sequence[str | int] = (),
    *,
    type: str = "value_error",
    line: int | None = None,
    column: int | None = None,
    input: Any = None,
) -> dict[str, Any]:
    """Return a problem as a plain dict: loc, msg, type, line, column, input.

    Line and column are 1-based, None when unknown.
    """
    return {"loc": list(loc), "msg": msg, "type": type, "line": line, "column": column, "input": input}


def split_problem(problem: Mapping[str, Any]) -> tuple[str, str]:
    """Split a problem into the field and what is wrong with it.

    >>> split_problem(make_problem("no type", ["body", "dependencies", 0, "type"]))
    ('dependencies.0.type', 'no type')
    >>> split_problem(make_problem("no JSON", ["body", 7], type="json_invalid"))
    ('body', 'no JSON (character 7)')
    """
    first, *more = problem["loc"] or ["request"]
    if problem["type"] == "json_invalid" and more:
        return str(first), f"{problem['msg']} (character {more[0]})"
    return ".".join(map(str, more or [first])), str(problem["msg"])


def suggest_word(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` if a known word is near, else "".

    Bounded in time: of very many known words the first ones are looked at, of long ones the beginning.
    """
    word = word[:COMPARED_CHARS].lower().replace("-", "_")
    lower: dict[str, str] = {}
    left = COMPARED_PAIRS // max(len(word), 1)
    for candidate in known:
        beginning = candidate[:COMPARED_CHARS].lower()
        if not len(word) <= 3 * len(beginning) <= 9 * len(word):
            continue  # too short or too long to be near
        left -= len(beginning)
        if left < 0:
            break
        lower[beginning] = candidate
    near = difflib.get_close_matches(word, list(lower), n=1, cutoff=0.6)
    return f"; did you mean '{lower[near[0]]}'?" if near else ""


def describe_problem(problem: dict[str, Any]) -> str:
    """Return a problem as a line of text.

    For example `line 3, column 5: jobs.0.name: …`.
    """
    place = f"line {problem['line']}, column {problem['column']}: " if problem.get("line") else ""
    path = ".".join(print_text(part) for part in problem.get("loc", ()))
    return f"{place}{path}: {problem['msg']}" if path else f"{place}{problem['msg']}"


def print_text(value: Any, most_chars: int = TOLD_CHARS) -> str:
    """Return the value as text that UTF-8 can hold, or the beginning of it.

    Never fails: of an exception that has no text its name is left.
    """
    try:
        text = str(value)
    except Exception:  # such as of an integer with more digits than Python writes
        text = type(value).__name__
    text = text if len(text) <= most_chars else f"{text[:most_chars]}…"
    return text.encode("utf-8", "backslashreplace").decode()


def from_os_error(cause: OSError, doing: str) -> StoreUnavailable:
    """Return the error to raise for a failed operation of the disk.

    `doing` says what was tried, without absolute paths.
    """
    number = cause.errno or codes.EIO
    message = f"cannot {doing}: {os.strerror(number)}"
    return StoreFull(number, message) if number in FULL else StoreUnavailable(number, message)


def explain_starvation(problem: Exception) -> Exception:
    """Return what to tell of a process that lacks something for now.

    Descriptors, threads or memory: StoreUnavailable. Any other exception is returned as it is.
    """
    if isinstance(problem, OSError) and problem.errno in MOMENTARY:
        return from_os_error(problem, "do this now")
    if isinstance(problem, MemoryError):
        return from_os_error(OSError(codes.ENOMEM, ""), "do this now")
    if type(problem) is RuntimeError and "can't start new thread" in str(problem):
        return StoreUnavailable(codes.EAGAIN, "cannot do this now: no thread can be started")
    return problem
