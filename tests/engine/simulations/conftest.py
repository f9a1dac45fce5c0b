"""A server that leaves simulations to the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app_client import Client, serving
from tests.engine.simulations.reporting import Worker


@pytest.fixture(scope="module")
def quiet_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("workers") / "store", "embedded") as client:
        # The rules of engine/ would look for the run that these simulations never had.
        client.server.open_documents.take = lambda *_: []  # type: ignore[method-assign]
        yield client


@pytest.fixture
def worker(quiet_client: Client) -> Worker:
    quiet_client.server.callers.failures.spent.clear()
    return Worker(quiet_client)
