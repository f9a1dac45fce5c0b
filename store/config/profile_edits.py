"""Profiles and mounts as answers show them, and the changes that callers may make in profiles.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from store.config import masks
from store.config.profiles import Mount, Profile, Profiles, parse_profiles
from store.disk.folders import Folder
from store.documents import to_problems
from store.errors import Conflict, Exists, Invalid, NoProfile, NotFound
from store.yaml import reader
from store.yaml.file_edits import edit_file, get_tag

Document = TypeVar("Document", bound=BaseModel)

# What a caller may set; the first may not be empty, an empty text or null takes one of the others away.
NEEDED = ("hostname", "username", "port")
OPTIONAL = ("key_filename", "description", "ssh_host", "proxy_jump")
NOT_ACTIVE = "No active SSH profile. Activate a profile first."


def to_profile_json(profile: Profile) -> dict[str, Any]:
    """A profile as answers have it, the secrets among its variables masked."""
    plain = {key: one for key, one in profile.model_dump().items() if key != "mounts"}
    return {**masks.mask_secrets(plain), "mounts": [to_mount_json(one) for one in profile.mounts]}


def to_mount_json(mount: Mount) -> dict[str, Any]:
    """A mount as answers have it, its local folder in full."""
    return {**mount.model_dump(), "local": str(mount.root)}


def list_profiles(kept: Profiles, current: str | None) -> dict[str, Any]:
    """All kept profiles by name, and which one is current."""
    return {"current": current, "profiles": {name: to_profile_json(one) for name, one in kept.profiles.items()}}


def require_current(kept: Profiles, in_force: Profiles) -> str:
    """The name of the current profile when it is one that can be changed; NoProfile."""
    if in_force.current is None or in_force.current not in kept.profiles:
        raise NoProfile
    return in_force.current


def get_project(in_force: Profiles, mount: str) -> Mount:
    """A mount of the current profile; Conflict without one, NotFound."""
    if in_force.current is None:
        raise NoProfile(NOT_ACTIVE)
    found = in_force.get_mounts().get(mount)
    if found is None:
        raise NotFound("Mount", mount, f" in profile '{in_force.current}'")
    return found


def list_projects(in_force: Profiles) -> list[dict[str, Any]]:
    """The projects of the current profile, one for each of its mounts. Asks the disk whether they have a srunx.json."""
    found = []
    for mount in in_force.get_mounts().values():
        path = mount.root / "srunx.json"
        row = {"mount_name": mount.name, "local_path": str(mount.root), "remote_path": mount.remote}
        found.append({**row, "config_exists": _is_there(path), "config_path": str(path)})
    return found


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


# Changes. Each is made on the file as it is at that moment; `if_match` is its tag as the caller has seen it.


def get_profiles_tag(folder: Folder) -> str:
    """What If-Match must say to change profiles.yaml as it is now."""
    return get_tag(folder, "profiles")


async def create_profile(folder: Folder, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """The new profile; Exists, Invalid."""
    name = given["name"]

    def changes(kept: Profiles) -> dict[str, Any]:
        if name in kept.profiles:
            raise Exists("Profile", name)
        return {"profiles": {name: _build_field_changes(given, Profile())}}

    return to_profile_json((await _edit_profiles(folder, changes, if_match)).profiles[name])


async def update_profile(folder: Folder, name: str, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """The profile with the fields given in it; NotFound, Invalid."""

    def changes(kept: Profiles) -> dict[str, Any]:
        return {"profiles": {name: _build_field_changes(given, _get_profile(kept, name))}}

    return to_profile_json((await _edit_profiles(folder, changes, if_match)).profiles[name])


async def delete_profile(folder: Folder, name: str, if_match: str | None) -> None:
    """Nothing; the profile is gone with its mounts, and no profile is current when it was; NotFound."""

    def changes(kept: Profiles) -> dict[str, Any]:
        _get_profile(kept, name)
        return {"profiles": {name: None}, **({"current": None} if kept.current == name else {})}

    await _edit_profiles(folder, changes, if_match)


async def activate_profile(folder: Folder, name: str, if_match: str | None) -> None:
    """Nothing; the profile is the current one; NotFound."""

    def changes(kept: Profiles) -> dict[str, Any]:
        _get_profile(kept, name)
        return {"current": name}

    await _edit_profiles(folder, changes, if_match)


async def add_mount(folder: Folder, name: str, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """The new mount of a profile; NotFound, Exists, Conflict (another mount has the folder), Invalid."""
    mount = _validate_model(Mount, {key: one for key, one in given.items() if key in Mount.model_fields})

    def changes(kept: Profiles) -> dict[str, Any]:
        mounts = _get_profile(kept, name).mounts
        if any(one.name == mount.name for one in mounts):
            raise Exists("Mount", mount.name)
        if other := next((one for one in mounts if one.root == mount.root), None):
            raise Conflict(f"Mount '{other.name}' already has the folder {mount.root}")
        return {"profiles": {name: {"mounts": [_to_plain(one) for one in [*mounts, mount]]}}}

    await _edit_profiles(folder, changes, if_match)
    return to_mount_json(mount)


async def remove_mount(folder: Folder, name: str, mount: str, if_match: str | None) -> None:
    """Nothing; the profile has no mount of this name; NotFound."""

    def changes(kept: Profiles) -> dict[str, Any]:
        mounts = _get_profile(kept, name).mounts
        left = [_to_plain(one) for one in mounts if one.name != mount]
        if len(left) == len(mounts):
            raise NotFound("Mount", mount)
        return {"profiles": {name: {"mounts": left}}}

    await _edit_profiles(folder, changes, if_match)


async def _edit_profiles(
    folder: Folder, changes: Callable[[Profiles], dict[str, Any]], if_match: str | None
) -> Profiles:
    """The profiles after the changes, which are worked out from what the file says at that moment."""

    def edit(data: bytes) -> bytes:
        after = reader.edit_yaml(data, changes(parse_profiles(data) if data else Profiles()))
        if after.strip():
            parse_profiles(after)
        return after

    await edit_file(folder, "profiles", edit, if_match)
    found: Profiles = folder.get("profiles") if "profiles" in folder else Profiles()
    return found


def _get_profile(kept: Profiles, name: str) -> Profile:
    if name not in kept.profiles:
        raise NotFound("Profile", name)
    return kept.profiles[name]


def _build_field_changes(given: Mapping[str, Any], old: Profile) -> dict[str, Any]:
    """The changes that make the fields of a profile what was given; Invalid names the field of the body."""
    changes = {key: given[key] for key in NEEDED if given.get(key) is not None}
    changes |= {key: given[key] or None for key in OPTIONAL if key in given}
    if given.get("env_vars") is not None:
        kept = old.env_vars
        wanted = masks.unmask_secrets({"env_vars": given["env_vars"]}, {"env_vars": kept})["env_vars"]
        changes["env_vars"] = {**{name: None for name in kept if name not in wanted}, **wanted}
    _validate_model(Profile, reader.merge_changes(old.model_dump(exclude={"mounts"}), changes))
    return changes


def _validate_model(model: type[Document], value: Mapping[str, Any]) -> Document:
    """The value as its model; Invalid with the places that the fields have in the body of a request."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = to_problems(error, model=model)
        raise Invalid([{**one, "loc": ["body", *one["loc"]]} for one in found]) from error


def _to_plain(mount: Mount) -> dict[str, Any]:
    return mount.model_dump(exclude_defaults=True)
