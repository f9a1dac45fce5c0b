"""Tokens made and revoked while the server runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.callers import token_calls
from store.access import Caller
from store.errors import Conflict
from tests.engine.servers.pretended import CALLER, open_server
from tests.pretended import asynchronous


@asynchronous
async def test_each_kind_is_in_force_at_once_and_gone_at_once(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        for kind in ("token", "api-key", "client"):
            made = await token_calls.create_token(world.server, {"kind": kind, "name": "ci", "scopes": ["read"]})
            assert made.is_secret and made.value["secret"].startswith("sl")
        access = world.store.access
        assert [entry.name for entry in (*access.tokens, *access.api_keys, *access.oauth_clients)] == ["ci"] * 3
        await token_calls.revoke_token(world.server, "api-key", "ci", CALLER)
        assert (len(world.store.access.api_keys), len(world.store.access.tokens)) == (0, 1)


@asynchronous
async def test_nobody_revokes_what_they_call_with(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await token_calls.create_token(world.server, {"kind": "token", "name": "ci", "scopes": ["admin"]})
        with pytest.raises(Conflict, match="this call is made with it"):
            await token_calls.revoke_token(world.server, "token", "ci", Caller("ci", frozenset(["admin"]), "token"))
        await token_calls.revoke_token(world.server, "token", "ci", Caller("ci", frozenset(["admin"]), "key"))
