"""Profiles and mounts that are refused: nothing that ssh, rsync or a shell could misread gets into the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.operations.profile_calls import BOTH_WAYS, FILE, MOUNT, NEW, PROFILES, ServedProfiles
from tests.app_client import serving


@pytest.fixture(scope="module")
def served_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProfiles]:
    """A place for calls that change nothing."""
    store = tmp_path_factory.mktemp("once") / "store"
    place = ServedProfiles(store)
    with serving(store, "embedded") as place.client:
        yield place


WRONG_MOUNTS = [
    ("no name", {"local": "/a", "remote": "/b"}, "name"),
    ("no local", {"name": "a", "remote": "/b"}, "local"),
    ("no remote", {"name": "a", "local": "/a"}, "remote"),
    ("a relative remote", {**MOUNT, "remote": "data"}, "remote"),
    ("a relative local", {**MOUNT, "local": "data"}, "local"),
    ("an option", {**MOUNT, "name": "--delete"}, "name"),
    ("a step up", {**MOUNT, "name": ".."}, "name"),
    ("a word of the paths", {**MOUNT, "name": "config"}, "name"),
    ("a line break", {**MOUNT, "remote": "/a\n/b"}, "remote"),
    ("NUL", {**MOUNT, "local": "/a\0"}, "local"),
    ("excludes that are none", {**MOUNT, "exclude_patterns": "*.o"}, "exclude_patterns"),
]


@pytest.mark.parametrize(("why", "body", "field"), WRONG_MOUNTS, ids=[row[0] for row in WRONG_MOUNTS])
@pytest.mark.parametrize("path", [row[1] for row in BOTH_WAYS], ids=[row[0] for row in BOTH_WAYS])
def test_mounts_that_are_refused(served_once: ServedProfiles, path: str, why: str, body: Any, field: str) -> None:
    answer = served_once.call("POST", path, body)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][:2] == ["body", field]
    assert served_once.path.read_text() == FILE


WRONG_PROFILES = [
    ("no name", {key: NEW[key] for key in ("hostname", "username")}, "name"),
    ("no host", {key: NEW[key] for key in ("name", "username")}, "hostname"),
    ("no user", {key: NEW[key] for key in ("name", "hostname")}, "username"),
    ("a name for a path", {**NEW, "name": "../x"}, "name"),
    ("a name that is too long", {**NEW, "name": "n" * 65}, "name"),
    ("an option for a host", {**NEW, "hostname": "-oProxyCommand=id"}, "hostname"),
    ("an option for a user", {**NEW, "username": "-l"}, "username"),
    ("a command for a jump", {**NEW, "proxy_jump": "a;id"}, "proxy_jump"),
    ("an option for a jump", {**NEW, "proxy_jump": "a,-oX=y"}, "proxy_jump"),
    ("an option for a key", {**NEW, "key_filename": "-oX"}, "key_filename"),
    ("a token of ssh in a key", {**NEW, "key_filename": "/k/%d"}, "key_filename"),
    ("a pattern for an alias", {**NEW, "ssh_host": "*"}, "ssh_host"),
    ("a port as text", {**NEW, "port": "abc"}, "port"),
    ("a port above", {**NEW, "port": 70000}, "port"),
    ("a variable that is a command", {**NEW, "env_vars": {"a;id": "1"}}, "env_vars"),
    ("a mask of nothing", {**NEW, "env_vars": {"A_TOKEN": "***"}}, "env_vars"),
]


@pytest.mark.parametrize(("why", "body", "field"), WRONG_PROFILES, ids=[row[0] for row in WRONG_PROFILES])
def test_profiles_that_are_refused(served_once: ServedProfiles, why: str, body: Any, field: str) -> None:
    calls = [("POST", PROFILES, body)]
    if field in body and field != "name":
        calls.append(("PUT", f"{PROFILES}/lab", {field: body[field]}))
    for method, path, given in calls:
        answer = served_once.call(method, path, given)
        assert answer.status_code == 422, answer.text
        assert field in answer.json()["detail"][0]["loc"], answer.text
    assert served_once.path.read_text() == FILE and served_once.list_profiles()["current"] == "dgx"


MISSING = [
    ("PUT", f"{PROFILES}/nope", {"port": 1}, "Profile 'nope' not found"),
    ("DELETE", f"{PROFILES}/nope", None, "Profile 'nope' not found"),
    ("POST", f"{PROFILES}/nope/activate", None, "Profile 'nope' not found"),
    ("POST", f"{PROFILES}/nope/mounts", MOUNT, "Profile 'nope' not found"),
    ("DELETE", f"{PROFILES}/nope/mounts/m", None, "Profile 'nope' not found"),
    ("DELETE", f"{PROFILES}/lab/mounts/m", None, "Mount 'm' not found"),
    ("DELETE", "/api/files/mounts/m", None, "Mount 'm' not found"),
]


@pytest.mark.parametrize(("method", "path", "body", "detail"), MISSING, ids=[f"{row[0]} {row[1]}" for row in MISSING])
def test_what_is_not_there(served_once: ServedProfiles, method: str, path: str, body: Any, detail: str) -> None:
    answer = served_once.call(method, path, body)
    assert answer.status_code == 404 and answer.json() == {"detail": detail}
    assert served_once.path.read_text() == FILE


def test_a_profile_of_the_same_name(served_once: ServedProfiles) -> None:
    answer = served_once.call("POST", PROFILES, {**NEW, "name": "lab"})
    assert answer.status_code == 409 and answer.json() == {"detail": "Profile 'lab' already exists"}
