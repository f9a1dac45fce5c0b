"""Profiles: what their fields take, which one counts, and that nothing in them can be an option or a command."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from store.config import profiles
from store.config.profiles import Profile, Profiles
from store.documents import HOOK, LINE
from store.errors import Invalid, NotFound
from store.store import EXAMPLES
from tests.contract_judge import CONTRACT, resolve, validator

HOSTS = ["h", "dgx.example.com", "10.0.0.1", "::1", "fe80::1", "node-1_a"]
# What ssh, rsync or a shell would read as more than a name.
NOT_WORDS = [
    "-oProxyCommand=touch /tmp/x", "--", "-", "a b", "a\nb", "a\tb", "a\0b", "$(id)", "`id`", "a;b", "a|b", "a&b",
    "a>b", "a'b", 'a"b', "a\\b", "a*", "a?", "a%h", "${HOME}", "(a)", "{a}", "a\n", " a", "a ", "é", "\u202eabc",
]  # fmt: skip

FIELDS: dict[str, tuple[list[str], list[str]]] = {
    "hostname": (HOSTS, [*NOT_WORDS, "", "user@host", "a/b", "a,b"]),
    "ssh_host": (HOSTS, [*NOT_WORDS, "user@host", "a/b"]),
    "username": (["me", "me.too", "_svc", "me@realm.org", "a+b"], [*NOT_WORDS, "", "a:b", "a/b"]),
    "proxy_jump": (
        ["gate", "me@gate", "gate:2222", "me@gate:22,other", "[::1]:22", "me@[fe80::1]"],
        [*NOT_WORDS, "-oProxyCommand=x", "a,-oX", "a,,b", "me@", ":22", "ssh://a", "a@-b", "a:port", "a@b@c"],
    ),
    "key_filename": (
        ["~/.ssh/id", "/k", "/home/my keys/id"],
        ["id_rsa", "-i", "../x", "~root/x", "/a\nb", "/a%d", "/a$HOME", '/a"b', "/a\\b", "/a\0", "~"],
    ),
}
CASES = [
    pytest.param(name, value, right, id=f"{name}-{'good' if right else 'bad'}-{value!r}")
    for name, (good, bad) in FIELDS.items()
    for right, values in ((True, good), (False, bad))
    for value in values
]


@pytest.mark.parametrize(("name", "value", "right"), CASES)
def test_document_and_contract_take_the_same(name: str, value: str, right: bool) -> None:
    schema = CONTRACT["paths"]["/api/config/ssh/profiles"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert validator(schema["properties"][name]).is_valid(value) == right
    if right:
        assert getattr(Profile.model_validate({name: value}), name) == value
    else:
        with pytest.raises(ValidationError):
            Profile.model_validate({name: value})


def test_the_patterns_are_the_contracts() -> None:
    """One rule in two places: the contract's, with an empty text where one takes the field away."""
    schemas: dict[str, Any] = CONTRACT["components"]["schemas"]
    bare = {name: schemas[name]["pattern"] for name in ("ProfileName", "MountName", "SshHost", "SshUser", "ConfigLine")}
    assert bare == {
        "ProfileName": profiles.NAME, "MountName": profiles.NAME, "SshHost": profiles.HOST, "SshUser": profiles.USER,
        "ConfigLine": LINE,
    }  # fmt: skip
    optional = {name: schemas[name]["pattern"] for name in ("SshAlias", "ProxyJump", "KeyPath")}
    patterns = {"SshAlias": profiles.HOST, "ProxyJump": profiles.JUMP, "KeyPath": profiles.KEY}
    assert optional == {name: f"^({pattern[1:-1]})?$" for name, pattern in patterns.items()}
    mount = CONTRACT["components"]["requestBodies"]["Mount"]["content"]["application/json"]["schema"]["properties"]
    assert (mount["local"]["pattern"], mount["remote"]["pattern"]) == (profiles.LOCAL, profiles.REMOTE)
    assert resolve(schemas["ConfigNotifications"])["properties"]["slack_webhook_url"]["pattern"] == HOOK


OTHERS = [
    ("a port below", {"port": 0}), ("a port above", {"port": 65536}), ("a port as text", {"port": "22"}),
    ("a port that is true", {"port": True}), ("a variable's name", {"env_vars": {"a;b": "1"}}),
    ("a variable's value of two lines", {"env_vars": {"A": "1\n2"}}), ("a variable's number", {"env_vars": {"A": 1}}),
    ("a relative local", {"mounts": [{"name": "m", "local": "x", "remote": "/r"}]}),
    ("somebody's home", {"mounts": [{"name": "m", "local": "~root/x", "remote": "/r"}]}),
    ("the whole file system", {"mounts": [{"name": "m", "local": "//./", "remote": "/r"}]}),
    ("a relative remote", {"mounts": [{"name": "m", "local": "/x", "remote": "r"}]}),
    ("a remote with a line break", {"mounts": [{"name": "m", "local": "/x", "remote": "/r\n"}]}),
    ("a mount that is a step up", {"mounts": [{"name": "..", "local": "/x", "remote": "/r"}]}),
    ("a mount that is an option", {"mounts": [{"name": "-m", "local": "/x", "remote": "/r"}]}),
    ("an unknown key", {"host": "x"}),
    ("two mounts of a name", {"mounts": [{"name": "m", "local": path, "remote": "/r"} for path in ("/a", "/b")]}),
    ("two mounts of a folder", {"mounts": [{"name": name, "local": "/a", "remote": "/r"} for name in ("a", "b")]}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "value"), OTHERS, ids=[row[0] for row in OTHERS])
