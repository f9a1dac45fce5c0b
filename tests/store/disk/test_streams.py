"""Logs and captures that jobs send piece by piece: whole in the end, whatever is told twice, cut short or fails."""

from __future__ import annotations

import asyncio
import errno
import itertools
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.disk.files import Files
from store.disk.streams import CAPTURE_BYTES, FILES_PER_JOB, LOG_BYTES, Streams, flatten_path
from store.errors import Conflict, Invalid, NotFound, StoreUnavailable, TooLarge
from tests.faulty_disk import Faulty

TEXT = b"model loaded\nserving\n"


def streams(root: Path, ops: Any = None) -> Streams:
    """The streams below this folder."""
    return Streams(root / "streams", Files(root, ops) if ops is not None else Files(root))


async def send_log(to: Streams, size: int = 5) -> None:
    """Nothing; the text was sent as the log `a/b`, in pieces of this size."""
    for at in range(0, len(TEXT), size):
        await to.add_log("7", "a/b", at, TEXT[at : at + size])


async def send_capture(to: Streams, generation: str = "1f", size: int = 8) -> None:
    """Nothing; the text was sent as the capture `a/b`, as a client does: it goes on where it is told to."""
    at, whole = 0, False
    while not whole:
        at, whole = await to.add_capture("7", "a/b", generation, at, len(TEXT), TEXT[at : at + size])


async def log_of(store: Streams) -> bytes:
    """The log as it can be read."""
    return ((await store.read_log("7", "a/b", 0))["data"]).encode()


async def capture_of(store: Streams) -> bytes:
    """The capture as it can be read."""
    return await store.read_capture("7", "a/b")


@pytest.mark.parametrize(("send", "read"), [(send_log, log_of), (send_capture, capture_of)], ids=["log", "capture"])
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_what_fails_is_sent_again_and_then_whole(
    tmp_path: Path,
    send: Callable[[Streams], Coroutine[Any, Any, None]],
    read: Callable[[Streams], Coroutine[Any, Any, bytes]],
    fault: int,
) -> None:
    async def play(number: int) -> bool:
        ops = Faulty(lambda at, _name: fault if at == number else None)
        store = streams(tmp_path / str(number), ops)
        store._root.mkdir(parents=True)
        try:
            await send(store)
        except StoreUnavailable as error:
            assert str(tmp_path) not in str(error)
        failed = len(ops.calls) >= number
        await send(store)
        assert await read(store) == TEXT
        assert await read(streams(tmp_path / str(number))) == TEXT
        return failed

    assert asyncio.run(play(1)), "a fault was met"
    for number in itertools.count(2):
        if not asyncio.run(play(number)):
            break


@pytest.mark.parametrize("fault", [errno.EACCES, errno.EIO])
def test_a_deletion_that_fails_can_be_asked_for_again(tmp_path: Path, fault: int) -> None:
    async def play(number: int) -> bool:
        root = tmp_path / str(number)
        (root / "streams").mkdir(parents=True)
        await send_log(streams(root))
        await send_capture(streams(root))
        ops = Faulty(lambda at, _name: fault if at == number else None)
        store = streams(root, ops)
        try:
            await store.drop("7")
        except StoreUnavailable:
            await store.drop("7")
        assert not (root / "streams" / "7").exists()
        return len(ops.calls) >= number

    assert asyncio.run(play(1))
    for number in itertools.count(2):
        if not asyncio.run(play(number)):
            break


PIECES = st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, len(TEXT))), max_size=12)


@settings(deadline=None)
@given(PIECES)
def test_pieces_in_any_order(pieces: list[tuple[int, int]]) -> None:
    async def play(root: Path) -> None:
        store = streams(root)
        store._root.mkdir()
        for at, size in pieces:
            await store.add_log("7", "a/b", at, TEXT[at : at + size])
            await store.add_capture("7", "a/b", "1f", at, len(TEXT), TEXT[at : at + size])
        await send_log(store)
        await send_capture(store)
        assert await log_of(store) == TEXT
        assert await capture_of(store) == TEXT

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


