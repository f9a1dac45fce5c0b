"""Indexes and open documents follow the folders of the store.

Everything is connected before the folders are loaded, so that each document passes through here.
"""

from __future__ import annotations

from engine.open_documents import OpenDocuments
from store.disk.entries import FileEntry
from store.indexes.jobs import JobIndex
from store.indexes.sweeps import SweepIndex
from store.kinds import KINDS, Key
from store.rules import sweeps
from store.store import Store


def follow_folders(store: Store, opened: OpenDocuments, job_index: JobIndex, sweep_index: SweepIndex) -> None:
    """Make indexes and open documents follow the folders of the store."""

    def follow_sweep(_name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        sweep_index.follow_sweep(old.document if old else None, new.document if new else None)

    def follow_jobs(name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        # At the start these are 100,000, and no document is parsed that has ended.
        job_index.follow(old, new)
        numbers = [entry.facts.sweep for entry in (new, old) if entry is not None and entry.facts.sweep is not None]
        if numbers:
            state = sweeps.to_cell_state(new.facts.status, new.facts.open) if new else None
            sweep_index.follow_run(name, state, numbers[0])
            # The place of a cell that has ended is free for the next one.
            opened.mark(Key("sweep", str(numbers[0])))

    store.sweeps.listeners.append(follow_sweep)
    for folder in (store.runs, store.jobs):
        folder.listeners.append(follow_jobs)
    for kind in KINDS:
        if kind.find_open is not None:
            store.by_kind[kind.name].listeners.append(opened.make_listener(kind))
