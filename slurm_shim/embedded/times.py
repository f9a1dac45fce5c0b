"""Times and durations as SLURM reads and prints them.

sbatch(1), squeue(1), sacct(1).

Points in time are epoch seconds; limits are minutes, None meaning unlimited.
"""

from __future__ import annotations

import os
import time

from .units import is_number

UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
UNLIMITED_WORDS = ("infinite", "unlimited", "-1")
LONGEST_S = 100 * 366 * 86400
NAMED_HOURS = {"midnight": 0, "elevenses": 11, "noon": 12, "fika": 15, "teatime": 16}


class BadTime(ValueError):
    """A text that is no time; `pos` is where SLURM stopped reading."""

    def __init__(self, text: str, pos: int = 0) -> None:
        super().__init__(f"Invalid time specification (pos={pos}): {text}")


def parse_limit_min(text: str) -> int | None:
    """Parse a time limit to minutes; None for 0 and unlimited.

    `minutes`, `min:sec`, `h:min:sec`, `days-h`, `days-h:min`, `days-h:min:sec`. Seconds round up to a minute.
    ValueError otherwise.
    """
    if text.lower() in UNLIMITED_WORDS:
        return None
    days, dash, clock = text.partition("-")
    if not dash:
        days, clock = "0", text
    numbers = clock.split(":") if clock or not dash else ["0"]
    if not is_number(days) or len(numbers) > 3 or not all(is_number(n) for n in numbers) or len(text) > 24:
        raise ValueError(text)
    values = [int(n) for n in numbers]
    if dash:
        hours, minutes, seconds = [*values, 0, 0][:3]
    elif len(values) == 3:
        hours, minutes, seconds = values
    else:
        hours, (minutes, seconds) = 0, [*values, 0][:2]
    total_s = int(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if total_s > LONGEST_S:
        raise ValueError(text)
    return (total_s + 59) // 60 or None


def format_short(seconds: int) -> str:
    """Format a duration as squeue: `0:36`, `10:00`, `4:00:00`, `1-00:00:00`."""
    days, clock = divmod(max(0, int(seconds)), 86400)
    hours, rest = divmod(clock, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02d}:{minutes:02d}:{secs:02d}"
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def format_full(seconds: int) -> str:
    """Format a duration as sacct and scontrol: `00:10:00`, `1-00:00:00`."""
    days, clock = divmod(max(0, int(seconds)), 86400)
    hours, rest = divmod(clock, 3600)
    text = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text


def format_short_limit(minutes: int | None) -> str:
    """Format a limit as squeue prints it."""
    return "UNLIMITED" if minutes is None else format_short(minutes * 60)


def format_full_limit(minutes: int | None, unlimited: str = "UNLIMITED") -> str:
    """Format a limit as sacct and scontrol print it."""
    return unlimited if minutes is None else format_full(minutes * 60)


def format_time(epoch: int | None, unknown: str) -> str:
    """Format a point in local time, or as SLURM_TIME_FORMAT asks.

    `unknown` stands for None and 0.
    """
    if not epoch:
        return unknown
    pattern = os.environ.get("SLURM_TIME_FORMAT", "")
    if pattern == "%s":
        return str(int(epoch))
    if not pattern or pattern in ("standard", "relative"):
        pattern = "%Y-%m-%dT%H:%M:%S"
    return time.strftime(pattern, time.localtime(epoch))


def parse_time(text: str, now: int) -> int:
    """Parse a time of --begin and -S/-E (sbatch(1)) to epoch seconds.

    now, now+N[units], [date][T][clock], words.

    A clock time alone that has passed means tomorrow's. BadTime otherwise.
    """
    low = text.strip().lower()
    if low.startswith("now"):
        return now + _parse_offset_s(text, low[3:])
    if low.startswith("uts") and is_number(low[3:]) and int(low[3:]) <= now + LONGEST_S:
        return int(low[3:])
    today = time.localtime(now)[:3]
    if low in ("today", "tomorrow"):
        return _to_epoch(text, today, (0, 0, 0), 1 if low == "tomorrow" else 0)
    if low in NAMED_HOURS:
        low = f"{NAMED_HOURS[low]:02d}:00"
    date, _, clock = low.partition("t") if "t" in low else _split_date(low)
    if not date:
        epoch = _to_epoch(text, today, _parse_clock(text, clock), 0)
        return epoch if epoch > now else _to_epoch(text, today, _parse_clock(text, clock), 1)
    return _to_epoch(text, _parse_date(text, date, today[0]), _parse_clock(text, clock) if clock else (0, 0, 0), 0)


def _split_date(low: str) -> tuple[str, str, str]:
    if "-" in low or "/" in low or (is_number(low) and len(low) in (4, 6)):
        date, _, clock = low.partition(" ")
        return date, "", clock
    return "", "", low


def _parse_offset_s(text: str, rest: str) -> int:
    if not rest:
        return 0
    sign = {"+": 1, "-": -1}.get(rest[0])
    digits = rest[1:].strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = rest[1:].strip()[len(digits) :]
    if sign is None or not is_number(digits.strip()):
        raise BadTime(text, 3)
    names = [name for name in UNITS_S if unit and (name.startswith(unit) or f"{name}s" == unit)]
    if unit and not names:
        raise BadTime(text, 4)
    offset_s = int(digits) * (UNITS_S[names[0]] if unit else 1)
    if offset_s > LONGEST_S:
        raise BadTime(text, 3)
    return sign * offset_s


def _parse_clock(text: str, clock: str) -> tuple[int, int, int]:
    clock = clock.strip()
    half = clock[-2:] if clock[-2:] in ("am", "pm") else ""
    numbers = clock.removesuffix(half).strip().split(":")
    if not 2 <= len(numbers) <= 3 or not all(is_number(n) for n in numbers):
        raise BadTime(text)
    hour, minute, second = [*map(int, numbers), 0][:3]
    if half and not 1 <= hour <= 12:
        raise BadTime(text)
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise BadTime(text)
    return hour, minute, second


def _parse_date(text: str, date: str, year: int) -> tuple[int, int, int]:
    numbers = date.replace("/", "-").split("-")
    if len(numbers) == 1 and len(date) in (4, 6):
        numbers = [date[index : index + 2] for index in range(0, len(date), 2)]
    if not 2 <= len(numbers) <= 3 or not all(is_number(n) for n in numbers):
        raise BadTime(text)
    values = [int(n) for n in numbers]
    if len(numbers[0]) == 4:
        if len(values) != 3:
            raise BadTime(text)
        return values[0], values[1], values[2]
    year = (values[2] + (2000 if values[2] < 100 else 0)) if len(values) == 3 else year
    return year, values[0], values[1]


def _to_epoch(text: str, date: tuple[int, ...], clock: tuple[int, int, int], days: int) -> int:
    year, month, day = date
    if not (1970 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= 31):
        raise BadTime(text)
    return int(time.mktime((year, month, day + days, *clock, 0, 0, -1)))
