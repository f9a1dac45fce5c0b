"""The results of a simulation on our disk: one file for each estimator.

The files have the form of slurm_shim/simulators/pages.py, so that a page of them can be found and sent without parsing
any: an answer is put together from bytes of the file, piece by piece, whatever its size.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.server import Server
from engine.simulations.folders import RESULTS, find_folder
from slurm_shim.simulators import pages
from store.disk.reading import Stamp, open_regular_file, to_stamp
from store.documents import EstimatorFacts, PageFacts, Simulation
from store.errors import NotYet
from store.rules.simulations.advance import MOST_PAGES
from store.views import yaptide

PIECE_BYTES = 1 << 20
KNOWN_FILES = 16
PAGE_BEGIN = re.compile(rb"\n,?" + re.escape(pages.PAGE_BEGIN.encode()))
LONGEST_BEGIN = len(pages.PAGE_BEGIN) + 1


class UnreadableResults(Exception):
    """A file of results has not the form that it must have."""


# --- checking


def check_estimator(path: Path) -> list[PageFacts]:
    """Read a whole file of results; return what its pages are. Blocks.

    A line is in memory at a time. Raises UnreadableResults.
    """
    found: list[PageFacts] = []
    try:
        reader = pages.PagesReader(path)
        try:
            while (page := reader.read_page()) is not None:
                found.append(describe_page(page, len(found)))
                if len(found) > MOST_PAGES:
                    raise pages.UnreadablePages(f"it has more than {MOST_PAGES} pages")
                skip_numbers(reader)
            if reader.file.read(1):
                raise pages.UnreadablePages("it goes on after its end")
        finally:
            reader.close()
    except (pages.UnreadablePages, ValueError, TypeError, AttributeError, KeyError, RecursionError) as problem:
        raise UnreadableResults(str(problem) or type(problem).__name__) from None
    return found


def skip_numbers(reader: pages.PagesReader) -> None:
    """Read the numbers of a page to its end."""
    for is_last in (False, True) if reader.has_errors else (True,):
        while reader.read_numbers() is not None:
            continue
        if not is_last:
            reader.begin_values()
    reader.end_page()


def describe_page(page: dict[str, Any], position: int) -> PageFacts:
    """Describe a page without its numbers; by its position without a number."""
    number = str(page["metadata"].get("page_number"))
    dimensions = page["dimensions"]
    return PageFacts(
        page_number=int(number) if number.isascii() and number.isdigit() and len(number) < 10 else position,
        page_name=str(page["data"].get("name") or "")[:200],
        page_dimension=dimensions if isinstance(dimensions, int) else 0,
    )


# --- answers


async def stream_results(server: Server, simulation: Simulation) -> AsyncIterator[bytes]:
    """Stream the answer with all estimators; raise NotFound without any."""
    yield b'{"message":"Results","estimators":['
    for number, estimator in enumerate(yaptide.list_estimators(simulation)):
        yield b"," if number else b""
        async for piece in read_estimator(find_path(server, simulation, estimator)):
            yield piece
    yield b"]}"


async def stream_estimator(server: Server, simulation: Simulation, name: str) -> AsyncIterator[bytes]:
    """Stream the answer with one estimator; raise NotFound."""
    estimator = yaptide.list_estimators(simulation, name)[0]
    is_first = True
    async for piece in read_estimator(find_path(server, simulation, estimator)):
        yield b'{"message":"Estimator",' + piece.lstrip()[1:] if is_first else piece
        is_first = False


async def stream_pages(
    server: Server, simulation: Simulation, name: str, numbers: Sequence[int], is_one: bool = False
) -> AsyncIterator[bytes]:
    """Stream the answer with some pages of an estimator; raise NotFound.

    `is_one` answers with the page itself.
    """
    estimator = yaptide.list_estimators(simulation, name)[0]
    positions = find_positions(estimator, numbers)
    async with open_file(find_path(server, simulation, estimator)) as (fd, status):
        spots = await asyncio.to_thread(find_pages, fd, to_stamp(status))
        if len(spots) != len(estimator.pages):
            raise NotYet("Results", simulation.id, f"Results are unavailable: {estimator.file} was changed by hand")
        yield b'{"message":"Page","page":' if is_one else b'{"message":"Pages","pages":['
        for count, position in enumerate(positions):
            yield b"," if count else b""
            async for piece in read_between(fd, *spots[position]):
                yield piece
    yield b"}" if is_one else b"]}"


def find_path(server: Server, simulation: Simulation, estimator: EstimatorFacts) -> Path:
    """Find the file of an estimator."""
    return find_folder(server, simulation.id, RESULTS, estimator.file)


def find_positions(estimator: EstimatorFacts, numbers: Iterable[int]) -> list[int]:
    """Find where in the file the pages of these numbers stand."""
    known = {page.page_number: position for position, page in enumerate(estimator.pages)}
    wanted = list(numbers)
    for number in wanted:
        if number not in known:
            raise NotYet("Page", str(number), "Page not found")
    return [known[number] for number in wanted]


async def read_estimator(path: Path) -> AsyncIterator[bytes]:
    """Read a whole file, piece by piece; raise NotFound."""
    async with open_file(path) as (fd, status):
        async for piece in read_between(fd, 0, status.st_size):
            yield piece


@contextlib.asynccontextmanager
async def open_file(path: Path) -> AsyncIterator[tuple[int, os.stat_result]]:
    """Open a file of results, which stays the same until it is closed."""
    fd, status = await asyncio.to_thread(open_regular_file, path)
    try:
        yield fd, status
    finally:
        os.close(fd)


async def read_between(fd: int, begin: int, end: int) -> AsyncIterator[bytes]:
    """Read part of a file, piece by piece."""
    while begin < end and (piece := await asyncio.to_thread(os.pread, fd, min(PIECE_BYTES, end - begin), begin)):
        yield piece
        begin += len(piece)


@functools.lru_cache(KNOWN_FILES)
def find_pages(fd: int, stamp: Stamp) -> list[tuple[int, int]]:
    """Find where in the file each page begins and ends. Blocks.

    A page begins its line; no text within it can look so, since there line ends are escaped.
    """
    size_bytes, begins, at, rest = stamp[1], array("Q"), 0, b""
    while at < size_bytes and (piece := os.pread(fd, PIECE_BYTES, at)):
        text = rest + piece
        begins.extend(at - len(rest) + match.start() for match in PAGE_BEGIN.finditer(text))
        # What may be the beginning of a page's beginning is looked at with the next piece.
        at, rest = at + len(piece), text[-LONGEST_BEGIN:]
        if begins:
            rest = rest[max(0, int(begins[-1]) + 1 - (at - len(rest))) :]
    tail = os.pread(fd, 100, max(0, size_bytes - 100)).rstrip()
    end = max(0, size_bytes - 100) + tail.rfind(pages.FILE_END.encode())
    texts = [begin + (2 if os.pread(fd, 2, begin)[1:] == b"," else 1) for begin in begins]
    return list(zip(texts, [*begins[1:], end], strict=True)) if texts else []
