"""The table of the S9S API's operations."""

from __future__ import annotations

from engine.families.s9s import OPERATIONS
from tests.contract_judge import operations


def test_operations_stand_in_contract_order() -> None:
    promised = [spec["operationId"] for _, _, spec in operations()]
    named = [name for name in promised if name in OPERATIONS]
    # Those that x-websocket names stand behind the operation of the same path.
    assert [name for name in OPERATIONS if name in promised] == named
    assert all(name.startswith("s9s_") for name in OPERATIONS)
