"""The change feed as events: what readers are sent, alone and beside others, and how streams end."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson
import pytest

from engine.changes import BATCH, WOKEN_AT_ONCE, Changes
from engine.live import event_stream
from engine.live.event_stream import PIECE_BYTES, EventReader, stream_events
from store.rules import changes
from store.rules.changes import Filter, Position, parse_filter
from tests.engine.test_changes import EVERYTHING, add, give_way, run


async def frames_of(stream: Any) -> list[str]:
    return "".join([piece.decode() async for piece in stream]).split("\n\n")[:-1]


def test_a_stream_begins_with_where_it_is_and_ends_after_so_many_events() -> None:
    async def work() -> None:
        feed = Changes()
        for number in range(250):
            add(feed, str(number), row={"n": number})
        start, *events = await frames_of(stream_events(feed, EVERYTHING, Position(feed.epoch, 0), limit=205))
        assert start.splitlines() == [":", "retry: 2000", f"id: {feed.epoch}-0"]
        changes_read = [orjson.loads(event.splitlines()[2].removeprefix("data: ")) for event in events]
        assert [change["row"]["n"] for change in changes_read] == list(range(205))
        assert events[-1].splitlines()[0] == f"id: {feed.epoch}-205"

    run(work)


def test_a_stream_ends_only_when_all_that_has_changed_is_read() -> None:
    async def work() -> None:
        feed = Changes()
        for number in range(3 * BATCH):
            add(feed, str(number))
        _start, *events = await frames_of(stream_events(feed, EVERYTHING, Position(feed.epoch, 0), timeout_s=0))
        assert len(events) == 3 * BATCH and events[-1].splitlines()[0] == f"id: {feed.position}"

    run(work)


def test_large_changes_are_not_sent_all_at_once() -> None:
    async def work() -> None:
        feed = Changes()
        for number in range(BATCH):
            add(feed, str(number), row="x" * (PIECE_BYTES // 3))
        stream = stream_events(feed, EVERYTHING, Position(feed.epoch, 0), timeout_s=0)
        pieces = [piece async for piece in stream]
        assert max(map(len, pieces)) < 2 * PIECE_BYTES
        assert b"".join(pieces).count(b"event: job") == BATCH

    run(work)


def test_a_reader_may_ask_for_more_signs_of_life() -> None:
    async def work() -> None:
        feed = Changes()
        stream = stream_events(feed, EVERYTHING, heartbeat_s=0.001)
        assert [(await anext(stream)).count(b"event:") for _ in range(3)] == [0, 0, 0]
        await stream.aclose()

    run(work)


def test_a_row_that_a_reader_has_already_is_not_sent_again() -> None:
    async def work() -> None:
        feed = Changes()
        reading = asyncio.create_task(frames_of(stream_events(feed, EVERYTHING)))
        await give_way()
        steps: list[tuple[Any, str | None]] = [
            ("created", "a"), ("updated", "a"), ("updated", "b"), ("updated", "b"), ("deleted", None), ("created", "b"),
        ]  # fmt: skip
        for action, row in steps:
            add(feed, "1", action, row=row)
            await give_way()
        feed.close()
        _start, *events = await reading
        sent = [orjson.loads(event.splitlines()[2].removeprefix("data: ")) for event in events]
        assert [(change["number"], change["row"]) for change in sent] == [(1, "a"), (3, "b"), (5, None), (6, "b")]

    run(work)


def test_a_reader_that_is_cut_off_before_its_reset_hears_it_the_next_time() -> None:
    async def work() -> None:
        feed = Changes()
        add(feed, "1")
        start, reset = await frames_of(stream_events(feed, EVERYTHING, Position("0", 1), timeout_s=0))
        assert start.splitlines() == [":", "retry: 2000"], "no position yet"
        assert reset.splitlines()[:2] == [f"id: {feed.position}", "event: reset"]

    run(work)


def test_a_stream_without_news_shows_that_it_lives_and_ends_in_time() -> None:
    async def work() -> None:
        feed = Changes()
        feed.heartbeat_s = 0.01
        stream = stream_events(feed, parse_filter("run", None), timeout_s=60)
        assert (await anext(stream)).startswith(b":\nretry")
        add(feed, "1")
        assert (await anext(stream)).decode().split("\n")[:2] == [":", f"id: {feed.epoch}-1"]
        await stream.aclose()
        assert not feed.readers
        assert len(await frames_of(stream_events(feed, EVERYTHING, timeout_s=0))) == 1

    run(work)


def test_a_stream_shows_four_times_a_minute_that_it_lives() -> None:
    """Proxies cut connections on which nothing came for a minute, or for half of one."""
    assert Changes().heartbeat_s == 15


def test_streams_end_with_the_server() -> None:
    async def work() -> None:
        feed = Changes()
        tasks = [asyncio.create_task(frames_of(stream_events(feed, EVERYTHING))) for _ in range(3)]
        await give_way()
        add(feed, "1")
        feed.close()
        assert [len(frames) for frames in await asyncio.gather(*tasks)] == [2, 2, 2]

    run(work)


def test_many_readers_share_what_is_made_and_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        feed, made = Changes(), []
        monkeypatch.setattr(changes, "to_event", lambda epoch, change, row: made.append(change.number) or b"event")
        readers = [asyncio.create_task(frames_of(stream_events(feed, EVERYTHING, limit=1))) for _ in range(200)]
        await give_way()
        add(feed, "1")
        turns = 0
        while not all(reader.done() for reader in readers):
            await asyncio.sleep(0)
            turns += 1
        assert made == [1] and turns >= len(readers) / WOKEN_AT_ONCE

    run(work)


# --- beside others ----------------------------------------------------------------------------------------------------


def parse(text: bytes) -> list[dict[str, Any]]:
    """The changes that a stream has told."""
    return [orjson.loads(frame.split("data: ")[1]) for frame in text.decode().split("\n\n") if "data: " in frame]


def test_readers_alike_are_sent_the_same_bytes() -> None:
    async def work() -> None:
        feed = Changes()
        async with (
            EventReader(feed, EVERYTHING, None, "") as first_reader,
            EventReader(feed, Filter(), None, "") as other,
        ):
            for number in range(3):
                add(feed, str(number), row={"n": number})
            first, second = first_reader.take_piece(None), other.take_piece(None)
            assert first is second and first is not None and first.events == 3
            assert first_reader.take_piece(None) is other.take_piece(None) is None
            async with EventReader(feed, parse_filter("run", None), None, "") as third:
                assert third.take_piece(None) is None
                add(feed, "4")
                piece = third.take_piece(None)
                assert piece is not None and piece.events == 0 and third.position == feed.position
        del first_reader, other, third, first, second, piece
        assert not feed.event_tracks, "what readers shared is gone with the last of them"

    run(work)


def test_who_came_later_is_told_what_others_have_already() -> None:
    async def work() -> None:
        feed = Changes()

        def take(reader: EventReader) -> list[Any]:
            pieces = list(iter(lambda: reader.take_piece(None), None))
            return [change["row"] for change in parse(b"".join(piece.data for piece in pieces))]

        async with EventReader(feed, EVERYTHING, None, "") as early:
            add(feed, "1", row="a")
            assert take(early) == ["a"]
            async with EventReader(feed, EVERYTHING, None, "") as late:
                for row, to_early, to_late in (
                    ("a", [], ["a"]),
                    ("b", ["b"], ["b"]),
                    ("b", [], []),
                    ("c", ["c"], ["c"]),
                ):
                    add(feed, "1", row=row)
                    assert (take(early), take(late)) == (to_early, to_late), row

    run(work)


class Listener:
    """A reader that takes pieces when it likes, and what it knows by then."""

    def __init__(self, feed: Changes, after: Position, rows: dict[str, Any]) -> None:
        self.reader, self.rows, self.number = EventReader(feed, EVERYTHING, after, ""), dict(rows), after.number

    def take(self, actual: dict[str, Any]) -> bool:
        """Take a piece; after a reset it looks at the list. Return whether there was one."""
        piece = self.reader.take_piece(None)
        for change in parse(piece.data) if piece else []:
            if change["kind"] == "reset":
                self.rows = dict(actual)
                continue
            assert change["number"] > self.number, "in order, each once"
            self.number = change["number"]
            self.rows[change["id"]] = change["row"]
        self.number = max(self.number, self.reader.number)
        return piece is not None


@pytest.mark.parametrize("seed", range(60))
def test_all_know_in_the_end_what_there_is(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However readers come, lag and are overtaken, and whatever is left out for some of them."""
    monkeypatch.setattr(event_stream, "PIECE_BYTES", 300)
    monkeypatch.setattr(event_stream, "KEPT_BYTES", 4000)
    monkeypatch.setattr(event_stream, "KNOWN_ROWS", 5)

    async def work() -> None:
        chance = random.Random(seed)
        feed = Changes(kept=chance.choice([6, 12, 1000]))
        actual: dict[str, Any] = {}
        listeners = [Listener(feed, feed.position, actual)]
        history = [(feed.position, dict(actual))]
        for _ in range(400):
            match chance.randrange(6):
                case 0 | 1 | 2:
                    name, row = str(chance.randrange(8)), chance.randrange(3)
                    actual[name] = row
                    feed.add("job", name, "updated", lambda name=name: actual[name])  # type: ignore[misc]
                    history.append((feed.position, dict(actual)))
                case 3 if len(listeners) < 6:
                    listeners.append(Listener(feed, *chance.choice(history[-10:])))
                case 4 if len(listeners) > 1:
                    listeners.pop(chance.randrange(len(listeners)))
                case _:
                    chance.choice(listeners).take(actual)
        for listener in listeners:
            while listener.take(actual):
                pass
            assert listener.rows == actual

    run(work)
