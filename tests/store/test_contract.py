"""Reading, caching and writing out the contract."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from ruamel.yaml import YAML

from store import contract as contracts
from store.contract import (
    dump_contract,
    find_cache_folder,
    find_needed_components,
    load_contract,
    parse_contract,
    read_cache,
)
from tests import ROOT
from tests.contract_judge import CONTRACT

FILE = ROOT / "contract.yaml"
SMALL = b"""\
x-refusals: {guarded: &guarded {"401": {description: who}, "404": {description: where}}}
openapi: 3.1.0
paths:
  /things:
    parameters: []
    get:
      responses:
        <<: [*guarded]
        "404": {description: own}
        "200": {description: things}
"""
PARSED = {
    "openapi": "3.1.0",
    "paths": {
        "/things": {
            "parameters": [],
            "get": {
                "responses": {
                    "200": {"description": "things"},
                    "401": {"description": "who"},
                    "404": {"description": "own"},
                }
            },
        }
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small contract."""
    path = tmp_path / "contract.yaml"
    path.write_bytes(SMALL)
    return path


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own."""
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home")}


def list_cache(home: dict[str, str]) -> list[Path]:
    """List what lies in the cache."""
    folder = find_cache_folder(home)
    assert folder is not None
    return sorted(folder.iterdir()) if folder.is_dir() else []


# --- reading and writing out -----------------------------------------------------------------------------------------


def test_merge_keys_are_resolved_and_own_sections_left_out() -> None:
    assert parse_contract(SMALL) == PARSED
    assert list(parse_contract(SMALL)["paths"]["/things"]["get"]["responses"]) == ["200", "401", "404"]


def test_a_reader_of_yaml_1_2_finds_the_same() -> None:
    """No unquoted word means something else to PyYAML, which speaks YAML 1.1: on, no, 12:30, 2026-03-30."""
    strict = YAML(typ="safe", pure=True).load(FILE.read_text())
    assert {key: value for key, value in strict.items() if not key.startswith("x-")} == CONTRACT


@pytest.mark.parametrize("missing", ["CSafeLoader", "CSafeDumper"])
def test_it_is_read_and_written_without_the_c_library(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    contracts._build_dumper.cache_clear()
    monkeypatch.delattr(yaml, missing)
    assert parse_contract(FILE.read_bytes()) == CONTRACT
    assert yaml.safe_load(dump_contract(PARSED)) == PARSED
    contracts._build_dumper.cache_clear()


def test_what_is_written_out_is_plain_yaml() -> None:
    text = dump_contract(CONTRACT)
    assert yaml.load(text, Loader=yaml.SafeLoader) == CONTRACT
    assert YAML(typ="safe", pure=True).load(text.decode()) == CONTRACT
    special = (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken)
    tokens = list(yaml.scan(text))
    assert not [token for token in tokens if isinstance(token, special)]
    assert "<<" not in {token.value for token in tokens if isinstance(token, yaml.ScalarToken) and token.plain}
    assert list(yaml.safe_load(text)["paths"]) == list(CONTRACT["paths"]), "the order stays"


@pytest.mark.parametrize(
    "text", ["1e3", "0o17", "12:30", "on", "y", "no", "2026-03-30", "~", "0x1f", "1_000", ".5", ""]
)
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    written = dump_contract({"openapi": text, "paths": {text: {}}})
    assert yaml.safe_load(written) == {"openapi": text, "paths": {text: {}}}
    assert YAML(typ="safe", pure=True).load(written.decode()) == {"openapi": text, "paths": {text: {}}}
    assert f"openapi: '{text}'" in written.decode()


@pytest.mark.parametrize(
    "text", ["a\nb\n", "a\nb", "a \nb", "\na", "a\n\n", "  a\nb\n", "tab\tbed\nb", "a\r\nb", "# a\nb\n"]
)
def test_text_of_several_lines_stays_the_same(text: str) -> None:
    written = dump_contract({"text": text, "paths": {}})
    assert yaml.safe_load(written)["text"] == text
    assert YAML(typ="safe", pure=True).load(written.decode())["text"] == text


# --- the cache -------------------------------------------------------------------------------------------------------


def test_the_second_start_reads_the_cache(file: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_contract(file, home) == PARSED
    (path,) = list_cache(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    monkeypatch.setattr(contracts, "parse_contract", lambda data: pytest.fail("read again"))
    assert load_contract(file, home) == PARSED


def test_a_changed_contract_replaces_the_cached_one(file: Path, home: dict[str, str]) -> None:
    load_contract(file, home)
    (before,) = list_cache(home)
    file.write_bytes(SMALL.replace(b"things}", b"others}"))
    assert load_contract(file, home)["paths"]["/things"]["get"]["responses"]["200"] == {"description": "others"}
    (after,) = list_cache(home)
    assert after.name != before.name


def make_writable(path: Path) -> None:
    path.chmod(0o666)


def open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def make_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def link_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to(path.parent.with_name("elsewhere"))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def make_list(path: Path) -> None:
    path.write_bytes(b"[]")


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [make_writable, open_folder, make_link, link_folder, cut_off, make_list, make_fifo],
    ids=lambda change: change.__name__,
)
def test_a_cache_that_may_be_wrong_is_not_believed(spoil: Any, file: Path, home: dict[str, str]) -> None:
    load_contract(file, home)
    (path,) = list_cache(home)
    if spoil not in (cut_off, make_list, make_fifo):
        path.write_bytes(orjson.dumps({"openapi": "somebody else's"}))
    spoil(path)
    assert read_cache(path) is None
    assert load_contract(file, home) == PARSED


def test_a_cache_of_another_user_is_not_believed(
    file: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_contract(file, home)
    (path,) = list_cache(home)
    before = path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: before.st_uid + 1)
    assert read_cache(path) is None
    assert load_contract(file, home) == PARSED
    assert path.stat().st_mtime_ns == before.st_mtime_ns, "nor written"


def block_home(home: Path) -> None:
    (home / ".cache").write_text("a file where the folder would be")


def take_home_away(home: Path) -> None:
    home.rename(home.with_name("gone"))
    home.write_text("no folder")


@pytest.mark.parametrize("block", [block_home, take_home_away], ids=lambda change: change.__name__)
def test_no_cache_is_no_problem(block: Any, file: Path, home: dict[str, str]) -> None:
    block(Path(home["HOME"]))
    assert load_contract(file, home) == PARSED


@pytest.mark.parametrize(
    ("why", "environment", "folder"),
    [
        ("named", {"HOME": "/home/me", "XDG_CACHE_HOME": "/cache"}, Path("/cache/sluice")),
        ("not named", {"HOME": "/home/me"}, Path("/home/me/.cache/sluice")),
        ("named relatively", {"HOME": "/home/me", "XDG_CACHE_HOME": "cache"}, Path("/home/me/.cache/sluice")),
        ("named as nothing", {"HOME": "/home/me", "XDG_CACHE_HOME": ""}, Path("/home/me/.cache/sluice")),
        ("no home", {}, None),
    ],
)
def test_where_the_cache_lies(why: str, environment: dict[str, str], folder: Path | None) -> None:
    assert find_cache_folder(environment) == folder


# --- what a validator needs ------------------------------------------------------------------------------------------


def test_components_are_found_through_others() -> None:
    schemas = {
        "Job": {"properties": {"time": {"$ref": "#/components/schemas/Time"}, "$ref": {"type": "string"}}},
        "Time": {"type": "string"},
        "Tree": {"oneOf": [{"$ref": "#/components/schemas/Tree"}, {"$ref": "#/components/schemas/Time"}]},
        "Other": {},
    }
    contract = {"components": {"schemas": schemas}}
    assert find_needed_components(contract, {"type": "string"}) == {}
    found = find_needed_components(contract, {"items": [{"$ref": "#/components/schemas/Job"}]})
    assert set(found["schemas"]) == {"Job", "Time"}
    assert set(find_needed_components(contract, {"$ref": "#/components/schemas/Tree"})["schemas"]) == {"Tree", "Time"}
