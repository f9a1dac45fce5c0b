"""profiles.yaml: clusters reached over SSH, and their mounts.

A mount is a local folder that stands for a folder on the cluster. What stands in a profile ends as words of ssh and
rsync, so every field takes only what such a word may be: nothing that starts with a dash, no blank, quote, `$`, `%` or
control character where ssh would read more than a name in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from store.config import mount_roots
from store.documents import PATH, VARIABLE, VERSION, UserFileModel, from_yaml, require_form
from store.errors import Denied, Invalid, NotFound, make_problem
from store.outside_files import mount_calls

# The same patterns are in contract.yaml; a test compares them.
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
HOST = r"^[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,252}$"
USER = r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}$"
HOP = r"([A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}@)?([A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?"
JUMP = rf"^{HOP}(,{HOP}){{0,7}}$"
KEY = r"^(~/|/)[^\x00-\x1f\x7f\x22%$\\]+$"
LOCAL = r"^(/|~/|~$)[^\x00-\x1f\x7f]*$"
REMOTE = r"^/[^\x00-\x1f\x7f]*$"

NO_HOST = "hostname or ssh_host is missing"

Name = Annotated[str, Field(pattern=NAME)]
Host = Annotated[str, Field(pattern=HOST)]


def to_root(local: str) -> Path:
    """Convert the local folder of a mount to its path."""
    return Path(local).expanduser().absolute()


class Mount(UserFileModel):
    """A local folder and the folder it stands for on the cluster.

    In `local`, `~` is the server's home.
    """

    name: Name
    local: Annotated[str, Field(pattern=LOCAL, max_length=4096)]
    remote: Annotated[str, Field(pattern=REMOTE, max_length=4096)]
    exclude_patterns: list[Annotated[str, Field(pattern=PATH, max_length=1000)]] = Field(default=[], max_length=1000)

    @field_validator("local")
    @classmethod
    def check_local(cls, value: str) -> str:
        """Refuse what is no folder of a project."""
        if why := mount_roots.explain_path(to_root(value), Path("~").expanduser()):
            raise ValueError(f"a mount needs a folder of its own, not {why}")
        return value

    @field_validator("remote")
    @classmethod
    def check_remote(cls, value: str) -> str:
        """Refuse what is no folder of a project over there."""
        if why := mount_roots.explain_remote_root(value):
            raise ValueError(f"a mount needs a folder of its own, not {why}")
        return value

    @property
    def root(self) -> Path:
        """The local folder."""
        return to_root(self.local)

    async def is_there(self, folder: Path | str = "") -> bool:
        """Tell whether the disk has the local folder, or this one in it.

        Raises StoreUnavailable for one that does not answer.
        """
        return await mount_calls.run_call(self.root, _is_folder, self.root / folder)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def is_on_disk(path: Path) -> bool:
    """Tell whether the disk has the path; no where it cannot say."""
    try:
        return path.exists()
    except OSError:
        return False


class Profile(UserFileModel):
    """One cluster and its mounts.

    Without hostname and ssh_host it is the local cluster.
    """

    hostname: Host | None = None
    username: Annotated[str, Field(pattern=USER)] | None = None
    key_filename: Annotated[str, Field(pattern=KEY, max_length=4096)] | None = None
    port: int = Field(default=22, ge=1, le=65535)
    description: Annotated[str, Field(max_length=1000)] | None = None
    ssh_host: Host | None = None
    proxy_jump: Annotated[str, require_form(JUMP, 1000, "hosts such as me@gate.example.org:22")] | None = None
    env_vars: dict[str, Annotated[str, Field(max_length=10_000)]] = Field(default={}, max_length=200)
    mounts: list[Mount] = Field(default=[], max_length=200)

    @property
    def has_host(self) -> bool:
        """Whether it leads to another machine."""
        return bool(self.hostname or self.ssh_host)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that could be made current."""
        return not self.has_host and not self.mounts

    @field_validator("env_vars")
    @classmethod
    def check_variables(cls, value: dict[str, str]) -> dict[str, str]:
        """Refuse names that no shell takes, and values of several lines."""
        for name, text in value.items():
            if not VARIABLE.match(name) or not re.fullmatch(r"[^\x00-\x08\x0a-\x1f\x7f]*", text):
                raise ValueError(f"'{name}' cannot be a variable: a name like WORD_1, and one line of text")
        return value

    @model_validator(mode="after")
    def check_unique_mounts(self) -> Self:
        """Refuse two mounts with the same name or the same folder."""
        names, roots = [mount.name for mount in self.mounts], [mount.root for mount in self.mounts]
        for what, values in (("name", names), ("local", roots)):
            if len(set(values)) < len(values):
                raise ValueError(f"two mounts have the same {what}")
        return self


