"""Definitions of simulators: those that ship are good, and a wrong one says where and what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import store as whole_store
from store.errors import Invalid
from store.rules.simulations import simulators
from store.store import Store
from store.yaml.writer import dump_yaml

SHIPPED = sorted((whole_store.EXAMPLES / "simulators").glob("*.yaml"))
GOOD: dict[str, Any] = {
    "title": "Mine",
    "recognise": ["in.dat"],
    "primaries": {"file": "in.dat", "pattern": r"^N\s+(\d+)"},
    "seed": {"argument": True},
    "command": ["mine", "{seed}", "{input}"],
    "results": {"form": "pages", "files": ["*.pages.json"]},
}


def parse_changed(**changes: Any) -> simulators.Simulator:
    """Parse the good definition with these keys changed; None takes one out."""
    wanted = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return simulators.parse_simulator(dump_yaml(wanted), "mine")


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SHIPPED])
def test_shipped_definitions_are_good(path: Path) -> None:
    simulator = simulators.parse_simulator(path.read_bytes(), path.stem)
    assert simulator.primaries is not None and simulator.seed is not None
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ") and max(map(len, lines)) <= 200


def test_five_ship() -> None:
    assert [path.stem for path in SHIPPED] == ["dummy", "fluka", "geant4", "shieldhit", "topas"]


@pytest.mark.parametrize(
    ("why", "changes", "problem"),
    [
        ("a key with a typo", {"recognize": ["x"]}, "unknown key 'recognize'; did you mean 'recognise'?"),
        (
            "a key inside",
            {"primaries": {"file": "a", "pattern": "(1)", "collumns": [1, 2]}},
            "unknown key 'collumns'; did you mean 'columns'?",
        ),
        ("a word of the command", {"command": ["mine", "{sed}"]}, "{sed} stands for nothing; did you mean 'seed'?"),
        ("a brace alone", {"command": ["mine", "{seed}", "{"]}, "braces only stand around a name"),
        ("no program", {"command": [" ", "{seed}"]}, "begins with the name of a program"),
        ("a seed that goes nowhere", {"command": ["mine"]}, "no word of the command has {seed}"),
        ("a seed from nowhere", {"seed": None}, "the command has {seed}"),
        ("two ways for the seed", {"seed": {"argument": True, "pattern": "(1)"}}, "would put it into a file"),
        ("no way for the seed", {"seed": {}, "command": ["mine"]}, "needs either 'argument: true' or a pattern"),
        (
            "a seed without a file",
            {"seed": {"pattern": "(1)"}, "primaries": None, "command": ["mine"]},
            "the seed needs a file",
        ),
        ("no regular expression", {"primaries": {"file": "a", "pattern": "(1"}}, "no regular expression"),
        ("a pattern of newer Pythons", {"refuse": ["(?>a)"]}, "not known to the Python of every node"),
        ("another one", {"refuse": ["a*+b"]}, "not known to the Python of every node"),
        ("no group around the value", {"primaries": {"file": "a", "pattern": "N"}}, "needs a group"),
        (
            "columns in the wrong order",
            {"primaries": {"file": "a", "pattern": "N", "columns": [20, 11]}},
            "the first and the last one",
        ),
        ("columns that are not two", {"primaries": {"file": "a", "pattern": "N", "columns": [20]}}, "at least 2"),
        ("a form without the value", {"primaries": {"file": "a", "pattern": "(1)", "form": "x"}}, "once and no other"),
        ("a form with more", {"primaries": {"file": "a", "pattern": "(1)", "form": "{value}{x}"}}, "no other braces"),
        (
            "an added line that is not found",
            {"primaries": {"file": "a", "pattern": r"^N (\d)", "missing_line": "M 1"}},
            "missing_line must match the pattern",
        ),
        ("before what", {"primaries": {"file": "a", "pattern": "(1)", "before": "x"}}, "there is none"),
        ("a folder", {"recognise": ["a/b"]}, "without a folder"),
        ("a result somewhere else", {"results": {"form": "pages", "files": ["../x"]}}, "below the work folder"),
        ("an absolute log", {"log": "/var/log/x"}, "below the work folder"),
        ("no such form", {"results": {"form": "csv", "files": ["x"]}}, "'pages', 'convertmc'"),
        ("progress without its group", {"progress": {"done": r"(\d+)"}}, "needs the group"),
        ("a number where text is", {"title": 5}, "valid string"),
        ("no command", {"command": None}, "Field required"),
    ],
)
def test_wrong_definitions(why: str, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as found:
        parse_changed(**changes)
    assert problem in str(found.value), why


def test_a_problem_has_its_place() -> None:
    with pytest.raises(Invalid) as found:
        simulators.parse_simulator(dump_yaml(GOOD | {"idle_s": 0}), "mine")
    assert found.value.problems[0]["line"] > 1 and found.value.problems[0]["loc"] == ["idle_s"]


@pytest.mark.parametrize("name", ["Shield", "a b", "", "../x", "x" * 65])
def test_names_of_files(name: str) -> None:
    with pytest.raises(Invalid, match="simulators are called by small letters"):
        simulators.parse_simulator(dump_yaml(GOOD), name)


@pytest.mark.parametrize(
    ("why", "sim_type", "message"),
    [
        ("a typo", "shieldhitt", "there is no simulator 'shieldhitt'; did you mean 'shieldhit'?"),
        ("nothing near", "x", "there is no simulator 'x'; known are fluka, shieldhit"),
    ],
)
def test_unknown_simulators(why: str, sim_type: str, message: str) -> None:
    known = dict.fromkeys(["shieldhit", "fluka"], parse_changed())
    with pytest.raises(Invalid) as found:
        simulators.find_simulator(known, sim_type)
    assert found.value.problems[0]["msg"] == message, why
    assert simulators.find_simulator(known, "fluka") is known["fluka"]


def test_what_is_said_of_a_missing_program() -> None:
    assert simulators.get_program(parse_changed()) == "mine"
    assert simulators.get_program(parse_changed(command=["{python}", "{seed}"])) is None
    text = simulators.describe_missing_program("fluka", "rfluka", "lab")
    assert text == (
        "the program rfluka of simulator fluka was not found on cluster lab: "
        "install it, or correct `command` in simulators/fluka.yaml"
    )


@pytest.mark.parametrize(
    ("why", "before", "after"),
    [
        ("a new store has all", None, ["dummy.yaml", "fluka.yaml", "geant4.yaml", "shieldhit.yaml", "topas.yaml"]),
        ("a store of a version without simulators gets them", [], [path.name for path in SHIPPED]),
        ("whoever has some is given no more", ["mine.yaml"], ["mine.yaml"]),
    ],
)
def test_where_the_files_are_written(tmp_path: Path, why: str, before: list[str] | None, after: list[str]) -> None:
    root = tmp_path / "store"
    if before is not None:
        store = Store(root)
        store.open()
        store.lock.release()  # type: ignore[union-attr]
        store.files.close()
        for path in (root / "simulators").iterdir():
            path.unlink()
        (root / "simulators").rmdir()
        (root / "workflows" / "hello.yaml").unlink()
        for name in before:
            (root / "simulators").mkdir(exist_ok=True)
            (root / "simulators" / name).write_bytes(dump_yaml(GOOD))
    store = Store(root)
    store.open()
    try:
        assert sorted(path.name for path in (root / "simulators").iterdir()) == after, why
        assert (
            sorted(entry.name for entry in store.simulators.iterate_entries())
            == [name.removesuffix(".yaml") for name in after]
            and not store.list_problems()
        )
        assert (root / "workflows" / "hello.yaml").exists() is (before is None), "what was deleted stays so"
    finally:
        store.lock.release()  # type: ignore[union-attr]
        store.files.close()
