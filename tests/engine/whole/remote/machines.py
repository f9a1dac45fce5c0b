"""What tests of clusters behind SSH share: their profiles, an ssh configuration, a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.app_client import Client
from tests.cluster.beyond import Beyond
from tests.pipeline import SUMMING_PIPELINE
from tests.waiting import eventually

# Over there the numbers are made by a program of the mount.
PIPELINE = SUMMING_PIPELINE.replace(b"seq ", b"python3 make.py ")
MAKE = "import sys\nfor one in range(1, int(sys.argv[1]) + 1):\n    print(one)\n"
TWO = "name: two\njobs:\n  - {name: a, command: 'sleep 4'}\n  - {name: b, command: 'true', depends_on: [a]}\n"


def write_profiles(store: Path, current: str | None, **profiles: dict[str, Any]) -> None:
    """Nothing; profiles.yaml says this (JSON is YAML), put in place whole as an editor would."""
    store.mkdir(parents=True, exist_ok=True)
    made = store / "profiles.yaml.new"
    made.write_text(json.dumps({"current": current, "profiles": profiles}))
    made.replace(store / "profiles.yaml")


def ssh_config(*beyond: Beyond) -> str:
    """An ssh configuration that knows the host keys of all of these."""
    known = beyond[0].sshd.known_hosts
    known.write_text("".join(dict.fromkeys(machine.sshd.known_hosts.read_text() for machine in beyond)))
    return str(beyond[0].sshd.config)


def await_clusters(client: Client) -> dict[str, Any]:
    """Await the answer of the cluster in force; return what is known of all."""

    def find_cluster() -> dict[str, Any] | None:
        status: dict[str, Any] = client.get("/api/config/ssh/status").json()
        return status if status["connected"] else None

    return eventually(find_cluster, 60, "the cluster over there answers")  # type: ignore[return-value]
