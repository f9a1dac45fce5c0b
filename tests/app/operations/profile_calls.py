"""A served store with profiles, and calls that change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.app_client import Client

FILE = """\
# clusters of the group
current: dgx  # mine

profiles:
  # the big one
  dgx:
    hostname: dgx.example.com  # behind the gate
    username: researcher
    env_vars: {HF_TOKEN: hf_verysecret, NCCL_DEBUG: INFO}
    mounts:
      # code
      - {name: ml-project, local: ~/ml, remote: /home/researcher/ml}

  # a small one
  lab: {hostname: lab.example.com, username: me}
"""


NEW = {"name": "new", "hostname": "new.example.com", "username": "me"}


MOUNT = {"name": "data", "local": "/srv/data", "remote": "/data"}


PROFILES = "/api/config/ssh/profiles"


class ServedProfiles:
    """A served store with these profiles."""

    def __init__(self, store: Path) -> None:
        store.mkdir()
        self.path = store / "profiles.yaml"
        self.path.write_text(FILE)
        self.client: Client

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return self.client.request(method, path, **({"json": body} if body is not None else {}), **more)

    def list_profiles(self) -> Any:
        return self.client.get(PROFILES).json()


BOTH_WAYS = [
    ("the current profile's", "/api/files/mounts", {"status": "deleted", "name": "data"}),
    ("a named profile's", f"{PROFILES}/dgx/mounts", {"ok": True}),
]
