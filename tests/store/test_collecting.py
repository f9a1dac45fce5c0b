"""What stays in memory is kept from the collector of cycles, and garbage is not."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from store import collecting
from store.collecting import freeze_new_objects, keep_collections_short


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The collector is off meanwhile, and looks at everything again afterwards."""
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


class Node:
    """Something that can be part of a cycle."""

    def __init__(self) -> None:
        self.other: object = self


@pytest.mark.parametrize(("why", "many", "is_kept"), [("little", sys.maxsize, False), ("much", 1, True)])
def test_what_is_new_is_kept_from_it_when_it_is_much_and_old_garbage_is_not(
    monkeypatch: pytest.MonkeyPatch, why: str, many: int, is_kept: bool
) -> None:
    monkeypatch.setattr(collecting, "FREEZE_FROM_OBJECTS", many)
    kept, garbage = Node(), Node()
    gc.collect()  # both are among the oldest now
    gone = weakref.ref(garbage)
    del garbage
    freeze_new_objects()
    assert (gone() is None) is is_kept, why
    assert any(found is kept for found in gc.get_objects()) is not is_kept, why


@pytest.mark.parametrize(("why", "many", "is_kept"), [("little", sys.maxsize, False), ("much", 1, True)])
def test_what_outlives_a_collection_of_all_is_kept_when_it_is_much(
    monkeypatch: pytest.MonkeyPatch, why: str, many: int, is_kept: bool
) -> None:
    monkeypatch.setattr(collecting, "FREEZE_FROM_OBJECTS", many)
    before, outside = Node(), (gc.get_threshold(), list(gc.callbacks))
    with keep_collections_short():
        assert not any(found is before for found in gc.get_objects()), why
        kept, garbage = Node(), weakref.ref(Node())
        gc.collect()
        assert garbage() is None, why
        assert any(found is kept for found in gc.get_objects()) is not is_kept, why
    assert (gc.get_threshold(), gc.callbacks) == outside, why
    assert any(found is before for found in gc.get_objects()), why
