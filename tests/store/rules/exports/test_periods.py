"""Whom a report may be sent to."""

from __future__ import annotations

from typing import Any

import pytest

from store.errors import Invalid
from store.rules.exports import periods

ALLOWED = ["example.com", "Ann@lab.example"]
RECIPIENTS: list[tuple[str, dict[str, Any], list[str] | None, str | None]] = [
    ("nobody", {}, None, None),
    ("nobody, in words", {"method": "none", "email": "a@example.com"}, None, None),
    ("an address says that it is sent", {"email": "a@example.com"}, [], "a@example.com"),
    ("anybody", {"method": "email", "email": "a@else.example"}, [], "a@else.example"),
    ("an address of a domain", {"method": "email", "email": "a@Example.COM"}, ALLOWED, "a@Example.COM"),
    ("an address that is named", {"method": "email", "email": "ann@lab.example"}, ALLOWED, "ann@lab.example"),
]
REFUSED: list[tuple[str, dict[str, Any], list[str] | None, str]] = [
    ("no server for mail", {"email": "a@example.com"}, None, "method"),
    ("another of a domain that is not named", {"email": "bob@lab.example"}, ALLOWED, "email"),
    ("a domain below", {"email": "a@sub.example.com"}, ALLOWED, "email"),
    ("a domain that ends so", {"email": "a@badexample.com"}, ALLOWED, "email"),
    ("no address", {"method": "email"}, ALLOWED, "email"),
]


@pytest.mark.parametrize(("why", "delivery", "allowed", "address"), RECIPIENTS, ids=[row[0] for row in RECIPIENTS])
def test_whom_a_report_is_sent_to(
    why: str, delivery: dict[str, Any], allowed: list[str] | None, address: str | None
) -> None:
    assert periods.read_recipient(delivery, allowed) == address


@pytest.mark.parametrize(("why", "delivery", "allowed", "field"), REFUSED, ids=[row[0] for row in REFUSED])
def test_whom_no_report_is_sent_to(why: str, delivery: dict[str, Any], allowed: list[str] | None, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        periods.read_recipient(delivery, allowed)
    assert refused.value.problems[0]["loc"] == ["body", "delivery", field]
