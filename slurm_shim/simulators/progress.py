"""How far a simulator is, read from its log.

The expressions stand in the simulator's definition: `requested`, `done` and `ended` are looked for in every line, from
the first one on that `starts` finds. What they find are their named groups: requested, done, remaining, hours, minutes,
seconds.
"""

import re
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Pattern

# A line that is longer is no line of progress.
LINE_BYTES = 65536
SECONDS = {"hours": 3600, "minutes": 60, "seconds": 1}


class ProgressParser:
    """Finds numbers in lines of a log."""

    def __init__(self, expressions: Dict[str, Optional[str]]) -> None:
        self.patterns: Dict[str, Pattern[str]] = {name: re.compile(text) for name, text in expressions.items() if text}
        self.starts = self.patterns.pop("starts", None)

    def parse_line(self, line: str) -> Dict[str, Any]:
        """Return what the line says: fields of a task's report, and `ended`."""
        numbers: Dict[str, float] = {}
        found: Dict[str, Any] = {}
        if self.starts is not None:
            if self.starts.search(line):
                self.starts = None
            return found
        for name, pattern in self.patterns.items():
            match = pattern.search(line)
            if match is None:
                continue
            if name == "ended":
                found["ended"] = True
                continue
            for key, text in match.groupdict().items():
                number = read_number(text or "")
                if number is not None:
                    numbers[key] = number
        if "done" in numbers:
            found["simulated_primaries"] = int(numbers["done"])
        if "requested" in numbers:
            found["requested_primaries"] = int(numbers["requested"])
        elif "remaining" in numbers and "done" in numbers:
            found["requested_primaries"] = int(numbers["done"] + numbers["remaining"])
        if any(name in numbers for name in SECONDS):
            found["estimated_s"] = int(sum(numbers.get(name, 0) * factor for name, factor in SECONDS.items()))
        return found


class LogFollower:
    """Reads what is new in the newest log that has the name."""

    def __init__(
        self, folder: Path, name: str, parser: ProgressParser, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.name, self.parser, self.clock = folder, name, parser, clock
        self.path: Optional[Path] = None
        self.position = 0
        self.rest = b""
        self.grown_at = clock()

    def read_progress(self) -> Dict[str, Any]:
        """Read the new lines; return the last of what they say."""
        path = self._find_log()
        if path != self.path:
            self.path, self.position, self.rest = path, 0, b""
        found: Dict[str, Any] = {}
        if path is None:
            return found
        try:
            with path.open("rb") as file:
                file.seek(self.position)
                while True:
                    data = file.read(1 << 20)
                    if not data:
                        break
                    self.position += len(data)
                    self.grown_at = self.clock()
                    *lines, self.rest = (self.rest + data).split(b"\n")
                    self.rest = self.rest[-LINE_BYTES:]
                    for line in lines:
                        found.update(self.parser.parse_line(line[:LINE_BYTES].decode("utf-8", "replace")))
        except OSError:
            # It was taken away under our hands; the next look finds the next one.
            self.path = None
        return found

    def count_idle_s(self) -> float:
        """Count the seconds since the log grew."""
        return self.clock() - self.grown_at

    def _find_log(self) -> Optional[Path]:
        dated = []
        for path in self.folder.glob(self.name):
            try:
                # To open a pipe would wait for somebody who writes.
                if path.is_file():
                    dated.append((path.stat().st_mtime, str(path), path))
            except OSError:  # gone in between
                continue
        return max(dated)[2] if dated else None


def read_number(text: str) -> Optional[float]:
    """Read a number as simulators write them, Fortran's exponents too.

    >>> [read_number(text) for text in ("1000", " 1.0E+03", "2.5D2", "****")]
    [1000.0, 1000.0, 250.0, None]
    """
    try:
        return float(text.strip().replace("D", "E").replace("d", "e"))
    except ValueError:
        return None
