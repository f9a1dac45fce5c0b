"""`sluice user`: users are added and changed in the store, also while a server runs."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from store.access.yaptide import passwords, users
from store.access.yaptide.user_commands import add_parser, run_command
from store.errors import Invalid
from tests import ROOT
from tests.app_server import Server
from tests.waiting import eventually


def run(store: Path, *words: str, password: str = "secret") -> str:
    """What the command prints."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(dest="command"))
    return run_command(parser.parse_args(["user", *words]), store, lambda: password)


def read(store: Path, name: str = "ann") -> users.User:
    """The user as the store has him."""
    user_id = users.make_user_id("local", name)
    return users.parse_user((store / "users" / f"{user_id}.json").read_bytes(), user_id)


def test_a_user_is_added_and_changed(tmp_path: Path) -> None:
    assert run(tmp_path, "list") == "There are none; `sluice user set NAME` adds one"
    assert run(tmp_path, "set", "ann").startswith("Added the user ann: ")
    first = read(tmp_path)
    assert passwords.is_password("secret", first.password_hash) and not first.batch
    assert run(tmp_path, "set", "ANN", "--batch", "yes", password="other").startswith("Changed the user ann: ")
    assert read(tmp_path) == first.model_copy(update={"batch": True}), "the password stays"
    path = tmp_path / "users" / f"{first.id}.json"
    assert run(tmp_path, "set", "ann", password="other").startswith("Nothing changed for ann: "), "nor is it asked for"
    assert path.stat().st_mode & 0o077 == 0 and "secret" not in path.read_text()
    run(tmp_path, "set", "ann", "--password", password="other")
    assert passwords.is_password("other", read(tmp_path).password_hash) and read(tmp_path).batch
    assert run(tmp_path, "list") == f"users/{first.id}.json: ann, local, batch"
    path.write_text("{")
    assert run(tmp_path, "list").startswith(f"users/{first.id}.json: ")


@pytest.mark.parametrize(("name", "password"), [("a:b", "secret"), ("", "secret"), ("ann", ""), ("ann", "x" * 1001)])
def test_what_no_user_can_be(tmp_path: Path, name: str, password: str) -> None:
    with pytest.raises(Invalid, match=r"^(username|password): "):
        run(tmp_path, "set", name, password=password)
    assert not list(tmp_path.rglob("*.json"))


def test_a_running_server_sees_it_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "store", "embedded")
    words = [sys.executable, str(ROOT / "app.py"), "user", "set", "ann", "--store", str(server.store)]

    def log_in(password: str) -> int:
        return server.http.post("/auth/login", json={"username": "ann", "password": password}).status_code

    try:
        server.start()
        made = subprocess.run([*words, "--batch", "yes"], input="first\n", capture_output=True, text=True, timeout=60)
        assert made.returncode == 0 and "Added the user ann" in made.stdout, made.stderr
        eventually(lambda: log_in("first") == 202)
        assert server.http.get("/auth/status").status_code == 200
        made = subprocess.run([*words, "--password"], input="second\n", capture_output=True, text=True, timeout=60)
        assert made.returncode == 0, made.stderr
        eventually(lambda: server.http.get("/auth/status").status_code == 403)
        assert log_in("second") == 202
        wrong = subprocess.run(
            [*words[:4], "a:b", "--store", str(server.store)], input="x\n", capture_output=True, text=True, timeout=60
        )
        assert wrong.returncode == 1 and "no colon" in wrong.stderr
    finally:
        server.end()
        server.http.close()
