"""syncs/ID.json: a mount that is being brought to its cluster for somebody who does not wait for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from store.config.profiles import Mount, Profile, Profiles
from store.documents import VERSION, ServerFileModel
from store.errors import NotFound
from store.times import to_rfc3339

ENDED = frozenset({"synced", "failed"})
# Ended ones beyond these are forgotten, oldest first.
KEPT = 200


class Sync(ServerFileModel):
    """One sync: what is brought where, and what came of it."""

    version: int = VERSION
    id: str
    profile: str
    mount: str
    delete: bool = False
    state: Literal["waiting", "syncing", "synced", "failed"] = "waiting"
    asked_at: str
    started_at: str | None = None
    ended_at: str | None = None
    reason: str | None = None
    size_bytes: int = 0
    files: int = 0


def build_sync(sync_id: str, profile: str, mount: str, delete: bool, now: float) -> Sync:
    """A new sync, waiting for its turn."""
    return Sync(id=sync_id, profile=profile, mount=mount, delete=delete, asked_at=to_rfc3339(now) or "")


def mark_begun(sync: Sync, now: float) -> Sync:
    """The sync, its transfer going on."""
    return sync.model_copy(update={"state": "syncing", "started_at": to_rfc3339(now)})


def mark_done(sync: Sync, size_bytes: int, files: int, now: float) -> Sync:
    """The sync after all was brought over."""
    update = {"state": "synced", "ended_at": to_rfc3339(now), "size_bytes": size_bytes, "files": files}
    return sync.model_copy(update=update)


def mark_failed(sync: Sync, reason: str, now: float) -> Sync:
    """The sync after it could not be done."""
    return sync.model_copy(update={"state": "failed", "ended_at": to_rfc3339(now), "reason": reason})


def find_same(known: Iterable[Sync], wanted: Sync) -> Sync | None:
    """A sync that has not begun and will do what is wanted, so that nobody needs a second one."""
    for one in known:
        if one.state == "waiting" and (one.profile, one.mount, one.delete) == (
            wanted.profile,
            wanted.mount,
            wanted.delete,
        ):
            return one
    return None


def list_surplus(known: Iterable[Sync]) -> list[str]:
    """The ids of the syncs that need not be remembered any longer."""
    ended = sorted((one.ended_at or "", one.id) for one in known if one.state in ENDED)
    return [sync_id for _, sync_id in ended[: max(0, len(ended) - KEPT)]]


def find_mount(profiles: Profiles, sync: Sync) -> tuple[Profile, Mount]:
    """The profile and the mount that the sync is about, whichever profile is the current one; NotFound."""
    profile = profiles.profiles.get(sync.profile)
    mount = next((one for one in profile.mounts if one.name == sync.mount), None) if profile else None
    if profile is None or mount is None:
        raise NotFound("Mount", sync.mount)
    return profile, mount


def to_json(sync: Sync, going: dict[str, Any] | None) -> dict[str, Any]:
    """The sync as answers show it; `going` is how far its transfer has come: percent, rate, sizes and counts."""
    ended = {"percent": 100 if sync.state == "synced" else None, "rate_bytes_s": None, "size_bytes": sync.size_bytes}
    counts = {"files_done": sync.files, "files_total": sync.files}
    facts = {"id": sync.id, "mount": sync.mount, "profile": sync.profile, "delete": sync.delete, "state": sync.state}
    times = {"asked_at": sync.asked_at, "started_at": sync.started_at, "ended_at": sync.ended_at}
    return facts | times | {"reason": sync.reason} | (going or ended | counts)
