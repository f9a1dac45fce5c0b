"""Points in time as the documents write them: RFC 3339 in UTC."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from store.errors import Invalid, make_problem


def to_rfc3339(epoch_s: float | None) -> str | None:
    """Return the time as text with a Z; None stays None.

    Whole seconds stay whole, others get milliseconds.

    >>> to_rfc3339(0), to_rfc3339(1.5), to_rfc3339(None)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500Z', None)
    """
    if epoch_s is None:
        return None
    if epoch_s % 1:
        return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    day, second_of_day = divmod(int(epoch_s), 86_400)
    minutes, second = divmod(second_of_day, 60)
    return f"{_format_day(day)}T{minutes // 60:02}:{minutes % 60:02}:{second:02}Z"


@functools.lru_cache(maxsize=256)
def _format_day(day: int) -> str:
    # Times of thousands of jobs differ by seconds: what they have in common takes most of the time.
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def to_epoch(text: str | None) -> float | None:
    """Return epoch seconds of an RFC 3339 text; None stays None.

    A time without a zone is UTC. Raises ValueError for text that is no time.

    >>> to_epoch("1970-01-01T00:00:01.500Z"), to_epoch("1970-01-01"), to_epoch("1970-01-01T01:00:00+01:00")
    (1.5, 0.0, 0.0)
    """
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def to_day_end(text: str) -> float:
    """Return epoch seconds of a time, or of the last moment of a date.

    >>> to_day_end("1970-01-01"), to_day_end("1970-01-01T00:00:01Z")
    (86399.999999, 1.0)
    """
    moment = to_epoch(text) or 0.0
    if len(text) > 10:
        return moment
    return moment + timedelta(days=1, microseconds=-1).total_seconds()


def read_time(text: str | None, place: Sequence[str], read: Callable[[str], float | None] = to_epoch) -> float | None:
    """Read a time or a day of a request as epoch seconds; None stays None.

    `place` is where it stands, `read` may be to_day_end. Raises Invalid.
    """
    try:
        # In a query a + that was not escaped is a blank.
        moment = None if text is None else read(text.strip().replace(" ", "+") if "T" in text else text)
        to_rfc3339(moment)
    except (ValueError, OverflowError, OSError):
        message = "is no time such as 2023-12-15T14:00:00Z, and no day such as 2023-12-15"
        raise Invalid([make_problem(message, place, type="datetime_parsing", input=text)]) from None
    return moment


def has_come(due_at: float, now: float, longest_s: float) -> bool:
    """Return whether a time that was set at most `longest_s` ahead has come.

    One that is further ahead was set by a clock that was put back since: nobody waits for that clock.

    >>> has_come(160, 159, 60), has_come(160, 160, 60), has_come(7360, 160, 60)
    (False, True, True)
    """
    return now >= due_at or due_at - now > longest_s


def format_duration(duration_s: float | None) -> str | None:
    """Format a duration as `[D-]H:MM:SS`; None stays None.

    >>> format_duration(90), format_duration(5400), format_duration(90061)
    ('0:01:30', '1:30:00', '1-01:01:01')
    """
    if duration_s is None:
        return None
    minutes, seconds = divmod(max(0, int(duration_s)), 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days}-{hours:02}:{minutes % 60:02}:{seconds:02}" if days else f"{hours}:{minutes % 60:02}:{seconds:02}"
