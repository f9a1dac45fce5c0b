"""Tickets are good once, for a while."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.live.tickets import make_ticket
from store.access import Access, Facts, WrongCredentials
from store.access.tickets import MOST_TICKETS, TICKET_S, Tickets

FACTS = Facts({b"authorization": b"Bearer x"}, None, Access(), None)


def test_a_ticket_stands_for_its_request_once_and_for_a_while() -> None:
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    first, second = tickets.create(FACTS), tickets.create(FACTS)
    assert tickets.exchange(f"a=b&ticket={first}".encode()) is FACTS
    with pytest.raises(WrongCredentials):
        tickets.exchange(f"ticket={first}".encode())
    now[0] = TICKET_S
    with pytest.raises(WrongCredentials):
        tickets.exchange(f"ticket={second}".encode())


@pytest.mark.parametrize("query", [b"", b"a=b", b"ticket="])
def test_without_a_ticket_there_is_nothing_to_exchange(query: bytes) -> None:
    assert Tickets().exchange(query) is None


@pytest.mark.parametrize("query", [b"ticket=guess", b"ticket=\xff", b"ticket=a&ticket=b"])
def test_guesses_are_wrong(query: bytes) -> None:
    with pytest.raises(WrongCredentials):
        Tickets().exchange(query)


def test_they_are_bounded() -> None:
    tickets = Tickets()
    made = [tickets.create(FACTS) for _ in range(MOST_TICKETS + 1)]
    assert tickets.exchange(f"ticket={made[1]}".encode()) is FACTS
    with pytest.raises(WrongCredentials):
        tickets.exchange(f"ticket={made[0]}".encode())


def test_a_ticket_is_made_for_whoever_asks() -> None:
    server: Any = SimpleNamespace(callers=SimpleNamespace(tickets=Tickets()))
    made = make_ticket(server, FACTS)
    assert made["expires_in"] == 30
    assert server.callers.tickets.exchange(f"ticket={made['ticket']}".encode()) is FACTS
