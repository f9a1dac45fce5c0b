"""The table of the S9S API's operations."""

from __future__ import annotations

from engine.families.s9s import OPERATIONS
from tests.engine.families import check_table


def test_operations_stand_in_contract_order() -> None:
    check_table("s9s", OPERATIONS)
