"""Lines of a file, read in as few pieces as they need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.queue import output
from slurm_shim.errors import SlurmUnreachable
from store.disk.reading import ReadSlices
from store.errors import Denied, NotFound, StoreError, UpgradeNeeded
from store.rules.output import FIRST_BYTES, MOST_BYTES
from tests.engine.servers.pretended import CALLER, open_server
from tests.pretended import asynchronous, job


def make_reader(data: bytes, sizes: list[int]) -> ReadSlices:
    """A reader of this file that notes how much it was asked for."""

    async def read(wanted: Sequence[tuple[str, int, int]], _owner: int | None) -> list[tuple[bytes, int] | StoreError]:
        ((_path, offset, limit),) = wanted
        sizes.append(limit)
        start = max(0, len(data) + offset) if offset < 0 else offset
        return [(data[start : start + limit], len(data))]

    return read


@pytest.mark.parametrize(
    ("why", "line_bytes", "count", "lines", "found", "sizes"),
    [
        ("a small file", 10, 100, 1000, 100, [FIRST_BYTES]),
        ("enough in its end", 10, 1_000_000, 1000, 1000, [FIRST_BYTES]),
        ("more than that", 1000, 10_000, 1000, 1000, [FIRST_BYTES, MOST_BYTES]),
        ("more than is sent", 10_000, 1000, 1000, MOST_BYTES // 10_000 - 1, [FIRST_BYTES, MOST_BYTES]),
    ],
)
@asynchronous
async def test_as_much_is_read_as_is_needed(
    why: str, line_bytes: int, count: int, lines: int, found: int, sizes: list[int]
) -> None:
    asked: list[int] = []
    read = make_reader((b"x" * (line_bytes - 1) + b"\n") * count + (b"" if count == 100 else b"end\n"), asked)
    piece = await output.read_end(read, "f", None, lines)
    assert piece is not None and piece[0].text.count("\n") in (found, found + 1) and asked == sizes, why


@asynchronous
async def test_a_missing_file_is_none_and_a_foreign_one_is_refused() -> None:
    for problem in (NotFound("file", "f"), Denied("f is a link")):

        async def read(
            _wanted: Sequence[tuple[str, int, int]], _owner: int | None, problem: StoreError = problem
        ) -> list[tuple[bytes, int] | StoreError]:
            return [problem]

        if isinstance(problem, NotFound):
            assert await output.read_piece(read, "f", None, 10, None) is None
            assert await output.read_piece(read, "f", None, 10, 5) is None
        else:
            with pytest.raises(Denied):
                await output.read_piece(read, "f", None, 10, None)


@asynchronous
async def test_who_asks_and_who_follows(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "PENDING"))
        with pytest.raises(UpgradeNeeded):
            await output.read_output(world.server, "7", 10, None, True, None, "*/*", CALLER)
        answer = await output.read_error_output(world.server, "7", 10, None, False, None, "", CALLER)
        assert b'"exists":false' in answer.value and b'"stream":"stderr"' in answer.value
        await world.lose_cluster()
        with pytest.raises((SlurmUnreachable, NotFound)):
            await output.read_output(world.server, "8", 10, None, False, None, "", CALLER)
