"""Reading contract.yaml, its cache, and writing it out as plain YAML.

contract.yaml is a file of our own, not input: PyYAML's C loader reads it ten times as fast as the strict reader of the
store's files. PyYAML speaks YAML 1.1, so the file quotes what YAML 1.2 understands otherwise; a test compares the two.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from store.disk.files import FileChange, Files
from store.disk.reading import open_regular_file
from store.errors import StoreError

# Part of the hash: another number when what is cached of the same file changes.
CACHE_FORMAT = b"1\n"
# The contract has some 200 KB as JSON.
CACHE_BYTES = 10_000_000
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
YAML_COLUMNS = 120

Contract = dict[str, Any]


def load_contract(path: Path, environment: Mapping[str, str] = os.environ) -> Contract:
    """Return the contract in the file, from the cache where possible.

    Merge keys are resolved, the x- sections left out, responses sorted by status. The result is cached as JSON under
    the hash of the file, in the user's cache folder.
    """
    data = path.read_bytes()
    folder = find_cache_folder(environment)
    name = f"contract-{hashlib.sha256(CACHE_FORMAT + data).hexdigest()}.json"
    if folder is not None and (cached := read_cache(folder / name)) is not None:
        return cached
    contract = parse_contract(data)
    if folder is not None:
        write_cache(folder / name, orjson.dumps(contract))
    return contract


def parse_contract(data: bytes) -> Contract:
    """Return the contract in the text of contract.yaml."""
    import yaml  # type: ignore[import-untyped]  # only where nothing is cached: it takes 10 ms and 5 MB

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    whole = yaml.load(data, Loader=loader)  # noqa: S506 (both are safe loaders)
    contract = {key: value for key, value in whole.items() if not key.startswith("x-")}
    for item in contract["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):  # the others are the parameters of the whole path
                operation["responses"] = dict(sorted(operation["responses"].items()))
    return contract


def dump_contract(contract: Contract) -> bytes:
    """Write the contract as YAML without anchors and merge keys."""
    import yaml  # as above; it takes 0.1 s, so callers keep the result and do not wait for it on the event loop

    return yaml.dump(
        contract, Dumper=_build_dumper(), sort_keys=False, default_flow_style=False, allow_unicode=True,
        width=YAML_COLUMNS, encoding="utf-8",
    )  # fmt: skip


@cache
def _build_dumper() -> Any:
    """Build the dumper whose YAML means the same to every reader.

    It repeats what occurs twice, and quotes text that YAML 1.1 or 1.2 takes for another type.
    """
    import re

    import yaml

    class PlainDumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_text(dumper: Any, text: str) -> Any:
        # A script or a workflow is read line by line.
        style = "|" if "\n" in text.rstrip("\n") and not re.search(r"[^\S\n](\n|$)|\t|\r", text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    PlainDumper.add_representer(str, represent_text)
    # Numbers of YAML 1.2 (1e3, 0o17) and the short booleans of YAML 1.1, which PyYAML takes for text.
    number = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|0o[0-7]+\Z")
    PlainDumper.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    PlainDumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]\Z"), list("yYnN"))
    return PlainDumper


def find_needed_components(contract: Contract, schema: Any) -> dict[str, dict[str, Any]]:
    """Return the components that the schema refers to, by kind and name.

    Those that they refer to are among them.
    """
    needed: dict[str, dict[str, Any]] = {}
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending.extend(part)
        elif isinstance(part, dict):
            pending.extend(part.values())
            reference = part.get("$ref")
            if isinstance(reference, str):
                kind, name = reference.removeprefix("#/components/").split("/")
                if name not in needed.setdefault(kind, {}):
                    needed[kind][name] = contract["components"][kind][name]
                    pending.append(needed[kind][name])
    return needed


# The cache. Whatever is wrong with it, the contract is read from its file.


def find_cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder for the cache; None when the user has no home."""
    named = environment.get("XDG_CACHE_HOME", "")
    if Path(named).is_absolute():  # others are to be ignored: XDG Base Directory Specification
        return Path(named) / "sluice"
    home = environment.get("HOME", "")
    return Path(home) / ".cache" / "sluice" if Path(home).is_absolute() else None


def read_cache(path: Path) -> Contract | None:
    """Return the cached contract; None if missing, damaged or not private."""
    try:
        if not is_private(path.parent.lstat()):
            return None
        fd, status = open_regular_file(path, os.geteuid())
        with os.fdopen(fd, "rb") as file:
            data = file.read(CACHE_BYTES) if is_private(status) else b""
        contract = orjson.loads(data)
    except (OSError, StoreError, ValueError):
        return None
    return contract if isinstance(contract, dict) else None


def write_cache(path: Path, data: bytes) -> None:
    """Write the contract's JSON to the cache and remove outdated ones.

    Does nothing where the cache cannot be written.
    """
    files = Files(path.parent)
    try:
        files.make_dirs(path.parent)
        if is_private(path.parent.lstat()):
            outdated = [old for old in path.parent.glob("contract-*.json") if old != path]
            files.commit([FileChange(path, data), *(FileChange(old, None) for old in outdated)])
    except (OSError, StoreError):
        # A home that is full, read-only or of another user costs some time at the next start and nothing else.
        return


def is_private(status: os.stat_result) -> bool:
    """Tell whether only the user may write this file or folder.

    Links are neither.
    """
    owned = status.st_uid == os.geteuid() and not status.st_mode & OTHERS_MAY_WRITE
    return owned and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
