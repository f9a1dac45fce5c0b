"""syncs/ID.json: copies of a mount that nobody waits for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from store.config.profiles import Mount, Profile, Profiles
from store.documents import VERSION, ServerFileModel
from store.errors import NotFound
from store.times import to_rfc3339

ENDED = frozenset({"synced", "failed", "cancelled"})
# So many ended syncs are kept; older ones are deleted.
KEPT = 200


class Sync(ServerFileModel):
    """One sync: what is copied where, and how it ended."""

    version: int = VERSION
    id: str
    profile: str
    mount: str
    delete: bool = False
    state: Literal["waiting", "syncing", "synced", "failed", "cancelled"] = "waiting"
    asked_at: str
    started_at: str | None = None
    ended_at: str | None = None
    reason: str | None = None
    size_bytes: int = 0
    files: int = 0


def build_sync(sync_id: str, profile: str, mount: str, delete: bool, now: float) -> Sync:
    """Build a sync that waits to start."""
    return Sync(id=sync_id, profile=profile, mount=mount, delete=delete, asked_at=to_rfc3339(now) or "")


def mark_begun(sync: Sync, now: float) -> Sync:
    """Record that the transfer has started."""
    return sync.model_copy(update={"state": "syncing", "started_at": to_rfc3339(now)})


def mark_done(sync: Sync, size_bytes: int, files: int, now: float) -> Sync:
    """Record that everything was copied."""
    update = {"state": "synced", "ended_at": to_rfc3339(now), "size_bytes": size_bytes, "files": files}
    return sync.model_copy(update=update)


def mark_failed(sync: Sync, reason: str, now: float) -> Sync:
    """Record that the sync failed."""
    return sync.model_copy(update={"state": "failed", "ended_at": to_rfc3339(now), "reason": reason})


def mark_cancelled(sync: Sync, now: float) -> Sync:
    """Record that somebody wanted no more of it."""
    return sync.model_copy(update={"state": "cancelled", "ended_at": to_rfc3339(now)})


def find_same(syncs: Iterable[Sync], wanted: Sync) -> Sync | None:
    """Find a sync that does the same and has not started.

    Then no second one is needed.
    """
    for sync in syncs:
        if sync.state == "waiting" and (sync.profile, sync.mount, sync.delete) == (
            wanted.profile,
            wanted.mount,
            wanted.delete,
        ):
            return sync
    return None


def list_surplus(syncs: Iterable[Sync]) -> list[str]:
    """List the ids of ended syncs that need not be kept."""
    ended = sorted((sync.ended_at or "", sync.id) for sync in syncs if sync.state in ENDED)
    return [sync_id for _, sync_id in ended[: max(0, len(ended) - KEPT)]]


def find_mount(profiles: Profiles, sync: Sync) -> tuple[Profile, Mount]:
    """Find the profile and the mount of the sync; NotFound.

    The profile need not be the active one.
    """
    profile = profiles.profiles.get(sync.profile)
    mount = next((candidate for candidate in profile.mounts if candidate.name == sync.mount), None) if profile else None
    if profile is None or mount is None:
        raise NotFound("Mount", sync.mount)
    return profile, mount


def to_json(sync: Sync, progress: dict[str, Any] | None) -> dict[str, Any]:
    """Build the sync as answers show it.

    `progress` is its transfer's: percent, rate, sizes and counts; None when none is running.
    """
    ended = {"percent": 100 if sync.state == "synced" else None, "rate_bytes_s": None, "size_bytes": sync.size_bytes}
    counts = {"files_done": sync.files, "files_total": sync.files}
    facts = {"id": sync.id, "mount": sync.mount, "profile": sync.profile, "delete": sync.delete, "state": sync.state}
    times = {"asked_at": sync.asked_at, "started_at": sync.started_at, "ended_at": sync.ended_at}
    return facts | times | {"reason": sync.reason} | (progress or ended | counts)
