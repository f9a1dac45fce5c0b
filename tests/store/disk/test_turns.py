"""Many files that change at once: others have the event loop in between, and no file costs more the more there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from store.disk import turns
from store.disk.files import Files
from store.disk.folders import Folder
from store.yaml.reader import load_yaml

COUNT = 400


class CountingFolder(Folder):
    """A folder that counts how often it takes a file name apart."""

    parsed_names = 0

    def parse_filename(self, filename: str) -> str | None:
        self.parsed_names += 1
        return super().parse_filename(filename)


def write_many(path: Path) -> None:
    for number in range(COUNT):
        (path / f"w{number}.yaml").write_text(f"a: {number}")


def write_rivals(path: Path) -> None:
    """Write files whose names other files have already."""
    for number in range(COUNT):
        (path / f"w{number}.yml").write_text("a: rival")


def rewrite_many(path: Path) -> None:
    for number in range(COUNT):
        (path / f"w{number}.yaml").write_text(f"a: {number + COUNT}")


def rename_many(path: Path) -> None:
    for number in range(COUNT):
        (path / f"w{number}.yaml").rename(path / f"v{number}.yaml")


def delete_many(path: Path) -> None:
    for number in range(COUNT):
        (path / f"v{number}.yaml").unlink()


STEPS: list[tuple[str, Callable[[Path], None], Callable[[Folder], bool]]] = [
    ("added", write_many, lambda folder: folder.get("w7") == {"a": 7}),
    ("added again with another ending: refused", write_rivals, lambda folder: len(folder.list_problems()) == COUNT),
    ("changed", rewrite_many, lambda folder: folder.get("w7") == {"a": 7 + COUNT}),
    ("renamed: the rivals get the names", rename_many, lambda folder: folder.get("w7") == {"a": "rival"}),
    ("deleted", delete_many, lambda folder: "v7" not in folder and len(folder) == COUNT),
]


def test_many_changes_share_the_loop_and_cost_the_same_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_S", 0)
    folder = CountingFolder(
        tmp_path, "workflow", Files(tmp_path), lambda data, _name: load_yaml(data).value, suffixes=(".yaml", ".yml")
    )

    async def play() -> None:
        turns_of_others, changes = 0, 0

        async def take_turns() -> None:
            nonlocal turns_of_others
            while True:
                await asyncio.sleep(0)
                turns_of_others += 1

        def follow(*_change: object) -> None:
            nonlocal changes, turns_before
            assert turns_of_others > turns_before, "others had the loop since the last change"
            changes, turns_before = changes + 1, turns_of_others

        turns_before = 0
        folder.listeners.append(follow)
        other = asyncio.create_task(take_turns())
        for why, change, is_right in STEPS:
            change(tmp_path)
            folder.parsed_names = 0
            await folder.refresh(await folder.find_differing())
            assert is_right(folder), why
            assert folder.parsed_names < 50 * COUNT, why
        assert changes == 6 * COUNT
        other.cancel()

    asyncio.run(play())
