"""Which open documents a pass looks at: those that changed, whose jobs changed, or whose time has come; no others."""

from __future__ import annotations

import time

import pytest

from engine.open_documents import OpenDocuments
from store.kinds import Key, OpenDocument

MANY = 5_000


def make_many() -> OpenDocuments:
    opened = OpenDocuments(lambda: None)
    for number in range(MANY):
        opened.put(Key("job", f"r{number}"), OpenDocument("here", [str(number)]))
    return opened


def test_documents_at_rest_are_not_looked_at() -> None:
    opened = make_many()
    assert len(opened.take(["here"], 0.0)) == MANY, "everything once after a start"
    assert opened.take(["here"], 1.0) == []
    opened.mark_jobs("here", ["17"])
    assert opened.take(["here"], 2.0) == [Key("job", "r17")]
    assert opened.take(["here"], 3.0) == []


@pytest.mark.parametrize(
    ("why", "cluster", "changed", "found"),
    [
        ("its own job", "here", ["8"], ["r8"]),
        ("a task of an array", "here", ["8_3"], ["r8"]),
        ("tasks that wait", "here", ["8_[3-6]"], ["r8"]),
        ("a part of a heterogeneous job", "here", ["8+1"], ["r8"]),
        ("somebody else's", "here", ["999999"], []),
        ("the same id on another cluster", "there", ["8"], []),
    ],
)
def test_whose_job_changed(why: str, cluster: str, changed: list[str], found: list[str]) -> None:
    opened = make_many()
    opened.take(["here"], 0.0)
    opened.mark_jobs(cluster, changed)
    assert [key.id for key in opened.take(["here", "there"], 1.0)] == found, why


def test_what_somebody_else_has_looked_at_is_left_out() -> None:
    opened, key = make_many(), Key("job", "r1")
    opened.skip(key)
    opened.skip(Key("job", "of nobody"))
    assert key not in opened.take(["here"], 0.0)
    opened.mark_jobs("here", ["1"])
    assert opened.take(["here"], 1.0) == [key], "it has changed since"


def test_times_come_and_go() -> None:
    opened, key = make_many(), Key("job", "r1")
    opened.take(["here"], 0.0)
    opened.schedule(key, 10.0)
    opened.schedule(key, 20.0)
    assert opened.take(["here"], 9.9) == []
    assert opened.take(["here"], 10.0) == [key], "the earliest counts"
    assert opened.take(["here"], 30.0) == [], "who looks says anew when to look again"
    opened.schedule(key, 40.0)
    opened.mark(key)
    assert opened.take(["here"], 31.0) == [key]
    assert opened.take(["here"], 50.0) == [], "it was looked at meanwhile"


def test_work_that_failed_is_looked_at_later_and_not_at_once() -> None:
    opened, key = make_many(), Key("job", "r1")
    opened.take(["here"], 0.0)
    before = time.monotonic()
    opened.retry_later(key)
    assert opened.take(["here"], before) == []
    assert opened.take(["here"], float("inf")) == [key]


def test_what_waits_for_a_cluster_stays_marked() -> None:
    opened, key = OpenDocuments(lambda: None), Key("run", "a")
    opened.put(key, OpenDocument("away", ["1"]))
    opened.put(Key("sync", "s"), OpenDocument(None))
    assert opened.take([None], 0.0) == [Key("sync", "s")]
    opened.schedule(key, 1.0)
    assert opened.take([None], 2.0) == []
    assert opened.take([None, "away"], 3.0) == [key]
    opened.mark_cluster("away")
    assert opened.take(["away"], 4.0) == [key], "it answers again"


def test_nothing_is_left_of_what_has_ended() -> None:
    woken: list[bool] = []
    opened = OpenDocuments(lambda: woken.append(True))
    key = Key("job", "r1")
    opened.put(key, OpenDocument("here", ["1"]))
    opened.schedule(key, 1.0)
    opened.put(key, OpenDocument("here", ["2"]))
    assert (list(opened.get_job_ids("here")), opened.count_by_cluster(), len(woken)) == (["2"], {"here": 1}, 2)
    opened.remove(key)
    opened.mark(key)
    assert (list(opened.get_job_ids("here")), opened.list_clusters(), len(woken)) == ([], [], 2)
    assert opened.take(["here"], 9.0) == []
