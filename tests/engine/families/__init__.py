"""The tables of the families' operations."""

from __future__ import annotations

from collections.abc import Mapping

from tests.contract_judge import operations


def check_table(prefix: str, table: Mapping[str, object]) -> None:
    """Check that the operations of a family stand in the order of the contract."""
    promised = [spec["operationId"] for _, _, spec in operations()]
    # Those that x-websocket names stand behind the operation of the same path.
    assert [name for name in table if name in promised] == [name for name in promised if name in table]
    assert all(name.startswith(f"{prefix}_") for name in table)
