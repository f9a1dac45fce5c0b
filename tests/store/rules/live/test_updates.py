"""Updates that wait for a client: of each resource one, as if it had heard of all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.rules.live.updates import MOST_IN_A_BURST, MOST_WAITING, Update, WaitingUpdates, find_changes


def make(action: str, id: str, **data: object) -> Update:
    return Update("jobs", action, id, "2023-12-15T14:35:00Z", {"job_id": id, **data})  # type: ignore[arg-type]


def test_the_frame_is_that_of_the_document() -> None:
    update = make("update", "12345", state="COMPLETED", end_time="2023-12-15T14:34:45Z", exit_code=0)
    assert update.frame == (
        '{"channel":"jobs","action":"update","resource_id":"12345","timestamp":"2023-12-15T14:35:00Z","data":'
        '{"job_id":"12345","state":"COMPLETED","end_time":"2023-12-15T14:34:45Z","exit_code":0}}'
    )


def test_an_unheard_update_is_told_with_the_next() -> None:
    waiting = WaitingUpdates()
    for update in (
        make("created", "1", state="PENDING", nodes=[]),
        make("update", "1", state="RUNNING", nodes=["a"]),
        make("created", "2", state="PENDING"),
        make("deleted", "2", state="PENDING"),
        make("update", "3", state="RUNNING"),
        make("update", "3", exit_code=0),
    ):
        waiting.add(update)
    taken = [waiting.take() for _ in range(3)]
    assert [(item.action, item.data) for item in taken if item] == [
        ("created", {"job_id": "1", "state": "RUNNING", "nodes": ["a"]}),
        ("deleted", {"job_id": "2", "state": "PENDING"}),
        ("update", {"job_id": "3", "state": "RUNNING", "exit_code": 0}),
    ]
    assert waiting.take() is None


@given(st.lists(st.tuples(st.integers(0, 3), st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), min_size=1))))
def test_whoever_hears_them_late_knows_the_same(changes: list[tuple[int, dict[str, int]]]) -> None:
    waiting, now = WaitingUpdates(), dict[str, dict[str, object]]()
    for number, data in changes:
        now.setdefault(str(number), {"job_id": str(number)}).update(data)
        waiting.add(make("update", str(number), **data))
    late: dict[str, object] = {}
    while (update := waiting.take()) is not None:
        assert update.resource_id not in late, "each once"
        late[update.resource_id] = update.data
    assert late == now


def test_who_takes_some_may_have_many_waiting() -> None:
    waiting = WaitingUpdates()
    for number in range(MOST_WAITING + 1):
        waiting.add(make("created", str(number)))
    assert waiting.is_too_slow, "none was taken"
    for number in range(MOST_WAITING, MOST_IN_A_BURST + 10):
        waiting.add(make("created", f"x{number}"))
        waiting.add(make("created", f"y{number}"))
        waiting.take()
    assert waiting.is_too_slow, "far too many"
    while len(waiting) > MOST_IN_A_BURST:
        waiting.take()
    assert not waiting.is_too_slow


def test_what_changes_all_the_time_is_no_change() -> None:
    assert (
        find_changes({"job_id": "1", "elapsed_time": "0:01"}, {"job_id": "1", "elapsed_time": "0:02"}, ("job_id",))
        == {}
    )
