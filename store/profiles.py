"""profiles.yaml: clusters reached over SSH, and the mounts: local folders that stand for folders over there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from store.documents import PATH, VERSION, Written, from_yaml
from store.errors import NotFound

NAME = r"^[A-Za-z0-9_.-]{1,64}$"
Name = Annotated[str, Field(pattern=NAME)]


class Mount(Written):
    """A folder here (`local`, `~` is the server's home) and the folder it stands for on the cluster (`remote`)."""

    name: Name
    local: Annotated[str, Field(pattern=PATH, max_length=4096)]
    remote: Annotated[str, Field(pattern=r"^/[^\x00-\x1f\x7f]*$", max_length=4096)]
    exclude_patterns: list[Annotated[str, Field(pattern=PATH, max_length=1000)]] = Field(default=[])

    @property
    def root(self) -> Path:
        """The local folder."""
        return Path(self.local).expanduser().absolute()


class Profile(Written):
    """One cluster and the mounts that belong to it."""

    hostname: str | None = None
    username: str | None = None
    key_filename: str | None = None
    port: int = Field(default=22, ge=1, le=65535)
    description: str | None = None
    ssh_host: str | None = None
    proxy_jump: str | None = None
    env_vars: dict[str, str] = Field(default={})
    mounts: list[Mount] = Field(default=[])

    @model_validator(mode="after")
    def unique(self) -> Self:
        """Itself, when no two mounts have the same name or the same folder."""
        for what, values in (("name", [one.name for one in self.mounts]), ("local", [one.root for one in self.mounts])):
            if len(set(values)) < len(values):
                raise ValueError(f"two mounts have the same {what}")
        return self


class Profiles(Written):
    """profiles.yaml."""

    version: int = VERSION
    current: Name | None = None
    profiles: dict[Name, Profile] = Field(default={})

    @model_validator(mode="after")
    def known(self) -> Self:
        """Itself, when the current profile is one of them."""
        if self.current is not None and self.current not in self.profiles:
            raise ValueError(f"current is '{self.current}', which is none of the profiles")
        return self

    def mounts(self) -> dict[str, Mount]:
        """The mounts of the current profile by name."""
        return {one.name: one for one in self.profiles[self.current].mounts} if self.current else {}

    def mount(self, name: str) -> Mount:
        """A mount of the current profile; NotFound."""
        found = self.mounts().get(name)
        if found is None:
            raise NotFound("Mount", name)
        return found


def parse(data: bytes, name: str = "profiles.yaml") -> Profiles:
    """The profiles in the file; Invalid with line and column."""
    return from_yaml(Profiles, data, name)
