"""The audit log: one JSON line per deed in audit/DAY.jsonl.

Who did what, when, with which result; files are only ever appended to.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from store.disk.batches import Line
from store.disk.files import Files
from store.errors import StoreError

log = logging.getLogger("sluice.audit")

# Writes up to this size are not mixed with others (O_APPEND).
LINE_BYTES = 4096
SHORTEST_CHARS = 16
SECRET = re.compile(
    r"(?i)((?:token|secret|passw(?:or)?d|api_?key|authorization|credential)[\w-]*\s*[=:]\s*)[^\s,;'\"]+"
)
# What a line has in which something may have to be hidden.
SUSPICIOUS = re.compile(rb"(?i)token|secret|passw|api_?key|authorization|credential|https?://|--export=")
ADDRESS = re.compile(r"(?i)(https?://)[^\s/@]+@|(https://hooks\.slack\.com/services/)\S+")
HIDDEN = "***"


# Makes the line of a request that is about to succeed, given the id of what it made (see `Audit.make_line`).
MakeLine = Callable[..., Line]


class Audit:
    """The audit log of one store. `clock` gives the time of an entry."""

    def __init__(self, folder: Path, files: Files, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder = folder
        self.files = files
        self.clock = clock
        self.lost = 0  # entries that could not be written since the last one that tells of them
        self.problem = ""  # why

    async def append(self, entry: dict[str, Any]) -> bool:
        """Write the entry; return whether that succeeded.

        A failure is logged and counted in `lost`; it never fails the deed itself.
        """
        if await self._write_entry(entry):
            return True
        self.lost += 1
        log.error("an audit entry was lost (%s): %s", self.problem, redact_secrets(entry))
        return False

    async def record_loss(self) -> None:
        """Write down how many entries were lost, once that is possible again."""
        if (lost := self.lost) and await self._write_entry({"what": "entries were lost", "lost": lost}):
            self.lost -= lost

    def make_line(self, entry: dict[str, Any], *, is_synced: bool = False) -> Line:
        """Make the line of an entry, for who writes it down.

        Handed to a folder's `put` or `create` it is in the same commit as the document, and `is_written` afterwards.
        """
        now = self.clock()
        at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return Line(self.folder / f"{at[:10]}.jsonl", format_line({"at": at, **entry}), is_synced)

    async def _write_entry(self, entry: dict[str, Any]) -> bool:
        try:
            line = self.make_line(entry)
            await self.files.append(line.path, line.data)
        except (StoreError, TypeError) as error:
            self.problem = str(error)
            return False
        return True


def format_line(entry: dict[str, Any]) -> bytes:
    """Return the entry as one line of at most 4 KiB with its newline.

    Secrets are hidden, long texts shortened.
    """
    if (plain := _format_plain(entry)) is not None:
        return plain
    hidden = {key: redact_secrets(value) for key, value in entry.items()}
    limit = LINE_BYTES
    while len(data := orjson.dumps(hidden, default=str, option=orjson.OPT_APPEND_NEWLINE)) > LINE_BYTES:
        limit //= 2
        if limit < SHORTEST_CHARS:
            short = {key[:64]: value for key, value in hidden.items() if isinstance(value, str | int)}
            kept = dict(list(short.items())[:16]) | {"shortened": True}
            return orjson.dumps(kept, option=orjson.OPT_APPEND_NEWLINE)
        hidden = {key: _shorten_value(value, limit) for key, value in hidden.items()}
    return data


def _format_plain(entry: dict[str, Any]) -> bytes | None:
    """Return the line of an entry with nothing to hide or to shorten."""
    try:
        data = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return None
    is_plain = len(data) <= LINE_BYTES and data.isascii() and SUSPICIOUS.search(data) is None
    return data if is_plain else None


def redact_secrets(value: Any) -> Any:
    """Replace what looks like a password, token or secret address by ***."""
    if isinstance(value, str):
        if value.startswith("--export="):
            return "--export=" + re.sub(r"=[^,]*", "=" + HIDDEN, value.removeprefix("--export="))
        text = value.encode("utf-8", "replace").decode()
        return ADDRESS.sub(lambda found: (found[1] or found[2]) + HIDDEN, SECRET.sub(rf"\1{HIDDEN}", text))
    if isinstance(value, dict):
        return {str(redact_secrets(str(key))): redact_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_secrets(item) for item in value]
    # orjson takes integers up to 64 bits.
    return str(value)[:80] if isinstance(value, int) and value.bit_length() > 63 else value


def _shorten_value(value: Any, limit: int) -> Any:
    """Shorten texts and lists in the value to `limit`."""
    if isinstance(value, str):
        return value if len(value) <= limit else value[: limit - 1] + "…"
    if isinstance(value, dict):
        return {key[:limit]: _shorten_value(item, limit) for key, item in list(value.items())[:limit]}
    if isinstance(value, list):
        return [_shorten_value(item, limit) for item in value[:limit]]
    return value
