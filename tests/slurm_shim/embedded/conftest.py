"""A fresh embedded cluster for each test of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm_shim.embedded.own_cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """An embedded cluster of this test's own."""
    made = Cluster(tmp_path)
    yield made
    made.close()
