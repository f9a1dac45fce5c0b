"""Entries of access.yaml with secrets: created, listed and revoked.

These are tokens, API keys and OAuth clients. A running server sees the change at once. Comments and all else in the
file stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from store.access.tokens import LISTS, Access, Scope, Token, make_token, parse_access
from store.disk import owners
from store.disk.files import Files
from store.disk.folders import FILE_LIMIT_BYTES
from store.disk.reading import read_file
from store.errors import Conflict, Exists, Invalid, NotFound, make_problem, suggest_word
from store.yaml import reader, writer

FILE = "access.yaml"
MAX_TRIES = 5
UNITS_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
Row = dict[str, Any]


def create_entry(
    root: Path,
    kind: str,
    name: str,
    scopes: Sequence[str],
    expires: str | None = None,
    tier: str | None = None,
    now_s: float | None = None,
) -> str:
    """Create a token, API key or OAuth client; return its secret.

    Raises Exists, and Invalid for a name, scope, time or tier that is none.
    """
    until = None if expires is None else parse_expiry(expires, time.time() if now_s is None else now_s)
    check_entry(name, scopes)
    secret, hashed = make_token(kind)
    more = {key: value for key, value in (("expires", until), ("tier", tier)) if value is not None}
    row = {"name": name, "sha256": hashed, "scopes": list(scopes), **more}

    def add_row(access: Access, kept: Mapping[str, Any]) -> Row:
        if any(entry.name == name for entry in getattr(access, LISTS[kind])):
            raise Exists(kind, name)
        return {LISTS[kind]: [*(kept.get(LISTS[kind]) or []), row]}

    _edit_access(root, add_row)
    return secret


def list_entries(root: Path) -> list[Row]:
    """List all entries: kind, name, scopes, expires and tier."""
    try:
        access = parse_access(_read_access(root)[0])
    except NotFound:
        return []
    return [
        {"kind": kind, **entry.model_dump(exclude={"sha256"}), "tier": entry.tier or access.rate_limits.named}
        for kind, field in LISTS.items()
        for entry in getattr(access, field)
    ]


def revoke_entries(root: Path, name: str, kind: str | None = None) -> list[str]:
    """Revoke what has this name; return the kinds of it.

    Raises NotFound, and Conflict where several kinds have the name and none was given.
    """
    revoked: list[str] = []

    def remove_rows(access: Access, kept: Mapping[str, Any]) -> Row:
        found = [
            word
            for word, field in LISTS.items()
            if kind in (None, word) and any(entry.name == name for entry in getattr(access, field))
        ]
        if not found:
            raise NotFound(kind or "entry", name)
        if len(found) > 1:
            raise Conflict(f"there are several of that name: say which with --kind {', '.join(found)}")
        revoked[:] = found
        rows = [row for row in kept[LISTS[found[0]]] if str(row.get("name")) != name]
        return {LISTS[found[0]]: rows or None}

    _edit_access(root, remove_rows)
    return revoked


def check_entry(name: str, scopes: Sequence[str]) -> None:
    """Refuse a name or scopes that no entry can have. Raises Invalid."""
    known = get_args(Scope)
    for scope in scopes:
        if scope not in known:
            reason = f"unknown scope '{scope}'{suggest_word(scope, known)}; there are {', '.join(known)}"
            raise Invalid([make_problem(reason, ["scopes"])])
    try:
        Token.model_validate({"name": name, "sha256": "0" * 64, "scopes": list(scopes)})
    except ValidationError as wrong:
        raise Invalid([make_problem(f"the name '{name}' is not one that an entry can have", ["name"])]) from wrong


def parse_expiry(text: str, now_s: float) -> str:
    """Return when an entry expires, as RFC 3339.

    `text` is a time from now on (12h, 30d, 4w), a date or a time. Raises Invalid, also for the past.

    >>> parse_expiry("30d", 1_800_000_000), parse_expiry("2027-06-01", 1_800_000_000)
    ('2027-02-14T08:00:00Z', '2027-06-01T00:00:00Z')
    """
    try:
        if match := re.fullmatch(r"([0-9]{1,6})([hdw])", text):
            moment = datetime.fromtimestamp(now_s + int(match[1]) * UNITS_S[match[2]], UTC)
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Invalid([make_problem(f"'{text}' is no time: 30d, 12h, 4w or a date", ["expires"])]) from None
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment.timestamp() <= now_s:
        raise Invalid([make_problem(f"{text} is over", ["expires"])])
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _read_access(root: Path) -> tuple[bytes, Any]:
    return read_file(root / FILE, FILE_LIMIT_BYTES, owners.check_file)


def _edit_access(root: Path, change: Callable[[Access, Mapping[str, Any]], Row]) -> None:
    """Change access.yaml, with the store made where there is none yet.

    `change` gets what the file says, checked and as plain values. Edits of this program wait for each other; an editor
    that saves meanwhile makes it start again.
    """
    files, path = Files(root), root / FILE
    files.make_dirs(root)
    owners.check_folder(root)
    with _hold_folder(root):
        for _ in range(MAX_TRIES):
            data, stamp = _try_read(root)
            kept = reader.load_yaml(data).value or {}
            after = writer.edit_yaml(data, change(parse_access(data) if kept else Access(), kept))
            parse_access(after)
            if _try_read(root)[1] == stamp:
                files.write_now(path, after, exclusive=stamp is None)
                return
    raise Conflict(f"{path} changes all the time")


def _try_read(root: Path) -> tuple[bytes, Any]:
    try:
        return _read_access(root)
    except NotFound:
        return b"", None


@contextlib.contextmanager
def _hold_folder(root: Path) -> Iterator[None]:
    """Wait until no other process edits a file of the folder in this way."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
