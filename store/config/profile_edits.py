"""Profiles and mounts as answers show them, and the changes that callers may make in profiles.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from store.config import masks
from store.config.profiles import Mount, Profile, Profiles, parse
from store.disk.folders import Folder
from store.documents import problems
from store.errors import Conflict, Exists, Invalid, NoProfile, NotFound
from store.yaml import reader
from store.yaml.file_edits import edited, tag_of

Document = TypeVar("Document", bound=BaseModel)

# What a caller may set; the first may not be empty, an empty text or null takes one of the others away.
NEEDED = ("hostname", "username", "port")
OPTIONAL = ("key_filename", "description", "ssh_host", "proxy_jump")
NOT_ACTIVE = "No active SSH profile. Activate a profile first."


def shown(profile: Profile) -> dict[str, Any]:
    """A profile as answers have it, the secrets among its variables masked."""
    plain = {key: one for key, one in profile.model_dump().items() if key != "mounts"}
    return {**masks.masked(plain), "mounts": [shown_mount(one) for one in profile.mounts]}


def shown_mount(mount: Mount) -> dict[str, Any]:
    """A mount as answers have it, its local folder in full."""
    return {**mount.model_dump(), "local": str(mount.root)}


def listed(kept: Profiles, current: str | None) -> dict[str, Any]:
    """All kept profiles by name, and which one is current."""
    return {"current": current, "profiles": {name: shown(one) for name, one in kept.profiles.items()}}


def current(kept: Profiles, in_force: Profiles) -> str:
    """The name of the current profile when it is one that can be changed; NoProfile."""
    if in_force.current is None or in_force.current not in kept.profiles:
        raise NoProfile
    return in_force.current


def project(in_force: Profiles, mount: str) -> Mount:
    """A mount of the current profile; Conflict without one, NotFound."""
    if in_force.current is None:
        raise NoProfile(NOT_ACTIVE)
    found = in_force.mounts().get(mount)
    if found is None:
        raise NotFound("Mount", mount, f" in profile '{in_force.current}'")
    return found


def projects(in_force: Profiles) -> list[dict[str, Any]]:
    """The projects of the current profile, one for each of its mounts. Asks the disk whether they have a srunx.json."""
    found = []
    for mount in in_force.mounts().values():
        path = mount.root / "srunx.json"
        row = {"mount_name": mount.name, "local_path": str(mount.root), "remote_path": mount.remote}
        found.append({**row, "config_exists": _exists(path), "config_path": str(path)})
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


# Changes. Each is made on the file as it is at that moment; `if_match` is its tag as the caller has seen it.


def tag(folder: Folder) -> str:
    """What If-Match must say to change profiles.yaml as it is now."""
    return tag_of(folder, "profiles")


async def create(folder: Folder, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """The new profile; Exists, Invalid."""
    name = given["name"]

    def changes(kept: Profiles) -> dict[str, Any]:
        if name in kept.profiles:
            raise Exists("Profile", name)
        return {"profiles": {name: _fields(given, Profile())}}

    return shown((await _changed(folder, changes, if_match)).profiles[name])


async def update(folder: Folder, name: str, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """The profile with the fields given in it; NotFound, Invalid."""

    def changes(kept: Profiles) -> dict[str, Any]:
        return {"profiles": {name: _fields(given, _profile(kept, name))}}

    return shown((await _changed(folder, changes, if_match)).profiles[name])


async def delete(folder: Folder, name: str, if_match: str | None) -> None:
    """Nothing; the profile is gone with its mounts, and no profile is current when it was; NotFound."""

    def changes(kept: Profiles) -> dict[str, Any]:
        _profile(kept, name)
        return {"profiles": {name: None}, **({"current": None} if kept.current == name else {})}

    await _changed(folder, changes, if_match)


async def activate(folder: Folder, name: str, if_match: str | None) -> None:
    """Nothing; the profile is the current one; NotFound."""

    def changes(kept: Profiles) -> dict[str, Any]:
        _profile(kept, name)
        return {"current": name}

    await _changed(folder, changes, if_match)


async def add_mount(folder: Folder, name: str, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """The new mount of a profile; NotFound, Exists, Conflict (another mount has the folder), Invalid."""
    mount = _checked(Mount, {key: one for key, one in given.items() if key in Mount.model_fields})

    def changes(kept: Profiles) -> dict[str, Any]:
        mounts = _profile(kept, name).mounts
        if any(one.name == mount.name for one in mounts):
            raise Exists("Mount", mount.name)
        if other := next((one for one in mounts if one.root == mount.root), None):
            raise Conflict(f"Mount '{other.name}' already has the folder {mount.root}")
        return {"profiles": {name: {"mounts": [_plain(one) for one in [*mounts, mount]]}}}

    await _changed(folder, changes, if_match)
    return shown_mount(mount)


async def remove_mount(folder: Folder, name: str, mount: str, if_match: str | None) -> None:
    """Nothing; the profile has no mount of this name; NotFound."""

    def changes(kept: Profiles) -> dict[str, Any]:
        mounts = _profile(kept, name).mounts
        left = [_plain(one) for one in mounts if one.name != mount]
        if len(left) == len(mounts):
            raise NotFound("Mount", mount)
        return {"profiles": {name: {"mounts": left}}}

    await _changed(folder, changes, if_match)


async def _changed(folder: Folder, changes: Callable[[Profiles], dict[str, Any]], if_match: str | None) -> Profiles:
    """The profiles after the changes, which are worked out from what the file says at that moment."""

    def edit(data: bytes) -> bytes:
        after = reader.edit(data, changes(parse(data) if data else Profiles()))
        if after.strip():
            parse(after)
        return after

    await edited(folder, "profiles", edit, if_match)
    found: Profiles = folder.get("profiles") if "profiles" in folder else Profiles()
    return found


def _profile(kept: Profiles, name: str) -> Profile:
    if name not in kept.profiles:
        raise NotFound("Profile", name)
    return kept.profiles[name]


def _fields(given: Mapping[str, Any], old: Profile) -> dict[str, Any]:
    """The changes that make the fields of a profile what was given; Invalid names the field of the body."""
    changes = {key: given[key] for key in NEEDED if given.get(key) is not None}
    changes |= {key: given[key] or None for key in OPTIONAL if key in given}
    if given.get("env_vars") is not None:
        kept = old.env_vars
        wanted = masks.unmasked({"env_vars": given["env_vars"]}, {"env_vars": kept})["env_vars"]
        changes["env_vars"] = {**{name: None for name in kept if name not in wanted}, **wanted}
    _checked(Profile, reader.merged(old.model_dump(exclude={"mounts"}), changes))
    return changes


def _checked(model: type[Document], value: Mapping[str, Any]) -> Document:
    """The value as its model; Invalid with the places that the fields have in the body of a request."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = problems(error, model=model)
        raise Invalid([{**one, "loc": ["body", *one["loc"]]} for one in found]) from error


def _plain(mount: Mount) -> dict[str, Any]:
    return mount.model_dump(exclude_defaults=True)
