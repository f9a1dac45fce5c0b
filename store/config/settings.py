"""What the environment says about how the server is to be run.

Everything else stands in the store's own files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The settings of the server; command-line flags set the environment."""

    store: Path = Path("data")
    cluster: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: tuple[str, ...] = ()
    always_ask: str = "no"
    root_path: str = ""
    watch: str = "auto"
    log_level: str = "info"
    log_format: str = "plain"
    ssh_config: str | None = None
    system_config: Path = Path("/etc/srunx/config.json")
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings in SLUICE_… variables.

        Raises ValueError, which names the variable that is wrong.
        """
        given = {
            name: environment[key]
            for name in cls.__dataclass_fields__
            if (key := f"SLUICE_{name.upper()}") in environment
        }
        values: dict[str, Any] = dict(given)
        values |= {name: Path(given[name]) for name in ("store", "system_config") if name in given}
        values |= {name: Path(given[name]) for name in TLS if given.get(name)}
        values |= {name: None for name in TLS if name in given and not given[name]}
        if "port" in given and not (given["port"].isdecimal() and int(given["port"][:9]) <= 65535):
            raise ValueError(f"SLUICE_PORT must be a number up to 65535, not {given['port']!r}")
        if "port" in given:
            values["port"] = int(given["port"])
        if "allowed_hosts" in given:
            values["allowed_hosts"] = tuple(name for name in re.split(r"[\s,]+", given["allowed_hosts"]) if name)
        if not re.fullmatch(r"(/[A-Za-z0-9_.~-]+)*", given.get("root_path", "")):
            raise ValueError(f"SLUICE_ROOT_PATH must be like /slurm, not {given['root_path']!r}")
        if "ssh_config" in given:
            values["ssh_config"] = str(Path(given["ssh_config"]).absolute()) if given["ssh_config"] else None
        for name, known in CHOICES.items():
            if values.get(name, known[0]) not in known:
                raise ValueError(f"SLUICE_{name.upper()} must be one of {', '.join(known)}, not {values[name]!r}")
        made = cls(**values)
        if (made.tls_cert is None) != (made.tls_key is None):
            raise ValueError("SLUICE_TLS_CERT and SLUICE_TLS_KEY go together")
        if made.tls_client_ca is not None and made.tls_cert is None:
            raise ValueError("SLUICE_TLS_CLIENT_CA needs SLUICE_TLS_CERT and SLUICE_TLS_KEY")
        for name in TLS:
            path = getattr(made, name)
            if path is not None and not path.is_file():
                raise ValueError(f"SLUICE_{name.upper()}: there is no file {path}")
        return made


TLS = ("tls_cert", "tls_key", "tls_client_ca")  # files
CHOICES = {
    "cluster": ("auto", "slurm", "embedded"),
    "always_ask": ("no", "yes"),
    "watch": ("auto", "poll"),
    "log_level": ("info", "debug", "warning", "error"),
    "log_format": ("plain", "json"),
}
