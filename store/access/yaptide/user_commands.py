"""The commands `sluice user …`: what they take and what they print.

They write users/ID.json, which a running server sees at once.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.access.yaptide import passwords, users
from store.access.yaptide.users import User
from store.disk import owners
from store.disk.files import Files
from store.disk.folders import FILE_LIMIT_BYTES
from store.disk.reading import read_file
from store.documents import to_json
from store.errors import Invalid, NotFound, StoreError, make_problem
from store.times import to_rfc3339

FOLDER = "users"


def add_parser(commands: Any) -> None:
    """Add the parser of `sluice user` to those of the other commands."""
    user = commands.add_parser("user", help="add, change and list users of the YAPTIDE API")
    actions = user.add_subparsers(dest="action", required=True, metavar="ACTION")
    setting = actions.add_parser("set", help="add a user, or change him; the password is asked for")
    setting.add_argument("name", metavar="NAME")
    setting.add_argument(
        "--batch", choices=("yes", "no"), help="whether he may run simulations on clusters (default: no)"
    )
    setting.add_argument("--password", action="store_true", help="change the password of a user who has one")
    listing = actions.add_parser("list", help="list them, and their files; removing a file removes its user")
    for action in (setting, listing):
        action.add_argument("--store", type=Path, help="the store (default: SLUICE_STORE or ./data)")


def run_command(given: argparse.Namespace, store: Path, ask: Callable[[], str] | None = None) -> str:
    """Run what was asked for; return what to print. Raises StoreError."""
    root = (given.store or store).absolute()
    if given.action == "list":
        return format_users(list_users(root))
    batch = None if given.batch is None else given.batch == "yes"
    try:
        return set_user(root, given.name, batch, given.password, ask or ask_password)
    except Invalid as problem:  # of a command, not of a body
        raise Invalid(
            [{**row, "loc": [part for part in row["loc"] if part != "body"]} for row in problem.problems]
        ) from None


def set_user(root: Path, name: str, batch: bool | None, has_new_password: bool, ask: Callable[[], str]) -> str:
    """Add or change a local user; return what was done.

    Another password ends his logins. Raises StoreError.
    """
    users.check_name(name)
    files, path = Files(root), root / FOLDER / f"{users.make_user_id('local', name)}.json"
    try:
        user, is_new = _read_user(path), False
    except NotFound:
        now = to_rfc3339(int(time.time())) or ""
        user, is_new = User(id=path.stem, username=name, created_at=now), True
    change: dict[str, Any] = {} if batch is None else {"batch": batch}
    if is_new or has_new_password:
        password = ask()
        users.check_password(password)
        change |= {"password_hash": passwords.hash_password(password), "logins": []}
    if not change:
        return f"Nothing changed for {user.username}: --batch yes, --batch no or --password says what ({path})"
    files.make_dirs(path.parent)
    owners.check_folder(root)
    files.write_now(path, to_json(user.model_copy(update=change)), exclusive=is_new)
    return f"{'Added' if is_new else 'Changed'} the user {user.username}: {path}"


def ask_password() -> str:
    """Ask for a password twice, or read it from a pipe. Raises Invalid."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise Invalid([make_problem("the two passwords differ", ["password"])])
    return password


def list_users(root: Path) -> list[tuple[str, User | StoreError]]:
    """List the files of users, each with the user or what is wrong."""
    found: list[tuple[str, User | StoreError]] = []
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            found.append((path.name, _read_user(path)))
        except StoreError as problem:
            found.append((path.name, problem))
    return found


def format_users(found: list[tuple[str, User | StoreError]]) -> str:
    """Format users as lines, one each."""
    if not found:
        return "There are none; `sluice user set NAME` adds one"
    return "\n".join(
        f"{FOLDER}/{name}: {user}"
        if isinstance(user, StoreError)
        else f"{FOLDER}/{name}: {user.username}, {user.source}{', batch' if user.batch else ''}"
        for name, user in found
    )


def _read_user(path: Path) -> User:
    return users.parse_user(read_file(path, FILE_LIMIT_BYTES, owners.check_file)[0], path.stem)
