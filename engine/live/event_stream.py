"""The change feed as server-sent events, made once for all readers alike.

Readers with one filter and one view follow each other's steps: the first that comes to a position makes the piece that
is sent from there on, and all others there send the same bytes. What a thousand readers cost is then the sending.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable
from typing import NamedTuple
from weakref import WeakValueDictionary

from engine.changes import BATCH, RETRY_MS, Changes, Reader
from store.indexes.bodies import BoundedCache
from store.rules import changes
from store.rules.changes import RESET, Change, Filter, Position

# No more is put into a piece once it is so large: a client that reads nothing has some pieces wait for it.
PIECE_BYTES = 16_000
# So many bytes of pieces are kept for readers that come later.
KEPT_BYTES = 2_000_000
# Resources of which it is known what was sent last: by all readers alike, and by one that goes alone.
KNOWN_ROWS, OWN_KNOWN_ROWS = 2_000, 100


class Piece(NamedTuple):
    """Events in the bytes that are sent, of all wanted changes up to `until`.

    What was left out, since its row is the one that was sent last, was sent no earlier than `known_since`.
    """

    until: int
    data: bytes
    events: int
    known_since: float


class SentRows:
    """What was sent last of each resource: a hash of the row, and since when."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: OrderedDict[tuple[str, str | None, str], tuple[int, int]] = OrderedDict()

    def note(self, change: Change, row: bytes) -> int | None:
        """Note the row; return the number that it was sent with before.

        Several sources may add a change of one resource: an update to the row that was sent last is no news.
        """
        digest = hash(row)
        known = self._rows.pop(change.key, None)
        is_news = known is None or known[0] != digest or change.action != "updated"
        self._rows[change.key] = (digest, change.number) if known is None or is_news else known
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)
        return None if known is None or is_news else known[1]

    def clear(self) -> None:
        """Forget all of it."""
        self._rows.clear()


class Track:
    """The pieces of all readers with one filter and view; made up to `number`."""

    def __init__(self, feed: Changes, wanted: Filter, view: str) -> None:
        self._feed, self.wanted, self.view = feed, wanted, view
        self.number = feed.log.number
        self._sent = SentRows(KNOWN_ROWS)
        self._pieces = BoundedCache(KEPT_BYTES)  # by the position that they follow

    def get_piece(self, after: int) -> Piece | None:
        """Return the piece that follows a position; None where there is none.

        A reader that is further than all others begins anew from there.
        """
        if after < self.number:
            piece: Piece | None = self._pieces.get(after)
            return piece
        if after > self.number:
            self._sent.clear()
        piece = self.make_piece(after, self._sent, BATCH)
        self.number = piece.until
        self._pieces.put(after, piece, len(piece.data))
        return piece

    def make_piece(self, after: int, sent: SentRows, most: int) -> Piece:
        """Make the piece of at most so many events that follows a position."""
        feed, frames, size_bytes, known_since = self._feed, list[bytes](), 0, math.inf
        found = feed.log.list_after(after, self.wanted, BATCH)
        until = feed.log.number if len(found) < BATCH else found[-1].number
        for change in found:
            since = sent.note(change, feed.get_row(change, self.view))
            if since is not None:
                known_since = min(known_since, since)
                continue
            frames.append(feed.get_event(change, self.view))
            size_bytes += len(frames[-1])
            if len(frames) >= most or size_bytes >= PIECE_BYTES:
                until = change.number if change is not found[-1] else until
                break
        return Piece(until, b"".join(frames), len(frames), known_since)


class EventReader(Reader):
    """A reader that takes events in pieces."""

    __slots__ = ("_joined_at", "_sent", "_track")

    def __init__(self, feed: Changes, wanted: Filter, after: Position | None, view: str) -> None:
        super().__init__(feed, wanted, after)
        tracks: WeakValueDictionary[Hashable, Track] = feed.event_tracks
        track = tracks.get((wanted, view))
        if track is None:
            track = tracks[wanted, view] = Track(feed, wanted, view)
        self._track, self._joined_at = track, math.inf
        self._sent: SentRows | None = None

    def take_piece(self, left: int | None) -> Piece | None:
        """Give the next piece without waiting, of at most `left` events.

        None when there is nothing new.
        """
        log = self._changes.log
        if self.is_lost or self.number < log.forgotten:
            self.is_lost, self.number, self._joined_at, self._sent = False, log.number, math.inf, None
            reset = Change(log.number, RESET, "", None, "reset", lambda: None)
            return Piece(log.number, self._changes.get_event(reset), 1, math.inf)
        if self.number == log.number:
            return None
        piece = self._follow_track() if left is None else None
        if piece is None:
            self._joined_at, self._sent = math.inf, self._sent or SentRows(OWN_KNOWN_ROWS)
            piece = self._track.make_piece(self.number, self._sent, BATCH if left is None else min(left, BATCH))
        self.number = piece.until
        return piece

    def _follow_track(self) -> Piece | None:
        """Return the piece that all readers here are sent.

        None where there is none, or where it leaves out what this reader was not sent by the others' pieces.
        """
        piece = self._track.get_piece(self.number)
        joined_at = min(self._joined_at, self.number)
        if piece is None or piece.known_since <= joined_at:
            return None
        self._joined_at, self._sent = joined_at, None
        return piece


async def stream_events(
    feed: Changes,
    wanted: Filter,
    after: Position | None = None,
    limit: int | None = None,
    timeout_s: float | None = None,
    view: str = "",
    heartbeat_s: float | None = None,
) -> AsyncGenerator[bytes, None]:
    """Yield the changes as server-sent events, with heartbeats.

    Rows are those of `view` where it has its own. Ends with the server, after `limit` events, or after `timeout_s`
    seconds. `heartbeat_s` asks for more heartbeats than the usual.
    """
    loop = asyncio.get_running_loop()
    every_s = min(feed.heartbeat_s, heartbeat_s or feed.heartbeat_s)
    until = math.inf if timeout_s is None else loop.time() + timeout_s
    left = limit
    async with EventReader(feed, wanted, after, view) as reader:
        # Without a position while a reset is to come: a reader that is cut off before it hears it at the next time.
        yield changes.to_heartbeat(None if reader.is_lost else reader.position, RETRY_MS)
        beat_at = loop.time() + every_s
        while left is None or left > 0:
            if (piece := reader.take_piece(left)) is not None:
                if piece.events:
                    left = None if left is None else left - piece.events
                    yield piece.data
                    beat_at = loop.time() + every_s
                    await asyncio.sleep(0)  # thousands of changes are no reason to let others wait
                continue
            if feed.is_closed or loop.time() >= until:
                return
            try:
                async with asyncio.timeout(min(beat_at, until) - loop.time()):
                    await feed.wait()
            except TimeoutError:
                if loop.time() < until:
                    yield changes.to_heartbeat(reader.position)
                    beat_at = loop.time() + every_s
