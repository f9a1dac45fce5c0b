"""How exports and reports go on, how many there may be, and what their files are called."""

from __future__ import annotations

import pytest

from store.errors import Conflict, StoreFull
from store.rules.exports import files
from store.rules.exports.files import Export


def make(name: str = "exp_1", owner: str = "ann", **more: object) -> Export:
    given = {
        "id": name, "owner": owner, "cluster": "c", "type": "jobs", "format": "csv", "filename": "f", "fields": [],
        "created_at": "1970-01-01T00:00:00Z", "expires_at": "1970-01-02T00:00:00Z",
    }  # fmt: skip
    return Export(**(given | more))  # type: ignore[arg-type]


STATUSES = [
    ("being made", "processing", 0, "processing"),
    ("being made for long", "processing", 10**9, "processing"),
    ("complete", "completed", 86_399, "completed"),
    ("its time is over", "completed", 86_400, "expired"),
    ("failed", "failed", 0, "failed"),
]


@pytest.mark.parametrize(("why", "status", "now", "seen"), STATUSES, ids=[row[0] for row in STATUSES])
def test_the_status_that_callers_see(why: str, status: str, now: float, seen: str) -> None:
    assert files.find_status(make(status=status), now) == seen


def test_bounds_on_number_and_size() -> None:
    known = [make(f"exp_{number}", status="completed", file_size=400_000) for number in range(3)]
    files.check_room(known, "ann", 9, 4, 0)
    files.check_room(known, "ann", 9, 3, 86_400)
    with pytest.raises(Conflict, match="you have 3"):
        files.check_room(known, "ann", 9, 3, 0)
    with pytest.raises(Conflict, match="there are 3"):
        files.check_room(known, "bob", 3, 3, 0)
    mine = make("exp_9")
    assert files.compute_room_bytes(known, mine, (1, 2, 9)) == 800_000
    assert files.compute_room_bytes(known, make("exp_9", "bob"), (1, 1, 9)) == 1_000_000
    with pytest.raises(StoreFull):
        files.compute_room_bytes(known, mine, (1, 1, 9))


NAMES = [
    ("the document's", "alice_december_jobs.csv", "alice_december_jobs.csv"),
    ("a path", "/etc/passwd", "passwd"),
    ("a path of others", "C:\\temp\\a.csv", "a.csv"),
    ("hidden", "..hidden", "hidden"),
    ("an end of line", "a\r\nX-Evil: 1", "a__X-Evil__1"),
    ("quotes", 'a".csv', "a_.csv"),
    ("another script", "日本.csv", "日本.csv"),
    ("nothing left", "///", "default"),
    ("only signs", "___", "default"),
    ("long", "a" * 300, "a" * 100),
    ("none", None, "default"),
]


@pytest.mark.parametrize(("why", "given", "name"), NAMES, ids=[row[0] for row in NAMES])
def test_names_are_made_safe(why: str, given: str | None, name: str) -> None:
    assert files.clean_filename(given, "default") == name
