"""The table of the YAPTIDE API's operations."""

from __future__ import annotations

from engine.families.yaptide import OPERATIONS
from tests.engine.families import check_table


def test_operations_stand_in_contract_order() -> None:
    check_table("yaptide", OPERATIONS)
