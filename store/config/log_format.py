"""How the log is written: a line each, for people or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

PLAIN = "%(levelname)s %(name)s: %(message)s"
# A line of one kind is written once in so long.
PAUSE_S = 60.0
MOST_KINDS = 1000


class JsonFormatter(logging.Formatter):
    """Formats each entry as one JSON object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format an entry."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class Throttle:
    """Lets lines of one kind through once in PAUSE_S: nobody fills the log.

    It remembers at most `most` kinds; with one more it forgets all others. `now` is for tests.
    """

    def __init__(self, most: float = MOST_KINDS, now: Callable[[], float] | None = None) -> None:
        self._most, self._now = most, now or time.monotonic
        self._kinds: dict[object, float] = {}  # the oldest first

    def admit(self, kind: object) -> bool:
        """Return whether a line of this kind is to be written now."""
        now = self._now()
        while self._kinds and now - next(iter(self._kinds.values())) >= PAUSE_S:
            del self._kinds[next(iter(self._kinds))]
        if kind in self._kinds:
            return False
        if len(self._kinds) >= self._most:
            self._kinds.clear()
        self._kinds[kind] = now
        return True


def set_up_log(level: str, kind: str) -> None:
    """Have everything that is logged in this process go to stderr in one form.

    Of other libraries, the HTTP server's among them, only warnings and errors, each once in PAUSE_S: who sends what is
    no HTTP at all does not fill the log.
    """
    handler, foreign = logging.StreamHandler(), Throttle()
    handler.addFilter(
        lambda record: (
            record.name.startswith("sluice") or record.exc_info is not None or foreign.admit((record.name, record.msg))
        )
    )
    handler.setFormatter(JsonFormatter() if kind == "json" else logging.Formatter(PLAIN))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("sluice").setLevel(level.upper())
    if kind == "json":
        sys.excepthook = lambda *problem: logging.getLogger("sluice").critical("the program ended", exc_info=problem)
