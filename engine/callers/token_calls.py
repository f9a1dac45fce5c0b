"""Tokens, API keys and OAuth clients over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.server import Server
from store import access
from store.access import token_file
from store.errors import Conflict
from store.indexes.bodies import Answer

# Kinds of callers, as access.yaml and the commands call what they call with.
KINDS = {"token": "token", "key": "api-key", "client": "client"}


async def list_tokens(server: Server) -> list[dict[str, Any]]:
    """List tokens, API keys and OAuth clients, without secrets."""
    return await asyncio.to_thread(token_file.list_entries, server.store.root)


async def create_token(server: Server, body: dict[str, Any]) -> Answer:
    """Create a token, an API key or an OAuth client; return its secret.

    Raises Exists, and Invalid for what no entry can be.
    """
    kind, name, scopes = body["kind"], body["name"], body["scopes"]
    arguments = (server.store.root, kind, name, scopes, body.get("expires"), body.get("tier"))
    secret = await asyncio.to_thread(token_file.create_entry, *arguments)
    await read_anew(server)
    made = next(row for row in await list_tokens(server) if (row["kind"], row["name"]) == (kind, name))
    return Answer(made | {"secret": secret}, is_secret=True)


async def revoke_token(server: Server, kind: str, name: str, caller: access.Caller) -> None:
    """Revoke what has this name; it counts no longer at once.

    Raises NotFound, and Conflict for what the caller calls with.
    """
    if (caller.name, KINDS.get(caller.kind)) == (name, kind):
        raise Conflict("this call is made with it: revoke it with another, or with `sluice token revoke`")
    await asyncio.to_thread(token_file.revoke_entries, server.store.root, name, kind)
    await read_anew(server)


async def read_anew(server: Server) -> None:
    """Put access.yaml in force as it is now."""
    await server.store.single["access"].refresh([token_file.FILE])
