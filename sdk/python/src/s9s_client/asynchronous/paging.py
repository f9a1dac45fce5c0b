"""Lists that come page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any


async def iterate_pages(list_page: Callable[..., Any], id_name: str, limit: int, **asked: Any) -> AsyncIterator[Any]:
    """Yield the rows of all pages; each once, also where others come or go meanwhile."""
    known: set[str] = set()
    offset = 0
    while True:
        page = await list_page(limit=limit, offset=offset, **asked)
        for row in page:
            name = getattr(row, id_name)
            if name not in known:
                known.add(name)
                yield row
        offset += len(page)
        if not page.has_more or not page:
            return
