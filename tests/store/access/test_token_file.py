"""Entries of access.yaml, created, listed and revoked from the command line."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from store.access import token_file
from store.access.tokens import parse_access
from store.errors import Conflict, Exists, Invalid, NotFound, StoreError

NOW_S = 1_800_000_000.0
BEFORE = """\
# Who may call.
tokens:
  # the dashboard
  - {name: dash, sha256: "%s", scopes: [read]}  # until May

cors: {srtslurm: ["http://localhost:3000"]}  # Ann's
""" % ("0" * 64)


def test_a_secret_is_shown_once_and_works(tmp_path: Path) -> None:
    root = tmp_path / "new" / "store"
    secrets = {kind: token_file.create_entry(root, kind, "ci", ["read"]) for kind in ("token", "api-key", "client")}
    path = root / "access.yaml"
    assert path.stat().st_mode & 0o777 == 0o600 and root.stat().st_mode & 0o777 == 0o700
    assert not any(secret in path.read_text() for secret in secrets.values())
    known = parse_access(path.read_bytes())
    assert known.find_caller(secrets["token"]) and known.find_key_caller(secrets["api-key"])
    assert known.find_client("ci", secrets["client"])


def test_comments_and_everything_else_stay(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text(BEFORE)
    token_file.create_entry(tmp_path, "token", "true", ["read", "report"], "2027-06-01", "free", NOW_S)
    token_file.create_entry(tmp_path, "api-key", "k", ["write"])
    text = (tmp_path / "access.yaml").read_text()
    assert text.startswith(BEFORE[: BEFORE.index("\ncors")]) and "# Ann's\n" in text
    assert [(row["kind"], row["name"], row["expires"], row["tier"]) for row in token_file.list_entries(tmp_path)] == [
        ("token", "dash", None, "pro"),
        ("token", "true", "2027-06-01T00:00:00Z", "free"),
        ("api-key", "k", None, "pro"),
    ]
    assert token_file.revoke_entries(tmp_path, "true") == ["token"]
    assert token_file.revoke_entries(tmp_path, "k", "api-key") == ["api-key"]
    assert (tmp_path / "access.yaml").read_text() == BEFORE


def test_the_tier_is_listed_that_counts(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text("rate_limits: {tiers: {lab: 100/minute}, named: lab}\n")
    for name, tier in (("a", None), ("b", "free")):
        token_file.create_entry(tmp_path, "token", name, ["read"], tier=tier)
    assert [row["tier"] for row in token_file.list_entries(tmp_path)] == ["lab", "free"]


def test_a_file_that_everything_was_taken_out_of_can_be_used_again(tmp_path: Path) -> None:
    token_file.create_entry(tmp_path, "token", "ci", ["read"])
    token_file.revoke_entries(tmp_path, "ci")
    assert parse_access((tmp_path / "access.yaml").read_bytes()).tokens == []
    token_file.create_entry(tmp_path, "token", "ci", ["read"])
    assert len(token_file.list_entries(tmp_path)) == 1


def test_of_several_with_one_name_the_kind_must_be_said(tmp_path: Path) -> None:
    for kind in ("token", "api-key"):
        token_file.create_entry(tmp_path, kind, "ci", ["read"])
    with pytest.raises(Conflict, match="--kind token, api-key"):
        token_file.revoke_entries(tmp_path, "ci")
    assert token_file.revoke_entries(tmp_path, "ci", "token") == ["token"]
    assert [row["kind"] for row in token_file.list_entries(tmp_path)] == ["api-key"]


REFUSED = [
    ("a name that is taken", {"name": "dash"}, Exists, "already exists"),
    ("a name with a blank", {"name": "a b"}, Invalid, "the name 'a b'"),
    ("no name", {"name": ""}, Invalid, "the name ''"),
    ("an unknown scope", {"scopes": ["raed"]}, Invalid, "did you mean 'read'"),
    ("no scope", {"scopes": [""]}, Invalid, "unknown scope ''"),
    ("an unknown tier", {"tier": "por"}, Invalid, "did you mean 'pro'"),
    ("a time that is none", {"expires": "soon"}, Invalid, "'soon' is no time"),
    ("a time that is over", {"expires": "2020-01-01"}, Invalid, "is over"),
    ("a time that no calendar has", {"expires": "999999w"}, Invalid, "is no time"),
]


@pytest.mark.parametrize(("why", "more", "problem", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_not_created(
    tmp_path: Path, why: str, more: dict[str, object], problem: type[StoreError], text: str
) -> None:
    (tmp_path / "access.yaml").write_text(BEFORE)
    given = {"kind": "token", "name": "new", "scopes": ["read"], "now_s": NOW_S, **more}
    with pytest.raises(problem, match=text):
        token_file.create_entry(tmp_path, **given)  # type: ignore[arg-type]
    assert (tmp_path / "access.yaml").read_text() == BEFORE


def test_a_file_that_is_wrong_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text("tokens: [{name: x}]\n")
    with pytest.raises(Invalid, match="sha256"):
        token_file.create_entry(tmp_path, "token", "ci", ["read"])
    assert (tmp_path / "access.yaml").read_text() == "tokens: [{name: x}]\n"


def test_nothing_to_revoke(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'ci' not found"):
        token_file.revoke_entries(tmp_path, "ci")


def test_none_is_lost_when_several_are_created_at_once(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(12)]
    threads = [
        threading.Thread(target=token_file.create_entry, args=(tmp_path, "token", name, ["read"])) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["name"] for row in token_file.list_entries(tmp_path)) == sorted(names)
