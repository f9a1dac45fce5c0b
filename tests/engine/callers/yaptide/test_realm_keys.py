"""Keys of a realm are fetched when they are needed, seldom, once at a time, and forgotten in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.callers.yaptide import realm_keys
from engine.callers.yaptide.realm_keys import ANSWER_BYTES, KEEP_S, PAUSE_S, KeycloakUnreachable, RealmKeys
from engine.notify.webhooks import NoAnswer, NotSent, Sender
from store.errors import TooManyWaiting
from tests.engine.callers.yaptide.oidc_server import REALM, OidcServer, Realm

URL = "https://sso.example.org/certs"


class Desk:
    """Keys of a realm that answers as it is told, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.realm, self.now_s, self.asked = Realm(), 1000.0, 0
        self.problem: Exception | None = None
        self.answer: Callable[[], bytes] = self.realm.show_keys
        self.keys = RealmKeys(self.get, lambda: self.now_s)

    async def get(self, url: str, limit_bytes: int) -> bytes:
        self.asked += 1
        assert limit_bytes == ANSWER_BYTES
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        return self.answer()

    def find(self, key_id: str, url: str = URL) -> str:
        """What is found of a key."""
        try:
            return "found" if asyncio.run(self.keys.find_key(url, key_id)) is not None else "none"
        except KeycloakUnreachable as problem:
            return str(problem)


def test_keys_are_kept_for_an_hour() -> None:
    desk = Desk()
    assert [desk.find("first") for _ in range(5)] == ["found"] * 5 and desk.asked == 1
    desk.now_s += KEEP_S - 1
    assert desk.find("first") == "found" and desk.asked == 1
    desk.now_s += 1
    assert desk.find("first") == "found" and desk.asked == 2


def test_a_new_key_is_asked_for_at_once_and_the_old_one_is_forgotten() -> None:
    desk = Desk()
    assert desk.find("first") == "found"
    desk.now_s += PAUSE_S
    desk.realm.rotate("second")
    assert [desk.find("second"), desk.find("first")] == ["found", "none"] and desk.asked == 2


def test_made_up_keys_ask_seldom() -> None:
    desk = Desk()
    assert {desk.find(f"made up {number}") for number in range(50)} == {"none"} and desk.asked == 1
    assert desk.find("first") == "found" and desk.asked == 1
    desk.now_s += PAUSE_S
    assert {desk.find(f"made up {number}") for number in range(50)} == {"none"} and desk.asked == 2


def test_another_realm_has_other_keys() -> None:
    desk = Desk()
    assert desk.find("first") == "found"
    desk.realm.rotate("second")
    assert desk.find("first", "https://other.example.org/certs") == "none" and desk.asked == 2


def test_without_an_answer_nobody_logs_in_and_it_is_asked_seldom() -> None:
    desk = Desk()
    desk.problem = NotSent("the receiver cannot be reached")
    said = f"Keycloak does not tell its keys: the receiver cannot be reached ({URL})"
    assert {desk.find("first") for _ in range(5)} == {said} and desk.asked == 1
    desk.now_s += PAUSE_S
    desk.problem = None
    assert desk.find("first") == "found"


def test_known_keys_count_while_it_is_down_but_not_for_ever() -> None:
    desk = Desk()
    assert desk.find("first") == "found"
    desk.problem = NoAnswer("the connection broke (ReadError)")
    desk.now_s += PAUSE_S
    assert "the connection broke" in desk.find("second")
    assert desk.find("first") == "found"
    desk.now_s += KEEP_S
    assert "the connection broke" in desk.find("first")


@pytest.mark.parametrize("data", [b"", b"<html>", b"{}", b'{"keys": [{}]}', b"[" * 100_000])
def test_rubbish_is_no_key(data: bytes) -> None:
    desk = Desk()
    desk.answer = lambda: data
    assert desk.find("first") == f"Keycloak does not tell its keys: its answer has no keys that can be read ({URL})"


def test_many_at_once_ask_once_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realm_keys, "MOST_WAITING", 3)
    desk = Desk()

    async def go() -> list[Any]:
        return await asyncio.gather(*(desk.keys.find_key(URL, "first") for _ in range(5)), return_exceptions=True)

    found = asyncio.run(go())
    assert [isinstance(key, TooManyWaiting) for key in found] == [False, False, False, True, True]
    assert desk.asked == 1 and desk.keys.waiting == 0


# --- over the network ------------------------------------------------------------------------------------------------


@pytest.fixture
def oidc() -> Iterator[OidcServer]:
    """A realm that listens."""
    made = OidcServer()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("why", "mood", "said"),
    [
        ("right", "right", None),
        ("slow", "slow", "no answer within 0.3 s"),
        ("down", "down", "the connection broke"),
        ("a failure", 500, "answered 500"),
        ("a redirect, which is not followed", 302, "answered 302; redirects are not followed"),
        ("more than keys need", b" " * (ANSWER_BYTES + 1), f"the answer has more than {ANSWER_BYTES} bytes"),
        ("rubbish", b"<html>", "no keys that can be read"),
    ],
)
def test_what_a_server_answers(oidc: OidcServer, why: str, mood: str | int | bytes, said: str | None) -> None:
    oidc.mood = mood

    async def go() -> Any:
        sender = Sender(timeout_s=0.3 if mood == "slow" else 20)
        try:
            url = f"{oidc.base_url}/realms/{REALM}/protocol/openid-connect/certs"
            return await RealmKeys(sender.get).find_key(url, "first")
        finally:
            sender.close()

    if said is None:
        assert asyncio.run(go()) is not None
    else:
        with pytest.raises(KeycloakUnreachable, match=said):
            asyncio.run(go())
    assert oidc.asked == 1, "and nothing else was asked for"
