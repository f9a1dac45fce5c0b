"""The commands `sluice token …`: what they take and what they print."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from store.access import token_file
from store.access.tokens import LISTS

KINDS = tuple(LISTS)
NOUNS = {"token": "token", "api-key": "API key", "client": "OAuth client"}
# How each is sent.
USES = {
    "token": "Authorization: Bearer {secret}",
    "api-key": "X-API-Key: {secret}",
    "client": "client_id {name} and client_secret {secret}, sent to /oauth/token",
}


def add_parser(commands: Any) -> None:
    """Add the parser of `sluice token` to those of the other commands."""
    token = commands.add_parser("token", help="create, list and revoke tokens, API keys and OAuth clients")
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="create one in access.yaml and print its secret, this once")
    create.add_argument("name", metavar="NAME", help="who calls")
    create.add_argument(
        "--scope",
        action="append",
        metavar="SCOPE[,SCOPE]",
        help="what for: report, read, write (the usual) or admin",
    )
    create.add_argument("--expires", metavar="TIME", help="30d, 12h, 4w, or a date or time (default: never)")
    create.add_argument("--tier", help="how much it may ask, by a name of rate_limits (default: its `named`, pro)")
    listing = actions.add_parser("list", help="list them, without their secrets")
    revoke = actions.add_parser("revoke", help="remove one from access.yaml; it counts no longer at once")
    revoke.add_argument("name", metavar="NAME")
    for action in (create, revoke):
        action.add_argument("--kind", choices=KINDS, default=None if action is revoke else "token", help="of what kind")
    for action in (create, listing, revoke):
        action.add_argument("--store", type=Path, help="the folder with access.yaml (default: SLUICE_STORE or ./data)")


def run_command(given: argparse.Namespace, store: Path) -> str:
    """Run what was asked for; return what to print. Raises StoreError."""
    root = (given.store or store).absolute()
    if given.action == "list":
        return format_rows(token_file.list_entries(root))
    if given.action == "revoke":
        kinds = token_file.revoke_entries(root, given.name, given.kind)
        return f"Revoked the {NOUNS[kinds[0]]} {given.name} in {root / token_file.FILE}"
    scopes = [scope.strip() for part in given.scope or ["write"] for scope in part.split(",")]
    secret = token_file.create_entry(root, given.kind, given.name, scopes, given.expires, given.tier)
    use = USES[given.kind].format(name=given.name, secret=secret)
    return f"Created the {NOUNS[given.kind]} {given.name} in {root / token_file.FILE}; it is shown this once:\n{use}"


def format_rows(rows: list[token_file.Row]) -> str:
    """Format entries as a table with a line each."""
    if not rows:
        return "There are none; `sluice token create NAME` makes one"
    lines = [("KIND", "NAME", "SCOPES", "EXPIRES", "TIER")] + [
        (row["kind"], row["name"], ",".join(row["scopes"]), row["expires"] or "never", row["tier"]) for row in rows
    ]
    widths = [max(len(line[at]) for line in lines) for at in range(5)]
    return "\n".join(
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