def test_a_newer_capture_takes_the_place_of_the_older_ones(tmp_path: Path) -> None:
    async def play() -> None:
        store = streams(tmp_path)
        store._root.mkdir()
        await store.add_capture("7", "a/b", "aa", 0, 3, b"o")
        await send_capture(store, "bb")
        assert [(each["generation"], each["complete"]) for each in await store.list_captures("7")] == [("bb", True)]
        await store.add_capture("7", "other", "aa", 0, 1, b"x")
        assert [each["file"] for each in await store.list_captures("7")] == ["other", "a/b"]
        assert await store.add_capture("7", "a/b", "bb", 0, len(TEXT), b"!") == (len(TEXT), True), "it is whole already"
        assert await capture_of(store) == TEXT

    asyncio.run(play())


def test_a_log_that_is_begun_anew(tmp_path: Path) -> None:
    async def play() -> None:
        store = streams(tmp_path)
        store._root.mkdir()
        await store.add_log("7", "a", 0, b"first\nsecond\n")
        await store.add_log("7", "a", 0, b"first")
        assert (await store.read_log("7", "a", 6))["data"] == "second\n", "a piece that is sent again changes nothing"
        await store.add_log("7", "a", 0, b"other\n")
        found = await store.read_log("7", "a", 13)
        assert (found["offset"], found["next_offset"], found["data"]) == (0, 6, "other\n"), "nothing is left of before"
        await store.add_log("7", "late", 6, b"second\n")
        await store.add_log("7", "late", 0, b"first\n")
        assert (await store.read_log("7", "late", 0))["data"] == "first\nsecond\n", "a gap is no other beginning"

    asyncio.run(play())


def test_a_log_that_is_being_deleted_is_in_no_list(tmp_path: Path) -> None:
    async def play() -> None:
        seen: list[list[str]] = []

        def look(_number: int, call: str) -> None:
            if call == "unlink":
                seen.append([log.file for log in store._scan_logs("7")])

        store = streams(tmp_path, Faulty(look))
        await store.add_log("7", "a", 0, b"the first run\n")
        await store.add_log("7", "b", 0, b"another\n")
        await store.add_log("7", "a", 0, b"begun anew\n")
        assert seen == [["b"]]

    asyncio.run(play())


def test_what_is_not_there(tmp_path: Path) -> None:
    async def play() -> None:
        store = streams(tmp_path)
        assert await store.list_logs("7") == [] and await store.list_captures("7") == []
        with pytest.raises(NotFound):
            await store.read_log("7", "a", 0)
        with pytest.raises(NotFound):
            await store.read_capture("7", "a")
        await store.drop("7")

    asyncio.run(play())


def test_bounds(tmp_path: Path) -> None:
    async def play() -> None:
        store = streams(tmp_path)
        store._root.mkdir()
        with pytest.raises(TooLarge):
            await store.add_log("7", "a", LOG_BYTES + 1, b"x")
        with pytest.raises(TooLarge):
            await store.add_capture("7", "a", "1", 0, CAPTURE_BYTES + 1, b"x")
        with pytest.raises(Invalid):
            await store.add_capture("7", "a", "1", 1, 1, b"x")
        for number in range(FILES_PER_JOB):
            (tmp_path / "streams" / "7" / "logs").mkdir(parents=True, exist_ok=True)
            (tmp_path / "streams" / "7" / "logs" / str(number)).write_bytes(b"")
        with pytest.raises(Conflict):
            await store.add_log("7", "another", 0, b"x")
        assert await store.add_log("7", "5", 0, b"x"), "those that are there go on"

    asyncio.run(play())


NAMES = st.text(st.characters(exclude_characters="\x00\\", exclude_categories=["Cs"]), min_size=1, max_size=15)


@given(NAMES, NAMES)
def test_a_path_is_one_name_of_its_own(path: str, other: str) -> None:
    name = flatten_path(path)
    assert "/" not in name and not name.startswith(".") and name not in ("", "..")
    assert (flatten_path(other) == name) is (path == other)
