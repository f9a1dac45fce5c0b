"""Documents for the index of jobs without a folder of files around them."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from store.disk.entries import Place
from store.documents import JobRecord, Run
from store.indexes.jobs import JobEntry, JobIndex, build_facts


class GivenDocuments:
    """The documents of an index in force; what is equal here is of the same index."""

    def __init__(self) -> None:
        self.by_name: dict[Any, GivenDocument] = {}

    def get_entry(self, name: Any) -> GivenDocument:
        return self.by_name[name]


OF_INDEXES: WeakKeyDictionary[JobIndex, GivenDocuments] = WeakKeyDictionary()


class GivenDocument:
    """A document as its own source; equal to every version of the same document."""

    def __init__(self, folder: GivenDocuments, document: Run | JobRecord) -> None:
        self.document = document
        self.facts = build_facts(document)
        self._identity = (type(document), document.cluster, document.id)
        self.place = Place(folder, self._identity)  # type: ignore[arg-type]

    def parse(self) -> Run | JobRecord:
        return self.document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GivenDocument) and other._identity == self._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def follow_document(index: JobIndex, old: Run | JobRecord | None, new: Run | JobRecord | None) -> None:
    """Let the index follow a document that was written (`old` is None if it is new) or deleted (`new` is None)."""
    folder = OF_INDEXES.setdefault(index, GivenDocuments())
    before, after = (None if document is None else GivenDocument(folder, document) for document in (old, new))
    for given in (before, after):
        if given is not None:
            folder.by_name[given.place.name] = given
    index.follow(before, after)


def list_newest(index: JobIndex, limit: int | None = None) -> list[JobEntry]:
    """List the newest jobs where no event loop runs."""
    return asyncio.run(index.list_newest(limit))
