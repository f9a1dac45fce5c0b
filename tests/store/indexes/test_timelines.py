"""Timelines: sorted by time whatever is added and dropped, with columns that stay beside their keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.indexes.timelines import Timeline

times = st.integers(0, 5).map(float)


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "load", "drop", "read"]), times, st.sampled_from("abcdefgh")), max_size=150
    )
)
def test_a_timeline_is_a_sorted_list(steps: list[tuple[str, float, str]]) -> None:
    line, model = Timeline("BO"), dict[str, float]()
    for what, time, key in steps:
        if what == "add" and key not in model:
            line.add(time, key, ord(key), key.upper())
            model[key] = time
        elif what == "load" and key not in model:
            more = [key, *{"x", "y"}.difference(model)]
            line.extend([time] * len(more), more, map(ord, more), [each.upper() for each in more])
            model |= dict.fromkeys(more, time)
        elif what == "drop":
            line.drop(time, key)
            if model.get(key) == time:
                del model[key]
        elif what == "read":
            check_timeline(line, model)
    check_timeline(line, model)


def check_timeline(line: Timeline, model: dict[str, float]) -> None:
    """Check that the timeline has just what the model has."""
    wanted = sorted((time, key) for key, time in model.items())
    assert [*zip(line.times, line.keys, strict=True)] == wanted
    assert [*line.get_column(0)] == [ord(key) for _, key in wanted]
    assert [*line.get_column(1)] == [key.upper() for _, key in wanted]
    for time in (-1.0, 0.0, 2.0, 2.5, 9.0):
        assert line.count_before(time) == sum(moment < time for moment, _ in wanted)
        assert line.count_until(time) == sum(moment <= time for moment, _ in wanted)


def test_what_comes_after_sorting_is_put_in_its_place_at_once() -> None:
    line = Timeline()
    for n in range(500):
        line.add(float(n * 7 % 1000), str(n))
    line.sort()
    kept = line.keys
    for n in range(500, 1000):
        line.add(float(n * 7 % 1000), str(n))
    line.drop(7.0, "1")
    assert line.keys is kept  # else all were sorted once more
    assert list(line.times) == [float(n) for n in range(1000) if n != 7]
