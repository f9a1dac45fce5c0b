"""Profiles and mounts in answers, and changes to profiles.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from store.config import masks
from store.config.profiles import NO_HOST, Mount, Profile, Profiles, is_on_disk, parse_profiles
from store.disk.folders import Folder
from store.documents import to_problems
from store.errors import Conflict, Exists, Invalid, NoProfile, NotFound, make_problem
from store.outside_files import mount_calls
from store.yaml import writer
from store.yaml.file_edits import edit_file, get_tag

Document = TypeVar("Document", bound=BaseModel)

# Fields that a caller may set. NEEDED must not be empty; an empty text or null removes an OPTIONAL one.
NEEDED = ("hostname", "username", "port")
OPTIONAL = ("key_filename", "description", "ssh_host", "proxy_jump")
NOT_ACTIVE = "No active SSH profile. Activate a profile first."


def to_profile_json(profile: Profile) -> dict[str, Any]:
    """Return a profile as answers have it, secret variables masked."""
    plain = {key: value for key, value in profile.model_dump().items() if key != "mounts"}
    return {**masks.mask_secrets(plain), "mounts": [to_mount_json(mount) for mount in profile.mounts]}


def to_mount_json(mount: Mount) -> dict[str, Any]:
    """Return a mount as answers have it, its local folder in full."""
    return {**mount.model_dump(), "local": str(mount.root)}


def list_profiles(kept: Profiles, current: str | None) -> dict[str, Any]:
    """Return all stored profiles by name, and the current one's name."""
    return {"current": current, "profiles": {name: to_profile_json(profile) for name, profile in kept.profiles.items()}}


def require_current(kept: Profiles, in_force: Profiles) -> str:
    """Return the name of the current profile. Raises NoProfile.

    NoProfile also when it is not a stored one, which could be changed.
    """
    if in_force.current is None or in_force.current not in kept.profiles:
        raise NoProfile
    return in_force.current


async def get_project(in_force: Profiles, mount: str) -> Mount:
    """Return a mount of the current profile.

    Raises NoProfile, NotFound, Denied, StoreUnavailable.
    """
    if in_force.current is None:
        raise NoProfile(NOT_ACTIVE)
    found = in_force.get_mounts().get(mount)
    if found is None:
        raise NotFound("Mount", mount, f" in profile '{in_force.current}'")
    return await in_force.check_mount(found)


def list_projects(in_force: Profiles) -> list[dict[str, Any]]:
    """List a project for each mount of the current profile; for a thread.

    Asks the disk whether they have a srunx.json; no where it does not answer.
    """
    mounts = list(in_force.get_mounts().values())
    paths = [mount.root / "srunx.json" for mount in mounts]
    answers = mount_calls.ask_each((path.parent, partial(is_on_disk, path)) for path in paths)
    return [
        {
            "mount_name": mount.name,
            "local_path": str(mount.root),
            "remote_path": mount.remote,
            "config_exists": answer is True,
            "config_path": str(path),
        }
        for mount, path, answer in zip(mounts, paths, answers, strict=True)
    ]


# Changes. Each is made on the file's present contents; `if_match` is the tag that the caller has seen.


def get_profiles_tag(folder: Folder) -> str:
    """Return what If-Match must say to change profiles.yaml now."""
    return get_tag(folder, "profiles")


