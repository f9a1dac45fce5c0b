"""Results of the YAPTIDE family: estimators as they are, or their pages.

The merge writes files whose pages begin and end with lines of their own, in the order of their numbers, so a page is
found without reading what stands around it. Any other JSON is read whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from store.jsons import dump_json, load_json
from store.views.yaptide import select_pages

# Around the files: of one estimator the object goes on behind the message.
ALL_BEGIN, ALL_END = b'{"message":"Results","estimators":[', b"]}"
ONE_BEGIN = b'{"message":"Estimator",'
# As slurm_shim/simulators/pages.py writes them.
HEAD_END, PAGE_BEGINS, PAGE_END, FILE_END = (
    b'"pages": [\n',
    (b'{"dimensions": ', b',{"dimensions": '),
    b"]}}\n",
    b"]}\n",
)


def wrap_page(page: bytes) -> bytes:
    """Build the answer with one page, which is JSON."""
    return b'{"message":"Page","page":' + page + b"}"


def wrap_pages(pages: Sequence[bytes]) -> bytes:
    """Build the answer with some pages, which are JSON."""
    return b'{"message":"Pages","pages":[' + b",".join(pages) + b"]}"


def read_pages(file: IO[bytes], numbers: Sequence[int]) -> list[bytes]:
    """Read pages of an estimator by their numbers, as JSON; raise NotFound."""
    found = scan_pages(file, set(numbers))
    if found is None or not found.keys() >= set(numbers):
        file.seek(0)
        return [dump_json(page) for page in select_pages(load_json(file.read()), numbers)]
    return [found[number] for number in numbers]


def scan_pages(lines: Iterable[bytes], numbers: set[int]) -> dict[int, bytes] | None:
    """Find pages by their lines; None in a file of another form."""
    found: dict[int, bytes] = {}
    kept: list[bytes] | None = None
    number = -1
    for at, line in enumerate(lines):
        if at == 0:
            if not line.endswith(HEAD_END):
                return None
        elif line.startswith(PAGE_BEGINS):
            number += 1
            kept = [line.removeprefix(b",")] if number in numbers else None
        elif kept is not None:
            kept.append(line)
            if line == PAGE_END:
                found[number], kept = b"".join(kept), None
        if len(found) == len(numbers):
            break
    return found
