"""What the tests of notifications share."""

from __future__ import annotations

import pytest

from store.rules import deliveries


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the next attempt."""
    monkeypatch.setattr(deliveries, "FIRST_PAUSE_S", 0)
    monkeypatch.setattr("engine.notify.outbox.PAUSE_S", 0)
