"""exports/ID.json and reports/ID.json: files made for a caller. Pure.

    processing ──▶ completed ──▶ expired
         └───────▶ failed

The file itself is `exports/ID/data` or `reports/ID/data`. What was cut off begins again from nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from pydantic import Field

from store.documents import VERSION, ServerFileModel
from store.errors import Conflict, StoreFull
from store.times import to_epoch, to_rfc3339

# What has expired is still listed as such for as long again; then it is forgotten.
HOUR_S = 3600.0
NAME_CHARACTERS = 100
DATA = "data"


class MadeFile(ServerFileModel):
    """A file that was asked for, and how far it is.

    `owner` is the name of the caller, `cluster` the one whose rows it holds. Times are RFC 3339.
    """

    version: int = VERSION
    id: str
    owner: str
    cluster: str
    type: str
    format: str
    filename: str
    status: Literal["processing", "completed", "failed"] = "processing"
    created_at: str
    created_s: float = 0.0  # the same in epoch seconds: it orders what came within one second
    completed_at: str | None = None
    expires_at: str
    file_size: int = 0
    error: str | None = None
    request_hash: str = ""  # of the request that asked for it


class Export(MadeFile):
    """Rows of one type as a file."""

    fields: list[str]
    filter: dict[str, str] = Field(default_factory=dict)
    include_headers: bool = True
    delimiter: str = ","
    record_count: int = 0


class ClusterReport(MadeFile):
    """A report on the cluster in a period, and where it is sent."""

    parameters: dict[str, Any] = Field(default_factory=dict)
    since: float = 0.0  # the period in epoch seconds, the same when it is made anew
    until: float = 0.0
    email: str | None = None
    delivery_id: int | None = None


File = TypeVar("File", bound=MadeFile)


def complete_file(made: File, size_bytes: int, now: float, **more: Any) -> File:
    """Record that the file is whole."""
    update = {"status": "completed", "completed_at": to_rfc3339(int(now)), "file_size": size_bytes, **more}
    return made.model_copy(update=update)


def fail_file(made: File, error: str, now: float) -> File:
    """Record that there will be no file, and why."""
    update = {"status": "failed", "completed_at": to_rfc3339(int(now)), "error": error[:1000]}
    return made.model_copy(update=update)


def find_status(made: MadeFile, now: float) -> str:
    """Find the status that callers see; a file is gone when it has expired."""
    return "expired" if made.status != "processing" and has_expired(made, now) else made.status


def has_expired(made: MadeFile, now: float) -> bool:
    """Return whether the file need not be kept any more."""
    return now >= (to_epoch(made.expires_at) or 0.0)


def is_forgotten(made: MadeFile, keep_hours: float, now: float) -> bool:
    """Return whether a file expired so long ago that nobody asks for it."""
    return has_expired(made, now - keep_hours * HOUR_S)


def check_room(known: Iterable[MadeFile], owner: str, most: int, most_of_caller: int, now: float) -> None:
    """Raise Conflict where a caller, or all of them, have too many files."""
    there = [made for made in known if find_status(made, now) in ("processing", "completed")]
    own = sum(made.owner == owner for made in there)
    if own >= most_of_caller:
        raise Conflict(f"you have {own} exports and reports that have not expired; delete some first")
    if len(there) >= most:
        raise Conflict(f"there are {len(there)} exports and reports that have not expired; try again when some have")


def compute_room_bytes(known: Iterable[MadeFile], made: MadeFile, most_mb: tuple[int, int, int]) -> int:
    """Compute how large a file may become; StoreFull without any room.

    `most_mb` are the bounds of one file, of all files of a caller, and of all files.
    """
    file_mb, caller_mb, all_mb = most_mb
    others = [other for other in known if other.id != made.id]
    own = sum(other.file_size for other in others if other.owner == made.owner)
    left = min(file_mb * 10**6, caller_mb * 10**6 - own, all_mb * 10**6 - sum(other.file_size for other in others))
    if left <= 0:
        raise StoreFull(28, "the files of exports and reports take up all the room that they may; delete some first")
    return left


def clean_filename(given: str | None, default: str) -> str:
    """Return a name that a file may have anywhere.

    >>> clean_filename("../a b\\n.csv", "x.csv"), clean_filename("..", "x.csv"), clean_filename(None, "x.csv")
    ('a_b_.csv', 'x.csv', 'x.csv')
    """
    name = re.split(r"[/\\]", given or "")[-1]
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".")[:NAME_CHARACTERS]
    return name if name.strip("._-") else default
