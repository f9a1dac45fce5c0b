"""The collector of cycles, which keeps everybody waiting while it works.

What stays for long is kept from it: it takes 0.1 s to look at all objects with 10,000 runs in memory, 0.3 s with 10,000
workflows, and documents are freed without it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

# A collection of all looks at some 25,000 new objects (a few ms) with these thresholds.
THRESHOLDS = 700, 10, 2
# What has outlived one is kept from the next, when it is so many objects.
FREEZE_FROM_OBJECTS = 10_000
# From this many new objects on, what was loaded is kept from it.
LOADED_OBJECTS = 50_000


@contextlib.contextmanager
def pause_collecting() -> Iterator[None]:
    """Pause the collector; keep from it what was made, if it is much.

    To be used while much is loaded: collecting meanwhile costs as much as reading.
    """
    was, before = gc.isenabled(), gc.get_count()[0]
    gc.disable()
    try:
        yield
        if gc.get_count()[0] - before > LOADED_OBJECTS:
            gc.freeze()
    finally:
        if was:
            gc.enable()


def freeze_new_objects() -> None:
    """Keep from the collector what was made lately, if it is much.

    To be called again and again while much comes: the collector itself is late where as much is freed as is made.
    What is garbage by now is freed before: once it is kept, nothing frees it.
    """
    if _has_much():
        gc.collect()
        gc.freeze()


@contextlib.contextmanager
def keep_collections_short() -> Iterator[None]:
    """Keep from the collector what there is, and meanwhile what stays.

    Of what is under way at such a moment something may be left over in memory: little, and once for thousands of
    documents.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.collect()  # when the next one is due depends on how much the last one has left
    gc.callbacks.append(_freeze_survivors)
    try:
        yield
    finally:
        gc.callbacks.remove(_freeze_survivors)
        gc.set_threshold(*before)
        gc.unfreeze()


def _freeze_survivors(phase: str, info: dict[str, Any]) -> None:
    if (phase, info["generation"]) == ("stop", 2) and _has_much():
        gc.freeze()


def _has_much() -> bool:
    """Tell whether much has outlived collections."""
    return len(gc.get_objects(generation=2)) >= FREEZE_FROM_OBJECTS