async def create_profile(folder: Folder, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """Create a profile; return it. Raises Exists, Invalid."""
    name = given["name"]

    def changes(kept: Profiles) -> dict[str, Any]:
        if name in kept.profiles:
            raise Exists("Profile", name)
        return {"profiles": {name: _build_field_changes(given, Profile())}}

    return to_profile_json((await _edit_profiles(folder, changes, if_match)).profiles[name])


async def update_profile(folder: Folder, name: str, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """Set the fields given in a profile; return it.

    Raises NotFound, Invalid.
    """

    def changes(kept: Profiles) -> dict[str, Any]:
        return {"profiles": {name: _build_field_changes(given, _get_profile(kept, name))}}

    return to_profile_json((await _edit_profiles(folder, changes, if_match)).profiles[name])


async def delete_profile(folder: Folder, name: str, if_match: str | None) -> None:
    """Delete the profile and its mounts. Raises NotFound.

    If it was the current one, no profile is current then.
    """

    def changes(kept: Profiles) -> dict[str, Any]:
        _get_profile(kept, name)
        return {"profiles": {name: None}, **({"current": None} if kept.current == name else {})}

    await _edit_profiles(folder, changes, if_match)


async def activate_profile(folder: Folder, name: str, if_match: str | None) -> None:
    """Make the profile the current one. Raises NotFound, Invalid."""

    def changes(kept: Profiles) -> dict[str, Any]:
        if _get_profile(kept, name).is_empty:
            raise Invalid([make_problem(f"profile '{name}' leads nowhere: {NO_HOST}", ["hostname"])])
        return {"current": name}

    await _edit_profiles(folder, changes, if_match)


async def deactivate_profile(folder: Folder, if_match: str | None) -> None:
    """Leave no profile current; work goes to the cluster here."""
    await _edit_profiles(folder, lambda kept: {"current": None} if kept.current else {}, if_match)


async def add_mount(folder: Folder, name: str, given: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """Add a mount to a profile; return it.

    Raises NotFound, Exists, Conflict (another mount has the folder), Invalid.
    """
    mount = _validate_model(Mount, {key: value for key, value in given.items() if key in Mount.model_fields})

    def changes(kept: Profiles) -> dict[str, Any]:
        mounts = _get_profile(kept, name).mounts
        if any(other.name == mount.name for other in mounts):
            raise Exists("Mount", mount.name)
        if taken := next((other for other in mounts if other.root == mount.root), None):
            raise Conflict(f"Mount '{taken.name}' already has the folder {mount.root}")
        return {"profiles": {name: {"mounts": [_to_plain(item) for item in [*mounts, mount]]}}}

    await _edit_profiles(folder, changes, if_match)
    return to_mount_json(mount)


async def remove_mount(folder: Folder, name: str, mount: str, if_match: str | None) -> None:
    """Remove a mount from a profile. Raises NotFound."""

    def changes(kept: Profiles) -> dict[str, Any]:
        mounts = _get_profile(kept, name).mounts
        left = [_to_plain(item) for item in mounts if item.name != mount]
        if len(left) == len(mounts):
            raise NotFound("Mount", mount)
        return {"profiles": {name: {"mounts": left}}}

    await _edit_profiles(folder, changes, if_match)


async def _edit_profiles(
    folder: Folder, changes: Callable[[Profiles], dict[str, Any]], if_match: str | None
) -> Profiles:
    """Change profiles.yaml; return the profiles after that.

    `changes` works out what to change from what the file says at that moment.
    """

    def edit(data: bytes) -> bytes:
        after = writer.edit_yaml(data, changes(parse_profiles(data) if data else Profiles()))
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
    """Return the changes that set the fields given in a profile.

    Raises Invalid, which names the field of the body.
    """
    changes = {key: given[key] for key in NEEDED if given.get(key) is not None}
    changes |= {key: given[key] or None for key in OPTIONAL if key in given}
    if given.get("env_vars") is not None:
        kept = old.env_vars
        wanted = masks.unmask_secrets({"env_vars": given["env_vars"]}, {"env_vars": kept})["env_vars"]
        changes["env_vars"] = {**{name: None for name in kept if name not in wanted}, **wanted}
    changed = _validate_model(Profile, writer.merge_changes(old.model_dump(exclude={"mounts"}), changes))
    if old.has_host and not changed.has_host:
        raise Invalid([make_problem(NO_HOST, ["body", "hostname"])])
    return changes


def _validate_model(model: type[Document], value: Mapping[str, Any]) -> Document:
    """Return the value as its model. Raises Invalid.

    Places are those that the fields have in the body of a request.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = to_problems(error, model=model)
        raise Invalid([{**item, "loc": ["body", *item["loc"]]} for item in found]) from error


def _to_plain(mount: Mount) -> dict[str, Any]:
    return mount.model_dump(exclude_defaults=True)
