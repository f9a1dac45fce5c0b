"""What a WebSocket's first message says of its client."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.live.sockets import CREDENTIAL_CHARACTERS, SocketNeeded, find_credentials, require_socket
from store.access import Unauthenticated


@pytest.mark.parametrize(
    ("why", "message", "token"),
    [
        ("a token", '{"action": "auth", "token": "slc_x"}', "slc_x"),
        ("more keys", '{"token": "a b", "action": "auth", "more": 1}', "a b"),
        ("another action", '{"action": "ping", "token": "slc_x"}', None),
        ("no text", '{"action": "auth", "token": 1}', None),
        ("a line end", '{"action": "auth", "token": "a\\n"}', None),
        ("twice", '{"action": "auth", "token": "a", "token": "b"}', None),
        ("nothing", "", None),
        ("too long", json.dumps({"action": "auth", "token": "x" * CREDENTIAL_CHARACTERS}), None),
        ("half of a character", '{"action": "auth", "token": "\ud800"}', None),
    ],
)
def test_the_token_in_a_first_message(why: str, message: str, token: str | None) -> None:
    if token is None:
        with pytest.raises(Unauthenticated):
            find_credentials(message)
    else:
        assert find_credentials(message) == {b"authorization": b"Bearer " + token.encode()}, why


def test_an_api_key_in_a_first_message() -> None:
    assert find_credentials('{"action": "auth", "api_key": "key"}') == {b"x-api-key": b"key"}


@given(st.text() | st.recursive(st.none() | st.text(), lambda part: st.dictionaries(st.text(), part)).map(json.dumps))
def test_no_message_is_taken_for_a_token(message: str) -> None:
    with pytest.raises(Unauthenticated):
        find_credentials(message)


def test_a_plain_request_is_refused() -> None:
    with pytest.raises(SocketNeeded):
        require_socket()