def test_what_a_profile_refuses(why: str, value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Profile.model_validate(value)


KEPT = Profiles.model_validate(
    {
        "current": "a",
        "profiles": {"a": {"hostname": "a.org"}, "b": {"mounts": [{"name": "m", "local": "/m", "remote": "/r"}]}},
    }
)
DIRECT = {"SRUNX_SSH_HOSTNAME": "h.org", "SRUNX_SSH_USERNAME": "me"}

CHOICES = [
    ("the file's", {}, "a", "a.org", ""),
    ("the environment's before the file's", {"SRUNX_SSH_PROFILE": "b"}, "b", None, ""),
    ("an unknown one is none, not another cluster", {"SRUNX_SSH_PROFILE": "c"}, None, None, "SRUNX_SSH_PROFILE"),
    ("set to nothing", {"SRUNX_SSH_PROFILE": ""}, "a", "a.org", ""),
    ("a host directly", DIRECT, "me@h.org", "h.org", ""),
    ("a name before a host", {**DIRECT, "SRUNX_SSH_PROFILE": "a"}, "a", "a.org", ""),
    ("a host without a user", {"SRUNX_SSH_HOSTNAME": "h.org"}, "a", "a.org", ""),
    ("a user without a host", {"SRUNX_SSH_USERNAME": "me"}, "a", "a.org", ""),
    ("an option for a host", {**DIRECT, "SRUNX_SSH_HOSTNAME": "-oX"}, None, None, "SRUNX_SSH_HOSTNAME"),
    ("a port that is none", {**DIRECT, "SRUNX_SSH_PORT": "ssh"}, None, None, "SRUNX_SSH_PORT"),
    ("a key that is none", {**DIRECT, "SRUNX_SSH_KEY": "-i"}, None, None, "SRUNX_SSH_KEY"),
]


@pytest.mark.parametrize(("why", "environment", "current", "host", "wrong"), CHOICES, ids=[row[0] for row in CHOICES])
def test_which_profile_counts(
    why: str, environment: dict[str, str], current: str | None, host: str | None, wrong: str
) -> None:
    found, problem = profiles.apply_environment(KEPT, environment)
    assert found.current == current and (found.active_profile.hostname if found.active_profile else None) == host
    assert bool(problem) == bool(wrong) and wrong in (problem or "")
    assert KEPT.current == "a", "what is kept is not changed"


def test_a_direct_host_is_a_profile_with_its_port_and_key() -> None:
    environment = {**DIRECT, "SRUNX_SSH_PORT": "2222", "SRUNX_SSH_KEY": "~/.ssh/id"}
    found = profiles.apply_environment(KEPT, environment)[0].active_profile
    assert found is not None
    assert (found.username, found.port, found.key_filename, found.mounts) == ("me", 2222, "~/.ssh/id", [])
    assert not re.fullmatch(profiles.NAME, "me@h.org"), "no kept profile can have this name"


def test_mounts_by_name() -> None:
    found, _ = profiles.apply_environment(KEPT, {"SRUNX_SSH_PROFILE": "b"})
    assert str(found.get_mount("m").root) == "/m" and list(found.get_mounts()) == ["m"]
    with pytest.raises(NotFound, match="Mount 'x' not found"):
        found.get_mount("x")
    assert KEPT.get_mounts() == {}


def test_the_example_is_a_profile_when_uncommented() -> None:
    text = (EXAMPLES / "profiles.yaml").read_text()
    assert profiles.parse_profiles(text.encode()) == Profiles()
    # A line that is a key or an item, or goes on below one; sentences are not.
    lines = re.findall(r"^# ((?: |\w+:(?: |$)).*)$", text, re.MULTILINE)
    found = profiles.parse_profiles("\n".join(lines).encode())
    assert found.active_profile is not None
    assert found.active_profile.model_fields_set == set(Profile.model_fields)
    assert found.active_profile.mounts[0].model_fields_set == set(profiles.Mount.model_fields)


def test_a_current_profile_that_is_none_is_told_with_its_line() -> None:
    with pytest.raises(Invalid, match="current is 'x', which is none of the profiles"):
        profiles.parse_profiles(b"current: x\nprofiles: {}\n")
