"""Documents for the index of jobs without a folder of files around them."""

from __future__ import annotations

from store.documents import JobRecord, Run
from store.indexes.jobs import JobIndex, build_facts


class GivenDocument:
    """A document as its own source; equal to every version of the same document."""

    def __init__(self, document: Run | JobRecord) -> None:
        self.document = document
        self.facts = build_facts(document)
        self._identity = (type(document), document.cluster, document.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GivenDocument) and other._identity == self._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def follow_document(index: JobIndex, old: Run | JobRecord | None, new: Run | JobRecord | None) -> None:
    """Let the index follow a document that was written (`old` is None if it is new) or deleted (`new` is None)."""
    index.follow(None if old is None else GivenDocument(old), None if new is None else GivenDocument(new))
