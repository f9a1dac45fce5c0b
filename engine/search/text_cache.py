"""Search texts that stay made as long as what they are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from store.rules.monitoring import search

Fields = tuple[Any, ...]
ReadFields = Callable[[Any], Fields]
Texts = tuple[list[Any], list[str]]


class TextCache:
    """The search texts of many things, made anew only where one has changed.

    Used from threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._version: Any = None
        self._texts: Texts = ([], [])

    def list_texts(self, version: Any, list_sources: Callable[[], list[tuple[str, Any]]], read: ReadFields) -> Texts:
        """List things with their texts; nothing is made again in one version.

        `list_sources()` gives id and source of each thing, `read(source)` its title and fields.
        """
        with self._lock:
            if self._version != version:
                self._texts, self._version = self._make_texts(list_sources(), read), version
            return self._texts

    def _make_texts(self, sources: list[tuple[str, Any]], read: ReadFields) -> Texts:
        known = dict(zip(self._names, zip(*self._texts, strict=True), strict=True))
        texts = []
        for name, source in sources:
            kept = known.get(name)
            if kept is not None and kept[0] is source:
                texts.append(kept[1])
                continue
            fields = read(source)
            is_same = kept is not None and read(kept[0]) == fields
            texts.append(kept[1] if kept and is_same else search.make_search_text(name, fields[0], fields[1:]))
        self._names = [name for name, _source in sources]
        return [source for _name, source in sources], texts