class Profiles(UserFileModel):
    """profiles.yaml."""

    version: int = VERSION
    current: Name | None = None
    profiles: dict[Name, Profile] = Field(default={})
    _store: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def check_current(self) -> Self:
        """Refuse a current profile that does not exist."""
        if self.current is not None and self.current not in self.profiles:
            raise ValueError(f"current is '{self.current}', which is none of the profiles")
        return self

    @property
    def active_profile(self) -> Profile | None:
        """The current profile."""
        return self.profiles[self.current] if self.current else None

    def get_mounts(self) -> dict[str, Mount]:
        """Return the mounts of the current profile by name."""
        return {mount.name: mount for mount in self.active_profile.mounts} if self.active_profile else {}

    def get_mount(self, name: str) -> Mount:
        """Return a mount of the current profile. Raises NotFound."""
        found = self.get_mounts().get(name)
        if found is None:
            raise NotFound("Mount", name)
        return found

    async def check_mount(self, mount: Mount) -> Mount:
        """Return the mount unless its folder became a forbidden one; Denied.

        To be asked before each use, as anything on the way to it may have become a link. Raises StoreUnavailable for
        one that does not answer.
        """
        if why := await mount_calls.run_call(mount.root, self.explain_mount, mount):
            raise Denied(f"Mount '{mount.name}' is {why}")
        return mount

    def explain_mount(self, mount: Mount) -> str | None:
        """Explain why a mount may not be used; None if it may.

        Asks the disk, which may not answer.
        """
        why = mount_roots.explain_root(mount.root)
        return why or (mount_roots.explain_store(mount.root, self._store) if self._store else None)


def parse_profiles(data: bytes, name: str = "profiles.yaml", store: Path | None = None) -> Profiles:
    """Parse the file. Raises Invalid with line and column.

    No mount may show the store. One that does not answer is taken: it is checked again before each use.
    """
    found = from_yaml(Profiles, data, name)
    found._store = store
    mounts = [(key, at, mount) for key, profile in found.profiles.items() for at, mount in enumerate(profile.mounts)]
    reasons = mount_calls.ask_each((mount.root, partial(found.explain_mount, mount)) for _, _, mount in mounts)
    wrong = [
        make_problem(f"a mount needs a folder of its own, not {why}", ["profiles", key, "mounts", at, "local"])
        for (key, at, _), why in zip(mounts, reasons, strict=True)
        if isinstance(why, str)
    ]
    if wrong:
        raise Invalid(wrong)
    return found


def apply_environment(kept: Profiles, environment: Mapping[str, str]) -> tuple[Profiles, str | None]:
    """Return the profiles as the environment selects among them.

    And what is wrong with the choice, or None. `SRUNX_SSH_PROFILE` names a profile; else `SRUNX_SSH_HOSTNAME` with
    `SRUNX_SSH_USERNAME` (and `_KEY`, `_PORT`) is one by itself, called `user@host`, a name that no stored profile can
    have; else the current one of the file counts. A wrong choice selects none, so that no job goes to another cluster
    than the one that was meant.
    """
    if name := environment.get("SRUNX_SSH_PROFILE"):
        wrong = None if name in kept.profiles else f"SRUNX_SSH_PROFILE is '{name[:80]}', which is none of the profiles"
        return kept.model_copy(update={"current": None if wrong else name}), wrong
    host, user = environment.get("SRUNX_SSH_HOSTNAME"), environment.get("SRUNX_SSH_USERNAME")
    if not host or not user:
        return kept, None
    given = {"hostname": host, "username": user, "key_filename": environment.get("SRUNX_SSH_KEY") or None}
    port = environment.get("SRUNX_SSH_PORT") or "22"
    try:
        profile = Profile.model_validate({**given, "port": int(port) if re.fullmatch("[0-9]{1,5}", port) else port})
    except ValidationError as error:
        names = {"hostname": "HOSTNAME", "username": "USERNAME", "key_filename": "KEY", "port": "PORT"}
        which = ", ".join(f"SRUNX_SSH_{names[str(detail['loc'][0])]}" for detail in error.errors())
        return kept.model_copy(update={"current": None}), f"{which} cannot be used; no profile is active"
    name = f"{user}@{host}"
    return kept.model_copy(update={"current": name, "profiles": {**kept.profiles, name: profile}}), None
